"""From a message's descriptor to the JSON Schema (2020-12) of its JSON form (ProtoJSON)."""

from collections.abc import Callable, Mapping
from typing import cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor

_MOST_PARTS = 5_000
"""Schemas within one message's: a model would have to read them all."""
_MOST_CHOICES = 64
"""Fields of one oneof."""
_SAFE = 2**53 - 1
"""The largest integer that every JSON reader has exactly (RFC 8259 section 6)."""

_Schema = dict[str, object]


def _small(bits: int, *, signed: bool) -> _Schema:
    lowest = -(2 ** (bits - 1)) if signed else 0
    return {"type": "integer", "minimum": lowest, "maximum": 2 ** (bits - 1 if signed else bits) - 1}


def _large(*, signed: bool) -> _Schema:
    pattern = "^-?[0-9]{1,19}$" if signed else "^[0-9]{1,20}$"
    text = {"type": "string", "pattern": pattern, "maxLength": 20}
    return {"anyOf": [text, {"type": "integer", "minimum": -_SAFE if signed else 0, "maximum": _SAFE}]}


def _real() -> _Schema:
    return {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}


_F = FieldDescriptor
_SCALARS: Mapping[int, Callable[[], _Schema]] = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), lambda: _small(32, signed=True)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), lambda: _small(32, signed=False)),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), lambda: _large(signed=True)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), lambda: _large(signed=False)),
    **dict.fromkeys((_F.TYPE_DOUBLE, _F.TYPE_FLOAT), _real),
    _F.TYPE_BOOL: lambda: {"type": "boolean"},
    _F.TYPE_STRING: lambda: {"type": "string"},
    _F.TYPE_BYTES: lambda: {"type": "string", "contentEncoding": "base64"},
}
_TIMESTAMP: _Schema = {"type": "string", "format": "date-time", "description": "Like 2026-01-31T12:00:00Z."}
_DURATION: _Schema = {"type": "string", "pattern": "^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$", "maxLength": 24}
_MASK: _Schema = {"type": "string", "description": "Names of fields in camelCase, with commas between them."}
_WELL_KNOWN: Mapping[str, Callable[[], _Schema]] = {
    "Timestamp": lambda: dict(_TIMESTAMP),
    "Duration": lambda: {**_DURATION, "description": "Seconds, like 1.5s."},
    "FieldMask": lambda: dict(_MASK),
    "Struct": lambda: {"type": "object"},
    "Value": lambda: {"description": "Any JSON."},
    "ListValue": lambda: {"type": "array"},
    "Empty": lambda: {"type": "object", "additionalProperties": False},
    "DoubleValue": _real,
    "FloatValue": _real,
    "Int64Value": lambda: _large(signed=True),
    "UInt64Value": lambda: _large(signed=False),
    "Int32Value": lambda: _small(32, signed=True),
    "UInt32Value": lambda: _small(32, signed=False),
    "BoolValue": lambda: {"type": "boolean"},
    "StringValue": lambda: {"type": "string"},
    "BytesValue": lambda: {"type": "string", "contentEncoding": "base64"},
}
_OWN = "google.protobuf."


def well_known(message: Descriptor) -> bool:
    """Whether its JSON form is not that of its fields."""
    return message.full_name.startswith(_OWN) and message.full_name.removeprefix(_OWN) in _WELL_KNOWN


def is_map(field: FieldDescriptor) -> bool:
    """Whether it is a ``map<…>``."""
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def parameters(message: Descriptor, comments: Mapping[str, str]) -> dict[str, object]:
    """The schema of ``message`` as a method's parameters. Names are the JSON names; nothing else is taken.

    Raises:
        ValueError: there is something in it that cannot be a parameter; names it.
    """
    return _Schemas(message, comments).document()


class _Schemas:
    def __init__(self, root: Descriptor, comments: Mapping[str, str]) -> None:
        self._root = root
        self._comments = comments
        self._definitions: dict[str, object] = {}
        self._waiting: list[Descriptor] = []
        self._parts = 0

    def document(self) -> _Schema:
        root = self._root
        _no_any(root)
        if well_known(root) and root.full_name != "google.protobuf.Empty":
            raise ValueError(f"its parameters are a {root.full_name}, which is no object of named fields")
        made = self._whole(root)
        while self._waiting:  # by turns, not one within the other: a chain of messages may be longer than our stack
            message = self._waiting.pop()
            self._definitions[message.full_name] = self._whole(message)
        return {**made, "$defs": self._definitions} if self._definitions else made

    def _message(self, message: Descriptor) -> _Schema:
        """``message`` as a part of another. It is written once, however often it occurs, in itself too."""
        name = message.full_name
        _no_any(message)
        if well_known(message):
            return self._counted(_WELL_KNOWN[name.removeprefix(_OWN)]())
        if message is self._root:
            return {"$ref": "#"}
        if name not in self._definitions:
            self._definitions[name] = {}  # the place is taken; it may contain itself
            self._waiting.append(message)
        return {"$ref": f"#/$defs/{name}"}

    def _whole(self, message: Descriptor) -> _Schema:
        if message.GetOptions().message_set_wire_format:
            raise ValueError(f"{message.full_name} is a MessageSet, which has no JSON form")
        fields = message.fields
        made: _Schema = {"type": "object", "additionalProperties": False}
        if fields:
            made["properties"] = {field.json_name: self._described(field) for field in fields}
        required = [field.json_name for field in fields if field.is_required]
        if required:
            made["required"] = required
        apart: dict[str, object] = {}
        for oneof in message.oneofs:
            apart |= _at_most_one(oneof)
        if apart:
            made["dependentSchemas"] = apart
        return self._counted(made)

    def _described(self, field: FieldDescriptor) -> _Schema:
        made = self._field(field)
        said = self._comments.get(field.full_name)
        return made if said is None else {**made, "description": said}

    def _field(self, field: FieldDescriptor) -> _Schema:
        if is_map(field):
            entry = cast("Descriptor", field.message_type).fields_by_name
            made: _Schema = {"type": "object", "additionalProperties": self._single(entry["value"])}
            names = _names(entry["key"])
            return self._counted({**made, "propertyNames": names} if names else made)
        if field.is_repeated:
            return self._counted({"type": "array", "items": self._single(field)})
        return self._single(field)

    def _single(self, field: FieldDescriptor) -> _Schema:
        if field.message_type is not None:
            return self._message(field.message_type)
        if field.enum_type is not None:
            return self._counted(_enum(field.enum_type))
        return self._counted(_SCALARS[field.type]())

    def _counted(self, schema: _Schema) -> _Schema:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise ValueError(f"its parameters have more than {_MOST_PARTS} parts")
        return schema


def _no_any(message: Descriptor) -> None:
    if message.full_name == "google.protobuf.Any":
        raise ValueError("it takes a google.protobuf.Any, which could be a message of any type")


def _enum(enum: EnumDescriptor) -> _Schema:
    if enum.full_name == "google.protobuf.NullValue":
        return {"type": "null"}
    return {"type": "string", "enum": [value.name for value in enum.values]}


def _names(key: FieldDescriptor) -> _Schema:
    """What the names in a map's JSON form can be; empty where anything can."""
    if key.type == _F.TYPE_STRING:
        return {}
    if key.type == _F.TYPE_BOOL:
        return {"enum": ["true", "false"]}
    return {"pattern": "^-?[0-9]{1,20}$", "maxLength": 20}


def _at_most_one(oneof: OneofDescriptor) -> dict[str, object]:
    """Whoever gives one of its fields gives none of those behind it. Not by ``oneOf``, which models' interfaces do not
    take at the top. A ``proto3_optional`` field has a oneof of its own, and nothing beside it."""
    names = [field.json_name for field in oneof.fields]
    if len(names) > _MOST_CHOICES:
        raise ValueError(f"the oneof {oneof.full_name} has more than {_MOST_CHOICES} fields")
    return {
        name: {"not": {"anyOf": [{"required": [other]} for other in names[at + 1 :]]}}
        for at, name in enumerate(names[:-1])
    }
