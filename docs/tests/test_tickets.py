"""The pages about logging in with tickets, tried word by word: a token over HTTP, the Kerberos module, a real KDC, and
PostgreSQL, or SQL Server's peer. Nobody typed a password, and all that the gateway has is its keytab.
"""

import os
import tomllib
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docs_blocks import blocks

from actas.cli.demo_client import Visitor
from actas.core import AuditEvent, MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.kdc import KerberosRealm
from actas.testing.pki import CertificateAuthority
from actas.testing.postgres_kerberos import SERVICE, KerberosPostgres
from actas.testing.tds import TdsPeer
from actas.testing.tds_integrated import IntegratedLogin

pytestmark = pytest.mark.anyio
POSTGRESQL = "docs/how-to/postgresql-kerberos.md"
SQL_SERVER = "docs/how-to/sql-server.md"
MCP = "https://mcp.example/mcp"
GATEWAY = "actas/mcp.example.com"
PEOPLE = ("alice", "bob", "vip")


def modules_of(page: str) -> dict[str, dict[str, Any]]:
    """What the page's block says that has two modules."""
    (text,) = (block.text for block in blocks(page) if "tickets_from" in block.text and block.language == "toml")
    modules: dict[str, dict[str, Any]] = tomllib.loads(text)["delegation"]["modules"]
    return modules


def names_as_they_are(page: str) -> set[str]:
    """The lines of krb5.conf that the page asks for."""
    (text,) = (block.text for block in blocks(page) if block.language == "ini")
    return set(text.splitlines()[1:])


@pytest.fixture(scope="module")
def realm() -> Generator[KerberosRealm]:
    with needed_in_ci(), KerberosRealm() as running, running.in_use():
        running.add_users("alice", "bob")
        running.add_users("vip", sensitive=True)
        running.add_service(GATEWAY, transition=True)
        yield running


@pytest.fixture(scope="module")
def provider() -> Generator[IdentityProvider]:
    with IdentityProvider(users={name: DemoUser(roles=("staff",)) for name in PEOPLE}, audience=MCP) as running:
        yield running


@pytest.fixture(scope="module")
def database(realm: KerberosRealm) -> Generator[KerberosPostgres]:
    """Set up with the page's lines."""
    with needed_in_ci(), KerberosPostgres(realm) as running:
        running.add_users(*PEOPLE)
        hba = running.folder / "data" / "pg_hba.conf"
        admin = [line for line in hba.read_text().splitlines() if "postgres" in line and line.startswith("local")]
        lines = [
            block.text
            for block in blocks(POSTGRESQL)
            if block.title in ("pg_hba.conf", "pg_hba.conf without TLS") and block.language == "conf"
        ]
        hba.write_text("\n".join([*admin, *lines]))
        running.sql(
            "SELECT pg_reload_conf(); CREATE TABLE notes (owner name, body text); GRANT SELECT ON notes TO app_users;"
            "INSERT INTO notes VALUES ('alice', 'hers'), ('bob', 'his'); ALTER TABLE notes ENABLE ROW LEVEL SECURITY;"
            "CREATE POLICY own ON notes USING (owner = session_user)"
        )
        realm.allow(GATEWAY, SERVICE)
        yield running


@dataclass
class Road:
    """A running server, who signs its tokens, and its minutes."""

    url: str
    provider: IdentityProvider
    minutes: MemorySink

    async def ask(self, module: str, user: str) -> Any:
        """The rows, or the code of the error."""
        token = self.provider.issue(user, claims={"windows": f"CORP\\{user}"})
        async with Visitor.connected(self.url, token) as visitor:
            answer = await visitor._client.call_tool(f"{module}-delegate", {"sql": "SELECT body FROM notes"})
        content = answer.structured_content
        assert content is not None
        return content["error"]["code"] if answer.is_error else content["rows"]

    def last(self, module: str) -> AuditEvent:
        return [event for event in self.minutes.entries() if event.source == f"delegation:{module}"][-1]


@asynccontextmanager
async def serving(
    modules: dict[str, dict[str, Any]], realm: KerberosRealm, provider: IdentityProvider, name: str
) -> AsyncGenerator[Road]:
    """A server with these modules, and with what is elsewhere here: realm, keytab, target."""
    modules["corp"] |= {"principal": realm.principal(GATEWAY), "keytab": str(realm.keytab(GATEWAY))}
    issuer = {
        "name": "test",
        "issuer": provider.issuer,
        "audience": MCP,
        "claim_mappings": {"legacy_username": name},
        "role_mappings": {"user": ["staff"]},
    }
    minutes = MemorySink()
    configuration = {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {"trusted_idps": [issuer], "permissions": {"user": ["sql:read"]}},
        "delegation": {"modules": modules},
    }
    running = MCPOAuthServer(configuration, audit_sink=minutes)
    await running.start()
    try:
        yield Road(running.url, provider, minutes)
    finally:
        await running.stop()


async def test_the_page_about_postgresql_leads_to_logins_by_the_users_own_tickets(
    realm: KerberosRealm, provider: IdentityProvider, database: KerberosPostgres
) -> None:
    assert names_as_they_are(POSTGRESQL) <= {line.strip() for line in realm.config.read_text().splitlines()}
    modules = modules_of(POSTGRESQL)
    assert modules["corp"]["targets"] == [f"postgres/{modules['orders']['host']}"]
    modules["corp"]["targets"] = [SERVICE]
    modules["orders"] |= {"host": "localhost", "port": database.port}
    modules["gss"] = {key: value for key, value in modules["orders"].items() if key != "tls"}
    modules["orders"]["tls"]["ca_file"] = str(database.authority.certificate)
    before = caches()
    async with serving(modules, realm, provider, "sub") as road:
        for module in ("orders", "gss"):
            for user, body in (("alice", "hers"), ("bob", "his")):
                assert await road.ask(module, user) == [[body]]
                receipt = road.last(module).receipt
                assert receipt and (receipt.identity, receipt.method) == (user, "login:kerberos")
                assert receipt.details["kerberos"] == f"{user}@EXAMPLE.COM"
            assert await road.ask(module, "vip") == "kerberos_user_not_delegable"
        realm.rotate(SERVICE)
        database.take_keytab()
        database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'")
        for module in ("orders", "gss"):
            assert await road.ask(module, "alice") == [["hers"]], "a changed key costs a ticket, and no call"
    assert caches() <= before


async def test_the_page_about_sql_server_leads_to_the_users_own_logins(
    realm: KerberosRealm, provider: IdentityProvider, tmp_path: Path
) -> None:
    authority = CertificateAuthority(tmp_path)
    integrated = IntegratedLogin(tmp_path / "keytab", {f"{user}@EXAMPLE.COM": f"CORP\\{user}" for user in PEOPLE})
    modules = modules_of(SQL_SERVER)
    assert modules["corp"]["targets"] == [f"MSSQLSvc/{modules['erp']['host']}:1433"]
    before = caches()
    with TdsPeer(authority.issue_server("localhost"), logins={}, users=[], integrated=integrated) as peer:
        target = f"MSSQLSvc/localhost:{peer.port}"
        integrated.keytab.write_bytes(realm.add_service(target).read_bytes())
        realm.allow(GATEWAY, target)
        modules["corp"]["targets"] = [target]
        modules["erp"] |= {"host": "localhost", "port": peer.port, "ca_file": str(authority.certificate)}
        async with serving(modules, realm, provider, "windows") as road:
            for user in ("alice", "bob"):
                assert (await road.ask("erp", user))[0][0] == f"CORP\\{user}"
                receipt = road.last("erp").receipt
                assert receipt and receipt.identity == receipt.details["original_login"] == f"CORP\\{user}"
                assert receipt.details["kerberos"] == f"{user}@EXAMPLE.COM"
            assert await road.ask("erp", "vip") == "kerberos_user_not_delegable"
        assert {seen.initiator for seen in peer.connections if seen.initiator} == {
            "alice@EXAMPLE.COM",
            "bob@EXAMPLE.COM",
        }
    assert caches() <= before


def caches() -> set[str]:
    """Files that somebody may have left behind."""
    return {path.name for path in Path("/dev/shm").glob("actas*")} | {
        name for name in os.listdir("/tmp") if name.startswith("krb5cc")
    }
