"""Logging in to PostgreSQL with a Kerberos ticket, in threads, because Kerberos blocks.

libpq reads the cache, and may ask DNS for the server's real name, in the middle of its asynchronous connecting. psycopg
calls it with Python's lock held, so that a name server that hangs would stop the whole gateway: here it is called
without.
"""

import asyncio
import ctypes
import select
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from psycopg import AsyncConnection, OperationalError, pq
from psycopg.pq.abc import PGconn
from psycopg.rows import TupleRow, tuple_row

from actas.core.tickets import Ticket
from actas.delegation.sql.kerberos_caches import KerberosCaches
from actas.delegation.sql.loaded_libpq import loaded_libpq

_GLANCE_MILLISECONDS = 100
"""So long it takes at most until a login that nobody waits for any more is given up."""


class TicketConnection(AsyncConnection[TupleRow]):
    """A connection that was opened with a ticket."""

    principal: str
    """Whose."""
    good_until: float
    """When that ticket ends, on :func:`time.monotonic`'s clock."""


class TicketLoginFailed(OperationalError):
    """The server does not let us in."""

    def __init__(self, pgconn: PGconn, why: str) -> None:
        super().__init__(why)
        self.took_ticket = pgconn.used_gssapi
        """It saw whose the ticket is."""


class TicketLogins:
    """Logs in, at most ``threads`` at once.

    Raises:
        ConfigurationError: this libpq has no GSSAPI.
    """

    def __init__(self, threads: int) -> None:
        libpq = loaded_libpq()
        self._poll = libpq.PQconnectPoll
        self._poll.argtypes, self._poll.restype = [ctypes.c_void_p], ctypes.c_int
        self._caches = KerberosCaches(libpq, "libpq")
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="actas-ticket-login")

    async def log_in(self, conninfo: str, ticket: Ticket) -> TicketConnection:
        """Log in with ``ticket``, to a server that ``conninfo`` names by address too; until the caller is cancelled.

        Raises:
            TicketLoginFailed: it does not let us in.
        """
        given_up = threading.Event()
        job = self._threads.submit(self._log_in, conninfo.encode(), ticket, given_up)
        try:
            pgconn = await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            given_up.set()
            job.add_done_callback(_finish)
            raise
        connection = TicketConnection(pgconn, tuple_row)
        connection.principal = ticket.principal
        connection.good_until = time.monotonic() + ticket.expires_at - time.time()
        connection.prepare_threshold = None
        try:
            await connection.set_autocommit(True)  # sends nothing, and may let others go first all the same
        except BaseException:
            pgconn.finish()
            raise
        return connection

    def close(self) -> None:
        """Let the threads go. May be called twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _log_in(self, conninfo: bytes, ticket: Ticket, given_up: threading.Event) -> PGconn:
        with ticket.cache_file() as file, self._caches.chosen(file):
            pgconn = pq.PGconn.connect_start(conninfo)
            try:
                while pgconn.status != pq.ConnStatus.BAD:
                    match self._poll(_address(pgconn)):
                        case pq.PollingStatus.OK:
                            pgconn.nonblocking = 1
                            return pgconn
                        case pq.PollingStatus.READING:
                            _wait(pgconn, select.POLLIN, given_up)
                        case pq.PollingStatus.WRITING:
                            _wait(pgconn, select.POLLOUT, given_up)
                        case _:
                            break
                raise TicketLoginFailed(pgconn, pgconn.get_error_message())
            except BaseException:
                pgconn.finish()
                raise


def _address(pgconn: PGconn) -> int | None:
    address: int | None = getattr(pgconn, "pgconn_ptr")  # noqa: B009 -- all of psycopg's have it, its Protocol does not
    return address


def _wait(pgconn: PGconn, event: int, given_up: threading.Event) -> None:
    poll = select.poll()
    poll.register(pgconn.socket, event)
    while not poll.poll(_GLANCE_MILLISECONDS):
        if given_up.is_set():
            raise TicketLoginFailed(pgconn, "nobody waits for it any more")


def _finish(job: Future[PGconn]) -> None:
    """Nobody waits for it any more."""
    if not job.cancelled() and job.exception() is None:
        job.result().finish()
