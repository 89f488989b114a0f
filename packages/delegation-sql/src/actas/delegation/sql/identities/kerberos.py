"""Log in as the user with the user's own Kerberos ticket (GSSAPI), which another module of this gateway obtains.

The server trusts the KDC and not the gateway: it sees the user's principal, and decides by its own ``pg_hba.conf`` and
``pg_ident.conf`` whether that is the role. Over TLS the ticket says who we are; without, it encrypts as well.
"""

import asyncio
import socket
from dataclasses import dataclass, replace
from functools import partial

from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from actas.core.errors import (
    CredentialRejected,
    DelegationError,
    DownstreamUnavailable,
    IdentityMismatch,
    PrincipalUnavailable,
)
from actas.core.tickets import Tickets
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.evidence import NOTHING, Evidence
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.frames import Frame, own_login
from actas.delegation.sql.servers import Server
from actas.delegation.sql.settings import SqlSettings
from actas.delegation.sql.ticket_logins import TicketConnection, TicketLoginFailed, TicketLogins

_MOST_LOGINS = 16
_SERVERS_WORD = "SELECT principal FROM pg_catalog.pg_stat_gssapi WHERE pid OPERATOR(pg_catalog.=) pg_backend_pid()"


@dataclass(slots=True)
class _Login:
    """One user's, at whichever server lets them in."""

    tickets: Tickets
    was_known: bool = False
    """A server took the ticket."""


class Kerberos:
    """By a ticket for ``postgres/<host>`` from ``call.tickets``."""

    def __init__(self, settings: SqlSettings, connector: Connector) -> None:
        self._service = settings.kerberos_service
        self._over_tls = settings.tls is not None
        self._connector = connector
        self._logins = TicketLogins(min(settings.pool.total, _MOST_LOGINS))
        self.method = "login:kerberos"

    async def check(self) -> None:
        """There is no account of the gateway's own to look with."""

    async def connect(self, user: str, evidence: Evidence = NOTHING) -> AsyncConnection:
        """Log in as ``user`` with a ticket of the session's user.

        Raises:
            CredentialRejected: the server answers, and does not take the ticket.
            LoginRefused: it takes the ticket, and does not let its user in as ``user``.
            IdentityMismatch: it saw somebody else than whose ticket it was.
            ActasError: there is no ticket, see :meth:`.Tickets.obtain`.
        """
        if evidence.tickets is None:
            raise PrincipalUnavailable(detail="identity = kerberos needs tickets_from, which this module does not have")
        login = _Login(evidence.tickets)
        try:
            connection = await self._connector.open(user, self._proof(), partial(self._log_in, login))
        except LoginRefused as refused:
            if login.was_known or (self._over_tls and "GSSAPI" not in (refused.detail or "")):
                raise
            raise CredentialRejected(detail=refused.detail) from None
        await self._see(connection)
        return await self._connector.unplanted(connection, user)

    def frame(self, user: str, connection: AsyncConnection) -> Frame:
        """The session is the user's own."""
        return replace(own_login(user), seen={"kerberos": _principal(connection)})

    async def close(self) -> None:
        """Let the threads go."""
        self._logins.close()

    def _proof(self) -> dict[str, str]:
        proof = {"require_auth": "gss", "krbsrvname": self._service, "gsslib": "gssapi", "gssdelegation": "0"}
        return proof if self._over_tls else {**proof, "gssencmode": "require"}

    async def _log_in(self, login: _Login, server: Server, conninfo: str) -> AsyncConnection:
        addresses = await _addresses(server)
        ticket = await login.tickets.obtain(f"{self._service}/{server.host.lower()}")
        hosts = ",".join([server.host] * len(addresses))
        named = make_conninfo(conninfo, host=hosts, hostaddr=",".join(addresses))
        try:
            return await self._logins.log_in(named, ticket)
        except TicketLoginFailed as failed:
            login.was_known |= failed.took_ticket
            raise

    async def _see(self, connection: AsyncConnection) -> None:
        """Close the connection where the server saw somebody else."""
        seen = await self._connector.ask(connection, _SERVERS_WORD, {})
        if seen != [(_principal(connection),)]:
            connection.pgconn.finish()
            raise IdentityMismatch(detail=f"the server saw {seen}, and the ticket was {_principal(connection)}'s")


async def _addresses(server: Server) -> list[str]:
    """The server's addresses. Raises DownstreamUnavailable where its name has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DownstreamUnavailable(detail=f"the server's name has no address: {type(error).__name__}") from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _principal(connection: AsyncConnection) -> str:
    if not isinstance(connection, TicketConnection):
        raise DelegationError(detail="a connection that was opened without a ticket")
    return connection.principal
