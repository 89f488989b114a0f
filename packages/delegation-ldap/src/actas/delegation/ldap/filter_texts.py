"""Filters as text (RFC 4515): read to the end, character by character."""

import re

from actas.core.errors import InvalidParameters
from actas.delegation.ldap.filters import (
    ATTRIBUTE,
    LONGEST,
    Counting,
    Extensible,
    Filter,
    Group,
    How,
    Match,
    Not,
    Present,
    Substrings,
    is_attribute,
    octets,
)

_SIGNS: tuple[How, ...] = (">=", "<=", "~=", "=")


def parsed(written: str) -> Filter:
    """The filter that ``written`` is: one, and nothing before or after it.

    Raises:
        InvalidParameters: it is none, or too long, deep or wide.
    """
    if len(written) > LONGEST:
        raise InvalidParameters("filter: is too long.")
    reader = _Reader(written)
    result = reader.filter(0)
    reader.end()
    return result


class _Reader(Counting):
    """Reads a filter's text, character by character, as RFC 4515 section 3 says and not more."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self._text = written
        self._at = 0

    def filter(self, depth: int) -> Filter:
        self.count(depth)
        self._expect("(")
        match self._text[self._at : self._at + 1]:
            case "&" | "|" as sign:
                self._at += 1
                parts: list[Filter] = []
                while self._text.startswith("(", self._at):
                    parts.append(self.filter(depth + 1))
                if not parts:
                    raise self._wrong()
                found: Filter = Group(sign == "&", tuple(parts))
            case "!":
                self._at += 1
                found = Not(self.filter(depth + 1))
            case _:
                found = self._item()
        self._expect(")")
        return found

    def end(self) -> None:
        if self._at != len(self._text):
            raise self._wrong()

    def _item(self) -> Filter:
        described = ATTRIBUTE.match(self._text, self._at)
        attribute = described.group() if described else None
        self._at = described.end() if described else self._at
        if self._text.startswith(":", self._at):
            return self._extensible(attribute)
        if attribute is None or not is_attribute(attribute):
            raise self._wrong()
        for how in _SIGNS:
            if self._text.startswith(how, self._at):
                self._at += len(how)
                pieces = self._pieces()
                break
        else:
            raise self._wrong()
        if len(pieces) == 1:
            return Match(attribute, how, pieces[0])
        if how != "=":
            raise self._wrong()
        return _substrings(attribute, pieces)

    def _extensible(self, attribute: str | None) -> Filter:
        head, found, _ = self._text[self._at :].partition(":=")
        if not found:
            raise self._wrong()
        named = head.split(":")[1:]
        in_names = bool(named) and named[0] == "dn"
        rules = named[1:] if in_names else named
        rule = rules[0] if rules else None
        if len(rules) > 1 or (rule is not None and (";" in rule or not is_attribute(rule))):
            raise self._wrong()
        if attribute is None and rule is None:
            raise self._wrong()
        self._at += len(head) + 2
        pieces = self._pieces()
        if len(pieces) != 1:
            raise self._wrong()
        return Extensible(attribute, rule, in_names, pieces[0])

    def _pieces(self) -> list[bytes]:
        """A value, up to the bracket: its parts between the stars, without escapes."""
        pieces, piece = list[bytes](), bytearray()
        while (here := self._text[self._at : self._at + 1]) not in ("", "(", ")", "\0"):
            self._at += 1
            if here == "*":
                pieces.append(bytes(piece))
                piece.clear()
            elif here == "\\":
                pair = self._text[self._at : self._at + 2]
                if not re.fullmatch("[0-9A-Fa-f]{2}", pair):
                    raise self._wrong()
                piece.append(int(pair, 16))
                self._at += 2
            else:
                piece += octets(here)
        return [*pieces, bytes(piece)]

    def _expect(self, sign: str) -> None:
        if not self._text.startswith(sign, self._at):
            raise self._wrong()
        self._at += 1

    def _wrong(self) -> InvalidParameters:
        return InvalidParameters(
            f"filter: is no LDAP filter (RFC 4515), from character {self._at + 1} on. "
            "In values write \\2a for *, \\28 for (, \\29 for ), \\5c for \\; or give the filter as a structure."
        )


def _substrings(attribute: str, pieces: list[bytes]) -> Filter:
    if pieces == [b"", b""]:
        return Present(attribute)
    first, *middle, last = pieces
    if not any(pieces) or not all(middle):  # `**` says nothing that `*` does not
        raise InvalidParameters("filter: a value has two stars in a row. Write one.")
    return Substrings(attribute, first, tuple(middle), last)
