"""What arrives of types that are the database's own, and what is said about the columns of results."""

import asyncio
import re
from collections.abc import Iterator

import psycopg
import pytest
from sql_gateway import ADMIN, WRITE, Gateway, gateway_to

from actas.delegation.sql.settings import LimitSettings, PoolSettings, SqlSettings

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection

_TYPES = """
CREATE SCHEMA kinds;
GRANT USAGE ON SCHEMA kinds TO app_users;
CREATE TYPE kinds.colour AS ENUM ('red', 'light blue', 'a,b');
CREATE DOMAIN kinds.cents AS int8 CHECK (VALUE >= 0);
CREATE DOMAIN kinds.shade AS kinds.colour;
CREATE TYPE kinds.place AS (street text, number int);
CREATE TYPE kinds.span AS RANGE (subtype = float8);
CREATE TABLE kinds.things (
    id int PRIMARY KEY, colour kinds.colour, colours kinds.colour[], cents kinds.cents, all_cents kinds.cents[],
    shades kinds.shade[], place kinds.place NOT NULL, places kinds.place[], span kinds.span, spans kinds.span[]);
INSERT INTO kinds.things VALUES (1, 'red', '{red,NULL,"light blue","a,b"}', 5, '{5,9007199254740993}', '{{red},{red}}',
    ROW('Main "St", 1', 2), ARRAY[ROW('a', NULL)::kinds.place], '[1.5,2)', '{"[1.5,2)"}');
GRANT SELECT, INSERT ON kinds.things TO app_users;
"""
_SHOWN = [
    ("id", "int4", 1),
    ("colour", "kinds.colour", "red"),
    ("colours", "kinds.colour[]", ["red", None, "light blue", "a,b"]),
    ("cents", "int8", 5),
    ("all_cents", "kinds.cents[]", [5, "9007199254740993"]),
    ("shades", "kinds.shade[]", [["red"], ["red"]]),
    ("place", "kinds.place", '("Main ""St"", 1",2)'),
    ("places", "kinds.place[]", ["(a,)"]),
    ("span", "kinds.span", "[1.5,2)"),
    ("spans", "kinds.span[]", ["[1.5,2)"]),
]


@pytest.fixture
def types(admin: Admin) -> Iterator[Admin]:
    admin.execute(_TYPES)
    yield admin
    admin.execute("DROP SCHEMA kinds CASCADE")


async def test_the_databases_own_types_arrive_with_their_names(gateway: Gateway, types: Admin) -> None:
    for _ in range(2):  # asked, then remembered
        data = await gateway.query("SELECT * FROM kinds.things")
        shown = [(column["name"], column["type"]) for column in data["columns"]]
        values = data["rows"][0]
        assert [(*about, value) for about, value in zip(shown, values, strict=True)] == _SHOWN


async def test_what_a_write_returns_has_its_types_too(gateway: Gateway, types: Admin) -> None:
    insert = "INSERT INTO kinds.things (id, colours, place) VALUES (2, '{red}', '(x,1)') RETURNING colours"
    data = await gateway.query(insert, "alice", WRITE)
    assert data == {
        "command": "INSERT",
        "affected_rows": 1,
        "columns": [{"name": "colours", "type": "kinds.colour[]"}],
        "rows": [[["red"]]],
        "row_count": 1,
        "truncated": False,
    }


async def test_a_column_is_said_to_be_nullable_only_where_that_is_known(
    gateway: Gateway, settings: SqlSettings, types: Admin
) -> None:
    async def said(sql: str) -> list[object]:
        return [column.get("nullable") for column in (await gateway.query(sql))["columns"]]

    assert await said("SELECT id, place, colour, 1 FROM kinds.things") == [False, False, True, None]
    assert await said("SELECT s.id FROM (SELECT id FROM kinds.things) s") == [False]
    assert await said("SELECT t.id FROM notes n LEFT JOIN kinds.things t USING (id)") == [None]
    assert await said("SELECT s.id FROM notes n JOIN (SELECT t.id FROM notes LEFT JOIN kinds.things t USING (id)) s ON true") == [None]  # fmt: skip  # noqa: E501 -- one statement
    assert await said("SELECT id FROM kinds.things GROUP BY ROLLUP (id)") == [None]
    assert await said("SELECT id FROM kinds.things UNION SELECT NULL") == [None]
    types.execute(
        "CREATE VIEW kinds.seen AS SELECT id FROM kinds.things; CREATE TABLE kinds.child () INHERITS (kinds.things); "
        "GRANT SELECT ON kinds.seen, kinds.child TO alice"
    )
    async with gateway_to(settings) as fresh:
        data = await fresh.query("SELECT s.id, t.id, c.id FROM kinds.seen s, kinds.things t, kinds.child c")
        assert [column.get("nullable") for column in data["columns"]] == [None, None, False]


async def test_a_table_that_was_changed_through_us_is_asked_for_anew(gateway: Gateway) -> None:
    await gateway.query("CREATE TABLE own.changing (a int NOT NULL)", "alice", ADMIN)
    try:
        assert (await gateway.query("TABLE own.changing"))["columns"][0]["nullable"] is False
        await gateway.query("ALTER TABLE own.changing ALTER COLUMN a DROP NOT NULL", "alice", ADMIN)
        assert (await gateway.query("TABLE own.changing"))["columns"][0]["nullable"] is True
    finally:
        await gateway.query("DROP TABLE own.changing", "alice", ("sql:read", "admin"))


async def test_rows_that_become_longer_as_lists_stay_within_the_limit(settings: SqlSettings, types: Admin) -> None:
    types.execute("TRUNCATE kinds.things")
    types.execute(
        "INSERT INTO kinds.things (id, colours, place) SELECT g, array_fill('red'::kinds.colour, ARRAY[50]), '(,)' "
        "FROM generate_series(1, 100) g"
    )
    async with gateway_to(settings, limits=LimitSettings(bytes=22_000)) as gateway:
        data = await gateway.query("SELECT colours FROM kinds.things")
        assert data["rows"][0] == [["red"] * 50]
        assert (data["truncated"], data["row_count"]) == (True, 62)
        assert "cut at 22000 bytes" in data["notice"]


async def test_an_answer_does_not_wait_for_what_the_catalogue_says(
    gateway: Gateway, types: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gateway.module._on_own_connection

    async def stuck(principal, call, statement):
        if statement.our_own:
            await asyncio.sleep(60)
        return await run(principal, call, statement)

    monkeypatch.setattr(gateway.module, "_on_own_connection", stuck)
    data = await gateway.query("SELECT id, colour FROM kinds.things")
    assert data["rows"] == [[1, "red"]]
    assert re.fullmatch(r"oid \d+", data["columns"][1].pop("type"))
    assert data["columns"] == [{"name": "id", "type": "int4"}, {"name": "colour"}]


async def test_a_result_that_was_cut_has_its_types_where_the_pool_has_no_other_place(
    settings: SqlSettings, types: Admin
) -> None:
    narrow = {"pool": PoolSettings(total=1, per_user=1), "limits": LimitSettings(rows=1)}
    async with gateway_to(settings, allowed_types=["kinds.colour"], **narrow) as gateway:
        data = await gateway.query("SELECT 'red'::kinds.colour AS c FROM generate_series(1, 5000)")
        assert (data["rows"], data["columns"]) == ([["red"]], [{"name": "c", "type": "kinds.colour"}])
