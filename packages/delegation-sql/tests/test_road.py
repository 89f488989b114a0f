"""The whole road: a signed token over HTTP, an unmodified MCP client, a real PostgreSQL. Both wires, both servers."""

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Literal

import httpx2
import psycopg
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from sql_gateway import settings_for

from actas.core import MemorySink, Outcome
from actas.mcp import MCPOAuthServer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.postgres import PostgresServer

pytestmark = pytest.mark.anyio

Wire = Literal["auto", "legacy"]
WIRES: list[Wire] = ["auto", "legacy"]
AUDIENCE = "https://mcp.example/mcp"


class Road:
    """A running server, its identity provider and its minutes."""

    def __init__(
        self, url: str, provider: IdentityProvider, minutes: MemorySink, wire: Literal["auto", "legacy"]
    ) -> None:
        self.url, self.provider, self.minutes, self.wire = url, provider, minutes, wire

    @asynccontextmanager
    async def client(self, user: str = "alice", **claims: object) -> AsyncGenerator[Client]:
        token = self.provider.issue(user, claims=claims)
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=self.wire) as client,
        ):
            yield client

    async def query(self, sql: str, user: str = "alice", **claims: object) -> Any:
        """The structured content; where it is an error, its code."""
        async with self.client(user, **claims) as client:
            result = await client.call_tool("sql-delegate", {"sql": sql})
        content = result.structured_content
        assert content is not None
        if result.is_error:
            return content["error"]["code"]
        assert (result.meta or {})["actas/receipt"]["identity"] == user
        return content


@pytest.fixture(scope="module")
def provider() -> Generator[IdentityProvider]:
    users = {
        "alice": DemoUser(roles=["reader"], claims={"legacy": "alice"}),
        "bob": DemoUser(roles=["reader"], claims={"legacy": "bob"}),
        "writer": DemoUser(roles=["writer"], claims={"legacy": "alice"}),
        "guest": DemoUser(),
    }
    with IdentityProvider(users=users, audience=AUDIENCE) as running:
        yield running


@pytest.fixture(params=WIRES)
async def road(
    request: pytest.FixtureRequest, server: PostgresServer, provider: IdentityProvider
) -> AsyncGenerator[Road]:
    minutes = MemorySink()
    sql = {key: value for key, value in asdict(settings_for(server)).items() if value is not None}
    running = MCPOAuthServer(
        {
            "mcp": {"port": 0, "resource": AUDIENCE},
            "auth": {
                "trusted_idps": [
                    {
                        "name": "test",
                        "issuer": provider.issuer,
                        "audience": AUDIENCE,
                        "claim_mappings": {"legacy_username": "legacy"},
                        "role_mappings": {"user": ["reader"], "custom": {"writer": ["writer"]}},
                    }
                ],
                "permissions": {"user": ["sql:read"], "custom": {"writer": ["sql:read", "sql:write"]}},
            },
            "delegation": {"modules": {"sql": {**sql, "limits": {"rows": 100, "seconds": 2.0}}}},
        },
        audit_sink=minutes,
    )
    await running.start()
    try:
        yield Road(running.url, provider, minutes, request.param)
    finally:
        await running.stop()


async def test_two_users_call_the_same_tool_and_get_their_own_rows(road: Road) -> None:
    sql = "SELECT DISTINCT owner FROM notes"
    assert (await road.query(sql))["rows"] == [["alice"]]
    assert (await road.query(sql, "bob"))["rows"] == [["bob"]]


async def test_the_minutes_prove_whom_the_database_saw(road: Road) -> None:
    await road.query("SELECT 1")
    (event,) = [event for event in road.minutes.entries(outcome=Outcome.SUCCESS) if event.source == "delegation:sql"]
    assert event.receipt is not None
    assert event.receipt.details == {"session_user": "alice", "current_user": "alice"}
    assert (event.provider, event.issuer, event.subject) == ("test", road.provider.issuer, "alice")
    assert (event.tool, event.action) == ("sql-delegate", "query")


async def test_a_guest_sees_no_sql_tool_and_calling_one_is_an_unknown_tool(road: Road) -> None:
    async with road.client("guest") as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["user-info", "health-check"]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("sql-delegate", {"no": "such parameter"})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; RESET ROLE; CREATE TABLE pwned ()",
        "WITH gone AS (DELETE FROM notes RETURNING *) SELECT * FROM gone",
        "EXPLAIN ANALYZE DELETE FROM notes",
        "SELECT set_config('role', 'bob', true)",
        "INSERT INTO notes (body) VALUES ('x')",
        "UPDATE notes SET body = 'x'",
        "DELETE FROM notes",
    ],
)
async def test_a_reader_can_neither_write_nor_become_somebody_else(road: Road, sql: str) -> None:
    assert await road.query(sql) == "sql_statement_refused"
    assert (await road.query("SELECT count(*) FROM notes"))["rows"][0][0] >= 2


async def test_a_column_that_sounds_like_a_command_can_be_read(road: Road) -> None:
    assert (await road.query("SELECT 1 AS created_at"))["columns"][0]["name"] == "created_at"


async def test_a_writer_writes_as_himself_and_creates_nothing(road: Road) -> None:
    async with road.client("writer") as client:
        insert = {
            "sql": "INSERT INTO notes (body) VALUES (%(body)s) RETURNING owner",
            "params": {"body": "from the road"},
        }
        written = await client.call_tool("sql-delegate", insert)
        assert written.structured_content is not None
        assert written.structured_content["rows"] == [["alice"]]
        refused = await client.call_tool("sql-delegate", {"sql": "CREATE TABLE mine ()"})
        assert refused.is_error
        await client.call_tool("sql-delegate", {"sql": "DELETE FROM notes WHERE body = 'from the road'"})


async def test_what_is_anothers_the_database_itself_denies(road: Road) -> None:
    assert await road.query("SELECT * FROM bobs") == "sql_database_refused"
    assert (await road.query("SELECT * FROM bobs", "bob"))["rows"] == [["SECRET of bob"]]


async def test_after_a_failing_statement_everybody_is_still_himself(road: Road) -> None:
    for user in ("alice", "bob", "alice"):
        assert await road.query("SELECT 1/0", user) == "sql_statement_failed"
        assert (await road.query("SELECT session_user, current_user", user))["rows"] == [[user, user]]


@pytest.mark.parametrize("name", ['x"; DROP TABLE notes; --', "postgres", "pg_monitor", "", "alice\x00", "a" * 64])
async def test_a_hostile_legacy_name_is_nobody_in_the_database(road: Road, name: str) -> None:
    assert await road.query("SELECT 1", legacy=name) == "principal_unavailable"


async def test_a_million_rows_are_cut_and_the_model_is_told(road: Road) -> None:
    content = await road.query("SELECT * FROM generate_series(1, 1000000)")
    assert (content["row_count"], content["truncated"]) == (100, True)
    assert "cut" in content["notice"]


async def test_a_query_that_runs_too_long_is_stopped(road: Road) -> None:
    assert await road.query("SELECT count(*) FROM generate_series(1, 100000000000)") == "timeout"


async def test_no_token_and_no_driver_text_is_in_anything_that_anybody_reads(
    road: Road, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = road.provider.issue("alice")
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": "application/json"}
    call = {"name": "sql-delegate", "arguments": {"sql": "SELECT nothing FROM nowhere"}}
    async with httpx2.AsyncClient(trust_env=False) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        answer = await http.post(road.url, headers=headers, json=body)
    assert "nowhere" not in json.dumps(answer.json()["result"])
    everything = answer.text + caplog.text + "".join(repr(event) for event in road.minutes.entries())
    assert token not in everything
    assert token.rsplit(".", 1)[1] not in everything


async def test_a_long_statement_is_reported_and_ends_on_the_server_with_its_caller(
    road: Road, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.mcp.attendance.FIRST_BEAT", 0.1)
    monkeypatch.setattr("actas.mcp.attendance.BEAT_SECONDS", 0.1)
    heard = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.set()

    def running() -> int:
        found = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%AS given_up%'"
            " AND pid <> pg_backend_pid()"
        ).fetchone()
        assert found
        return found[0]

    sql = {"sql": "SELECT count(*) AS given_up FROM generate_series(1, 100000000000)"}
    async with road.client() as client:
        task = asyncio.create_task(client.call_tool("sql-delegate", sql, progress_callback=hear))
        async with asyncio.timeout(10):
            await heard.wait()
            assert running() == 1
            task.cancel()
            while running() or not road.minutes.entries(outcome=Outcome.CANCELLED):  # noqa: ASYNC110 -- nobody is told
                await asyncio.sleep(0.02)
        assert (await client.call_tool("sql-delegate", {"sql": "SELECT 1"})).structured_content


async def test_a_long_result_is_read_to_its_end_by_its_user_and_by_nobody_else(road: Road) -> None:
    arguments = {"sql": "SELECT g, 9007199254740992 + g FROM generate_series(1, 250) g ORDER BY g"}
    pages: list[list[list[object]]] = []
    cursor: str | None = None
    while cursor is not None or not pages:
        page = arguments if cursor is None else {**arguments, "cursor": cursor}
        async with road.client() as client:  # each page with a token and a connection of its own
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            result = await client.call_tool("sql-delegate", page)
        assert result.structured_content is not None
        pages.append(result.structured_content["rows"])
        cursor = result.structured_content.get("cursor")
        if cursor is not None:
            async with road.client("bob") as client:
                stolen = await client.call_tool("sql-delegate", {**arguments, "cursor": cursor})
            assert stolen.is_error
            assert (stolen.structured_content or {})["error"]["code"] == "invalid_parameters"
    assert [len(page) for page in pages] == [100, 100, 50]
    assert pages[2][-1] == [250, "9007199254741242"]
    assert "cursor" in tools["sql-delegate"].input_schema["properties"]
