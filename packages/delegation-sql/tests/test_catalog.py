"""The two actions that tell what there is: never more than the user may use, and never more than can be read."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from sql_gateway import Gateway

from actas.core.errors import InvalidParameters
from actas.delegation.sql.actions import ListTables, TableDetails
from actas.delegation.sql.failures import StatementFailed

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection

_SHOP = """
CREATE SCHEMA shop;
GRANT USAGE ON SCHEMA shop TO app_users;
CREATE TABLE shop.customers (
    country char(2), number int, name text NOT NULL, secret text,
    PRIMARY KEY (country, number), UNIQUE (secret), UNIQUE (number, country));
CREATE TABLE shop.orders (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, country char(2), customer int, total numeric(10,2) DEFAULT 0,
    taxed numeric GENERATED ALWAYS AS (total * 1.2) STORED, twice int REFERENCES shop.orders,
    CONSTRAINT of_customer FOREIGN KEY (customer, country) REFERENCES shop.customers (number, country),
    CONSTRAINT not_negative CHECK (total >= 0));
CREATE TYPE shop.state AS ENUM ('open', 'paid', 'sent');
ALTER TYPE shop.state ADD VALUE 'packed' BEFORE 'sent';
CREATE TABLE shop.parcels (state shop.state, states shop.state[], id int);
GRANT SELECT ON shop.parcels TO app_users;
CREATE TABLE shop.hidden (id int REFERENCES shop.orders);
CREATE TABLE shop.half (
    shown int, hidden int REFERENCES shop.orders, CHECK (hidden > 0),
    CONSTRAINT apart EXCLUDE USING gist (int4range(hidden, hidden + 1) WITH &&));
CREATE TABLE shop.letters (id int, addressee text REFERENCES shop.customers (secret));
GRANT SELECT ON shop.letters TO app_users;
CREATE VIEW shop.totals AS SELECT country, sum(total) AS total FROM shop.orders GROUP BY country;
COMMENT ON VIEW shop.totals IS 'By country';
INSERT INTO shop.customers SELECT 'DE', g, 'n' FROM generate_series(1, 300) g;
ANALYZE shop.customers;
GRANT SELECT (country, number, name) ON shop.customers TO bob;
GRANT SELECT ON shop.customers, shop.totals TO alice;
GRANT SELECT, INSERT ON shop.orders TO app_users;
GRANT SELECT (shown) ON shop.half TO app_users;
"""


@pytest.fixture
def shop(admin: Admin) -> Iterator[Admin]:
    admin.execute(_SHOP)
    yield admin
    admin.execute("DROP SCHEMA shop CASCADE")


async def _names(gateway: Gateway, user: str = "alice", **filters: object) -> list[str]:
    return [table["name"] for table in (await gateway.call(ListTables(**filters), user)).data["tables"]]


async def test_only_tables_that_the_user_may_use_are_listed(gateway: Gateway) -> None:
    assert await _names(gateway) == ["notes", "partly"]
    assert await _names(gateway, "bob") == ["bobs", "notes", "partly"]
    result = await gateway.call(ListTables())
    assert result.data["tables"][0] == {
        "schema": "public",
        "name": "notes",
        "kind": "table",
        "estimated_rows": None,
        "comment": "What people write down",
    }
    assert result.receipt.identity == "alice"


async def test_the_list_is_filtered_and_paged(gateway: Gateway) -> None:
    assert await _names(gateway, name="n%") == ["notes"]
    assert await _names(gateway, schema="walled") == []
    assert await _names(gateway, schema="public", name="%t%") == ["notes", "partly"]
    first = (await gateway.call(ListTables(limit=1))).data
    assert (first["tables"][0]["name"], first["next_offset"]) == ("notes", 1)
    second = (await gateway.call(ListTables(limit=1, offset=1))).data
    assert (second["tables"][0]["name"], second["next_offset"]) == ("partly", None)


@pytest.mark.parametrize("filters", [{"limit": 0}, {"limit": 501}, {"offset": -1}, {"name": "a\0"}, {"name": "\ud800"}])
async def test_bad_filters_are_refused(gateway: Gateway, filters: dict[str, object]) -> None:
    with pytest.raises(InvalidParameters):
        await gateway.call(ListTables(**filters))


async def test_a_tables_details_are_complete(gateway: Gateway) -> None:
    details = (await gateway.call(TableDetails(table="notes"))).data
    assert [column["name"] for column in details["columns"]] == ["id", "owner", "body"]
    assert details["columns"][2] == {
        "name": "body",
        "type": "text",
        "nullable": True,
        "default": None,
        "generated": None,
        "values": None,
        "comment": "The text",
    }
    assert {"name": "notes_pkey", "kind": "primary key", "definition": "PRIMARY KEY (id)"} in details["constraints"]
    assert [index["name"] for index in details["indexes"]] == ["notes_pkey"]


async def test_hidden_columns_and_what_would_give_them_away_are_not_shown(gateway: Gateway) -> None:
    result = await gateway.call(TableDetails(table="partly", schema="public"))
    assert [column["name"] for column in result.data["columns"]] == ["id", "shown"]
    assert "hidden" not in str(result.data)
    assert "SECRET" not in str(result.data)


@pytest.mark.parametrize(
    ("table", "schema"),
    [
        ("bobs", None),
        ("bobs", "public"),
        ("off", "walled"),
        ("nowhere", None),
        ("pg_authid", "pg_catalog"),
        ("x'; DROP TABLE notes; --", None),
        ('notes"', None),
    ],
)
async def test_a_table_that_the_user_may_not_use_is_as_if_it_were_not_there(
    gateway: Gateway, table: str, schema: str | None
) -> None:
    with pytest.raises(StatementFailed) as missing:
        await gateway.call(TableDetails(table=table, schema=schema))
    assert missing.value.message.startswith("There is no such table or view, or you may not use it.")


async def test_keys_are_shown_in_both_directions(gateway: Gateway, shop: Admin) -> None:
    details = (await gateway.call(TableDetails(table="orders", schema="shop"))).data
    assert details["primary_key"] == ["id"]
    assert details["foreign_keys"] == [
        {
            "name": "of_customer",
            "columns": ["customer", "country"],
            "schema": "shop",
            "table": "customers",
            "referenced_columns": ["number", "country"],
        },
        {
            "name": "orders_twice_fkey",
            "columns": ["twice"],
            "schema": "shop",
            "table": "orders",
            "referenced_columns": ["id"],
        },
    ]
    assert [key["name"] for key in details["referenced_by"]] == ["orders_twice_fkey"]
    assert {"name": "not_negative", "kind": "check"}.items() <= details["constraints"][0].items()
    customers = (await gateway.call(TableDetails(table="customers", schema="shop"))).data
    assert customers["primary_key"] == ["country", "number"]
    assert [key["table"] for key in customers["referenced_by"]] == ["letters", "orders"]
    assert customers["referenced_by"][1:] == [
        {
            "name": "of_customer",
            "schema": "shop",
            "table": "orders",
            "columns": ["customer", "country"],
            "referenced_columns": ["number", "country"],
        }
    ]


async def test_what_a_table_is_and_allows_is_shown(gateway: Gateway, shop: Admin) -> None:
    orders = (await gateway.call(TableDetails(table="orders", schema="shop"))).data
    assert orders["privileges"] == ["SELECT", "INSERT"]
    generated = {column["name"]: column["generated"] for column in orders["columns"]}
    assert generated == dict.fromkeys(generated) | {"id": "identity", "taxed": "stored"}
    assert {"name": "total", "type": "numeric(10,2)", "default": "0"}.items() <= orders["columns"][3].items()
    view = (await gateway.call(TableDetails(table="totals", schema="shop"))).data
    assert (view["kind"], view["comment"], view["estimated_rows"]) == ("view", "By country", None)
    assert (await gateway.call(TableDetails(table="notes"))).data["row_security"] is True
    parcels = (await gateway.call(TableDetails(table="parcels", schema="shop"))).data
    states = ["open", "paid", "packed", "sent"]
    assert [column["values"] for column in parcels["columns"]] == [states, states, None]


async def test_estimates_are_for_those_who_may_read_the_whole_table(gateway: Gateway, shop: Admin) -> None:
    async def estimate(user: str) -> object:
        listed = (await gateway.call(ListTables(schema="shop", name="customers"), user)).data["tables"][0]
        details = (await gateway.call(TableDetails(table="customers", schema="shop"), user)).data
        assert listed["estimated_rows"] == details["estimated_rows"]
        return details["estimated_rows"]

    assert await estimate("alice") == 300
    assert await estimate("bob") is None


async def test_keys_over_columns_that_the_user_may_not_see_are_not_shown(gateway: Gateway, shop: Admin) -> None:
    for user in ("alice", "bob"):
        orders = (await gateway.call(TableDetails(table="orders", schema="shop"), user)).data
        assert "hid" not in json.dumps(orders)
    bobs = (await gateway.call(TableDetails(table="customers", schema="shop"), "bob")).data
    assert "secret" not in json.dumps(bobs)
    assert [key["name"] for key in bobs["referenced_by"]] == ["of_customer"]
    letters = [
        (await gateway.call(TableDetails(table="letters", schema="shop"), user)).data for user in ("alice", "bob")
    ]
    assert [len(details["foreign_keys"]) for details in letters] == [1, 0]
    half = (await gateway.call(TableDetails(table="half", schema="shop"))).data
    assert ([column["name"] for column in half["columns"]], half["foreign_keys"]) == (["shown"], [])
    assert (half["constraints"], half["indexes"], half["estimated_rows"]) == ([], [], None)
    shop.execute("REVOKE ALL ON shop.customers FROM bob")
    orders = (await gateway.call(TableDetails(table="orders", schema="shop"), "bob")).data
    assert [key["name"] for key in orders["foreign_keys"]] == ["orders_twice_fkey"]


async def test_a_wide_table_comes_in_pages_and_long_texts_are_cut(gateway: Gateway, admin: Admin) -> None:
    columns = ", ".join(f"c{number} int CHECK (c{number} > 0) DEFAULT length('{'😀' * 900}')" for number in range(250))
    admin.execute(f"CREATE TABLE wide ({columns}); GRANT SELECT ON wide TO alice")
    admin.execute(f"COMMENT ON TABLE wide IS '{'😀' * 100_000}'")
    for number in range(250):
        admin.execute(f"COMMENT ON COLUMN wide.c{number} IS '{'😀' * 1000}'")
    try:
        seen: list[str] = []
        offset: int | None = 0
        while offset is not None:
            details = (await gateway.call(TableDetails(table="wide", offset=offset))).data
            seen += [column["name"] for column in details["columns"]]
            offset = details["next_offset"]
            assert len(json.dumps(details, ensure_ascii=False).encode()) < 500_000
            assert "Only the first 50 of constraints are shown." in details["notice"]
            assert ("go on with offset" in details["notice"]) is (offset is not None)
        assert seen == [f"c{number}" for number in range(250)]
        assert details["columns"][0]["comment"] == "😀" * 300 + "…"
        assert details["columns"][0]["default"].endswith("…")
        listed = (await gateway.call(ListTables(name="wide"))).data
        assert listed["tables"][0]["comment"] == "😀" * 200 + "…"
    finally:
        admin.execute("DROP TABLE wide")


async def test_a_page_of_the_list_says_that_there_is_more(gateway: Gateway) -> None:
    first = (await gateway.call(ListTables(limit=1))).data
    assert first["notice"] == "There are more: filter by schema or name, or go on with offset = next_offset."
    assert "notice" not in (await gateway.call(ListTables())).data


async def test_a_negative_offset_of_columns_is_refused(gateway: Gateway) -> None:
    with pytest.raises(InvalidParameters, match="offset: must not be negative"):
        await gateway.call(TableDetails(table="notes", offset=-1))
