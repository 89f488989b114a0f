"""Log in as a role that is made for this one session and may become the user, and nobody else.

For databases whose users have no login and whose ``pg_hba.conf`` cannot be changed. A broker with CREATEROLE makes the
role, with a random password that is good for a minute and known to this process alone; ``RESET ROLE`` then leads back
to a role that may nothing but become the user again. Roles whose session has ended are dropped before the next is made.
"""

import asyncio
import contextlib
import secrets
from datetime import UTC, datetime, timedelta

from psycopg import AsyncConnection, Error, sql

from actas.core.errors import ConfigurationError, DownstreamUnavailable
from actas.delegation.sql.connector import Connector, password_proof
from actas.delegation.sql.evidence import NOTHING, Evidence
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.frames import Frame, taken_role
from actas.delegation.sql.identities.service import Service
from actas.delegation.sql.settings import SqlSettings

_GROUP = _PREFIX = "actas_ephemeral"
_PASSWORD_VALID = timedelta(minutes=1)
_INHERIT_OPTION_SINCE = 160000

_HAND_ON = """
SELECT u.rolname FROM pg_catalog.pg_roles u
    JOIN pg_catalog.pg_auth_members m ON m.roleid OPERATOR(pg_catalog.=) u.oid AND m.admin_option
    JOIN pg_catalog.pg_roles b ON b.oid OPERATOR(pg_catalog.=) m.member
WHERE u.rolname OPERATOR(pg_catalog.=) %(user)s::pg_catalog.name AND b.rolname OPERATOR(pg_catalog.=) session_user
    AND NOT (u.rolsuper OR u.rolcreaterole OR u.rolreplication OR u.rolbypassrls)
"""
"""PostgreSQL 15 lets a broker hand on any role, the tables' owner's too: we do not, where it was not granted."""
_ENDED = """
SELECT r.rolname FROM pg_catalog.pg_roles r
    JOIN pg_catalog.pg_auth_members m ON m.member OPERATOR(pg_catalog.=) r.oid
    JOIN pg_catalog.pg_roles g ON g.oid OPERATOR(pg_catalog.=) m.roleid
WHERE g.rolname OPERATOR(pg_catalog.=) %(group)s::pg_catalog.name
    AND pg_catalog.starts_with(r.rolname::pg_catalog.text, %(prefix)s::pg_catalog.text)
    AND r.rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now()
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.usesysid OPERATOR(pg_catalog.=) r.oid)
"""
"""Roles that nobody can log in as any more, and nobody is logged in as."""


class EphemeralRole:
    """By a role of its own for each session, made by ``service.role``."""

    def __init__(self, settings: SqlSettings, connector: Connector) -> None:
        self._service = Service(settings, connector)
        self._connector = connector
        self._broker: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self.method = "login:ephemeral"

    async def check(self) -> None:
        """See whether the broker may make roles. A server that is down is asked again at each login."""
        try:
            async with self._turn:
                broker = await self._at_work()
                rows = await self._connector.ask(
                    broker, "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = session_user AND rolcreaterole", {}
                )
        except DownstreamUnavailable:
            return
        except LoginRefused as refused:
            raise ConfigurationError(f"service.role: the database does not let it in: {refused.detail}") from None
        if not rows:
            await self.close()
            raise ConfigurationError(f"service.role: may make no roles: ALTER ROLE {self._service.role} CREATEROLE")

    async def connect(self, user: str, evidence: Evidence = NOTHING) -> AsyncConnection:
        """Make a role that may become ``user``, and log in as it."""
        name, password = f"{_PREFIX}_" + secrets.token_hex(12), secrets.token_urlsafe(32)
        async with self._turn:
            await self._make(name, password, user)
        connection = await self._connector.open(name, password_proof(password))
        return await self._connector.unplanted(connection, user)

    def frame(self, user: str, connection: AsyncConnection) -> Frame:
        """The session is the made role's; the transaction's role is the user's."""
        return taken_role(user, connection.info.user)

    async def close(self) -> None:
        """Drop the roles whose sessions have ended, and let the broker go."""
        async with self._turn:
            if self._broker is not None and not self._broker.closed:
                with contextlib.suppress(Error):
                    await self._drop_ended(self._broker)
                self._broker.pgconn.finish()
            self._broker = None

    async def _at_work(self) -> AsyncConnection:
        if self._broker is None or self._broker.closed:
            self._broker = await self._service.open()
        return self._broker

    async def _make(self, name: str, password: str, user: str) -> None:
        broker = await self._at_work()
        if not await self._connector.ask(broker, _HAND_ON, {"user": user}):
            raise LoginRefused(detail="the role was not granted to the broker WITH ADMIN OPTION, or may too much")
        try:
            await self._drop_ended(broker)
            async with broker.transaction():
                for command in _commands(broker, name, password, user):
                    await broker.execute(command)
        except Error as error:
            state = error.sqlstate or ""
            if broker.closed or state.startswith(("08", "57")) or not state:
                broker.pgconn.finish()
                raise DownstreamUnavailable(detail=f"the broker lost its connection: {type(error).__name__}") from None
            raise LoginRefused(detail=f"the broker could not make a role: SQLSTATE {state}") from None

    async def _drop_ended(self, broker: AsyncConnection) -> None:
        for (role,) in await self._connector.ask(broker, _ENDED, {"group": _GROUP, "prefix": _PREFIX + "_"}):
            with contextlib.suppress(Error):  # it owns something, or another gateway was quicker
                await broker.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _commands(broker: AsyncConnection, name: str, password: str, user: str) -> list[sql.Composed]:
    """The password leaves this process only as what the server keeps of it (SCRAM)."""
    verifier = broker.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    until = (datetime.now(UTC) + _PASSWORD_VALID).isoformat()
    apart = " WITH INHERIT FALSE" if broker.info.server_version >= _INHERIT_OPTION_SINCE else ""
    names = {"role": sql.Identifier(name), "user": sql.Identifier(user)}
    return [
        sql.SQL(
            "CREATE ROLE {role} LOGIN NOINHERIT CONNECTION LIMIT 1 IN ROLE {group} "
            "PASSWORD {verifier} VALID UNTIL {until}"
        ).format(**names, group=sql.Identifier(_GROUP), verifier=sql.Literal(verifier), until=sql.Literal(until)),
        sql.SQL("GRANT {user} TO {role}" + apart).format(**names),
        sql.SQL("ALTER ROLE {role} SET role = {user}").format(**names),
    ]
