"""Search filters as a tree: what they can be, and what they ask about."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from actas.core.errors import InvalidParameters

ATTRIBUTE = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)(?:;[A-Za-z0-9-]+)*", re.ASCII)
_DEEPEST = 12
_MOST_PARTS = 200
LONGEST = 64 * 1024
"""Characters of a filter's text; bytes of a value."""

How: TypeAlias = Literal["=", ">=", "<=", "~="]


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
    return len(name) <= 256 and ATTRIBUTE.fullmatch(name) is not None


class Counting:
    """Bounds a filter that is being read."""

    def __init__(self) -> None:
        self._parts = 0

    def count(self, depth: int) -> None:
        """One part more, at ``depth``. Raises InvalidParameters where that is too many or too deep."""
        self._parts += 1
        if depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise InvalidParameters(f"filter: is nested deeper than {_DEEPEST}, or has more than {_MOST_PARTS} parts.")


def octets(value: str) -> bytes:
    """``value`` in UTF-8. Raises InvalidParameters where it cannot be, or is too long."""
    try:
        made = value.encode()
    except UnicodeEncodeError:
        raise InvalidParameters("filter: a value has half a surrogate pair.") from None
    if len(made) > LONGEST:
        raise InvalidParameters("filter: a value is too long.")
    return made
