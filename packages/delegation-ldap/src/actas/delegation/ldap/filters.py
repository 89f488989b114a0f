"""Search filters: a tree, made from text (RFC 4515) that is read to its end, or from a structure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from actas.core.errors import InvalidParameters

_ATTRIBUTE = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)(?:;[A-Za-z0-9-]+)*", re.ASCII)
_DEEPEST = 12
_MOST_PARTS = 200
_LONGEST = 64 * 1024
"""Characters of a filter's text; bytes of a value."""

How: TypeAlias = Literal["=", ">=", "<=", "~="]
_SIGNS: tuple[How, ...] = (">=", "<=", "~=", "=")
_HOW: dict[str, How] = {"equals": "=", "at_least": ">=", "at_most": "<=", "sounds_like": "~="}


@dataclass(frozen=True, slots=True)
class Group:
    """All of ``parts`` hold (``every``), or any of them."""

    every: bool
    parts: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """``part`` does not hold."""

    part: "Filter"


@dataclass(frozen=True, slots=True)
class Match:
    """A value is equal, at least, at most, or sounds alike."""

    attribute: str
    how: How
    value: bytes


@dataclass(frozen=True, slots=True)
class Present:
    """There is a value."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Substrings:
    """A value begins with ``first``, has ``middle`` in this order, and ends with ``last``."""

    attribute: str
    first: bytes
    middle: tuple[bytes, ...]
    last: bytes


@dataclass(frozen=True, slots=True)
class Extensible:
    """A value fits by the matching rule ``rule``; with ``in_names``, also one in the entry's name."""

    attribute: str | None
    rule: str | None
    in_names: bool
    value: bytes


Filter: TypeAlias = Group | Not | Match | Present | Substrings | Extensible
EVERYTHING = Present("objectClass")
"""What every entry has."""


def parsed(written: str) -> Filter:
    """The filter that ``written`` is: one, and nothing before or after it.

    Raises:
        InvalidParameters: it is none, or too long, deep or wide.
    """
    if len(written) > _LONGEST:
        raise InvalidParameters("filter: is too long.")
    reader = _Reader(written)
    result = reader.filter(0)
    reader.end()
    return result


def structured(given: Mapping[str, object]) -> Filter:
    """The filter that a structure says, such as ``{"and": [{"attribute": "uid", "equals": "alice"}, …]}``.

    Raises:
        InvalidParameters: it says none, or is too deep or wide.
    """
    return _Structure().filter(given, 0)


def attributes_in(what: Filter) -> Iterator[str | None]:
    """The attributes that ``what`` asks about; None where it asks about all."""
    match what:
        case Group():
            for part in what.parts:
                yield from attributes_in(part)
        case Not():
            yield from attributes_in(what.part)
        case _:
            yield what.attribute


def rules_in(what: Filter) -> Iterator[str]:
    """The matching rules that ``what`` names."""
    match what:
        case Group():
            for part in what.parts:
                yield from rules_in(part)
        case Not():
            yield from rules_in(what.part)
        case Extensible(rule=str(rule)):
            yield rule
        case _:
            pass


def is_attribute(name: str) -> bool:
    """Whether ``name`` could be an attribute's: letters, digits and ``-``, or an object identifier, with options."""
    return len(name) <= 256 and _ATTRIBUTE.fullmatch(name) is not None


class _Counting:
    def __init__(self) -> None:
        self._parts = 0

    def count(self, depth: int) -> None:
        self._parts += 1
        if depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise InvalidParameters(f"filter: is nested deeper than {_DEEPEST}, or has more than {_MOST_PARTS} parts.")


class _Reader(_Counting):
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
        described = _ATTRIBUTE.match(self._text, self._at)
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
                piece += _bytes(here)
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


class _Structure(_Counting):
    def filter(self, given: object, depth: int) -> Filter:
        self.count(depth)
        if not isinstance(given, Mapping):
            raise self._wrong()
        says = cast("Mapping[str, object]", given)
        if len(says) == 1:
            ((key, inside),) = says.items()
            if key == "not":
                return Not(self.filter(inside, depth + 1))
            if key in ("and", "or") and isinstance(inside, list) and inside:
                parts = cast("list[object]", inside)
                return Group(key == "and", tuple(self.filter(each, depth + 1) for each in parts))
        attribute = says.get("attribute")
        if not isinstance(attribute, str) or not is_attribute(attribute):
            raise self._wrong()
        return self._item(attribute, {key: value for key, value in says.items() if key != "attribute"})

    def _item(self, attribute: str, says: dict[str, object]) -> Filter:
        match says:
            case {"present": True, **rest} if not rest:
                return Present(attribute)
            case {"rule": str(rule), "matches": str(value), **rest} if not rest and is_attribute(rule):
                return Extensible(attribute, rule, False, _bytes(value))
            case _ if len(says) == 1 and (how := next(iter(says))) in _HOW:
                return Match(attribute, _HOW[how], self._value(says[how]))
            case _ if says and says.keys() <= {"begins_with", "contains", "ends_with"}:
                values = {key: self._value(value) for key, value in says.items()}
                if not all(values.values()):
                    raise self._wrong()
                middle = (values["contains"],) if "contains" in values else ()
                return Substrings(attribute, values.get("begins_with", b""), middle, values.get("ends_with", b""))
            case _:
                raise self._wrong()

    def _value(self, value: object) -> bytes:
        if not isinstance(value, str):
            raise self._wrong()
        return _bytes(value)

    def _wrong(self) -> InvalidParameters:
        return InvalidParameters(
            'filter: each part is {"and": [...]}, {"or": [...]}, {"not": {...}}, or an attribute with what it must be: '
            '{"attribute": "uid", "equals": "..."}, or at_least, at_most, sounds_like, begins_with, contains, '
            "ends_with, present: true."
        )


def _substrings(attribute: str, pieces: list[bytes]) -> Filter:
    if pieces == [b"", b""]:
        return Present(attribute)
    first, *middle, last = pieces
    if not any(pieces) or not all(middle):  # `**` says nothing that `*` does not
        raise InvalidParameters("filter: a value has two stars in a row. Write one.")
    return Substrings(attribute, first, tuple(middle), last)


def _bytes(value: str) -> bytes:
    try:
        made = value.encode()
    except UnicodeEncodeError:
        raise InvalidParameters("filter: a value has half a surrogate pair.") from None
    if len(made) > _LONGEST:
        raise InvalidParameters("filter: a value is too long.")
    return made
