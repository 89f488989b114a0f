"""Operations on file: each a tool with the schema of its variables, or an error that stops the start."""

from pathlib import Path

import pytest
from graphql import build_schema, parse
from graphql_gateway import OPERATIONS, on_file
from graphql_schema import SCHEMA, SDL

from actas.core import ConfigurationError, Effect, JsonSchema
from actas.delegation.graphql.module import GraphqlDelegation
from actas.delegation.graphql.parameters import json_schema
from actas.delegation.graphql.schemas import from_file, from_introspection, root_fields
from actas.delegation.graphql.settings import GraphqlSettings, LimitSettings, PermissionSettings

URL = "https://shop.example/graphql"


def module(folder: Path, operations: dict[str, str] | None = None, **fields: object) -> GraphqlDelegation:
    files = on_file(folder, OPERATIONS if operations is None else operations)
    return GraphqlDelegation(GraphqlSettings(url=URL, **files, **fields))  # type: ignore[arg-type] # test's own fields


def test_an_operation_is_a_tool_with_the_schema_of_its_variables(tmp_path: Path) -> None:
    made = {action.name: action for action in module(tmp_path).actions}
    assert set(made) == {"my-orders", "place-order", "wait", "health"}
    orders, place = made["my-orders"], made["place-order"]
    assert (orders.permission, orders.effect) == ("graphql:read", Effect.READ)
    assert (place.permission, place.effect, place.description) == (
        "graphql:write", Effect.DESTRUCTIVE, "Order one thing.",
    )  # fmt: skip
    assert isinstance(place.parameters, JsonSchema) and isinstance(orders.parameters, JsonSchema)
    assert place.parameters.document == {
        "type": "object",
        "properties": {"item": {"description": "What it is.", "type": "string"}},
        "required": ["item"],
        "additionalProperties": False,
    }
    properties = orders.parameters.document["properties"]
    assert properties["first"]["default"] == 5
    assert orders.parameters.document["$defs"]["Filter"]["properties"]["anyOf"] == {
        "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Filter"}}, {"type": "null"}]
    }


def test_variables_that_take_a_book_to_describe_are_no_tool(tmp_path: Path) -> None:
    wheels = " ".join(f"input I{n} {{ next: I{n + 1} text: String }}" for n in range(1_000))
    sdl = f"type Query {{ find(by: I0): Int }} {wheels} input I1000 {{ x: Int }}"
    files = on_file(tmp_path, {"a": "query Find($by: I0) { find(by: $by) }"}, sdl)
    with pytest.raises(ConfigurationError, match=r"a\.graphql: its variables take more than"):
        GraphqlDelegation(GraphqlSettings(url=URL, schema_file=files["schema_file"], operations=files["operations"]))


def test_of_very_many_fields_at_the_top_the_first_are_told() -> None:
    fields = " ".join(f"f{n}: Int" for n in range(501))
    told = root_fields(build_schema(f"type Query {{ {fields} }} type Mutation {{ x: Int }}"))
    assert told["truncated"] is True and told["mutation"] == {"x": "Int"}
    assert isinstance(told["query"], dict) and len(told["query"]) == 500
    assert root_fields(build_schema("type Query { x: Int }")) == {"query": {"x": "Int"}}


def test_who_may_see_which_is_the_operators_choice(tmp_path: Path) -> None:
    chosen = module(tmp_path, permissions=PermissionSettings(read="shop:look", write="shop:buy"), free_documents=True)
    permissions = {action.name: action.permission for action in chosen.actions}
    assert permissions == {
        "query": "shop:look", "mutate": "shop:buy", "schema": "shop:look", "my-orders": "shop:look",
        "place-order": "shop:buy", "wait": "shop:look", "health": "shop:look",
    }  # fmt: skip
    assert next(action for action in chosen.actions if action.name == "query").tool == "delegate"


@pytest.mark.parametrize(
    ("operations", "told"),
    [
        ({}, "1 to 200 files"),
        ({"a": "{ me { name } }"}, "has no name"),
        ({"a": "query _1 { me { name } }"}, "must begin with a letter"),
        ({"a": "query A { password }"}, "a.graphql: The document does not fit the schema"),
        ({"a": "subscription A { ticks }"}, "subscriptions are not possible"),
        ({"a": "query A { me { name } } mutation B { fail }"}, "2 operations"),
        ({"a": "query A { __schema { types { name } } }"}, "cannot be asked for"),
        ({"a": "query A { me { name } }", "b": "query a { me { name } }"}, "b.graphql: another file"),
        ({"a": "query Delegate { me { name } }"}, "delegate is taken"),
        ({"a": "mutation mutate { fail }", "b": "query Health { me { name } }"}, "health, mutate is taken"),
        ({"a": "query A { me { name } } #" + "x" * 20_000}, "longer than 16384 bytes"),
        ({f"f{n}": f"query F{n} {{ me {{ name }} }}" for n in range(201)}, "there are 201"),
    ],
)
def test_what_is_no_tool_stops_the_start_with_its_file(tmp_path: Path, operations: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told.replace("[", r"\[")):
        module(tmp_path, operations)


def test_a_file_that_is_no_text_and_a_folder_that_is_not_there_are_told(tmp_path: Path) -> None:
    files = on_file(tmp_path)
    (tmp_path / "operations" / "x.graphql").write_bytes(b"query A { me { name } } #\xff")
    with pytest.raises(ConfigurationError, match=r"x\.graphql"):
        GraphqlDelegation(GraphqlSettings(url=URL, schema_file=files["schema_file"], operations=files["operations"]))
    with pytest.raises(ConfigurationError, match="FileNotFoundError"):
        GraphqlDelegation(
            GraphqlSettings(url=URL, schema_file=files["schema_file"], operations=str(tmp_path / "nowhere"))
        )


def test_without_free_documents_the_operations_on_file_are_all_there_is(tmp_path: Path) -> None:
    assert not {"query", "mutate", "schema"} & {action.name for action in module(tmp_path).actions}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "there would be no tools"),
        ({"operations": "x"}, "schema_file: missing"),
        ({"free_documents": True, "url": "http://shop.example/graphql"}, "https is needed"),
        ({"free_documents": True, "url": "ftp://shop.example/graphql"}, "must begin with https"),
        ({"free_documents": True, "url": "https://alice:secret@shop.example/graphql"}, "no place for credentials"),
        ({"free_documents": True, "url": "https://shop.example/graphql#x"}, "no place for"),
        ({"free_documents": True, "url": "https://shop.example/gr\naphql"}, "plain ASCII"),
        ({"free_documents": True, "url": "https://shöp.example/"}, "in ASCII"),
        ({"free_documents": True, "url": "https://"}, "name a host"),
        ({"free_documents": True, "url": "https://[::1/"}, "its host or port is none"),
        ({"free_documents": True, "url": "https://shop.example:99999/"}, "its host or port is none"),
        ({"free_documents": True, "url": "shop"}, "must begin with https"),
        ({"free_documents": True, "networks": ["10.0.0.1/8"]}, "networks"),
        ({"free_documents": True, "limits": LimitSettings(depth=0)}, r"limits\.depth"),
        ({"free_documents": True, "limits": LimitSettings(seconds=float("nan"))}, r"limits\.seconds"),
        ({"free_documents": True, "permissions": PermissionSettings(write="graphql:read")}, "one of their own"),
        ({"free_documents": True, "permissions": PermissionSettings(read="")}, "one of their own"),
        ({"free_documents": True, "size_arguments": ["a b"]}, "no GraphQL name"),
        ({"free_documents": True, "schema_file": "/nowhere.graphql"}, "cannot be read"),
        ({"free_documents": True, "ca_file": "/nowhere.pem"}, "CA file"),
    ],
)
def test_settings_that_make_no_sense_stop_the_start(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        GraphqlDelegation(GraphqlSettings(**{"url": URL, **fields}))  # type: ignore[arg-type] # test's own fields
    assert "secret" not in str(caught.value)


def test_a_schema_is_read_from_sdl_and_from_an_introspection_answer(tmp_path: Path) -> None:
    import json

    answer = SCHEMA.introspect()
    for content in (answer, {"data": answer}):
        (tmp_path / "shop.json").write_text(json.dumps(content))
        read = from_file(str(tmp_path / "shop.json"))
        assert read.mutation_type is not None and "addOrder" in read.mutation_type.fields


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.graphql", b"type Query {"),
        ("a.graphql", b"type User { x: Int }"),
        ("a.graphql", b"{ me }"),
        ("a.graphql", b"\xff"),
        ("a.graphql", b"type Query { x: Nothing }"),
        ("a.graphql", b"type Query { x" + b"(a: Int) { " * 5_000),
        ("a.graphql", b"type Query { x: " + b"[" * 5_000),
        ("a.json", b"{}"),
        ("a.json", b"[]"),
        ("a.json", b"not json"),
        ("a.json", b'{"data": {"__schema": []}}'),
        ("a.json", b'{"__schema": {}}'),
        ("a.json", b'{"__schema": {"types": [1], "queryType": {"name": "Q"}}}'),
        ("a.json", b'{"__schema": {"types": [{"kind": "OBJECT", "name": "Q"}], "queryType": {"name": "Q"}}}'),
        ("a.json", b"[" * 100_000),
        ("a.json", b" " * (16 * 1024 * 1024 + 1)),
    ],
)
def test_what_is_no_schema_is_told_without_a_crash(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match="schema_file"):
        from_file(str(tmp_path / name))


def test_a_schema_of_somebody_hostile_is_an_error_or_a_schema() -> None:
    import json

    whole = json.dumps(SCHEMA.introspect())
    for cut in range(0, len(whole), max(1, len(whole) // 60)):
        for hostile in (whole[:cut], whole[:cut] + "null" + whole[cut + 4 :], whole.replace('"kind"', '"kin"', 1)):
            try:
                from_introspection(hostile.encode())
            except ValueError as error:
                assert len(str(error)) < 200


def test_every_kind_of_input_has_a_json_schema() -> None:
    schema = build_schema("""
        scalar Money
        enum Size { S L }
        input Either @oneOf { a: Int b: String }
        "A box." input Box { id: ID! size: Size = S inside: Box boxes: [Box!]
                               price: Money when: Float on: Boolean! = true }
        type Query { x("What to take." box: Box, either: Either, many: [[Int!]!]!): Int }
    """)
    operation = parse(
        "query X($box: Box, $either: Either, $many: [[Int!]!]!) { x(box: $box, either: $either, many: $many) }"
    )
    made = json_schema(schema, operation.definitions[0])  # type: ignore[arg-type] # the one definition is an operation
    definitions = made["$defs"]
    assert made["required"] == ["many"] and isinstance(definitions, dict)
    box = definitions["Box"]
    assert box["description"] == "A box." and box["required"] == ["id"] and box["additionalProperties"] is False
    assert box["properties"]["size"] == {"anyOf": [{"type": "string", "enum": ["S", "L"]}, {"type": "null"}]}
    assert box["properties"]["price"] == {"anyOf": [{}, {"type": "null"}]}
    assert (definitions["Either"]["minProperties"], definitions["Either"]["maxProperties"]) == (1, 1)
    assert made["properties"]["box"]["description"] == "What to take."  # type: ignore[index] # a JSON object
    assert SDL
