"""The whole road with tickets: a token over HTTP, the Kerberos module, a real KDC, PostgreSQL and SQL Server's peer.

Nobody typed a password here, and the gateway has none: its keytab is all there is.
"""

import os
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mssql_stage import answers
from sql_gateway import settings_for
from sql_ways import USERS
from typed_tickets import TypedTickets

from actas.cli.demo_client import Visitor
from actas.core import AuditEvent, MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.kdc import KerberosRealm
from actas.testing.pki import CertificateAuthority
from actas.testing.postgres_kerberos import SERVICE, KerberosPostgres
from actas.testing.tds import TdsPeer
from actas.testing.tds_integrated import IntegratedLogin

pytestmark = pytest.mark.anyio
MCP = "https://mcp.example/mcp"
GATEWAY = "actas/mcp.example.com"
PEOPLE = ("alice", "bob", "vip", "user11")


@dataclass
class Road:
    """A running server, who signs its tokens, its realm and its minutes."""

    url: str
    provider: IdentityProvider
    realm: KerberosRealm
    minutes: MemorySink

    async def ask(self, module: str, user: str, sql: str = "SELECT body FROM notes") -> Any:
        """The content, or the code of the error."""
        token = self.provider.issue(user, claims={"windows": f"CORP\\{user}"})
        async with Visitor.connected(self.url, token) as visitor:
            answer = await visitor._client.call_tool(f"{module}-delegate", {"sql": sql})
        content = answer.structured_content
        assert content is not None
        return content["error"]["code"] if answer.is_error else content

    def last(self, module: str) -> AuditEvent:
        return [event for event in self.minutes.entries() if event.source == f"delegation:{module}"][-1]


@pytest.fixture(scope="module")
def provider() -> Generator[IdentityProvider]:
    users = {name: DemoUser(roles=("staff",)) for name in PEOPLE}
    with IdentityProvider(users=users, audience=MCP) as running:
        yield running


@pytest.fixture(scope="module")
def peer(
    kerberos_realm: KerberosRealm, tds_authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory
) -> Generator[TdsPeer]:
    keytab = tmp_path_factory.mktemp("sql-server") / "keytab"
    integrated = IntegratedLogin(keytab, {f"{user}@EXAMPLE.COM": f"CORP\\{user}" for user in USERS})
    certificate = tds_authority.issue_server("localhost")
    with TdsPeer(certificate, logins={}, users=[], answers=answers, integrated=integrated) as running:
        keytab.write_bytes(kerberos_realm.add_service(f"MSSQLSvc/localhost:{running.port}").read_bytes())
        yield running


@pytest.fixture
async def road(
    kerberos_realm: KerberosRealm,
    tickets: TypedTickets,
    kerberos_postgres: KerberosPostgres,
    peer: TdsPeer,
    tds_authority: CertificateAuthority,
    provider: IdentityProvider,
) -> AsyncGenerator[Road]:
    targets = [SERVICE, f"MSSQLSvc/localhost:{peer.port}"]
    if not kerberos_realm.keytab(GATEWAY).exists():
        kerberos_realm.add_users("vip", sensitive=True)
        kerberos_realm.add_service(GATEWAY, transition=True)
        kerberos_realm.allow(GATEWAY, *targets)
    tls = settings_for(kerberos_postgres).tls
    assert tls
    issuer = {
        "name": "test",
        "issuer": provider.issuer,
        "audience": MCP,
        "claim_mappings": {"legacy_username": "sub", "username": "windows"},
        "role_mappings": {"user": ["staff"]},
    }
    corp = {
        "kind": "kerberos",
        "principal": kerberos_realm.principal(GATEWAY),
        "keytab": str(kerberos_realm.keytab(GATEWAY)),
        "targets": targets,
    }
    postgres = {"kind": "sql", "host": "localhost", "port": kerberos_postgres.port, "database": "app"}
    server = {
        "kind": "mssql",
        "host": "localhost",
        "port": peer.port,
        "database": "shop",
        "identity": "integrated",
        "principal": "username",
        "ca_file": str(tds_authority.certificate),
        "tickets_from": "corp",
    }
    by_ticket = {**postgres, "identity": "kerberos", "tickets_from": "corp"}
    modules = {"corp": corp, "pg": {**by_ticket, "tls": {"ca_file": tls.ca_file}}, "gss": by_ticket, "ms": server}
    minutes = MemorySink()
    configuration = {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {"trusted_idps": [issuer], "permissions": {"user": ["sql:read"]}},
        "delegation": {"modules": modules},
    }
    running = MCPOAuthServer(configuration, audit_sink=minutes)
    await running.start()
    try:
        yield Road(running.url, provider, kerberos_realm, minutes)
    finally:
        await running.stop()


async def test_everybody_is_themselves_in_each_database_by_a_ticket_that_the_gateway_obtained(road: Road) -> None:
    for user, bodies in (("alice", ["alice one", "alice two"]), ("bob", ["SECRET of bob"])):
        for module in ("pg", "gss"):
            assert sorted(row[0] for row in (await road.ask(module, user))["rows"]) == bodies
            receipt = road.last(module).receipt
            assert receipt and (receipt.identity, receipt.method) == (user, "login:kerberos")
            assert receipt.details["kerberos"] == f"{user}@EXAMPLE.COM"
        assert (await road.ask("ms", user))["rows"][0][0] == f"CORP\\{user}"
        receipt = road.last("ms").receipt
        assert receipt and receipt.identity == receipt.details["original_login"] == f"CORP\\{user}"
        assert receipt.details["kerberos"] == f"{user}@EXAMPLE.COM"


async def test_a_user_whom_nobody_may_act_as_is_refused_before_any_database_is_asked(road: Road, peer: TdsPeer) -> None:
    before = len(peer.connections)
    for module in ("pg", "gss", "ms"):
        assert await road.ask(module, "vip") == "kerberos_user_not_delegable"
        assert road.last(module).receipt is None
    assert len(peer.connections) == before


async def test_a_changed_key_costs_one_more_ticket_and_no_call(
    road: Road, peer: TdsPeer, kerberos_postgres: KerberosPostgres
) -> None:
    assert (await road.ask("pg", "user11"))["rows"] == []
    road.realm.rotate(SERVICE)
    kerberos_postgres.take_keytab()
    kerberos_postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'user11'")
    assert peer.integrated
    road.realm.rotate(f"MSSQLSvc/localhost:{peer.port}")
    peer.integrated.keytab.write_bytes(road.realm.keytab(f"MSSQLSvc/localhost:{peer.port}").read_bytes())
    for module in ("pg", "gss"):
        assert (await road.ask(module, "user11"))["rows"] == []
    assert (await road.ask("ms", "user11"))["rows"][0][0] == "CORP\\user11"


async def test_no_cache_is_left_anywhere(road: Road) -> None:
    before = _files()
    for module in ("pg", "gss", "ms"):
        await road.ask(module, "alice")
    assert _files() == before


def _files() -> set[str]:
    return {str(path) for path in Path("/dev/shm").glob("*") if path.name.startswith("actas")} | {
        name for name in os.listdir("/tmp") if name.startswith(("krb5cc", "actas-tickets"))
    }
