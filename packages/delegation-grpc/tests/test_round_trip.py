"""Random messages: the schema takes what protobuf prints, and protobuf takes what fits the schema."""

import base64
import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_protos import message, shop
from hypothesis import given, settings
from hypothesis import strategies as some
from jsonschema import Draft202012Validator

from actas.core import InvalidParameters, JsonSchema, LimitExceeded
from actas.core.models import Action
from actas.delegation.grpc.failures import UnexpectedAnswer
from actas.delegation.grpc.messages import Codec
from actas.delegation.grpc.schemas import is_map, parameters
from actas.delegation.grpc.settings import LimitSettings
from actas.mcp.schema import validate_parameters

EVERYTHING = message("Everything")
DESCRIPTOR: Descriptor = EVERYTHING.DESCRIPTOR
SCHEMA = parameters(DESCRIPTOR, shop().comments)
ACTION = Action(name="echo", description="Echo it.", parameters=JsonSchema(SCHEMA))
CODEC = Codec(shop().pool, LimitSettings(depth=64))
F = FieldDescriptor


def printed(made: Any) -> Any:
    return json_format.MessageToDict(made, descriptor_pool=shop().pool)


# What fits the schema, made from the descriptor as a caller would make it


def integers(bits: int, signed: bool) -> Any:
    lowest = -(2 ** (bits - 1)) if signed else 0
    highest = 2 ** (bits - (1 if signed else 0)) - 1
    whole = some.integers(lowest, highest)
    if bits == 32:
        return whole
    return whole.map(str) | some.integers(max(lowest, 1 - 2**53), 2**53 - 1)


REALS = some.floats(allow_nan=False, allow_infinity=False, width=32) | some.sampled_from(
    ["NaN", "Infinity", "-Infinity"]
)
TEXT = some.text(some.characters(exclude_categories=["Cs"]), max_size=8)
BYTES = some.binary(max_size=8).map(lambda raw: base64.b64encode(raw).decode())
JSON = some.recursive(
    some.none() | some.booleans() | some.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SCALARS = {
    **dict.fromkeys((F.TYPE_INT32, F.TYPE_SINT32, F.TYPE_SFIXED32), integers(32, True)),
    **dict.fromkeys((F.TYPE_UINT32, F.TYPE_FIXED32), integers(32, False)),
    **dict.fromkeys((F.TYPE_INT64, F.TYPE_SINT64, F.TYPE_SFIXED64), integers(64, True)),
    **dict.fromkeys((F.TYPE_UINT64, F.TYPE_FIXED64), integers(64, False)),
    **dict.fromkeys((F.TYPE_FLOAT, F.TYPE_DOUBLE), REALS),
    F.TYPE_BOOL: some.booleans(),
    F.TYPE_STRING: TEXT,
    F.TYPE_BYTES: BYTES,
}
WELL_KNOWN = {
    "Timestamp": some.datetimes().map(
        lambda at: f"{at.year:04}-{at.month:02}-{at.day:02}T{at.hour:02}:{at.minute:02}:07.25Z"
    ),
    "Duration": some.integers(-315_576_000_000, 315_576_000_000).map(lambda seconds: f"{seconds}s"),
    "FieldMask": some.sampled_from(["", "orderId", "orderId,item.name"]),
    "Struct": some.dictionaries(TEXT, JSON, max_size=3),
    "Value": JSON,
    "ListValue": some.lists(JSON, max_size=3),
    "Empty": some.just({}),
    "DoubleValue": REALS,
    "FloatValue": REALS,
    "Int64Value": integers(64, True),
    "UInt64Value": integers(64, False),
    "Int32Value": integers(32, True),
    "UInt32Value": integers(32, False),
    "BoolValue": some.booleans(),
    "StringValue": TEXT,
    "BytesValue": BYTES,
}


def single(field: FieldDescriptor, depth: int) -> Any:
    if field.message_type is not None:
        name = field.message_type.full_name
        if name.startswith("google.protobuf."):
            return WELL_KNOWN[name.removeprefix("google.protobuf.")]
        return whole(field.message_type, depth - 1)
    if field.enum_type is not None:
        if field.enum_type.full_name == "google.protobuf.NullValue":
            return some.none()
        return some.sampled_from([value.name for value in field.enum_type.values])
    return SCALARS[field.type]


def keys(field: FieldDescriptor) -> Any:
    if field.type == F.TYPE_STRING:
        return TEXT
    if field.type == F.TYPE_BOOL:
        return some.sampled_from(["true", "false"])
    return SCALARS[field.type].map(str)


def value(field: FieldDescriptor, depth: int) -> Any:
    if is_map(field):
        entry = field.message_type.fields_by_name
        return some.dictionaries(keys(entry["key"]), single(entry["value"], depth), max_size=2)
    return some.lists(single(field, depth), max_size=2) if field.is_repeated else single(field, depth)


def whole(kind: Descriptor, depth: int) -> Any:
    """Objects that fit the schema of ``kind``: at most one of each oneof, a few of all fields."""

    @some.composite
    def made(draw: Any) -> dict[str, object]:
        fields = [each for each in kind.fields if depth > 0 or each.message_type is None]
        chosen = draw(some.lists(some.sampled_from(fields), max_size=6, unique_by=lambda field: field.number))
        taken: set[str] = set()
        found: dict[str, object] = {}
        for field in chosen:
            choice = field.containing_oneof
            if choice is None or choice.name not in taken:
                taken |= set() if choice is None else {choice.name}
                found[field.json_name] = draw(value(field, depth))
        return found

    return made()


@settings(max_examples=200, deadline=None)
@given(whole(DESCRIPTOR, 3))
def test_what_fits_the_schema_is_a_message_and_comes_back_as_it_was(given: dict[str, object]) -> None:
    Draft202012Validator(SCHEMA).validate(given)
    checked = validate_parameters(ACTION, given)
    assert isinstance(checked, dict)
    sent = EVERYTHING.FromString(CODEC.encoded(EVERYTHING, checked))
    # Printed, read and printed again it stays what it is, and fits the schema that it came by.
    again = printed(sent)
    Draft202012Validator(SCHEMA).validate(again)
    assert printed(EVERYTHING.FromString(CODEC.encoded(EVERYTHING, again))) == again


@settings(max_examples=200, deadline=None)
@given(some.binary(max_size=200))
def test_whatever_a_service_sends_is_printed_as_json_or_refused(raw: bytes) -> None:
    try:
        read = CODEC.answer(EVERYTHING, "the-token").read(raw)
    except UnexpectedAnswer:
        return
    json.dumps(read, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5),
        lambda inner: (
            some.lists(inner, max_size=3)
            | some.dictionaries(
                some.sampled_from([each.json_name for each in DESCRIPTOR.fields] + ["x"]), inner, max_size=4
            )
        ),
        max_leaves=20,
    ).filter(lambda made: isinstance(made, dict))
)
def test_what_does_not_fit_is_refused_by_our_errors_and_nothing_else(given: Any) -> None:
    try:
        raw = CODEC.encoded(EVERYTHING, given)
    except (InvalidParameters, LimitExceeded):
        return
    EVERYTHING.FromString(raw)
