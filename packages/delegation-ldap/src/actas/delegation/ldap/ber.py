"""The Basic Encoding Rules as LDAP restricts them (RFC 4511 section 5.1): definite lengths, one level at a time."""

from collections.abc import Iterator

SEQUENCE, SET, BOOLEAN, INTEGER, OCTETS, ENUMERATED = 0x30, 0x31, 0x01, 0x02, 0x04, 0x0A


class Malformed(ValueError):
    """These bytes are no such message."""


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element: ``tag``, the length of ``parts``, and them."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size) + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A number that is not negative."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1))


def boolean(value: bool, tag: int = BOOLEAN) -> bytes:
    """TRUE is 0xFF here."""
    return tlv(tag, b"\xff" if value else b"\x00")


def text(value: str, tag: int = OCTETS) -> bytes:
    """``value`` in UTF-8."""
    return tlv(tag, value.encode())


def whole(data: bytes | bytearray, most: int) -> int | None:
    """The size of the message that ``data`` begins with; None where too little of it is there to know.

    Raises:
        Malformed: it is no message, or one of more than ``most`` bytes.
    """
    if data and data[0] != SEQUENCE:
        raise Malformed("no LDAP message")
    if len(data) < 2:
        return None
    size = data[1] & 0x7F if data[1] & 0x80 else 0
    if data[1] == 0x80 or size > 4:
        raise Malformed("a length that LDAP does not know")
    if len(data) < 2 + size:
        return None
    length = 2 + size + (int.from_bytes(data[2 : 2 + size]) if size else data[1])
    if length > most:
        raise Malformed("larger than allowed")
    return length


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements one after another: tag and content.

    Raises:
        Malformed: a length goes beyond the end, or a tag has more than one byte.
    """
    at = 0
    while at < len(data):
        if len(data) < at + 2 or data[at] & 0x1F == 0x1F:
            raise Malformed("an element that is cut, or a long tag")
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            if not 0 < size <= 4 or len(data) < at + size:
                raise Malformed("a length that LDAP does not know")
            length, at = int.from_bytes(data[at : at + size]), at + size
        if len(data) < at + length:
            raise Malformed("an element goes beyond its end")
        yield tag, data[at : at + length]
        at += length


def number(content: bytes) -> int:
    """The content of an INTEGER or ENUMERATED. Raises Malformed."""
    if not 0 < len(content) <= 8:
        raise Malformed("a number without or with too many digits")
    return int.from_bytes(content, signed=True)
