"""Opens connections to PostgreSQL: where, how it is verified, and with which settings of the session."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import LiteralString

from psycopg import AsyncConnection, Error
from psycopg.conninfo import make_conninfo

from actas.core.errors import DownstreamUnavailable
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.frames import literal, quoted
from actas.delegation.sql.probe import Probe
from actas.delegation.sql.servers import Choice, Server, Wanted
from actas.delegation.sql.settings import SqlSettings

_CLIENT_CHECK_MILLISECONDS = "1000"
"""A statement that we gave up ends in this time, even where its cancel was lost."""

_PLANTABLE = (
    "Others could plant functions in the schemas that your statements use, so you were not let in. "
    "Ask the database's administrator to look at the audit."
)
_CREATORS = """
SELECT pg_catalog.quote_ident(n.nspname::pg_catalog.text),
    CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'::pg_catalog.text
        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text) END
FROM pg_catalog.pg_namespace n
    CROSS JOIN pg_catalog.pg_roles me
    CROSS JOIN LATERAL pg_catalog.aclexplode(
        coalesce(n.nspacl, pg_catalog.acldefault('n'::pg_catalog."char", n.nspowner))) a
WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (%(schemas)s::pg_catalog.text[])
    AND me.rolname OPERATOR(pg_catalog.=) %(user)s::pg_catalog.name
    AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'::pg_catalog.text
    AND (a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid
        OR a.grantee OPERATOR(pg_catalog.<>) me.oid AND NOT me.rolsuper
            AND pg_catalog.pg_get_userbyid(a.grantee) OPERATOR(pg_catalog.<>) 'pg_database_owner'::pg_catalog.name
            AND pg_catalog.pg_has_role(me.oid, a.grantee, 'MEMBER'::pg_catalog.text))
LIMIT 1
"""
"""Who, of all and of the user's groups, may create in the schemas of a search path. Nothing in it is looked up there.

Only the database's owner is in ``pg_database_owner``; a superuser is a member of everything."""


Proof = Mapping[str, str]
"""What libpq is told besides, to prove who asks."""


LogIn = Callable[[Server, str], Awaitable[AsyncConnection]]
"""Logs in to one server, with libpq's connection string. Raises psycopg.Error where it is refused."""


def password_proof(password: str) -> Proof:
    """A password, which the server never gets to see (SCRAM)."""
    return {"password": password, "require_auth": "scram-sha-256"}


class Connector:
    """Opens connections. Everything that the environment or a file could otherwise set is set here."""

    def __init__(self, settings: SqlSettings, *, session: bool = True, wanted: Wanted = Wanted.PRIMARY) -> None:
        self._parameters = _parameters(settings)
        if session:
            self._parameters["options"] = _options(settings)
        self._search_path = settings.search_path
        self._seconds = settings.pool.connect_seconds
        self._servers = Choice(settings.servers, wanted)
        self._probes = {server: Probe(server, settings.tls) for server in settings.servers}

    async def open(self, user: str, proof: Proof | None = None, log_in: LogIn | None = None) -> AsyncConnection:
        """Log in as ``user``. Without ``proof``, by what the operating system or the gateway's certificate proves.

        Args:
            log_in: how, where psycopg's own way will not do. What it raises besides ends the whole attempt.

        Raises:
            LoginRefused: all servers answer, and none lets the user in.
            DownstreamUnavailable: one does not answer or has no room, and no other is what is wanted.
        """
        refused: LoginRefused | None = None
        away: DownstreamUnavailable | None = None
        spare: AsyncConnection | None = None
        servers = self._servers.in_order()
        until = time.monotonic() + self._seconds
        try:
            for left, server in zip(range(len(servers), 0, -1), servers, strict=True):
                try:
                    left_seconds = (until - time.monotonic()) / left
                    connection = await self._open(server, user, proof or {}, left_seconds, log_in or _log_in)
                except LoginRefused as error:
                    refused = error
                except DownstreamUnavailable as error:
                    away = error
                else:
                    if self._servers.will_do(is_standby=_is_standby(connection)):
                        self._servers.was_good(server)
                        return connection
                    if spare is not None:
                        spare.pgconn.finish()
                    spare = connection
            if spare is not None and self._servers.others_will_do:
                connection, spare = spare, None
                return connection
        finally:
            if spare is not None:
                spare.pgconn.finish()
        raise away or refused or DownstreamUnavailable(detail="none of the servers is a primary")

    async def _open(
        self, server: Server, user: str, proof: Proof, seconds: float, log_in: LogIn, *, again: bool = True
    ) -> AsyncConnection:
        """Log in to one server. A refusal counts the second time: the first time, it may just have been starting."""
        try:
            return await self._attempt(server, user, proof, seconds, log_in)
        except Error as error:
            private = str(error)
        no_room = "too many" in private or "remaining connection slots" in private
        if no_room or not await self._probes[server].answers():
            raise DownstreamUnavailable(detail=private)
        if again:
            return await self._open(server, user, proof, seconds, log_in, again=False)
        raise LoginRefused(detail=private)

    async def _attempt(self, server: Server, user: str, proof: Proof, seconds: float, log_in: LogIn) -> AsyncConnection:
        timeout = {"connect_timeout": str(max(2, int(seconds)))}
        where = {"host": server.host, "port": str(server.port)}
        conninfo = make_conninfo(**{**self._parameters, **proof, **where, **timeout, "user": user})
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await log_in(server, conninfo)
        except TimeoutError:
            raise DownstreamUnavailable(detail="connecting took too long") from None

    async def answering(self) -> tuple[int, int]:
        """How many servers take connections, and how many there are. Asks them as nobody; 4 s at most."""
        answers = await asyncio.gather(*(probe.answers() for probe in self._probes.values()))
        return sum(answers), len(answers)

    def schemas(self, user: str) -> list[str]:
        """Where ``user``'s unqualified names are looked up, after ``pg_catalog``."""
        return [user if name == "$user" else name for name in self._search_path]

    async def unplanted(self, connection: AsyncConnection, user: str) -> AsyncConnection:
        """The connection, where nobody beside ``user`` can put functions or operators in the way of its statements.

        Raises:
            LoginRefused: somebody can; the connection is closed.
            DownstreamUnavailable: the server did not say.
        """
        found = await self.ask(connection, _CREATORS, {"user": user, "schemas": self.schemas(user)})
        if not found:
            return connection
        connection.pgconn.finish()
        schema, creator = found[0]
        raise LoginRefused(_PLANTABLE, detail=f"REVOKE CREATE ON SCHEMA {schema} FROM {creator}: see search_path")

    async def ask(
        self,
        connection: AsyncConnection,
        query: LiteralString,
        values: Mapping[str, object],
        *,
        first: LiteralString | None = None,
    ) -> list[tuple[str, ...]]:
        """The rows of a question of ours, asked after the command ``first``.

        Where the server does not answer, the connection is closed.

        Raises:
            DownstreamUnavailable: it did not answer, or not in time.
        """
        try:
            async with asyncio.timeout(self._seconds):
                if first:
                    await connection.execute(first)
                return await (await connection.execute(query, values)).fetchall()
        except (Error, TimeoutError) as error:
            connection.pgconn.finish()
            raise DownstreamUnavailable(detail=f"while logging in: {type(error).__name__}") from None
        except BaseException:
            connection.pgconn.finish()
            raise


async def _log_in(server: Server, conninfo: str) -> AsyncConnection:
    return await AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=None)


def _is_standby(connection: AsyncConnection) -> bool:
    """PostgreSQL says so by itself, without being asked, since version 14."""
    return connection.pgconn.parameter_status(b"in_hot_standby") == b"on"


def _parameters(settings: SqlSettings) -> dict[str, str]:
    parameters = {
        "hostaddr": "",
        "dbname": settings.database,
        "password": "",
        "passfile": "/nonexistent",
        "client_encoding": "UTF8",
        "application_name": "actas",
        "fallback_application_name": "",
        "options": "",
        "require_auth": "none",
        "gssencmode": "disable",
        "target_session_attrs": "any",
        "load_balance_hosts": "disable",
        "replication": "",
    }
    tls = settings.tls
    if tls is None:
        return {**parameters, "sslmode": "disable"}
    return {
        **parameters,
        "sslmode": "verify-full",
        "sslrootcert": tls.ca_file,
        "sslcert": tls.certificate_file or "/nonexistent",
        "sslkey": tls.key_file or "/nonexistent",
        "sslcertmode": "require" if tls.certificate_file else "allow",
        "sslcrl": "",
        "sslcrldir": "",
        "sslnegotiation": "postgres",
        "ssl_min_protocol_version": "TLSv1.2",
    }


def session_settings(settings: SqlSettings) -> dict[str, str]:
    """Settings of the session, stronger than those that roles and databases carry.

    The gate reads strings as ``standard_conforming_strings`` says; so must the server.
    """
    return {
        "search_path": ", ".join(["pg_catalog", *map(quoted, settings.search_path), "pg_temp"]),
        "standard_conforming_strings": "on",
        "row_security": "on",
        "default_transaction_read_only": "off",
        "default_transaction_isolation": "read committed",
        "statement_timeout": str(int(settings.limits.seconds * 1000)),
        "idle_in_transaction_session_timeout": str(int(settings.limits.seconds * 1000) + 10_000),
        "client_connection_check_interval": _CLIENT_CHECK_MILLISECONDS,
        "jit": "off",  # while the compiler is being loaded, PostgreSQL 15 loses a cancel
        "client_min_messages": "error",
        "DateStyle": "ISO, YMD",
        "IntervalStyle": "iso_8601",
        "TimeZone": "UTC",
        "bytea_output": "hex",
        "extra_float_digits": "1",
    }


def local_settings(settings: SqlSettings) -> tuple[bytes, ...]:
    """The same as commands for one transaction."""
    lists = ("search_path", "DateStyle")
    return tuple(
        f"SET LOCAL {name} = {value if name in lists else literal(value)}".encode()
        for name, value in session_settings(settings).items()
    )


def _options(settings: SqlSettings) -> str:
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in session_settings(settings).items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
