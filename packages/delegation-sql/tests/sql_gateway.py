"""A gateway to a real server, and calls through it in one line."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from joserfc import jwt
from joserfc.errors import JoseError

from actas.core.lending import Lent
from actas.core.models import Credential, DelegationCall, DelegationResult, Session
from actas.core.protocols import TicketGranter
from actas.core.secret import Secret
from actas.delegation.sql.actions import ListTables, Query, TableDetails
from actas.delegation.sql.evidence import Evidence
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import SqlSettings, TlsSettings
from actas.testing.kdc import REALM
from actas.testing.postgres import DebianPostgres, PostgresServer
from actas.testing.tokens import generate_key

READ = ("sql:read",)
WRITE = ("sql:read", "sql:write")
ADMIN = ("sql:read", "sql:admin")
ALL = ("admin", "sql:read")


ISSUER = "https://login.example.com"
"""Of the tokens with which users log in, where that is the way; the server's validator knows its key."""
ISSUER_KEY = generate_key("ES256")


def credential_for(user: str) -> Credential:
    """What the pipeline would have exchanged for the caller's token."""
    token = jwt.encode({"alg": "ES256"}, {"iss": ISSUER, "sub": user}, ISSUER_KEY)
    return Credential(token=Secret(token), subject=user, expires_at=time.time() + 60)


def user_of(token: str) -> str | None:
    """Whom a token is for, where that key signed it."""
    try:
        return str(jwt.decode(token, ISSUER_KEY, algorithms=["ES256"]).claims["sub"])
    except (JoseError, ValueError):
        return None


def settings_for(server: PostgresServer) -> SqlSettings:
    if isinstance(server, DebianPostgres):
        tls = TlsSettings(
            ca_file=str(server.authority.certificate),
            certificate_file=str(server.gateway.certificate),
            key_file=str(server.gateway.key),
        )
        return SqlSettings(host=server.host, port=server.port, database=server.database, tls=tls)
    return SqlSettings(host=str(server.socket_folder), database=server.database)


def by_ticket(settings: SqlSettings) -> SqlSettings:
    """The same for users with tickets: the gateway proves nothing about itself."""
    assert settings.tls
    return replace(settings, identity="kerberos", tls=TlsSettings(ca_file=settings.tls.ca_file))


def session_of(user: str, permissions: tuple[str, ...] = READ) -> Session:
    return Session(
        issuer="https://issuer.test",
        subject=f"subject-of-{user}",
        username=f"{user}@example.test",
        provider="test",
        legacy_username=user,
        permissions=frozenset(permissions),
    )


LENDERS: dict[int, TicketGranter] = {}
"""Who lends the users' tickets for the server at that port."""


def evidence_for(settings: SqlSettings, user: str) -> Evidence:
    """What a call of ``user``'s would bring."""
    if settings.identity != "kerberos":
        return Evidence(credential_for(user))
    return Evidence(tickets=Lent(LENDERS[settings.port], session_of(user), time.monotonic() + 20))


@dataclass
class Gateway:
    """A module, and calls to it in one line."""

    module: SqlDelegation
    settings: SqlSettings

    async def call(
        self,
        parameters: object,
        user: str = "alice",
        permissions: tuple[str, ...] = READ,
        seconds: float = 20.0,
    ) -> DelegationResult:
        index = {Query: 0, ListTables: 1, TableDetails: 2}[type(parameters)]
        evidence = evidence_for(self.settings, user)
        call = DelegationCall(
            session=session_of(user, permissions),
            action=self.module.actions[index],
            parameters=parameters,
            deadline=time.monotonic() + seconds,
            request_id="request-1",
            credential=evidence.credential,
            tickets=evidence.tickets,
        )
        return await self.module.delegate(call)

    async def query(self, sql: str, user: str = "alice", permissions: tuple[str, ...] = READ, **params: object) -> dict:
        result = await self.call(Query(sql=sql, params=params), user, permissions)
        assert result.receipt.identity == user
        details = dict(result.receipt.details)
        if result.receipt.method in ("set-role", "login:ephemeral"):
            assert details.pop("session_user").startswith("actas_")
        if result.receipt.method == "login:kerberos":
            assert details.pop("kerberos") == f"{user}@{REALM}"
        assert set(details.values()) == {user}
        return result.data

    async def rows(self, sql: str, *arguments, **params: object) -> list:
        return (await self.query(sql, *arguments, **params))["rows"]

    async def value(self, sql: str, *arguments, **params: object) -> object:
        ((value,),) = await self.rows(sql, *arguments, **params)
        return value


@asynccontextmanager
async def gateway_to(settings: SqlSettings, **changes: object) -> AsyncGenerator[Gateway]:
    changed = replace(settings, **changes)
    module = SqlDelegation(changed)
    await module.initialize()
    try:
        yield Gateway(module, changed)
    finally:
        await module.destroy()
