"""How the gateway logs in as a user: by what the operating system or a certificate proves about the gateway."""

import asyncio
from collections.abc import Mapping

from psycopg import AsyncConnection, Error
from psycopg.conninfo import make_conninfo

from actas.core.errors import DownstreamUnavailable
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.frames import Frame, own_login, quoted
from actas.delegation.sql.probe import Probe
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
WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.text[])
    AND me.rolname OPERATOR(pg_catalog.=) session_user
    AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'::pg_catalog.text
    AND (a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid
        OR a.grantee OPERATOR(pg_catalog.<>) me.oid AND NOT me.rolsuper
            AND pg_catalog.pg_get_userbyid(a.grantee) OPERATOR(pg_catalog.<>) 'pg_database_owner'::pg_catalog.name
            AND pg_catalog.pg_has_role(me.oid, a.grantee, 'MEMBER'::pg_catalog.text))
LIMIT 1
"""
"""Who, of all and of the user's groups, may create in the schemas of a search path. Nothing in it is looked up there.

Only the database's owner is in ``pg_database_owner``; a superuser is a member of everything."""


class Login:
    """Opens connections, each as one user's own role. No password is sent, ever."""

    def __init__(self, settings: SqlSettings) -> None:
        self._parameters = _parameters(settings)
        self._search_path = settings.search_path
        self._seconds = settings.pool.connect_seconds
        self.probe = Probe(settings)
        self.method = "login:peer" if settings.unix_socket else "login:certificate"

    async def connect(self, user: str) -> AsyncConnection:
        """Log in as ``user``.

        Raises:
            LoginRefused: the server answers, and does not let the user in; or others may create in its search path.
            DownstreamUnavailable: it does not answer, or has no room.
        """
        conninfo = make_conninfo(**self._parameters, user=user, connect_timeout=max(2, int(self._seconds)))
        try:
            async with asyncio.timeout(self._seconds):
                connection = await AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=None)
                return await self._unplanted(connection, user)
        except TimeoutError:
            raise DownstreamUnavailable(detail="connecting took too long") from None
        except Error as error:
            private = str(error)
        if "too many" in private or "remaining connection slots" in private or not await self.probe.answers():
            raise DownstreamUnavailable(detail=private)
        raise LoginRefused(detail=private)

    def frame(self, user: str) -> Frame:
        """What makes a call's transaction ``user``'s, and proves it."""
        return own_login(user)

    def schemas(self, user: str) -> list[str]:
        """Where ``user``'s unqualified names are looked up, after ``pg_catalog``."""
        return [user if name == "$user" else name for name in self._search_path]

    async def _unplanted(self, connection: AsyncConnection, user: str) -> AsyncConnection:
        """The connection, where nobody beside the user can put functions or operators in the way of its statements."""
        try:
            found = await (await connection.execute(_CREATORS, [self.schemas(user)])).fetchone()
        except BaseException:
            connection.pgconn.finish()
            raise
        if found is None:
            return connection
        connection.pgconn.finish()
        schema, creator = found
        raise LoginRefused(_PLANTABLE, detail=f"REVOKE CREATE ON SCHEMA {schema} FROM {creator}: see search_path")


def _parameters(settings: SqlSettings) -> dict[str, str]:
    """Everything that the environment or a file could otherwise set is set here."""
    parameters = {
        "host": settings.host,
        "hostaddr": "",
        "port": str(settings.port),
        "dbname": settings.database,
        "password": "",
        "passfile": "/nonexistent",
        "client_encoding": "UTF8",
        "application_name": "actas",
        "fallback_application_name": "",
        "options": _options(settings),
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
        "sslcert": tls.certificate_file,
        "sslkey": tls.key_file,
        "sslcertmode": "require",
        "sslcrl": "",
        "sslcrldir": "",
        "sslnegotiation": "postgres",
        "ssl_min_protocol_version": "TLSv1.2",
    }


def _options(settings: SqlSettings) -> str:
    """Settings of the session, stronger than those that roles and databases carry.

    The gate reads strings as ``standard_conforming_strings`` says; so must the server.
    """
    session: Mapping[str, str] = {
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
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in session.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
