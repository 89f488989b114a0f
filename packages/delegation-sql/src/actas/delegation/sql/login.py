"""How the gateway logs in as a user: by what the operating system or a certificate proves about the gateway."""

import asyncio
from collections.abc import Mapping

from psycopg import AsyncConnection, Error
from psycopg.conninfo import make_conninfo

from actas.core.errors import DownstreamUnavailable
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.probe import Probe
from actas.delegation.sql.settings import SqlSettings

_CLIENT_CHECK_MILLISECONDS = "1000"
"""A statement that we gave up ends in this time, even where its cancel was lost."""


class Login:
    """Opens connections, each as one user's own role. No password is sent, ever."""

    def __init__(self, settings: SqlSettings) -> None:
        self._parameters = _parameters(settings)
        self._seconds = settings.pool.connect_seconds
        self.probe = Probe(settings)
        self.method = "login:peer" if settings.unix_socket else "login:certificate"

    async def connect(self, user: str) -> AsyncConnection:
        """Log in as ``user``.

        Raises:
            LoginRefused: the server answers, and does not let the user in.
            DownstreamUnavailable: it does not answer, or has no room.
        """
        conninfo = make_conninfo(**self._parameters, user=user, connect_timeout=max(2, int(self._seconds)))
        try:
            async with asyncio.timeout(self._seconds):
                return await AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=None)
        except TimeoutError:
            raise DownstreamUnavailable(detail="connecting took too long") from None
        except Error as error:
            private = str(error)
        if "too many" in private or "remaining connection slots" in private or not await self.probe.answers():
            raise DownstreamUnavailable(detail=private)
        raise LoginRefused(detail=private)


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
        "search_path": ", ".join(["pg_catalog", *map(_quoted, settings.search_path), "pg_temp"]),
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


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
