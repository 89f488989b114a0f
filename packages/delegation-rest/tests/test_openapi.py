"""From a document to tools: what is taken, how it is called, who may, and what is told where it cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_gateway import gateway_to
from rest_service import Service

from actas.core import Action, ConfigurationError, Effect, InvalidParameters, JsonSchema
from actas.delegation.rest.declared import operations
from actas.delegation.rest.openapi import name_of
from actas.delegation.rest.settings import ChangeSettings, OpenApiSettings, RestSettings
from actas.mcp.schema import check_declaration, validate_parameters

NOT_EXCLUSIVE = {"maximum": 9, "exclusiveMaximum": False}
CRM: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "CRM", "version": "1"},
    "servers": [{"url": "https://evil.example"}],
    "paths": {
        "/customers": {
            "get": {
                "operationId": "listCustomers",
                "summary": "All customers",
                "tags": ["customers"],
                "parameters": [
                    {"$ref": "#/components/parameters/limit"},
                    {"name": "filter[name]", "in": "query", "schema": {"type": "string"}},
                    {"name": "ids", "in": "query", "explode": False, "schema": {"type": "array"}},
                    {"name": "where", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"name": "raw", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}},
                    {"name": "Authorization", "in": "header", "required": True},
                    {"name": "X-User", "in": "header", "required": True},
                    {"name": "Accept-Language", "in": "header", "schema": {"type": "string"}},
                    {"name": "X-Other", "in": "header"},
                    {"name": "session", "in": "cookie"},
                ],
            },
            "post": {
                "operationId": "addCustomer",
                "summary": "Add a customer",
                "tags": ["customers", "writing"],
                "requestBody": {
                    "required": True,
                    "content": {
                        "text/xml": {},
                        "application/json": {"schema": {"$ref": "#/components/schemas/Customer"}},
                    },
                },
            },
        },
        "/customers/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "get": {"operationId": "getCustomerById", "description": "One customer,\n with\x07 all of it."},
            "patch": {
                "operationId": "patchCustomer",
                "requestBody": {"content": {"application/merge-patch+json; x=y": {}}},
            },
            "delete": {"summary": "Delete"},
        },
        "/health": {"get": {"operationId": "health"}},
    },
    "components": {
        "parameters": {
            "limit": {
                "name": "limit",
                "in": "query",
                "description": "How many.",
                "schema": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, **NOT_EXCLUSIVE, "example": 5},
            }
        },
        "schemas": {
            "Customer": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {
                    "id": {"$ref": "#/components/schemas/Id"},
                    "name": {"type": "string", "nullable": True, "xml": {"name": "n"}},
                    "kind": {"type": "string", "enum": ["a"], "nullable": True},
                    "parent": {"$ref": "#/components/schemas/Customer"},
                    "friend": {"nullable": True, "allOf": [{"$ref": "#/components/schemas/Customer"}]},
                },
                "additionalProperties": False,
            },
            "Id": {"type": "integer", "readOnly": True},
        },
    },
}


Write = Callable[[Any], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(document: Any) -> str:
        file = tmp_path / "api.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(file)

    return write


def settings(
    document: str, *, permission: str | None = "crm:use", more: dict[str, Any] | None = None, **fields: Any
) -> RestSettings:
    given: dict[str, Any] = {
        "caller_headers": ["Accept-Language"],
        "identity_headers": {"X-User": "username"},
        **(more or {}),
    }
    return RestSettings(
        base_url="https://crm.example",
        permission=permission,
        openapi=OpenApiSettings(document=document, **fields),
        **given,
    )


def actions(document: str, **fields: Any) -> dict[str, Action]:
    return {each.action.name: each.action for each in operations(settings(document, **fields))}


def problems(document: str, **fields: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        operations(settings(document, **fields))
    return list(caught.value.problems)


def document_of(action: Action) -> dict[str, Any]:
    assert isinstance(action.parameters, JsonSchema)
    check_declaration(action.parameters)
    return dict(action.parameters.document)


def test_operations_become_actions_with_names_effects_and_descriptions(write: Write) -> None:
    made = actions(write(CRM))
    assert {name: action.effect for name, action in made.items()} == {
        "list-customers": Effect.READ,
        "add-customer": Effect.WRITE,
        "get-customer-by-id": Effect.READ,
        "patch-customer": Effect.DESTRUCTIVE,
        "delete-customers-by-id": Effect.DESTRUCTIVE,
        "get-health": Effect.READ,
        "health": Effect.READ,
    }
    assert made["list-customers"].description == "All customers."
    assert made["get-customer-by-id"].description == "One customer, with all of it."
    assert made["delete-customers-by-id"].description == "Delete (DELETE /customers/{id})"
    assert made["patch-customer"].description == "(PATCH /customers/{id})"
    assert {action.permission for action in made.values()} == {"crm:use"}


def test_parameters_are_those_of_path_query_allowed_headers_and_body(write: Write) -> None:
    made = actions(write(CRM))
    listed = document_of(made["list-customers"])
    assert list(listed["properties"]) == ["limit", "filter_name_", "ids", "where", "raw", "Accept-Language"]
    assert listed["properties"]["limit"] == {
        "type": "integer",
        "exclusiveMinimum": 0,
        "maximum": 9,
        "description": "How many.",
    }
    assert listed["additionalProperties"] is False and listed["required"] == []
    assert document_of(made["get-customer-by-id"])["required"] == ["id"]
    assert document_of(made["patch-customer"])["required"] == ["id"]


def test_a_body_is_a_schema_with_its_references_inside(write: Write) -> None:
    add = actions(write(CRM))["add-customer"]
    document = document_of(add)
    assert document["properties"] == {"body": {"$ref": "#/$defs/Customer"}} and document["required"] == ["body"]
    customer = document["$defs"]["Customer"]
    assert customer["required"] == ["name"] and "id" not in customer["properties"]
    assert customer["properties"]["name"] == {"type": ["string", "null"]}
    assert customer["properties"]["kind"] == {"type": ["string", "null"], "enum": ["a", None]}
    assert customer["properties"]["friend"]["anyOf"][1] == {"type": "null"}
    validate_parameters(add, {"body": {"name": None, "parent": {"name": "x"}}})
    for wrong in ({"body": {"name": "x", "id": 7}}, {"body": {}}, {}, {"body": {"name": "x"}, "token": "y"}):
        with pytest.raises(InvalidParameters):
            validate_parameters(add, wrong)


def test_a_schema_of_3_1_is_json_schema_already(write: Write) -> None:
    document = {
        "openapi": "3.1.0",
        "paths": {
            "/x": {
                "put": {
                    "summary": "Put x",
                    "requestBody": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "$id": "https://evil.example/s",
                                    "$ref": "#/components/schemas/a~1b",
                                    "type": ["object", "null"],
                                    "properties": {"anything": True},
                                    "patternProperties": {"(a+)+$": {}},
                                    "additionalProperties": False,
                                }
                            }
                        }
                    },
                }
            }
        },
        "components": {"schemas": {"a/b": {"description": "Inner\nthing", "minProperties": 1}, "b": {}}},
    }
    made = document_of(actions(write(document))["put-x"])
    assert made["properties"]["body"] == {
        "$ref": "#/$defs/a_1b" if "a_1b" in made["$defs"] else "#/$defs/a_b",
        "type": ["object", "null"],
        "properties": {"anything": True},
    }


def test_include_and_exclude_choose_by_name_id_request_and_tag(write: Write) -> None:
    def taken(**fields: Any) -> set[str]:
        return set(actions(write(CRM), **fields)) - {"health"}

    assert taken(include=["list-*"]) == {"list-customers"}
    assert taken(include=["getCustomerById"]) == {"get-customer-by-id"}
    assert taken(include=["GET /customers*"]) == {"list-customers", "get-customer-by-id"}
    assert taken(include=["tag:customers"], exclude=["POST *"]) == {"list-customers"}
    assert [line.partition(":")[0] for line in problems(write(CRM), include=["lst-*"], exclude=["DELTE *"])] == [
        "openapi.include",
        "openapi.exclude",
    ]


def test_nothing_is_open_by_itself(write: Write) -> None:
    lines = problems(write(CRM), permission=None)
    assert sum("no permission" in line for line in lines) == 6 and any(line.startswith("health") for line in lines)
    lines = problems(write(CRM), tags={"customers": "a", "writing": "b"})
    assert len(lines) == 1 and "different permissions" in lines[0]


def test_permissions_come_by_operation_by_tag_or_from_the_module(write: Write) -> None:
    changes = {
        "addCustomer": ChangeSettings(
            permission="crm:add", scopes=["crm.write"], effect=Effect.READ, description="Add one."
        ),
    }
    made = actions(write(CRM), tags={"customers": "crm:list", "writing": "crm:write"}, operations=changes)
    assert made["list-customers"].permission == "crm:list" and made["get-health"].permission == "crm:use"
    add = made["add-customer"]
    assert (add.permission, add.scopes, add.effect, add.description) == (
        "crm:add",
        {"crm.write"},
        Effect.READ,
        "Add one.",
    )
    lines = problems(write(CRM), tags={"nobody": "x"}, operations={"nothing": ChangeSettings()})
    assert [line.partition(":")[0] for line in lines] == ["openapi.operations.nothing", "openapi.tags.nobody"]


def one(operation: dict[str, Any], path: str = "/x/{id}", **more: Any) -> dict[str, Any]:
    named = {"operationId": "theOne", "summary": "The one", **operation}
    return {"openapi": "3.0.0", "paths": {path: {"get": named}}, **more}


def body_type(kind: str) -> dict[str, Any]:
    post = {"operationId": "theOne", "summary": "The one", "requestBody": {"content": {kind: {}}}}
    return {"openapi": "3.0.0", "paths": {"/x": {"post": post}}}


ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (one({"parameters": []}), "is not described"),
        (one({"parameters": [ID, {**ID, "style": "matrix"}]}), "style"),
        (one({"parameters": [ID, {"name": "a", "in": "query", "style": "odd"}]}), "style"),
        (one({"parameters": [ID, {"name": "a", "in": "query", "content": {"text/xml": {}}}]}), "content type"),
        (one({"parameters": [ID, {"name": "access_token", "in": "query"}]}), "would change who calls"),
        (one({"parameters": [ID, {"name": "X-Other", "in": "header", "required": True}]}), "caller_headers"),
        (one({"parameters": [ID, {"name": "c", "in": "cookie", "required": True}]}), "cookie"),
        (one({"parameters": [ID, {"in": "query"}]}), "no name"),
        (one({"parameters": [ID, {"$ref": "#/components/parameters/none"}]}), "not in the document"),
        (one({"parameters": [ID, {"$ref": "other.json#/a"}]}), "outside"),
        (one({"parameters": [ID, {"$ref": "#/loop"}]}, loop={"$ref": "#/loop"}), "circle"),
        (one({"parameters": [ID, "x"]}), "object is missing"),
        (one({"parameters": [ID, {"name": "a", "in": "query", "schema": 7}]}), "schema is no object"),
        (one({"parameters": [ID, {"name": "a", "in": "query", "schema": {"$ref": "http://x/y"}}]}), "outside"),
        (one({"parameters": [ID, *({"name": each, "in": "query"} for each in ("a[", "a]", "a!"))]}), "two parameters"),
        (one({"parameters": [ID], "requestBody": {"content": {"multipart/form-data": {}}}}), "no JSON"),
        (one({"parameters": [ID], "requestBody": {"content": {"application/json": {}}}}), "GET with a body"),
        (body_type("application/x\r\nX-User: bob+json"), "no JSON"),
        (one({"parameters": [ID]}, path="/../{id}"), "path"),
        (one({"parameters": [ID]}, path="//evil.example/{id}"), "path"),
        (one({"parameters": [ID, {"name": "a", "in": "query", "schema": {"allOf": [{}] * 6000}}]}), "parts"),
        ({"swagger": "2.0"}, "no OpenAPI document"),
        ({"openapi": "4.0.0"}, "no OpenAPI document"),
        ([], "no OpenAPI document"),
        ("openapi: 3.0.0", "YAML"),
        ({"openapi": "3.0.0", "paths": {"/x": 7}}, "object is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_carried_is_told_and_not_left_out(write: Write, document: Any, told: str) -> None:
    (line,) = problems(write(document))
    assert told in line and line.startswith("openapi")


def test_a_body_that_is_empty_is_none(write: Write) -> None:
    made = actions(write(one({"parameters": [ID], "requestBody": {"content": {}}})))
    assert list(document_of(made["the-one"])["properties"]) == ["id"]


def test_names_that_come_twice_too_many_operations_and_a_missing_file_are_told(write: Write, tmp_path: Path) -> None:
    twice = {"get": {"operationId": "a", "summary": "An a"}, "put": {"operationId": "A", "summary": "An a"}}
    (line,) = problems(write({"openapi": "3.0.0", "paths": {"/a": twice}}))
    assert line.startswith("openapi: a would be the name of GET /a, PUT /a;")
    many = {f"/a{number}": {"get": {}} for number in range(501)}
    assert "too many" in problems(write({"openapi": "3.0.0", "paths": many}))[0]
    assert "cannot be read" in problems(str(tmp_path / "none.json"))[0]
    assert "larger" in problems(write(" " * 10_000_001))[0]


@pytest.mark.parametrize(
    ("identifier", "method", "path", "name"),
    [
        ("getHTTPStatus2", "get", "/x", "get-http-status-2"),
        ("", "get", "/a/{customerId}/b", "get-a-by-customer-id-b"),
        ("delegate", "post", "/x", "post-delegate"),
        ("42", "get", "/x", "get-42"),
        ("日本", "put", "/x", "put"),
        ("a" * 100, "get", "/x", "a" * 63),
    ],
)
def test_names_are_made_as_tools_have_them(identifier: str, method: str, path: str, name: str) -> None:
    assert name_of(identifier, method, path) == name


@pytest.mark.anyio
async def test_the_operations_are_carried_out_as_the_user(write: Write, service: Service) -> None:
    fields = {"openapi": OpenApiSettings(document=write(CRM)), "operations": {}}
    more: dict[str, Any] = {"caller_headers": ["Accept-Language"], "identity_headers": {"X-User": "username"}}
    async with gateway_to(service, **fields, **more) as opened:
        query = {"limit": 5, "filter_name_": "a b", "ids": [1, 2], "where": {"a": "b"}, "raw": {"x": 1}}
        answer = await opened.call("list-customers", **query, **{"Accept-Language": "de"})
        assert answer["body"]["target"] == (
            "/v1/customers?limit=5&filter%5Bname%5D=a%20b&ids=1%2C2&where%5Ba%5D=b&raw=%7B%22x%22%3A1%7D"
        )
        assert (await opened.call("get-customer-by-id", id=7))["body"]["target"] == "/v1/customers/7"
        await opened.call("patch-customer", id=7, body={"name": "x"})
        await opened.call("patch-customer", id=7)
        with pytest.raises(InvalidParameters):
            await opened.call("list-customers", **{"X-User": "bob"})
    first, *_, patched, empty = service.seen
    assert (first.header("accept-language"), first.header("x-user"), first.subject) == ("de", "alice", "alice")
    assert patched.header("content-type") == "application/merge-patch+json" and empty.header("content-type") is None


def body_of(schema: Any, **schemas: Any) -> dict[str, Any]:
    post = {"operationId": "theOne", "summary": "The one", "requestBody": {"content": {JSON: {"schema": schema}}}}
    return {"openapi": "3.1.0", "paths": {"/x": {"post": post}}, "components": {"schemas": schemas}}


JSON = "application/json"


def referring(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize(
    "document",
    [
        body_of(referring("a"), a=referring("b"), b=referring("a")),
        body_of(referring("a"), a=referring("a")),
        body_of(referring("a"), a={"anyOf": [{"type": "string"}, {"not": referring("a")}]}),
        body_of(referring("a0"), a40={}, **{f"a{n}": {"allOf": [referring(f"a{n + 1}")] * 2} for n in range(40)}),
    ],
    ids=["circle", "itself", "within", "multiplying"],
)
def test_references_in_circles_or_without_end_refuse_the_parameters_and_stop_nobody(
    write: Write, document: Any
) -> None:
    action = actions(write(document))["the-one"]
    check_declaration(action.parameters)
    with pytest.raises(InvalidParameters):
        validate_parameters(action, {"body": 1})


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (body_of({"properties": {f"p{n}": {"description": "d" * 400} for n in range(400)}}), "no model should read"),
        (body_of({"enum": ["x" * 1000] * 200}), "no model should read"),
        (body_of({"properties": {"x" * 200_000: {}}}), "no model should read"),
        ({"openapi": "3.0.0", "paths": {"/a": {"$ref": "https://evil.example/a"}}}, "outside"),
        ({"openapi": "3.0.0", "paths": {"https://evil.example/a": {"get": {}}}}, "begins with /"),
        ({"openapi": "3.0.0", "paths": {"/%2e%2e/a": {"get": {}}}}, "may stand in a path"),
        ({"openapi": "3.0.0", "paths": {"/a?b=c": {"get": {}}}}, "may stand in a path"),
        ('{"openapi":"3.0.0","paths":{"/a":{"get":{"summary":"\\ud800"}}}}', "no JSON"),
        ({"openapi": "3.0.0", "x": json.loads("[" * 150 + "]" * 150), "paths": {}}, "nested too deep"),
        ('{"openapi":"3.0.0","openapi":"3.0.0","paths":{}}', "no JSON"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_hostile_document_is_told_and_costs_little(write: Write, document: Any, told: str) -> None:
    assert any(told in line for line in problems(write(document)))


def test_all_parameters_together_have_a_bound(write: Write) -> None:
    large = {"properties": {f"p{n}": {"description": "d" * 400} for n in range(150)}}
    post = body_of(large)["paths"]["/x"]["post"]
    paths = {f"/a{n}": {"post": {**post, "operationId": f"a{n}"}} for n in range(100)}
    assert "choose fewer" in problems(write({"openapi": "3.1.0", "paths": paths}))[0]


def test_servers_security_and_callbacks_of_a_document_change_nothing(write: Write) -> None:
    elsewhere = [{"url": "https://evil.example/{x}", "variables": {"x": {"default": "y"}}}]
    get = {
        "summary": "Get a",
        "servers": elsewhere,
        "security": [{"key": []}],
        "callbacks": {"x": {"https://evil.example": {"post": {}}}},
    }
    document = {
        "openapi": "3.1.0",
        "servers": elsewhere,
        "security": [],
        "webhooks": {"x": {"post": {}}},
        "paths": {"/a": {"servers": elsewhere, "get": get}},
        "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "access_token"}}},
    }
    (operation, _) = operations(settings(write(document)))
    target = operation.request({})
    assert (operation.action.name, target.path, target.query, target.headers) == ("get-a", "/a", "", {})
