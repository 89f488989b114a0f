"""Filters as structures, such as models write them."""

from collections.abc import Mapping
from typing import cast

from actas.core.errors import InvalidParameters
from actas.delegation.ldap.filters import (
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

_HOW: dict[str, How] = {"equals": "=", "at_least": ">=", "at_most": "<=", "sounds_like": "~="}


def structured(given: Mapping[str, object]) -> Filter:
    """The filter that a structure says, such as ``{"and": [{"attribute": "uid", "equals": "alice"}, …]}``.

    Raises:
        InvalidParameters: it says none, or is too deep or wide.
    """
    return _Structure().filter(given, 0)


class _Structure(Counting):
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
                return Extensible(attribute, rule, False, octets(value))
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
        return octets(value)

    def _wrong(self) -> InvalidParameters:
        return InvalidParameters(
            'filter: each part is {"and": [...]}, {"or": [...]}, {"not": {...}}, or an attribute with what it must be: '
            '{"attribute": "uid", "equals": "..."}, or at_least, at_most, sounds_like, begins_with, contains, '
            "ends_with, present: true."
        )
