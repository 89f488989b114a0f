"""A gateway to a real server, and calls through it in one line."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from actas.core.models import DelegationCall, DelegationResult, Session
from actas.delegation.sql.actions import ListTables, Query, TableDetails
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import SqlSettings, TlsSettings
from actas.testing.postgres import DebianPostgres, PostgresServer

READ = ("sql:read",)
WRITE = ("sql:read", "sql:write")
ADMIN = ("sql:read", "sql:admin")
ALL = ("admin", "sql:read")


def settings_for(server: PostgresServer) -> SqlSettings:
    if isinstance(server, DebianPostgres):
        tls = TlsSettings(
            ca_file=str(server.authority.certificate),
            certificate_file=str(server.gateway.certificate),
            key_file=str(server.gateway.key),
        )
        return SqlSettings(host=server.host, port=server.port, database=server.database, tls=tls)
    return SqlSettings(host=str(server.socket_folder), database=server.database)


def session_of(user: str, permissions: tuple[str, ...] = READ) -> Session:
    return Session(
        issuer="https://issuer.test",
        subject=f"subject-of-{user}",
        username=f"{user}@example.test",
        provider="test",
        legacy_username=user,
        permissions=frozenset(permissions),
    )


@dataclass
class Gateway:
    """A module, and calls to it in one line."""

    module: SqlDelegation

    async def call(
        self,
        parameters: object,
        user: str = "alice",
        permissions: tuple[str, ...] = READ,
        seconds: float = 20.0,
    ) -> DelegationResult:
        index = {Query: 0, ListTables: 1, TableDetails: 2}[type(parameters)]
        call = DelegationCall(
            session=session_of(user, permissions),
            action=self.module.actions[index],
            parameters=parameters,
            deadline=time.monotonic() + seconds,
            request_id="request-1",
        )
        return await self.module.delegate(call)

    async def query(self, sql: str, user: str = "alice", permissions: tuple[str, ...] = READ, **params: object) -> dict:
        result = await self.call(Query(sql=sql, params=params), user, permissions)
        assert result.receipt.identity == user
        details = dict(result.receipt.details)
        if result.receipt.method in ("set-role", "login:ephemeral"):
            assert details.pop("session_user").startswith("actas_")
        assert set(details.values()) == {user}
        return result.data

    async def rows(self, sql: str, *arguments, **params: object) -> list:
        return (await self.query(sql, *arguments, **params))["rows"]

    async def value(self, sql: str, *arguments, **params: object) -> object:
        ((value,),) = await self.rows(sql, *arguments, **params)
        return value


@asynccontextmanager
async def gateway_to(settings: SqlSettings, **changes: object) -> AsyncGenerator[Gateway]:
    module = SqlDelegation(replace(settings, **changes))
    await module.initialize()
    try:
        yield Gateway(module)
    finally:
        await module.destroy()
