"""Distinguished names (RFC 4514) and authorization identities (RFC 4513 section 5.2.1.8): read strictly."""

import re
from dataclasses import dataclass

_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+", re.ASCII)
_SPECIAL = frozenset('"+,;<>\\')
_ESCAPED = _SPECIAL | frozenset(" #=")
_HEXADECIMAL = re.compile("[0-9A-Fa-f]{2}")
_LONGEST = 8192


class NotAName(ValueError):
    """It is no distinguished name, or none that can be told from others."""


@dataclass(frozen=True, slots=True)
class Name:
    """A distinguished name: its parts from the entry upwards, each with its attributes and values."""

    parts: tuple[tuple[tuple[str, str], ...], ...]

    def __str__(self) -> str:
        return ",".join("+".join(f"{kind}={escaped(value)}" for kind, value in part) for part in self.parts)

    @property
    def key(self) -> tuple[frozenset[tuple[str, str]], ...]:
        """What two spellings of one name have alike: letters' case and repeated blanks do not matter."""
        return tuple(
            frozenset((kind.lower(), " ".join(value.split()).casefold()) for kind, value in part) for part in self.parts
        )

    def is_in(self, base: "Name") -> bool:
        """Whether it is ``base`` or below it."""
        mine, its = self.key, base.key
        return len(mine) >= len(its) and mine[len(mine) - len(its) :] == its


def escaped(value: str) -> str:
    """``value`` as it stands in a name (RFC 4514 section 2.4): it ends where it ends, whatever it is."""
    out: list[str] = []
    for index, sign in enumerate(value):
        edge = index == 0 or index == len(value) - 1
        if sign in _SPECIAL or (sign == " " and edge) or (sign == "#" and index == 0):
            out.append("\\" + sign)
        elif sign == "=" or sign < " " or sign == "\x7f":
            out.append("".join(f"\\{byte:02x}" for byte in sign.encode()))
        else:
            out.append(sign)
    return "".join(out)


def parsed(written: str) -> Name:
    """The name that ``written`` is, to its end.

    Raises:
        NotAName: it is empty, malformed, has a value in ``#`` form or none, or is too long.
    """
    if not written or len(written) > _LONGEST:
        raise NotAName("an empty or very long name")
    parts: list[tuple[tuple[str, str], ...]] = []
    at = 0
    while True:
        pairs: list[tuple[str, str]] = []
        while True:
            pair, at = _pair(written, at)
            pairs.append(pair)
            if written[at : at + 1] != "+":
                break
            at += 1
        parts.append(tuple(pairs))
        if at == len(written):
            return Name(tuple(parts))
        at += 1


def _pair(written: str, at: int) -> tuple[tuple[str, str], int]:
    while written[at : at + 1] == " ":  # older writers put blanks after the comma
        at += 1
    kind = _TYPE.match(written, at)
    if kind is None or written[kind.end() : kind.end() + 1] != "=":
        raise NotAName("no attribute where one must be")
    value, at = _value(written, kind.end() + 1)
    return (kind.group(), value), at


def _value(written: str, at: int) -> tuple[str, int]:
    if written[at : at + 1] == "#":
        raise NotAName("a value in hexadecimal form")
    out, kept = bytearray(), 0  # kept: up to where blanks are not at the end
    while at < len(written) and written[at] not in ",+":
        sign = written[at]
        at += 1
        if sign == "\\":
            following = written[at : at + 1]
            if following and following in _ESCAPED:
                out += following.encode()
                at += 1
            elif _HEXADECIMAL.fullmatch(written[at : at + 2]):
                out.append(int(written[at : at + 2], 16))
                at += 2
            else:
                raise NotAName("an escape that is none")
            kept = len(out)
        elif sign in _SPECIAL or sign == "\0":
            raise NotAName("a character that must be escaped")
        else:
            if sign != " " or out:
                out += _utf8(sign)
            kept = len(out) if sign != " " else kept
    try:
        value = bytes(out[:kept]).decode()
    except UnicodeDecodeError:
        raise NotAName("a value that is no UTF-8") from None
    if not value:
        raise NotAName("an empty value")
    return value, at


def _utf8(sign: str) -> bytes:
    try:
        return sign.encode()
    except UnicodeEncodeError:
        raise NotAName("half a surrogate pair") from None


def same(one: str, other: str) -> bool:
    """Whether two authorization identities, ``dn:…`` or ``u:…``, are the same user's. Nobody's is anybody's."""
    kind, _, name = one.partition(":")
    other_kind, _, other_name = other.partition(":")
    if kind != other_kind or not name or not other_name:
        return False
    if one == other and kind in ("dn", "u"):  # as nearly always
        return True
    if kind != "dn":
        return kind == "u" and name.casefold() == other_name.casefold()
    try:
        return parsed(name).key == parsed(other_name).key
    except NotAName:
        return False
