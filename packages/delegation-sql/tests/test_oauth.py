"""identity = oauth: the exchanged token logs in, and a validator of the server's own judges it (PostgreSQL 18)."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from sql_gateway import READ, session_of

from actas.cli.demo_client import Visitor
from actas.core import MemorySink, Secret
from actas.core.errors import ConfigurationError, CredentialRejected, PrincipalUnavailable
from actas.core.models import Credential, DelegationCall, DelegationResult
from actas.delegation.sql.actions import Query
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.identities.oauth import OAuth
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import SqlSettings
from actas.mcp import MCPOAuthServer
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.idp_clients import DemoClient
from actas.testing.postgres_oauth import OAuthPostgres

pytestmark = pytest.mark.anyio

ISSUER = "https://login.example.com"
DATABASE = "https://db.example.com"
MCP = "https://mcp.example.com/mcp"
USERS = ("alice", "bob")
JUDGED: list[str] = []
"""Tokens that the server had judged."""


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    users = {user: DemoUser(roles=["staff"]) for user in USERS}
    with IdentityProvider(users=users, audience=MCP) as running:
        running.exchanges.clients.add(DemoClient("gateway", secret="secret"))
        yield running


@pytest.fixture(scope="module")
def server(provider: IdentityProvider) -> Iterator[OAuthPostgres]:
    """It trusts tokens that the provider signed, for this database, as long as they last."""

    def verify(token: str) -> str | None:
        JUDGED.append(token)
        for key in provider.keys:
            try:
                claims = jwt.decode(token, key.key, algorithms=[key.algorithm]).claims
            except (JoseError, ValueError):
                continue
            good = claims["aud"] in (DATABASE, [DATABASE]) and claims["exp"] > time.time()
            return str(claims["sub"]) if good else None
        return None

    with needed_in_ci(), OAuthPostgres(verify, issuer=ISSUER, scope="db") as running:
        running.add_users(*USERS)
        running.sql("""
CREATE TABLE notes (owner name DEFAULT session_user, body text);
INSERT INTO notes VALUES ('alice', 'hers'), ('bob', 'his');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (owner = session_user);
GRANT SELECT ON notes TO app_users;
""")
        yield running


@pytest.fixture
def settings(server: OAuthPostgres) -> SqlSettings:
    return SqlSettings(host=str(server.socket_folder), database="app", identity="oauth", oauth_issuer=ISSUER)


def credential(token: str, **changes: Any) -> Credential:
    return replace(Credential(token=Secret(token), subject="x", expires_at=time.time() + 60), **changes)


Call = Callable[..., Any]


@pytest.fixture
async def call(settings: SqlSettings) -> Any:
    module = SqlDelegation(settings)

    async def one(user: str, presented: Credential | None, sql: str = "SELECT session_user") -> DelegationResult:
        made = DelegationCall(
            session=session_of(user, READ),
            action=module.actions[0],
            parameters=Query(sql=sql),
            deadline=time.monotonic() + 20,
            request_id="r",
            credential=presented,
        )
        return await module.delegate(made)

    yield one
    await module.destroy()


async def test_the_token_logs_its_user_in_and_nobody_else(call: Call, provider: IdentityProvider) -> None:
    tokens = {user: credential(provider.issue(user, audience=DATABASE)) for user in USERS}
    for user in USERS:
        result = await call(user, tokens[user], "SELECT session_user, body FROM notes")
        assert result.data["rows"] == [[user, {"alice": "hers", "bob": "his"}[user]]]
        assert (result.receipt.identity, result.receipt.method) == (user, "login:oauth")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda idp: idp.issue("alice", audience=DATABASE),  # hers, for bob's role
        lambda idp: idp.issue("bob", audience=MCP),  # the caller's own: not for this database
        lambda idp: idp.issue("bob", audience=DATABASE, expires_in=-10),
        lambda idp: idp.issue("bob", audience=DATABASE)[:-4] + "AAAA",
        lambda idp: "rubbish",
    ],
)
async def test_a_token_that_the_servers_validator_does_not_take_is_rejected(
    call: Call, provider: IdentityProvider, wrong: Callable[[IdentityProvider], str]
) -> None:
    token = wrong(provider)
    with pytest.raises(CredentialRejected) as rejected:
        await call("bob", credential(token))
    assert token not in f"{rejected.value!r} {rejected.value.detail}"


async def test_many_at_once_are_each_who_their_token_says(call: Call, provider: IdentityProvider) -> None:
    tokens = {user: credential(provider.issue(user, audience=DATABASE)) for user in USERS}

    async def one(number: int) -> None:
        user = USERS[number % 2]
        result = await call(user, tokens[user], "SELECT session_user, count(*) FROM generate_series(1, 20000)")
        assert result.data["rows"] == [[user, 20000]]

    JUDGED.clear()
    await asyncio.gather(*(one(number) for number in range(40)))
    # As many as there are connections: no login was tried with anybody else's.
    assert sorted(JUDGED) == sorted([tokens[user].token.reveal() for user in USERS] * 5)


async def test_a_connection_serves_only_whom_its_token_was_for_though_another_has_the_same_role(
    call: Call, provider: IdentityProvider
) -> None:
    good = credential(provider.issue("alice", audience=DATABASE))
    await asyncio.gather(*(call("alice", good, "SELECT count(*) FROM generate_series(1, 50000)") for _ in range(5)))
    for _ in range(6):
        with pytest.raises(CredentialRejected):
            await call("alice", credential("rubbish", subject="somebody else"))
    JUDGED.clear()
    assert (await call("alice", replace(good, subject="another spelling"))).receipt.identity == "alice"
    assert len(JUDGED) == 1


async def test_without_a_token_or_with_one_that_is_bound_to_a_key_nobody_is_asked(call: Call) -> None:
    with pytest.raises(PrincipalUnavailable, match=r".*") as refused:
        await call("alice", None)
    assert "token_exchange" in (refused.value.detail or "")
    with pytest.raises(PrincipalUnavailable):
        await call("alice", credential("x", token_type="DPoP"))


def test_other_connections_of_this_process_are_left_alone(server: OAuthPostgres) -> None:
    where = {"host": str(server.socket_folder), "dbname": "app", "connect_timeout": 5}
    with psycopg.connect(**where, user="postgres") as admin:
        assert admin.execute("SELECT session_user").fetchone() == ("postgres",)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**where, user="alice", oauth_issuer=ISSUER, oauth_client_id="somebody else's")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"oauth_issuer": None}, "oauth_issuer: identity = oauth needs it"),
        ({"oauth_issuer": "http://login.example.com"}, "oauth_issuer: must be an https URL"),
        ({"identity": "login"}, "oauth_issuer: identity = login has no use for it"),
    ],
)
def test_what_does_not_fit_is_refused(settings: SqlSettings, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        SqlDelegation(replace(settings, **changes))


def test_there_is_no_way_by_token_without_an_issuer(settings: SqlSettings) -> None:
    with pytest.raises(ConfigurationError, match="oauth_issuer: missing"):
        OAuth(replace(settings, oauth_issuer=None), Connector(settings))


async def test_the_whole_road_exchanges_the_token_and_tries_anew_where_the_server_took_it_for_revoked(
    server: OAuthPostgres, provider: IdentityProvider
) -> None:
    minutes = MemorySink()
    module = {
        "kind": "sql",
        "host": str(server.socket_folder),
        "database": "app",
        "identity": "oauth",
        "oauth_issuer": ISSUER,
        "token_exchange": {
            "idp": "test",
            "client": {"id": "gateway", "secret": "secret"},
            "audience": [DATABASE],
            "cache": {"enabled": True},
        },
    }
    issuer = {
        "name": "test",
        "issuer": provider.issuer,
        "audience": MCP,
        "claim_mappings": {"legacy_username": "sub"},
        "role_mappings": {"user": ["staff"]},
    }
    running = MCPOAuthServer(
        {
            "mcp": {"port": 0, "resource": MCP},
            "auth": {"trusted_idps": [issuer], "permissions": {"user": ["sql:read"]}},
            "delegation": {"modules": {"db": module}},
        },
        audit_sink=minutes,
    )
    await running.start()
    try:
        for user, body in (("alice", "hers"), ("bob", "his")):
            async with Visitor.connected(running.url, provider.issue(user)) as visitor:
                answer = await visitor._client.call_tool("db-delegate", {"sql": "SELECT session_user, body FROM notes"})
                assert (answer.structured_content or {})["rows"] == [[user, body]]
        provider.exchanges.claims = {"sub": "bob"}
        async with Visitor.connected(running.url, provider.issue("alice", claims={"jti": "another"})) as visitor:
            assert (await visitor._client.call_tool("db-delegate", {"sql": "SELECT 1"})).is_error
    finally:
        provider.exchanges.claims = {}
        await running.stop()
    receipts = [event.receipt for event in minutes.entries() if event.source == "delegation:db" and event.receipt]
    assert [(each.identity, each.method) for each in receipts] == [("alice", "login:oauth"), ("bob", "login:oauth")]
