"""The page about OpenLDAP, where it says ``kerberos``: a token over HTTP, the Kerberos module, a real KDC, slapd.

Nobody typed a password, and the gateway has no entry in the directory.
"""

import tomllib
from collections.abc import Generator
from typing import Any

import pytest
from docs_blocks import blocks

from actas.cli.demo_client import Visitor
from actas.core import MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.kdc import KerberosRealm
from actas.testing.slapd import LINES, Slapd, person
from actas.testing.slapd_lines import KERBEROS_REGEXP, SUFFIX

pytestmark = pytest.mark.anyio
PAGE = "docs/how-to/ldap-openldap.md"
MCP = "https://mcp.example/mcp"
GATEWAY, DIRECTORY = "gateway/mcp.example.com", "ldap/localhost"
PEOPLE = ("alice", "bob", "vip")


@pytest.fixture(scope="module")
def realm() -> Generator[KerberosRealm]:
    with needed_in_ci(), KerberosRealm() as running, running.in_use():
        running.add_users("alice", "bob")
        running.add_users("vip", sensitive=True)
        running.add_service(GATEWAY, transition=True)
        running.add_service(DIRECTORY)
        running.allow(GATEWAY, DIRECTORY)
        yield running


@pytest.fixture(scope="module")
def directory(realm: KerberosRealm) -> Generator[Slapd]:
    """With the page's line in place of the tests'."""
    (line,) = (block.text for block in blocks(PAGE) if block.title == "slapd.conf with Kerberos")
    seed = "".join(person(uid, f"homePhone: secret-{uid}") for uid in PEOPLE)
    with Slapd(
        seed,
        lines=line + LINES.replace(KERBEROS_REGEXP, ""),
        keytab=realm.keytab(DIRECTORY),
        environment=realm.environment,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def provider() -> Generator[IdentityProvider]:
    with IdentityProvider(users={name: DemoUser(roles=("staff",)) for name in PEOPLE}, audience=MCP) as running:
        yield running


def configuration(realm: KerberosRealm, directory: Slapd, provider: IdentityProvider) -> dict[str, Any]:
    (text,) = (block.text for block in blocks(PAGE) if "tickets_from" in block.text and block.language == "toml")
    modules: dict[str, dict[str, Any]] = tomllib.loads(text)["delegation"]["modules"]
    assert modules["corp"]["targets"] == [modules["staff"]["urls"][0].replace("ldaps://", "ldap/")]
    modules["corp"] |= {"principal": realm.principal(GATEWAY), "keytab": str(realm.keytab(GATEWAY))}
    modules["corp"]["targets"] = [DIRECTORY]
    modules["staff"] |= {"urls": [directory.ldaps_url], "ca_file": str(directory.authority.certificate)}
    modules["staff"]["attributes"] += ["homePhone"]
    issuer = {
        "name": "test",
        "issuer": provider.issuer,
        "audience": MCP,
        "claim_mappings": {"legacy_username": "sub"},
        "role_mappings": {"user": ["staff"]},
    }
    return {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {"trusted_idps": [issuer], "permissions": {"user": ["ldap:read"]}},
        "delegation": {"modules": modules},
    }


async def test_a_token_becomes_a_ticket_and_the_directory_sees_and_serves_the_user(
    realm: KerberosRealm, directory: Slapd, provider: IdentityProvider
) -> None:
    minutes = MemorySink()
    server = MCPOAuthServer(configuration(realm, directory, provider), audit_sink=minutes)
    await server.start()
    try:
        for user in ("alice", "bob", "alice"):
            search = {"filter": {"attribute": "homePhone", "present": True}}
            found = await call(server, provider, user, "staff-search", search)
            assert [entry["attributes"]["homePhone"] for entry in found["entries"]] == [[f"secret-{user}"]]
            event = [each for each in minutes.entries() if each.source == "delegation:staff"][-1]
            assert event.receipt is not None
            assert event.receipt.identity == f"dn:uid={user},ou=people,{SUFFIX}"
            assert event.receipt.details == {"kerberos": f"{user}@EXAMPLE.COM"}
        assert await call(server, provider, "vip", "staff-whoami", {}) == "kerberos_user_not_delegable"
    finally:
        await server.stop()


async def call(
    server: MCPOAuthServer, provider: IdentityProvider, user: str, tool: str, arguments: dict[str, Any]
) -> Any:
    async with Visitor.connected(server.url, provider.issue(user)) as visitor:
        answer = await visitor._client.call_tool(tool, arguments)
    content = answer.structured_content
    assert content is not None
    return content["error"]["code"] if answer.is_error else content
