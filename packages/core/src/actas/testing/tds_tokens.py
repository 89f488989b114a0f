"""The tokens with which a TDS server answers (MS-TDS 2.2.7), as many as the peer of :mod:`.tds` needs."""

import struct
from collections.abc import Sequence

_COLLATION = b"\x09\x04\xd0\x00\x34"
_INTN, _NVARCHAR = 0x26, 0xE7
_NO_TEXT = b"\xff\xff"
_MOST_TEXT = 4000

Cell = str | int | None


def message(number: int, text: str, *, severity: int = 16, error: bool = True) -> bytes:
    """ERROR, or INFO."""
    words = text[:1000]
    body = struct.pack("<IBB", number, 1, severity) + struct.pack("<H", len(words)) + words.encode("utf-16-le")
    body += _short("PEER") + _short("") + struct.pack("<I", 1)
    return (b"\xaa" if error else b"\xab") + struct.pack("<H", len(body)) + body


def changed(kind: int, new: str, old: str = "") -> bytes:
    """ENVCHANGE: 1 is the database, 2 the language, 4 the packets' size."""
    body = bytes([kind]) + _short(new) + _short(old)
    return b"\xe3" + struct.pack("<H", len(body)) + body


def collation() -> bytes:
    """ENVCHANGE 7."""
    body = b"\x07" + bytes([len(_COLLATION)]) + _COLLATION + b"\x00"
    return b"\xe3" + struct.pack("<H", len(body)) + body


def logged_in() -> bytes:
    """LOGINACK, as a TDS 7.4 server."""
    name = "Microsoft SQL Server"
    body = b"\x01\x74\x00\x00\x04" + _short(name) + b"\x10\x00\x10\x00"
    return b"\xad" + struct.pack("<H", len(body)) + body


def sspi(answer: bytes) -> bytes:
    """SSPI: what the server says to a ticket."""
    return b"\xed" + struct.pack("<H", len(answer)) + answer


def done(*, more: bool = False, failed: bool = False, attention: bool = False, rows: int | None = None) -> bytes:
    """DONE."""
    status = more | failed << 1 | (rows is not None) << 4 | attention << 5
    return struct.pack("<BHHQ", 0xFD, status, 0xC1, rows or 0)


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> bytes:
    """COLMETADATA and the ROWs. A column is a bigint where all that it has are integers, else a text."""
    numeric = [
        any(isinstance(row[index], int) for row in rows) and not any(isinstance(row[index], str) for row in rows)
        for index in range(len(columns))
    ]
    parts = [struct.pack("<BH", 0x81, len(columns))]
    for name, number in zip(columns, numeric, strict=True):
        kind = bytes([_INTN, 8]) if number else bytes([_NVARCHAR]) + struct.pack("<H", 2 * _MOST_TEXT) + _COLLATION
        parts.append(struct.pack("<IH", 0, 9) + kind + _short(name))
    for row in rows:
        parts.append(b"\xd1" + b"".join(_cell(value, number) for value, number in zip(row, numeric, strict=True)))
    return b"".join(parts)


def _cell(value: Cell, number: bool) -> bytes:
    if number:
        return b"\x00" if value is None else b"\x08" + struct.pack("<q", int(value))
    if value is None:
        return _NO_TEXT
    text = str(value)[:_MOST_TEXT].encode("utf-16-le")
    return struct.pack("<H", len(text)) + text


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")
