"""The pages about several databases and tenants, done with real ones: two providers, two servers, their very blocks."""

import tomllib
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager
from importlib.resources import files
from typing import Any

import pytest
from docs_blocks import blocks

from actas.cli.demo_client import Visitor
from actas.core import MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.postgres import EmbeddedPostgres

pytestmark = pytest.mark.anyio

DATABASES = "docs/how-to/several-databases.md"
TENANTS = "docs/how-to/several-tenants.md"
AUDIENCE = "https://mcp.example.com/mcp"
KEY = "a key that nobody knows, of 32 bytes and more"

Providers = dict[str, IdentityProvider]


@pytest.fixture(scope="module")
def providers() -> Generator[Providers]:
    """By the role that its users have: alice is somebody else at each."""
    with ExitStack() as stack:
        yield {
            role: stack.enter_context(
                IdentityProvider(
                    users={
                        "alice": DemoUser(roles=[role], claims={"tenant": tenant}),
                        "bob": DemoUser(roles=[role], claims={"tenant": "other"}),
                        "carol": DemoUser(roles=[role]),
                    },
                    audience=AUDIENCE,
                )
            )
            for role, tenant in (("employee", "acme"), ("partner", "globex"))
        }


@pytest.fixture(scope="module")
def servers() -> Generator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    with EmbeddedPostgres() as first, EmbeddedPostgres() as second:
        for server in (first, second):
            server.add_users("alice", "bob", "carol")
        yield first, second


def written(page: str, index: int = 0) -> dict[str, Any]:  # Any: as TOML has it
    return tomllib.loads([block for block in blocks(page) if block.language == "toml"][index].text)


def made_real(configuration: dict[str, Any], providers: Providers) -> dict[str, Any]:
    """The same with issuers that there are."""
    for issuer, provider in zip(configuration["auth"]["trusted_idps"], providers.values(), strict=True):
        issuer["issuer"] = provider.issuer
    configuration["mcp"] = {"port": 0, "resource": AUDIENCE}
    return configuration


@asynccontextmanager
async def gateway(configuration: dict[str, Any]) -> AsyncGenerator[tuple[MCPOAuthServer, MemorySink]]:
    minutes = MemorySink()
    server = MCPOAuthServer(configuration, audit_sink=minutes)
    await server.start()
    try:
        yield server, minutes
    finally:
        await server.stop()


async def test_two_databases_two_providers_and_each_token_reaches_only_what_is_its_own(
    providers: Providers, servers: tuple[EmbeddedPostgres, EmbeddedPostgres]
) -> None:
    configuration = made_real(written(DATABASES), providers)
    for server, name in zip(servers, ("hr", "crm"), strict=True):
        server.sql(f"CREATE DATABASE {name}", database="postgres")
        server.sql(f"CREATE TABLE what AS SELECT '{name}' AS name; GRANT SELECT ON what TO app_users", database=name)
        configuration["delegation"]["modules"][name]["host"] = str(server.socket_folder)
    staff, partners = providers.values()
    async with gateway(configuration) as (server, minutes):
        async with Visitor.connected(server.url, staff.issue("alice")) as employee:
            assert {"hr-delegate", "hr-schema", "hr-table-details", "crm-delegate", "crm-schema"} == _sql(
                await employee.tools()
            )
            for name in ("hr", "crm"):
                answer = await employee._client.call_tool(
                    f"{name}-delegate", {"sql": "SELECT name, session_user FROM what"}
                )
                assert (answer.structured_content or {})["rows"] == [[name, "alice"]]
        async with Visitor.connected(server.url, partners.issue("alice")) as partner:
            assert {"crm-delegate", "crm-schema"} == _sql(await partner.tools())
            for tool in ("hr-delegate", "hr-schema", "crm-table-details"):
                with pytest.raises(Exception, match="Unknown tool"):
                    await partner._client.call_tool(tool, {"sql": "SELECT 1"})
            answer = await partner._client.call_tool("crm-delegate", {"sql": "SELECT name FROM what"})
            assert (answer.structured_content or {})["rows"] == [["crm"]]
        reached = [(event.provider, event.source) for event in minutes.entries() if event.receipt]
        assert reached == [("staff", "delegation:hr"), ("staff", "delegation:crm"), ("partners", "delegation:crm")]


async def test_a_tenants_token_reaches_that_tenants_database_alone(
    providers: Providers, servers: tuple[EmbeddedPostgres, EmbeddedPostgres]
) -> None:
    server = servers[0]
    configuration = made_real(written(TENANTS), providers)
    for issuer, role in zip(configuration["auth"]["trusted_idps"], providers, strict=True):
        issuer["role_mappings"] = {"user": [role]}
    for name, user in (("acme", "alice"), ("globex", "bob")):
        server.sql(
            f"CREATE DATABASE {name}; CREATE ROLE {name}_users; GRANT {name}_users TO {user}", database="postgres"
        )
        configuration["delegation"]["modules"][name]["host"] = str(server.socket_folder)
        server.sql(_sql_block("acme").replace("acme", name), database=name)
    acme, globex = providers.values()
    async with gateway(configuration) as (running, _):
        async with Visitor.connected(running.url, acme.issue("alice")) as visitor:
            assert {"acme-delegate", "acme-schema", "acme-table-details"} == _sql(await visitor.tools())
            answer = await visitor._client.call_tool("acme-delegate", {"sql": "SELECT session_user"})
            assert (answer.structured_content or {})["rows"] == [["alice"]]
        async with Visitor.connected(running.url, globex.issue("alice")) as visitor:
            assert {"globex-delegate", "globex-schema", "globex-table-details"} == _sql(await visitor.tools())
            # The role is acme's alice, and the server itself does not let it in here.
            refused = await visitor._client.call_tool("globex-delegate", {"sql": "SELECT session_user"})
            assert "sql_login_refused" in str(refused.content)


async def test_a_tenants_rows_are_those_that_the_signed_claim_names(
    providers: Providers, servers: tuple[EmbeddedPostgres, EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAIMS_KEY", KEY)
    server = servers[0]
    server.sql("CREATE DATABASE shop", database="postgres")
    server.sql(files("actas.delegation.sql").joinpath("signed_claims.sql").read_text(), database="shop")
    server.sql(f"SELECT actas.set_key('{KEY}')", database="shop")
    server.sql("CREATE TABLE orders AS SELECT unnest(ARRAY['acme', 'globex']) AS tenant", database="shop")
    server.sql("GRANT SELECT ON orders TO app_users;" + _sql_block("shared"), database="shop")
    configuration = made_real(written(TENANTS), providers)
    for issuer, role in zip(configuration["auth"]["trusted_idps"], providers, strict=True):
        issuer["role_mappings"] = {"user": [role]}
    configuration |= {"delegation": written(TENANTS, 1)["delegation"]}
    configuration["delegation"]["modules"]["shared"]["host"] = str(server.socket_folder)
    acme, globex = providers.values()
    forged = "WITH s AS (SELECT set_config('actas.signed_claims', 'x', true)) SELECT tenant FROM orders, s"
    async with gateway(configuration) as (running, _):
        for provider, user, rows in (
            (acme, "alice", [["acme"]]),
            (globex, "alice", [["globex"]]),
            (acme, "bob", []),
            (acme, "carol", []),
        ):
            async with Visitor.connected(running.url, provider.issue(user)) as visitor:
                answer = await visitor._client.call_tool("shared-delegate", {"sql": "SELECT tenant FROM orders"})
                assert (answer.structured_content or {})["rows"] == rows
                assert (await visitor._client.call_tool("shared-delegate", {"sql": forged})).is_error


def _sql_block(title: str) -> str:
    return next(block.text for block in blocks(TENANTS) if (block.language, block.title) == ("sql", title))


def _sql(tools: list[str]) -> set[str]:
    return {name for name in tools if name not in ("user-info", "health-check")}
