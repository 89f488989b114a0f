"""The tables about PostgreSQL's values are what the tool really answers."""

import json
import re
import time

import pytest
from docs_blocks import ROOT
from docs_stage import Place

from actas.core import DelegationCall, Session
from actas.delegation.sql.actions import ListTables, Query, TableDetails
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import SqlSettings

pytestmark = pytest.mark.anyio
RESULTS = (ROOT / "docs/reference/sql-results.md").read_text(encoding="utf-8")
SCHEMA = (ROOT / "docs/reference/sql-schema.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| [^|]* \| `([^|]*)` \| `([^|]*)` \|$", RESULTS, re.MULTILINE)


async def _answer(place: Place, parameters: object) -> dict:
    database = place.stage.database
    module = SqlDelegation(SqlSettings(host=str(database.socket_folder), database=database.database))
    session = Session(
        issuer="i",
        subject="alice",
        username="alice",
        provider="p",
        legacy_username="alice",
        permissions=frozenset({"sql:read"}),
    )
    action = module.actions[[Query, ListTables, TableDetails].index(type(parameters))]
    call = DelegationCall(
        session=session, action=action, parameters=parameters, deadline=time.monotonic() + 20, request_id="r"
    )
    try:
        return (await module.delegate(call)).data
    finally:
        await module.destroy()


async def test_each_value_arrives_as_the_page_says(place: Place) -> None:
    assert len(ROWS) > 30
    selected = ", ".join(expression for expression, _ in ROWS)
    answer = await _answer(place, Query(sql=f"SELECT {selected}"))
    assert dict(zip([expression for expression, _ in ROWS], answer["rows"][0], strict=True)) == {
        expression: json.loads(shown) for expression, shown in ROWS
    }
    for field in answer.keys() | {"affected_rows", "notice", "cursor", "columns[].nullable"}:
        assert f"`{field}`" in RESULTS, field


async def test_the_schema_tools_answer_what_the_page_names(place: Place) -> None:
    listed = await _answer(place, ListTables())
    details = await _answer(place, TableDetails(table="orders"))
    fields = listed.keys() | listed["tables"][0].keys() | details.keys() | details["columns"][0].keys()
    for field in (fields | {"foreign_keys", "referenced_columns"}) - {"tables"}:
        assert f"`{field}`" in SCHEMA, field
