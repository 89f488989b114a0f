"""What a TDS client's messages have at which place (MS-TDS 2.2.6), as much as the peer of :mod:`.tds` reads."""

import struct


def options(body: bytes) -> dict[int, bytes]:
    """PRELOGIN's options by their number."""
    options, at = dict[int, bytes](), 0
    while body[at] != 0xFF:
        option, start, length = struct.unpack_from(">BHH", body, at)
        options[option] = body[start : start + length]
        at += 5
    return options


def text_field(body: bytes, at: int) -> bytes:
    """The text that LOGIN7 has a place and a number of characters for at ``at``."""
    start, length = struct.unpack_from("<HH", body, at)
    return body[start : start + 2 * length]


def byte_field(body: bytes, at: int) -> bytes:
    """The bytes that LOGIN7 has a place and a length for at ``at``."""
    start, length = struct.unpack_from("<HH", body, at)
    return body[start : start + length]


def after_headers(body: bytes) -> bytes:
    """A batch or an RPC without the headers before it."""
    (length,) = struct.unpack_from("<I", body)
    return body[length:] if 4 <= length <= len(body) else body


def executesql(body: bytes) -> str:
    """The statement of an RPC of ``sp_executesql`` whose first parameter is an nvarchar; its other ones are ignored."""
    count = struct.unpack_from("<H", body)[0]
    at = 4 if count == 0xFFFF else 2 + 2 * count
    at += 2
    at += 1 + 2 * body[at] + 1
    (kind, most) = struct.unpack_from("<BH", body, at)
    if kind != 0xE7:
        raise EOFError
    at += 8
    if most == 0xFFFF:
        at += 8
        text = b""
        while piece := struct.unpack_from("<I", body, at)[0]:
            text += body[at + 4 : at + 4 + piece]
            at += 4 + piece
        return text.decode("utf-16-le")
    (length,) = struct.unpack_from("<H", body, at)
    return body[at + 2 : at + 2 + length].decode("utf-16-le")
