"""The whole road with the policies that the README shows: signed tokens, HTTP, an unmodified client, both wires."""

import re
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from actas.core import (
    Action,
    ConfigurationError,
    DelegationCall,
    DelegationResult,
    Effect,
    Health,
    MemorySink,
    Outcome,
    Receipt,
    Session,
)
from actas.mcp import MCPOAuthServer, create_delegation_tool
from actas.testing.idp import DemoUser, IdentityProvider

pytestmark = pytest.mark.anyio

Wire = Literal["auto", "legacy"]
WIRES: list[Wire] = ["auto", "legacy"]
AUDIENCE = "https://mcp.example/mcp"
README = Path(__file__).parents[1] / "README.md"


@dataclass(frozen=True)
class Query:
    sql: str
    """What to ask."""


class Database:
    """Answers every statement with itself."""

    actions = (
        Action(
            name="query",
            description="Ask.",
            parameters=Query,
            permission="sql:read",
            effect=Effect.DESTRUCTIVE,
            tool="delegate",
        ),
    )

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def initialize(self) -> None: ...

    def principal(self, session: Session) -> str:
        return session.username

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        assert isinstance(call.parameters, Query)
        self.asked.append(call.parameters.sql)
        return DelegationResult(
            data=call.parameters.sql, receipt=Receipt(identity=call.session.username, method="in-process")
        )

    async def health_check(self) -> Health:
        return Health(healthy=True)

    async def destroy(self) -> None: ...


def shown(language: str) -> str:
    """The README's one block of ``language``."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return str(text)


@pytest.fixture(scope="module")
def provider() -> Generator[IdentityProvider]:
    users = {
        "alice": DemoUser(roles=["employee"], claims={"department": "sales"}),
        "fay": DemoUser(roles=["employee"], claims={"department": "finance"}),
        "audrey": DemoUser(roles=["audit"]),
        "guest": DemoUser(),
    }
    with IdentityProvider(users=users, audience=AUDIENCE) as running:
        yield running


@dataclass
class Road:
    url: str
    provider: IdentityProvider
    minutes: MemorySink
    database: Database
    wire: Wire

    @asynccontextmanager
    async def client(self, user: str) -> AsyncGenerator[Client]:
        headers = {"Authorization": f"Bearer {self.provider.issue(user)}"}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=self.wire) as client,
        ):
            yield client

    async def listed(self, user: str) -> list[str]:
        async with self.client(user) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    async def asked(self, user: str, sql: str, tool: str = "sql-delegate") -> str:
        """The error's code, or nothing."""
        arguments = {"sql": sql} if tool == "sql-delegate" else {}
        async with self.client(user) as client:
            result = await client.call_tool(tool, arguments)
        assert "forbidden" not in str(result) and "cedar" not in str(result).lower()
        return str((result.structured_content or {})["error"]["code"]) if result.is_error else ""


@pytest.fixture(params=WIRES)
async def road(
    request: pytest.FixtureRequest, provider: IdentityProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Road]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "orders.cedar").write_text(shown("cedar"))
    minutes, database = MemorySink(), Database()
    server = MCPOAuthServer(configuration(provider, "policies/orders.cedar"), audit_sink=minutes)
    server.register_delegation_module("sql", database)
    server.register_tools(
        create_delegation_tool(name, "Fixed.", module="sql", action="query", arguments={"sql": f"SELECT * FROM {name}"})
        for name in ("orders", "payroll")
    )
    await server.start()
    try:
        yield Road(server.url, provider, minutes, database, request.param)
    finally:
        await server.stop()


def configuration(provider: IdentityProvider, *files: str) -> dict[str, object]:
    issuer = {
        "name": "acme",
        "issuer": provider.issuer,
        "audience": AUDIENCE,
        "role_mappings": {"user": ["employee"], "custom": {"auditor": ["audit"]}},
    }
    permissions = {"user": ["sql:read"], "custom": {"auditor": ["sql:read"]}}
    authorizers = [{"kind": "cedar", "policies": list(files)}]
    return {
        "mcp": {"port": 0, "resource": AUDIENCE},
        "auth": {"trusted_idps": [issuer], "permissions": permissions, "authorizers": authorizers},
    }


async def test_what_the_policies_permit_is_listed_and_carried_out(road: Road) -> None:
    assert await road.listed("alice") == ["user-info", "health-check", "sql-delegate"]
    assert await road.asked("alice", "SELECT 1") == ""
    (event,) = road.minutes.entries(source="delegation:sql")
    assert event.granted_by is not None
    assert event.granted_by.startswith("permission sql:read by role user; cedar: permitted by staff-reads (")


async def test_what_they_forbid_never_reaches_the_module_and_only_the_minutes_say_why(road: Road) -> None:
    assert await road.asked("alice", "SELECT * FROM payroll") == "permission_denied"
    assert road.database.asked == []
    (event,) = road.minutes.entries(source="delegation:sql")
    assert (event.outcome, event.code) == (Outcome.REFUSED, "permission_denied")
    assert event.reason is not None and event.reason.startswith("cedar: forbidden by no-payroll (")
    assert await road.asked("fay", "SELECT * FROM payroll") == ""


async def test_a_tool_that_they_hide_is_an_unknown_tool(road: Road) -> None:
    assert await road.listed("guest") == ["user-info", "health-check"]
    async with road.client("alice") as client:
        for name in ("orders", "nothing"):
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool(name, {})


async def test_the_time_counts(road: Road) -> None:
    seen = "sql-delegate" in await road.listed("audrey")
    assert seen == (8 <= datetime.now(UTC).hour < 18)


async def test_a_rule_about_a_module_holds_whichever_tool_leads_there(
    provider: IdentityProvider, tmp_path: Path
) -> None:
    file = tmp_path / "p.cedar"
    file.write_text(shown("cedar") + '@id("own-tools") permit(principal, action, resource);\n')
    minutes, database = MemorySink(), Database()
    server = MCPOAuthServer(configuration(provider, str(file)), audit_sink=minutes)
    server.register_delegation_module("sql", database)
    for name in ("orders", "payroll"):
        arguments = {"sql": f"SELECT * FROM {name}"}
        server.register_tool(create_delegation_tool(name, ".", module="sql", action="query", arguments=arguments))
    await server.start()
    try:
        road = Road(server.url, provider, minutes, database, "auto")
        assert await road.asked("alice", "", "orders") == ""
        assert await road.asked("alice", "", "payroll") == "permission_denied"
        assert database.asked == ["SELECT * FROM orders"]
    finally:
        await server.stop()


async def test_a_reload_reads_the_policies_anew_and_keeps_the_old_where_the_new_are_none(
    provider: IdentityProvider, tmp_path: Path
) -> None:
    file = tmp_path / "p.cedar"
    file.write_text("permit(principal, action, resource);\n")
    minutes, database = MemorySink(), Database()
    server = MCPOAuthServer(configuration(provider, str(file)), audit_sink=minutes)
    server.register_delegation_module("sql", database)
    await server.start()
    try:
        road = Road(server.url, provider, minutes, database, "auto")
        assert await road.asked("alice", "SELECT 1") == ""
        file.write_text("permit(principal, action, resource;\n")
        with pytest.raises(ConfigurationError, match=r"p\.cedar:1"):
            await server.reload()
        assert await road.asked("alice", "SELECT 1") == ""
        file.write_text('permit(principal, action, resource == Tool::"user-info");\n')
        await server.reload()
        assert await road.listed("alice") == ["user-info"]
    finally:
        await server.stop()


def test_a_server_with_a_policy_that_is_none_does_not_start(provider: IdentityProvider, tmp_path: Path) -> None:
    file = tmp_path / "bad.cedar"
    file.write_text("permit(principal, action, resource);\n\npermit(principal action);\n")
    with pytest.raises(ConfigurationError) as caught:
        MCPOAuthServer(configuration(provider, str(file)))
    (problem,) = caught.value.problems
    assert problem.startswith(f"auth.authorizers[0]: {file}:3: in the policy that begins here: ")
