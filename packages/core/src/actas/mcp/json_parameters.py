"""Parameters that a JSON Schema describes: checked with the jsonschema library, told without any value.

Three keywords with which a hostile model could keep us busy are not left to the library: ``pattern``, whose regular
expressions may take exponential time (the downstream checks its own), ``patternProperties``, which is refused for the
same reason, and ``uniqueItems``, which compares each item with each. And all of it may take so many steps and no more:
a schema whose forms refer to forms that refer to forms would be looked at for ever.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any, cast
from weakref import WeakKeyDictionary

import orjson
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from actas.core import JsonSchema

_LONGEST = 64
"""Characters of one name, or of one thing in the schema, that are repeated in a message."""
_MOST_STEPS = 50_000
"""Keywords that are looked at for one call's parameters: about a second, and everybody waits for it."""
_Keyword = Callable[
    [Any, Any, object, object], "Iterable[ValidationError] | None"
]  # Any: the library has no types for it

_MOST_REMEMBERED = 500
"""Characters of a part of a schema that is remembered as a good one."""

_left: ContextVar[list[int]] = ContextVar("steps_left")


class TooManySteps(ValueError):
    """The parameters would take too long to check."""


def _ignored(validator: object, value: object, instance: object, schema: object) -> Iterator[ValidationError]:
    return iter(())


def _unique(validator: object, unique: object, instance: object, schema: object) -> Iterator[ValidationError]:
    if unique and isinstance(instance, list):
        items = cast("list[object]", instance)
        if len({orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in items}) < len(items):
            yield ValidationError("items are not unique")


def _counted(keyword: _Keyword) -> _Keyword:
    def step(validator: Any, value: Any, instance: object, schema: object) -> Iterable[ValidationError] | None:
        left = _left.get()
        left[0] -= 1
        if left[0] < 0:
            raise TooManySteps
        return keyword(validator, value, instance, schema)

    return step


_KEYWORDS = cast(
    "dict[str, _Keyword]", {**Draft202012Validator.VALIDATORS, "pattern": _ignored, "uniqueItems": _unique}
)
_Validator: Any = cast("Any", validators).extend(  # Any: the library has no types for it, and makes the class itself
    Draft202012Validator, {name: _counted(keyword) for name, keyword in _KEYWORDS.items()}
)


class Compiled:
    """A schema, ready to check with.

    Raises:
        TypeError: it is no JSON Schema, or none of an object.
    """

    def __init__(self, schema: JsonSchema) -> None:
        document = schema.document
        wrong = _unsound(dict(document), "$")
        if wrong is not None:
            raise TypeError(f"the JSON Schema is not valid at {wrong}")
        if document.get("type") != "object":
            raise TypeError("the JSON Schema of parameters must say that they are an object")
        references: set[str] = set()
        for member, value in _members(document):
            if member == "patternProperties" and isinstance(value, dict):
                raise TypeError("the JSON Schema has patternProperties, which are not supported: name the properties")
            if member == "$ref" and isinstance(value, str):
                references.add(value)
        if not _all_resolve(document, references):
            raise TypeError("the JSON Schema refers to something that is not in it")
        # A registry of its own, with nothing in it: no reference becomes a request.
        self._validator = _Validator(document, registry=Registry[Any]())

    def problems(self, parameters: Mapping[str, object], most: int) -> list[str]:
        """What is wrong with ``parameters``, ``most`` things at the most; no value is repeated.

        Raises:
            TooManySteps: that would take too long to say.
        """
        _left.set([_MOST_STEPS])
        errors = cast("Iterable[ValidationError]", self._validator.iter_errors(parameters))
        return [f"{_place(error)}: {_text(error)}" for error in islice(errors, most)]


def _unsound(schema: object, place: str) -> str | None:
    """The first place at which ``schema`` is no JSON Schema; None where it is one.

    What its properties and definitions are is looked at one by one, and remembered: the tools of one document have most
    of them in common, and the library takes a third of a millisecond for each.
    """
    shallow = schema
    if isinstance(schema, dict):
        members = cast("dict[str, object]", schema)
        shallow = dict(members)
        for keyword in ("properties", "$defs"):
            parts = members.get(keyword)
            if isinstance(parts, dict):
                shallow[keyword] = {}
                for name, part in cast("dict[str, object]", parts).items():
                    wrong = _unsound(part, f"{place}.{keyword}.{name[:_LONGEST]}")
                    if wrong is not None:
                        return wrong
    try:
        text = orjson.dumps(shallow)
    except TypeError:
        return place
    wrong = _error(text) if len(text) <= _MOST_REMEMBERED else _error.__wrapped__(text)
    return None if wrong is None else place + wrong


@lru_cache(maxsize=10_000)
def _error(schema: bytes) -> str | None:
    """Where the library finds that ``schema`` is none, from its root on."""
    try:
        Draft202012Validator.check_schema(orjson.loads(schema))
    except SchemaError as error:
        return error.json_path.removeprefix("$")
    return None


def _members(schema: object) -> Iterator[tuple[object, object]]:
    """Every member of every object in ``schema``."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            members = cast("Mapping[object, object]", part)
            yield from members.items()
            waiting.extend(members.values())
        elif isinstance(part, list):
            waiting.extend(cast("list[object]", part))


def _all_resolve(document: Mapping[str, object], references: Iterable[str]) -> bool:
    resource = DRAFT202012.create_resource(cast("Any", document))  # Any: a schema, as the library types it
    resolver = Registry[Any]().with_resource("", resource).resolver()
    try:
        for reference in references:
            resolver.lookup(reference)
    except Unresolvable:
        return False
    return True


_COMPILED: WeakKeyDictionary[JsonSchema, Compiled] = WeakKeyDictionary()


def compiled(schema: JsonSchema) -> Compiled:
    """``schema``, ready to check with; once for each. Raises TypeError as :class:`Compiled`."""
    found = _COMPILED.get(schema)
    if found is None:
        found = _COMPILED[schema] = Compiled(schema)
    return found


def _place(error: ValidationError) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{str(step)[:_LONGEST]}" for step in error.absolute_path)
    return path.removeprefix(".") or "parameters"


def _text(error: ValidationError) -> str:
    """What the schema asked for. The library's own words repeat what was sent."""
    keyword, wanted = error.validator, error.validator_value
    match keyword:
        case "required":
            missing = [
                name for name in cast("list[str]", wanted) if name not in cast("dict[str, object]", error.instance)
            ]
            return f"{', '.join(name[:_LONGEST] for name in missing)} is required"
        case "additionalProperties" | "unevaluatedProperties":
            return "has a key that is not known"
        case "type":
            return f"must be {wanted if isinstance(wanted, str) else ' or '.join(cast('list[str]', wanted))}"
        case "enum" | "const":
            return f"must be {'one of ' if keyword == 'enum' else ''}{_shown(wanted)}"
        case "anyOf" | "oneOf" | "allOf" | "not" | "if" | "then" | "else":
            return "fits none of the forms, or too many of them, that the schema has"
        case _:
            return f"does not fit {keyword} {_shown(wanted)}"


def _shown(wanted: object) -> str:
    text = orjson.dumps(wanted, default=str).decode()
    return text if len(text) <= 3 * _LONGEST else f"{text[: 3 * _LONGEST]}…"
