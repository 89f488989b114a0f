"""Integrated login with pymssql: the user's ticket is chosen for the one thread that logs in with it.

FreeTDS takes its ticket from the default cache, with the Kerberos library out of pymssql's wheel; logging in happens in
the thread that asks for it, from beginning to end. What pymssql says of a login that failed is kept for the whole
process and never cleared, so a number can be an older one: only whether the server spoke at all is taken from it.
"""

import ctypes
import time
from importlib import import_module

import pymssql

from actas.core.errors import CredentialRejected, DownstreamUnavailable
from actas.core.tickets import Ticket
from actas.delegation.sql.kerberos_caches import KerberosCaches
from actas.delegation.sql.mssql.driver import Driver, OwnConnection
from actas.delegation.sql.mssql.failures import numbered
from actas.delegation.sql.mssql.settings import MssqlSettings
from actas.delegation.sql.mssql.tls import section

_LINKED = "pymssql._mssql"
"""The part of pymssql that is linked with FreeTDS."""
_SERVER_SPOKE = "message 20018"
_REFUSED = "The database does not let you in under your own name. Ask its administrator for a login."


class TicketDriver:
    """Logs in with tickets. It blocks: it is for threads.

    Raises:
        ConfigurationError: this pymssql was built without GSSAPI.
    """

    def __init__(self, settings: MssqlSettings, driver: Driver) -> None:
        self._settings = settings
        self._driver = driver
        self._caches = KerberosCaches(ctypes.CDLL(import_module(_LINKED).__file__), "pymssql")

    def open(self, ticket: Ticket) -> OwnConnection:
        """Log in as the user whose ``ticket`` it is, over verified TLS.

        Raises:
            CredentialRejected: the server answers, and does not let its user in.
            DownstreamUnavailable: no server, or no certificate that the authority signed for this host.
        """
        settings = self._settings
        server = section(settings.host, settings.port, settings.ca_file, ticket.target)
        try:
            with ticket.cache_file() as file, self._caches.chosen(file):
                connection = self._driver.log_in(server)
        except pymssql.Error as error:
            number, words = numbered(error)
            detail = f"SQL Server, logging in: {number}: {words}"
            if _SERVER_SPOKE in words:
                raise CredentialRejected(_REFUSED, detail=detail) from None
            raise DownstreamUnavailable(detail=detail) from None
        return OwnConnection(connection, ticket.principal, time.monotonic() + ticket.expires_at - time.time())
