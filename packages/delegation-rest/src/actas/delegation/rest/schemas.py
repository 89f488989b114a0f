"""From the schemas of an OpenAPI document to the JSON Schema of a tool's parameters: known keywords, nothing else."""

import re
from collections.abc import Mapping
from typing import cast

from actas.delegation.rest.document import Document, items, table, words

_MOST_PARTS = 5_000
"""Schemas within one operation's: a model would have to read them all."""
_LONGEST_TEXT = 500
_TEXTS = ("title", "description")
_VALUES = frozenset(
    "type required enum const minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern"
    " minItems maxItems uniqueItems minContains maxContains minProperties maxProperties format default"
    " dependentRequired".split()
)
_ONE = frozenset({"items", "not", "if", "then", "else", "contains", "propertyNames", "additionalProperties"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NAMED = frozenset({"properties", "dependentSchemas"})


class Schemas:
    """Converts what one operation needs. What it refers to is collected in :attr:`definitions`."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self.definitions: dict[str, object] = {}
        self._parts = 0

    def converted(self, raw: object) -> object:
        """``raw`` as JSON Schema 2020-12.

        Raises:
            ValueError: it is no schema, refers to what is not there, or is too large.
        """
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise ValueError(f"its parameters have more than {_MOST_PARTS} parts")
        if isinstance(raw, bool):
            return raw
        if not isinstance(raw, Mapping):
            raise ValueError("a schema is no object")
        schema = cast("Mapping[str, object]", raw)
        reference = schema.get("$ref")
        made: dict[str, object] = {}
        if isinstance(reference, str):
            made["$ref"] = f"#/$defs/{self._definition(reference)}"
            if self._document.old:
                return made  # what stands beside a reference has no meaning there
        made |= self._members(schema)
        return _nullable(schema, _bounds(made)) if self._document.old else made

    def _members(self, schema: Mapping[str, object]) -> dict[str, object]:
        made: dict[str, object] = {}
        for keyword, value in schema.items():
            if keyword in _VALUES:
                made[keyword] = value
            elif keyword in _TEXTS:
                made[keyword] = words(value, _LONGEST_TEXT)
            elif keyword in _ONE:
                made[keyword] = self.converted(value)
            elif keyword in _LISTS:
                made[keyword] = [self.converted(each) for each in items(value)]
            elif keyword in _NAMED:
                made[keyword] = {name: self.converted(each) for name, each in table(value).items()}
        if "patternProperties" in schema:
            made.pop("additionalProperties", None)  # the names that it would allow are not known any more
        return self._written(schema, made)

    def _written(self, schema: Mapping[str, object], made: dict[str, object]) -> dict[str, object]:
        """Without the properties that only the service sets."""
        theirs = [name for name, each in table(schema.get("properties")).items() if self._read_only(each)]
        if theirs:
            properties = cast("dict[str, object]", made["properties"])
            made["properties"] = {name: each for name, each in properties.items() if name not in theirs}
            made["required"] = [name for name in items(schema.get("required")) if name not in theirs]
        return made

    def _read_only(self, schema: object) -> bool:
        return not isinstance(schema, bool) and self._document.table(schema).get("readOnly") is True

    def _definition(self, reference: str) -> str:
        """The name under which what ``reference`` stands for is defined; converted at the first mention."""
        if reference in self._names:
            return self._names[reference]
        last = re.sub(r"[^A-Za-z0-9_.-]", "_", reference.rpartition("/")[2]) or "schema"
        name = last if last not in self.definitions else f"{last}_{len(self._names)}"
        self._names[reference] = name
        self.definitions[name] = True  # the place is taken; a schema may contain itself
        self.definitions[name] = self.converted(self._document.at(reference))
        return name


def _bounds(made: dict[str, object]) -> dict[str, object]:
    """OpenAPI 3.0 has true where JSON Schema has the bound itself."""
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(flag := made.get(exclusive), bool):
            del made[exclusive]
            if flag and inclusive in made:
                made[exclusive] = made.pop(inclusive)
    return made


def _nullable(schema: Mapping[str, object], made: dict[str, object]) -> dict[str, object]:
    if schema.get("nullable") is not True:
        return made
    if isinstance(made.get("enum"), list):
        made["enum"] = [*items(made["enum"]), *([] if None in items(made["enum"]) else [None])]
    if isinstance(kind := made.get("type"), str):
        return {**made, "type": [kind, "null"]}
    return {"anyOf": [made, {"type": "null"}]}
