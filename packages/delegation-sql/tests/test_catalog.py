"""The two actions that tell what there is: never more than the user may use."""

import pytest
from sql_gateway import Gateway

from actas.core.errors import InvalidParameters
from actas.delegation.sql.actions import ListTables, TableDetails
from actas.delegation.sql.failures import StatementFailed

pytestmark = pytest.mark.anyio


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
