"""A pipeline of commands on one connection, driven by the event loop: everything goes out at once, one wait.

psycopg's own pipeline costs two more round trips and cannot stop in the middle of a result. Only the
extended protocol is used: it takes one statement at a time, whatever the text says.
"""

import asyncio
import fcntl
import os
import socket
import sys
import termios
from collections.abc import Sequence

from psycopg import AsyncConnection, pq
from psycopg.pq.abc import PGresult

ROWS_AT_ONCE = 10
"""Rows that libpq hands over together: so many, at most, are in its memory besides ours."""

_TEXT = 0
_LEAST_READ = 4096
_TCP_INFO_LENGTH = 136
_BYTES_RECEIVED = slice(128, 136)  # struct tcp_info, tcpi_bytes_received, since Linux 4.1
_KEPT_LENGTH = 4096

Key = tuple[bytes, tuple[int, ...]]


class Wire:
    """One connection in pipeline mode. Not for two calls at once."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._pg = connection.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._names = 0
        self._said: Key | None = None
        self._kept: bytes | None = None
        self._outdated: list[bytes] = []
        self._steps = 0
        self._spoiled = False
        self._meter = _Meter(self._pg.socket)
        self.received = 0
        """About how many bytes came since the last result."""

    def send(self, command: bytes, values: Sequence[bytes | None] = (), types: Sequence[int] = ()) -> None:
        """Queue one statement with its values as text."""
        self._pg.send_query_params(command, values or None, param_types=types or None, result_format=_TEXT)

    def send_again(self, command: bytes, values: Sequence[bytes | None] = (), types: Sequence[int] = ()) -> None:
        """Queue the user's statement. Said twice, with no other one between, the server keeps it parsed.

        Code that runs in the user's session can replace what is kept. So it is kept only while no other text has run:
        whoever could replace it is then somebody whose code this very text runs anyway.
        """
        key = (command, tuple(types))
        said_before, self._said = self._said == key, key
        if not said_before and self._kept is not None:
            self._outdated.append(self._kept)
            self._kept = None
        self._close_outdated()
        if self._kept is None and said_before and len(command) <= _KEPT_LENGTH:
            self._names += 1
            self._kept = b"actas_%d" % self._names
            self._steps += 1
            self._pg.send_prepare(self._kept, command, types or None)
        elif self._kept is None:
            return self.send(command, values, types)
        return self._pg.send_query_prepared(self._kept, values or None, result_format=_TEXT)

    def _close_outdated(self) -> None:
        for name in self._outdated:
            self._steps += 1
            self._pg.send_close_prepared(name)
        self._outdated.clear()

    def forget(self) -> None:
        """The server has dropped all that it kept."""
        self._kept = self._said = None

    def drop(self) -> bool:
        """Do not use what the server kept again. False: it kept nothing."""
        kept, self._kept, self._said = self._kept, None, None
        if kept is not None:
            self._outdated.append(kept)
        return kept is not None

    def settle(self) -> None:
        """Nothing is outstanding any more: an error skipped the rest of the flight."""
        self._steps = 0

    async def steps(self) -> PGresult | None:
        """Take the results of what :meth:`send_again` put before its statement; the one that failed, if one did."""
        while self._steps:
            self._steps -= 1
            result = await self.result()
            if result is None or result.status != pq.ExecStatus.COMMAND_OK:
                return result
            await self.result()
        return None

    def sync(self) -> None:
        """End the flight: after an error, everything up to here is skipped."""
        self._pg.pipeline_sync()

    async def flush(self) -> None:
        """Send what is queued."""
        while self._pg.flush():
            await self._ready(writing=True)
            self._pg.consume_input()

    def stream(self) -> None:
        """Let the next command's rows come in chunks. Call it just after the end of the one before."""
        self._pg.set_chunked_rows_mode(ROWS_AT_ONCE)

    async def result(self) -> PGresult | None:
        """The next result; None at the end of a command's.

        Raises:
            psycopg.OperationalError: the connection is gone.
        """
        while self._pg.is_busy():
            await self._ready(writing=False)
            self._pg.consume_input()
        self.received = 0
        return self._pg.get_result()

    @property
    def busy(self) -> bool:
        """Whether :meth:`result` would wait."""
        return bool(self._pg.is_busy())

    async def arrival(self) -> None:
        """Wait until something comes, take and count it."""
        await self._ready(writing=False)
        before = self._meter.taken()
        self._pg.consume_input()
        self.received += max(self._meter.taken() - before, _LEAST_READ)

    def spoil(self) -> None:
        """Never let this connection be used again."""
        self._spoiled = True

    @property
    def idle(self) -> bool:
        """Whether it can be used: nothing is outstanding, no transaction is open, nothing odd ever happened."""
        return not self._spoiled and self._healthy

    @property
    def _healthy(self) -> bool:
        return self._pg.status == pq.ConnStatus.OK and self._pg.transaction_status == pq.TransactionStatus.IDLE

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, failed or not."""
        return self._pg.transaction_status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

    async def _ready(self, *, writing: bool) -> None:
        loop, fd = asyncio.get_running_loop(), self._pg.socket
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(fd, _wake, ready)
        if writing:
            loop.add_writer(fd, _wake, ready)
        try:
            await ready
        finally:
            loop.remove_reader(fd)
            if writing:
                loop.remove_writer(fd)


class _Meter:
    """How many bytes libpq took from its socket: libpq itself does not tell.

    Exact for TCP on Linux. On a unix socket what comes between two looks is not seen.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_tcp = False
        if hasattr(socket, "TCP_INFO"):
            with socket.socket(fileno=os.dup(fd)) as copy:
                self._is_tcp = copy.family != socket.AF_UNIX

    def taken(self) -> int:
        """Bytes, counted from any one point."""
        waiting = int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), sys.byteorder)
        if not self._is_tcp:
            return -waiting
        with socket.socket(fileno=os.dup(self._fd)) as copy:
            info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_LENGTH)
        return int.from_bytes(info[_BYTES_RECEIVED], sys.byteorder) - waiting


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
