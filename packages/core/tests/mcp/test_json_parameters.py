"""Parameters described by a JSON Schema: checked whole, and no value repeated."""

import time
from typing import Any

import pytest

from actas.core import Action, InvalidParameters, JsonSchema
from actas.mcp.schema import check_declaration, json_schema, validate_parameters

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "state": {"enum": ["open", "closed"]},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "code": {"type": "string", "pattern": "^(a+)+$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "price": {"anyOf": [{"type": "number"}, {"type": "null"}]},
    },
    "required": ["id"],
    "additionalProperties": False,
    "$defs": {"line": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}},
}


def action(schema: dict[str, Any]) -> Action:
    return Action(name="order", description="An order.", parameters=JsonSchema(schema))


def problem(parameters: dict[str, object], schema: dict[str, Any] = ORDER) -> str:
    with pytest.raises(InvalidParameters) as caught:
        validate_parameters(action(schema), parameters)
    return caught.value.message


def test_what_fits_is_passed_on_as_it_is() -> None:
    sent: dict[str, object] = {"id": 7, "state": "open", "lines": [{"sku": "x"}], "price": None}
    assert validate_parameters(action(ORDER), sent) == sent


def test_a_model_sees_the_schema_itself() -> None:
    assert json_schema(JsonSchema(ORDER)) == ORDER


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({}, "parameters: id is required"),
        ({"id": "s3cret"}, "id: must be integer"),
        ({"id": 0}, "id: does not fit minimum 1"),
        ({"id": 1, "s3cret": 1}, "parameters: has a key that is not known"),
        ({"id": 1, "state": "s3cret"}, 'state: must be one of ["open","closed"]'),
        ({"id": 1, "tags": ["s3cret", "s3cret"]}, "tags: does not fit uniqueItems true"),
        ({"id": 1, "lines": [{"sku": "a"}, {}]}, "lines[1]: sku is required"),
        ({"id": 1, "price": "s3cret"}, "price: fits none of the forms"),
    ],
)
def test_what_does_not_fit_is_told_by_its_place_and_without_its_value(sent: dict[str, object], told: str) -> None:
    message = problem(sent)
    assert told in message
    assert "s3cret" not in message


def test_a_regular_expression_cannot_be_used_to_keep_us_busy() -> None:
    started = time.process_time()
    validate_parameters(action(ORDER), {"id": 1, "code": "a" * 200 + "!"})
    assert time.process_time() - started < 5


def test_many_problems_are_told_as_a_few() -> None:
    assert "more" in problem({"id": 1, "lines": [{} for _ in range(1000)]})


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "objekt"}, "not valid"),
        ({"type": "string"}, "must say that they are an object"),
        ({}, "must say that they are an object"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/a.json"}}}, "not in it"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/nothing"}}}, "not in it"),
        ({"type": "object", "properties": {"a": {"patternProperties": {"(a+)+$": {}}}}}, "patternProperties"),
    ],
)
def test_a_schema_that_cannot_describe_parameters_is_refused_when_it_is_declared(
    schema: dict[str, Any], why: str
) -> None:
    with pytest.raises(TypeError, match=why):
        check_declaration(JsonSchema(schema))


def test_a_schema_that_refers_to_itself_is_bounded() -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    deep: dict[str, object] = {}
    for _ in range(3000):
        deep = {"child": deep}
    assert "do not fit" in problem(deep, schema)


@pytest.mark.parametrize("forms", ["anyOf", "allOf", "oneOf"])
def test_a_schema_whose_forms_multiply_is_not_looked_at_for_ever(forms: str) -> None:
    def reference(number: int) -> dict[str, Any]:
        return {"$ref": f"#/$defs/f{number}"}

    definitions: dict[str, Any] = {f"f{number}": {forms: [reference(number + 1)] * 2} for number in range(40)}
    schema = {"type": "object", "properties": {"a": reference(0)}, "$defs": {**definitions, "f40": {"type": "object"}}}
    started = time.process_time()
    assert "too long to check" in problem({"a": {}} if forms != "anyOf" else {"a": 1}, schema)
    assert time.process_time() - started < 20


def test_as_many_values_as_are_allowed_can_be_checked() -> None:
    lines = [{"sku": "x"}] * 4900
    assert validate_parameters(action(ORDER), {"id": 1, "lines": lines})


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "nonsense"}, "$.properties.a.type"),
        ({"properties": {"b": {"items": {"minLength": -1}}}}, "$.properties.a.properties.b.items.minLength"),
        ({"$defs": {"c": 7}}, "$.properties.a.$defs.c"),
        ({"properties": []}, "$.properties.a.properties"),
        ({"required": "x"}, "$.properties.a.required"),
        ({"enum": [1, {2}]}, "$.properties.a"),
        ({"type": "nonsense", "title": "x" * 1000}, "$.properties.a.type"),
    ],
)
def test_a_schema_that_is_none_is_told_with_the_place_the_first_time_and_again(part: object, place: str) -> None:
    for _ in range(2):
        with pytest.raises(TypeError) as told:
            check_declaration(JsonSchema({"type": "object", "properties": {"fine": {}, "a": part}}))
        assert str(told.value) == f"the JSON Schema is not valid at {place}"


def test_many_tools_with_the_same_parts_are_looked_at_in_a_short_time() -> None:
    parts = {f"p{number}": {"type": "string", "description": "d" * 100} for number in range(150)}
    started = time.process_time()
    for number in range(200):
        schema = {
            "type": "object",
            "properties": {"body": {"$ref": "#/$defs/b"}},
            "$defs": {"b": {"properties": parts}},
        }
        check_declaration(JsonSchema({**schema, "title": str(number)}))
    assert time.process_time() - started < 5
