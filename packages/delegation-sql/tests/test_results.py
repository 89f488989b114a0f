"""What arrives of PostgreSQL's types, and that all of it is JSON."""

import json

import pytest
from sql_gateway import Gateway, gateway_to

from actas.delegation.sql.settings import LimitSettings, SqlSettings

pytestmark = pytest.mark.anyio

VALUES = [
    ("true", "bool", True),
    ("NULL::int", "int4", None),
    ("9007199254740991", "int8", 9007199254740991),
    ("9007199254740992", "int8", "9007199254740992"),
    ("'-9223372036854775808'::int8", "int8", "-9223372036854775808"),
    ("ARRAY[1, 9007199254740993]", "int8[]", [1, "9007199254740993"]),
    ("'Infinity'::numeric", "numeric", "Infinity"),
    ("1.50::numeric", "numeric", "1.50"),
    ("'-0'::float8", "float8", -0.0),
    ("5e-324::float8", "float8", 5e-324),
    ("0.1::float4", "float4", 0.1),
    ("ARRAY['NaN', '-Infinity', NULL, 1.5]::float8[]", "float8[]", ["NaN", "-Infinity", None, 1.5]),
    ("'[0:1]={7,8}'::int[]", "int4[]", "[0:1]={7,8}"),
    ("'{}'::text[]", "text[]", []),
    ("ARRAY['[1,5)'::int4range]", "int4range[]", ["[1,5)"]),
    ("'empty'::tsrange", "tsrange", "empty"),
    ("'{[1,2),[5,9)}'::int4multirange", "int4multirange", "{[1,2),[5,9)}"),
    ("'0044-03-15 12:00 BC'::timestamptz", "timestamptz", "0044-03-15 12:00:00+00 BC"),
    ("'-1 year +1 month 2 days -3.5 sec'::interval", "interval", "P-11M2DT-3.5S"),
    ('\'{"a": 9007199254740993, "b": 1.10}\'::jsonb', "jsonb", {"a": "9007199254740993", "b": 1.1}),
    ('\'{"a": 1, "a": 2}\'::json', "json", '{"a": 1, "a": 2}'),
    ("'1e-99999999999999999999'::json", "json", "1e-99999999999999999999"),
    ("'1.23456789e-320'::json", "json", "1.23456789e-320"),
    ("'08:00:2b:01:02:03'::macaddr", "macaddr", "08:00:2b:01:02:03"),
    ("'fat & rat'::tsquery", "tsquery", "'fat' & 'rat'"),
    ("1234567890123456789012345678901234567890.5::numeric", "numeric", "1234567890123456789012345678901234567890.5"),
    ("'NaN'::numeric", "numeric", "NaN"),
    ("1.5::float8", "float8", 1.5),
    ("'NaN'::float8", "float8", "NaN"),
    ("'-Infinity'::float4", "float4", "-Infinity"),
    ("'2026-01-31'::date", "date", "2026-01-31"),
    ("'infinity'::date", "date", "infinity"),
    ("'0044-03-15 BC'::date", "date", "0044-03-15 BC"),
    ("'2026-01-31 12:00:00.5'::timestamp", "timestamp", "2026-01-31T12:00:00.5"),
    ("'2026-01-31 12:00:00+02'::timestamptz", "timestamptz", "2026-01-31T10:00:00+00:00"),
    ("'-infinity'::timestamptz", "timestamptz", "-infinity"),
    ("'294276-12-31 23:59:59'::timestamp", "timestamp", "294276-12-31T23:59:59"),
    ("'12:00+05:30'::timetz", "timetz", "12:00:00+05:30"),
    ("'12:00'::time", "time", "12:00:00"),
    ("'1 year 2 days 3 hours'::interval", "interval", "P1Y2DT3H"),
    ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("'\\x00ff'::bytea", "bytea", "AP8="),
    ("ARRAY[[1,2],[3,NULL]]", "int4[]", [[1, 2], [3, None]]),
    ("ARRAY['a,b', 'c\"d', NULL, 'NULL']", "text[]", ["a,b", 'c"d', None, "NULL"]),
    ("ARRAY['2026-01-31'::date]", "date[]", ["2026-01-31"]),
    ("ARRAY['\\x00'::bytea]", "bytea[]", ["AA=="]),
    ("'{\"a\": [1, 0.1, null]}'::jsonb", "jsonb", {"a": [1, 0.1, None]}),
    ("'1e400'::json", "json", "1e400"),
    ("'0.12345678901234567890123'::json", "json", "0.12345678901234567890123"),
    ("'\"\\ud800\"'::json", "json", '"\\ud800"'),
    ("'\"\\ud83d\\ude00\"'::json", "json", "😀"),
    ("'[1,5)'::int4range", "int4range", "[1,5)"),
    ("'12.50'::money", "money", "$12.50"),
    ("'10.0.0.1/8'::inet", "inet", "10.0.0.1/8"),
    ("'(1,2)'::point", "point", "(1,2)"),
    ("B'101'", "bit", "101"),
    ("ROW(1, 'x')", "record", "(1,x)"),
    ("E'line\\nümlaut\\t€'", "text", "line\nümlaut\t€"),
]


@pytest.mark.parametrize(("expression", "kind", "expected"), VALUES)
async def test_a_value_arrives_without_loss(gateway: Gateway, expression: str, kind: str, expected: object) -> None:
    data = await gateway.query(f"SELECT {expression} AS value")
    assert data["columns"] == [{"name": "value", "type": kind}]
    assert data["rows"] == [[expected]]
    json.dumps(data, allow_nan=False, ensure_ascii=False).encode()


async def test_an_enormous_json_number_and_deep_nesting_arrive_as_text(gateway: Gateway) -> None:
    digits = await gateway.value("SELECT ('1' || repeat('0', 6000))::json")
    assert digits == "1" + "0" * 6000
    nested = await gateway.value("SELECT (repeat('[', 3000) || repeat(']', 3000))::json")
    assert nested == "[" * 3000 + "]" * 3000


async def test_columns_of_the_same_name_all_arrive(gateway: Gateway) -> None:
    data = await gateway.query("SELECT 1 AS a, 2 AS a, 3")
    assert [column["name"] for column in data["columns"]] == ["a", "a", "?column?"]
    assert data["rows"] == [[1, 2, 3]]


async def test_no_columns_and_no_rows_are_fine(gateway: Gateway) -> None:
    assert (await gateway.query("SELECT FROM generate_series(1, 3)"))["command"] == "SELECT"
    empty = await gateway.query("SELECT 1 AS a WHERE false")
    assert (empty["columns"], empty["rows"]) == ([{"name": "a", "type": "int4"}], [])


PARAMETERS = [
    ("SELECT %(v)s", "text", "text"),
    ("SELECT %(v)s::jsonb", '{"a": 1}', {"a": 1}),
    ("SELECT %(v)s + 1", 41, 42),
    ("SELECT %(v)s", 2**40, 2**40),
    ("SELECT %(v)s", 2**70, str(2**70)),
    ("SELECT %(v)s", 0.5, 0.5),
    ("SELECT %(v)s", True, True),
    ("SELECT %(v)s::int", None, None),
    ("SELECT 2 = ANY(%(v)s)", [1, 2], True),
    ("SELECT 'b' = ANY(%(v)s)", ["a", "b"], True),
    ("SELECT cardinality(%(v)s::text[])", [], 0),
    ("SELECT %(v)s::date", "2026-01-31", "2026-01-31"),
    ("SELECT length(%(v)s)", "'; DROP TABLE notes; --", 23),
    ("SELECT 'a%b' LIKE 'a%' AND 7 % 4 = 3 AND %(v)s", True, True),
]


@pytest.mark.parametrize(("statement", "value", "expected"), PARAMETERS)
async def test_a_parameter_is_bound(gateway: Gateway, statement: str, value: object, expected: object) -> None:
    assert await gateway.value(statement, v=value) == expected


async def test_json_too_deep_for_its_readers_is_text(gateway: Gateway) -> None:
    for depth in (101, 500, 5000):
        text = "[" * depth + "]" * depth
        assert await gateway.value(f"SELECT (repeat('[', {depth}) || repeat(']', {depth}))::json") == text
    assert isinstance(await gateway.value("SELECT (repeat('[', 90) || repeat(']', 90))::json"), list)


async def test_a_value_longer_than_the_limit_is_not_even_decoded(settings: SqlSettings) -> None:
    async with gateway_to(settings, limits=LimitSettings(bytes=1000)) as gateway:
        data = await gateway.query("SELECT n, ('[' || repeat(' ', n) || ']')::json FROM unnest(ARRAY[5, 2000]) n")
        assert (data["rows"], data["truncated"]) == ([[5, []]], True)
        assert "1000 bytes" in data["notice"]
        assert len(await gateway.value("SELECT decode(repeat('00', 700), 'hex')")) == 936
