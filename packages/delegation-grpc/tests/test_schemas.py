"""From descriptors to JSON Schemas: each kind of field, and what cannot be a parameter."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_protos import message, shop, shop_file, written
from jsonschema import Draft202012Validator

from actas.core import ConfigurationError, InvalidParameters, JsonSchema
from actas.core.models import Action, Effect
from actas.delegation.grpc.descriptors import Descriptors, from_file, made
from actas.delegation.grpc.messages import Codec
from actas.delegation.grpc.methods import method, signature
from actas.delegation.grpc.schemas import parameters
from actas.delegation.grpc.settings import GrpcSettings, LimitSettings, MethodSettings
from actas.mcp.schema import validate_parameters

EVERYTHING = parameters(message("Everything").DESCRIPTOR, shop().comments)
PROPERTIES: Any = EVERYTHING["properties"]


def schema_of(descriptors: Descriptors, name: str) -> Any:
    return parameters(descriptors.pool.FindMessageTypeByName(name), descriptors.comments)


def test_it_is_a_schema_that_the_server_takes() -> None:
    Draft202012Validator.check_schema(EVERYTHING)
    action = Action(name="echo", description="Echo it.", parameters=JsonSchema(EVERYTHING))
    validate_parameters(action, {"aInt32": 7})
    for wrong in ({"a_int32": 7}, {"aInt32": 2**31}, {"colour": "BLUE"}, {"colour": 1}, {"aInt64": 2**53}, {"x": 1}):
        with pytest.raises(InvalidParameters):
            validate_parameters(action, wrong)


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("aInt32", {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}),
        ("aFixed32", {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}),
        (
            "aSint64",
            {
                "anyOf": [
                    {"type": "string", "pattern": "^-?[0-9]{1,19}$", "maxLength": 20},
                    {"type": "integer", "minimum": 1 - 2**53, "maximum": 2**53 - 1},
                ]
            },
        ),
        ("aFloat", {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}),
        ("aBool", {"type": "boolean"}),
        ("aString", {"type": "string"}),
        ("aBytes", {"type": "string", "contentEncoding": "base64"}),
        ("colour", {"type": "string", "enum": ["COLOUR_UNSPECIFIED", "RED", "GREEN"]}),
        ("numbers", {"type": "array", "items": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}}),
        ("inner", {"$ref": "#"}),
        ("nothing", {"type": "null"}),
        ("byNumber", {
            "type": "object",
            "additionalProperties": {"$ref": "#"},
            "propertyNames": {"pattern": "^-?[0-9]{1,20}$", "maxLength": 20},
        }),
        ("byTruth", {
            "type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {"enum": ["true", "false"]},
        }),
        ("at", {"type": "string", "format": "date-time", "description": "Like 2026-01-31T12:00:00Z."}),
        ("struct", {"type": "object"}),
        ("value", {"description": "Any JSON."}),
        ("list", {"type": "array"}),
        ("empty", {"type": "object", "additionalProperties": False}),
        ("wBool", {"type": "boolean"}),
        ("otherName", {"type": "string"}),
        ("nested", {"$ref": "#/$defs/shop.v1.Everything.Nested"}),
    ],
)  # fmt: skip
def test_a_field_has_the_schema_of_its_json_form(name: str, schema: object) -> None:
    assert PROPERTIES[name] == schema


def test_comments_are_descriptions(tmp_path: Path) -> None:
    definitions: Any = EVERYTHING["$defs"]
    assert definitions["shop.v1.Everything.Nested"]["properties"]["leaf"]["description"] == "Deep in it."
    assert schema_of(shop(), "shop.v1.GetOrderRequest")["properties"]["orderId"]["description"] == "Its number."
    long = "// " + "a\x07b " * 400
    told = from_file(str(written(tmp_path, f'syntax = "proto3"; message M {{\n{long}\nstring s = 1; }}'))).comments
    assert len(told["M.s"]) == 500 and told["M.s"].endswith("…") and told["M.s"].isprintable()


def test_at_most_one_field_of_a_oneof_is_taken() -> None:
    check = Draft202012Validator(EVERYTHING)
    choice: dict[str, object] = {"text": "a", "number": 1, "inner": {}, "nothing": None}
    for name, value in choice.items():
        assert check.is_valid({name: value, "aInt32": 1})
        for other in choice:
            assert check.is_valid({name: value, other: choice[other]}) is (name == other)
    assert check.is_valid({"maybe": 1, "text": ""}), "an optional field is no choice"


def test_required_fields_and_groups_of_proto2_are_what_they_are_and_extensions_are_not_taken(tmp_path: Path) -> None:
    text = """syntax = "proto2"; package old;
        message M {
          required int32 id = 1;
          optional group Inner = 2 { optional string leaf = 3; }
          extensions 100 to 200;
        }
        extend M { optional string more = 100; }"""
    descriptors = from_file(str(written(tmp_path, text)))
    schema = schema_of(descriptors, "old.M")
    assert schema["required"] == ["id"] and "inner" in schema["properties"]
    from google.protobuf.message_factory import GetMessageClass

    kind: Any = GetMessageClass(descriptors.pool.FindMessageTypeByName("old.M"))
    codec = Codec(descriptors.pool, LimitSettings())
    read = codec.answer(kind, "the-token").read(codec.encoded(kind, {"id": 1, "inner": {"leaf": "x"}}))
    assert read == {"id": 1, "inner": {"leaf": "x"}}
    for wrong in ({}, {"id": 1, "[old.more]": "x"}):
        with pytest.raises(InvalidParameters):
            codec.encoded(kind, wrong)
        assert not Draft202012Validator(schema).is_valid(wrong)


def test_editions_are_read_as_their_features_say(tmp_path: Path) -> None:
    text = """edition = "2023"; package new;
        message M {
          string implicit = 1 [features.field_presence = IMPLICIT];
          string required = 2 [features.field_presence = LEGACY_REQUIRED];
          M inner = 3 [features.message_encoding = DELIMITED];
        }"""
    schema = schema_of(from_file(str(written(tmp_path, text))), "new.M")
    assert schema["required"] == ["required"] and schema["properties"]["inner"] == {"$ref": "#"}


def test_messages_that_contain_each_other_are_written_once(tmp_path: Path) -> None:
    text = 'syntax = "proto3"; message A { B b = 1; repeated B bs = 2; }'
    text += " message B { A a = 1; B b = 2; C c = 3; } message C {}"
    schema = schema_of(from_file(str(written(tmp_path, text))), "A")
    assert set(schema["$defs"]) == {"B", "C"}
    check = Draft202012Validator(schema)
    assert check.is_valid({"b": {"a": {"bs": [{"b": {}}]}, "c": {}}})
    assert not check.is_valid({"b": {"a": {"bs": [{"x": {}}]}}}) and not check.is_valid({"b": {"c": {"x": 1}}})


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("shop.v1.Admin/Anything", "Any"),
        ("shop.v1.Admin/Wrapped", "Any"),
        ("shop.v1.Orders/Upload", "stream"),
        ("shop.v1.Orders/Chat", "stream"),
        ("shop.v1.Orders/Nothing", "no such method"),
        ("shop.v1.Nobody/GetOrder", "no such method"),
    ],
)
def test_what_cannot_be_called_says_why(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        signature(name, shop())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("google.protobuf.Timestamp", "no object of named fields"),
        ("google.protobuf.Struct", "no object of named fields"),
    ],
)
def test_parameters_that_are_no_object_with_names_are_refused(tmp_path: Path, body: str, why: str) -> None:
    text = f"""syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/struct.proto";
        service S {{ rpc Do({body}) returns (google.protobuf.Struct); }}"""
    with pytest.raises(ValueError, match=why):
        signature("S/Do", from_file(str(written(tmp_path, text))))


def test_a_message_that_is_too_much_for_a_model_is_refused(tmp_path: Path) -> None:
    many = "".join(f"message M{n} {{ M{n + 1} a = 1; string b = 2; string c = 3; }}" for n in range(1_700))
    text = f'syntax = "proto3"; {many} message M1700 {{}}'
    with pytest.raises(ValueError, match="more than 5000 parts"):
        schema_of(from_file(str(written(tmp_path, text))), "M0")
    fields = "".join(f"string f{n} = {n + 1};" for n in range(65))
    text = f'syntax = "proto3"; message M {{ oneof one {{ {fields} }} }}'
    with pytest.raises(ValueError, match="more than 64 fields"):
        schema_of(from_file(str(written(tmp_path, text, "b.proto"))), "M")


def test_a_message_set_is_refused() -> None:
    file = FileDescriptorProto(name="a.proto", syntax="proto2")
    whole = file.message_type.add(name="M")
    whole.options.message_set_wire_format = True
    whole.extension_range.add(start=4, end=100)
    other = file.message_type.add(name="N")
    other.field.add(
        name="m",
        number=1,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
        type_name=".M",
    )
    with pytest.raises(ValueError, match="MessageSet"):
        schema_of(made([file]), "N")


def test_a_file_that_is_none_stops_the_start_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "no.pb").write_bytes(b"\xff\xff\xff")
    for path, why in ((tmp_path / "missing.pb", "cannot be read"), (tmp_path / "no.pb", "no FileDescriptorSet")):
        with pytest.raises(ConfigurationError, match=why):
            from_file(str(path))
    with (tmp_path / "large.pb").open("wb") as large:
        large.truncate(17 * 1024 * 1024)
    with pytest.raises(ConfigurationError, match="larger than"):
        from_file(str(tmp_path / "large.pb"))


def files() -> list[FileDescriptorProto]:
    return list(FileDescriptorSet.FromString(shop_file().read_bytes()).file)


def without(name: str) -> list[FileDescriptorProto]:
    return [file for file in files() if file.name != name]


def claiming() -> list[FileDescriptorProto]:
    return [*files(), FileDescriptorProto(name="mine.proto", package="google.protobuf")]


def again() -> list[FileDescriptorProto]:
    return [*files(), *without("types.proto")[-1:]]


def renamed() -> list[FileDescriptorProto]:
    made = FileDescriptorProto()
    made.CopyFrom(files()[-1])
    made.name = "other.proto"
    return [*files(), made]


def circle() -> list[FileDescriptorProto]:
    return [FileDescriptorProto(name=a, dependency=[b]) for a, b in (("a", "b"), ("b", "a"))]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (without("types.proto"), "include_imports"),
        (again(), "there twice"),
        (renamed(), "a name is there twice"),
        (claiming(), "claims the package"),
        (circle(), "does not fit"),
    ],
    ids=["without an import", "a file twice", "a message twice", "a package of google's", "in a circle"],
)
def test_descriptors_that_do_not_fit_together_are_refused(tmp_path: Path, files: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        made(files)
    (tmp_path / "a.pb").write_bytes(FileDescriptorSet(file=files).SerializeToString())
    with pytest.raises(ConfigurationError, match=why):
        from_file(str(tmp_path / "a.pb"))


def test_the_well_known_types_are_the_librarys_whatever_a_file_says_they_are() -> None:
    lie = FileDescriptorProto(name="google/protobuf/empty.proto", package="google.protobuf")
    lie.message_type.add(name="Empty").field.add(
        name="token", number=1, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    descriptors = made([lie, *without(lie.name)])
    assert list(descriptors.pool.FindMessageTypeByName("google.protobuf.Empty").fields) == []


def test_files_may_come_in_any_order_and_without_what_the_library_brings() -> None:
    own = [file for file in files() if not file.name.startswith("google/")]
    assert made(reversed(own)).methods() == shop().methods()


def test_what_a_method_does_there_is_what_its_descriptor_or_the_operator_says() -> None:
    settings = GrpcSettings(targets=["a:1"], allow=["*"], permission="p")
    wanted = {
        "GetOrder": ("get-order", Effect.READ, True, "Get one of your orders."),
        "PutOrder": ("put-order", Effect.WRITE, True, "Replace an order."),
        "PlaceOrder": ("place-order", Effect.DESTRUCTIVE, False, "Order something."),
        "WhoAmI": ("who-am-i", Effect.DESTRUCTIVE, False, "Who am i (shop.v1.Orders/WhoAmI)."),
    }
    for name, told in wanted.items():
        made = method(f"shop.v1.Orders/{name}", settings, shop())
        assert (made.action.name, made.action.effect, made.idempotent, made.action.description) == told
    own = MethodSettings(
        tool="me", description="Who I am.", permission="q", scopes=["s"], effect=Effect.READ, idempotent=True,
        seconds=1.5, items=2,
    )  # fmt: skip
    name = "shop.v1.Orders/WhoAmI"
    made = method(name, GrpcSettings(targets=["a:1"], allow=["*"], methods={name: own}), shop())
    action = made.action
    assert (action.name, action.description, action.permission) == ("me", "Who I am.", "q")
    assert (action.scopes, action.effect) == (frozenset({"s"}), Effect.READ)
    assert (made.idempotent, made.seconds, made.items) == (True, 1.5, 2)
