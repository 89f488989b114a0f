"""Connections, each one user's own, bounded in all directions. None ever changes hands."""

import asyncio
import contextlib
import logging
import os
import select
import socket
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from psycopg import AsyncConnection, Error

from actas.core.errors import DownstreamUnavailable
from actas.delegation.sql.evidence import NOTHING, Evidence
from actas.delegation.sql.failures import PoolExhausted
from actas.delegation.sql.settings import PoolSettings
from actas.delegation.sql.ticket_logins import TicketConnection
from actas.delegation.sql.wire import Wire

_CANCEL_SECONDS = 3.0
_GOODBYE_SECONDS = 10.0
_log = logging.getLogger(__name__)


Connect = Callable[[str, Evidence], Awaitable[AsyncConnection]]
"""Logs in as a user, by what the call brings where that is the way."""


@dataclass(slots=True, eq=False)
class Link:
    """One connection and whose it is."""

    user: str
    bearer: tuple[str, ...]
    """Whom the evidence was for that opened it: nobody else's calls go over it, whoever has the role."""
    connection: AsyncConnection
    wire: Wire
    opened: float
    used: float

    def stale(self, now: float, lifetime: float) -> bool:
        """Whether it must not be used: too old, its ticket has ended, broken, or the server said something, which then
        is good-bye."""
        if isinstance(self.connection, TicketConnection) and now >= self.connection.good_until:
            return True
        return now - self.opened > lifetime or not self.wire.idle or _readable(self.connection.pgconn.socket)

    async def part(self) -> None:
        """Close it, and wait until the server has done so too: only then is its process free.

        Raises:
            TimeoutError: the server still works on something that it does not stop for.
        """
        try:
            end = socket.socket(fileno=os.dup(self.connection.pgconn.socket))
        except (Error, OSError):
            return  # it was lost already
        finally:
            self.connection.pgconn.finish()
        with end:
            end.setblocking(False)
            async with asyncio.timeout(_GOODBYE_SECONDS):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_WR)
                    while await asyncio.get_running_loop().sock_recv(end, 65536):
                        pass


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


@dataclass(slots=True, eq=False)
class _Waiter:
    user: str
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ConnectionPool:
    """Lends connections, which ``connect`` opens."""

    def __init__(self, settings: PoolSettings, connect: Connect) -> None:
        self._settings = settings
        self._connect = connect
        self._count: Counter[str] = Counter()
        self._idle: OrderedDict[Link, None] = OrderedDict()
        self._waiters: deque[_Waiter] = deque()
        self._farewells: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def open(self) -> int:
        """Connections there are: in use, idle, being opened, and being closed until the server has closed them."""
        return self._count.total()

    def of(self, user: str) -> int:
        """How many of them are ``user``'s."""
        return self._count[user]

    @contextlib.asynccontextmanager
    async def lend(self, user: str, seconds: float, evidence: Evidence = NOTHING) -> AsyncGenerator[Link]:
        """A connection of ``user``'s own, waited for at most ``seconds``.

        It is kept afterwards only where its wire is idle, which no spoilt one is; else what it does is
        cancelled on the server, and it is closed.

        Raises:
            PoolExhausted: none came free in time.
            LoginRefused, CredentialRejected, DownstreamUnavailable: see ``connect``.
        """
        link = await self._acquire(user, seconds, evidence)
        try:
            yield link
        finally:
            link.used = time.monotonic()
            if link.wire.idle and not self._closed:
                self._idle[link] = None
                self._schedule()
                self._next()
            else:
                self._discard(link)

    async def close(self) -> None:
        """Close everything; what is in use, when it comes back. May be called twice."""
        self._closed = True
        if self._reaper:
            self._reaper.cancel()
        for link in list(self._idle):
            self._retire(link)
        for waiter in self._waiters:
            if not waiter.turn.done():
                waiter.turn.set_result(None)
        if self._farewells:
            _, late = await asyncio.wait(self._farewells, timeout=_CANCEL_SECONDS)
            for farewell in late:
                farewell.cancel()

    async def _acquire(self, user: str, seconds: float, evidence: Evidence) -> Link:
        until = time.monotonic() + min(seconds, self._settings.wait_seconds)
        first = True
        while not self._closed:
            if link := self._kept(user, evidence.bearer):
                return link
            if self._make_room(user):
                return await self._open(user, evidence)
            await self._wait(user, until, first=first)
            first = False
        raise DownstreamUnavailable(detail="the pool is closed")

    def _kept(self, user: str, bearer: tuple[str, ...]) -> Link | None:
        """The user's connection that was used last, if it still is good."""
        for link in reversed([link for link in self._idle if (link.user, link.bearer) == (user, bearer)]):
            if not link.stale(time.monotonic(), self._settings.lifetime_seconds):
                del self._idle[link]
                return link
            self._retire(link)
        return None

    def _make_room(self, user: str) -> bool:
        """Whether the user may open one more, if need be instead of somebody's least recently used one."""
        if self._count[user] >= self._settings.per_user:
            another = next((link for link in self._idle if link.user == user), None)
            if another is None:
                return False
            self._retire(another)  # the same role by somebody else's evidence
        if self.open >= self._settings.total and self._idle:
            self._retire(next(iter(self._idle)))
        return self.open < self._settings.total

    async def _open(self, user: str, evidence: Evidence) -> Link:
        self._count[user] += 1
        try:
            connection = await self._connect(user, evidence)
        except BaseException:
            self._forget(user)
            raise
        now = time.monotonic()
        return Link(user, evidence.bearer, connection, Wire(connection), now, now)

    async def _wait(self, user: str, until: float, *, first: bool) -> None:
        own = sum(waiter.user == user for waiter in self._waiters)
        if len(self._waiters) >= self._settings.waiting or own >= self._settings.waiting_per_user:
            raise PoolExhausted(detail="too many calls wait for a connection")
        waiter = _Waiter(user)
        (self._waiters.append if first else self._waiters.appendleft)(waiter)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await waiter.turn
        except TimeoutError:
            self._pass_on(waiter)
            raise PoolExhausted(detail="no connection came free in time") from None
        except asyncio.CancelledError:
            self._pass_on(waiter)
            raise

    def _pass_on(self, waiter: _Waiter) -> None:
        """The waiter gives up: if it was its turn already, the next one has it."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif waiter.turn.done() and not waiter.turn.cancelled():
            self._next()

    def _next(self) -> None:
        """Wake the first waiter who can go on."""
        for waiter in self._waiters:
            own = any(link.user == waiter.user for link in self._idle)
            room = self._count[waiter.user] < self._settings.per_user
            if own or (room and (self.open < self._settings.total or self._idle)):
                self._waiters.remove(waiter)
                if not waiter.turn.done():
                    waiter.turn.set_result(None)
                return

    def _forget(self, user: str) -> None:
        self._count[user] -= 1
        if not self._count[user]:
            del self._count[user]
        self._next()

    def _retire(self, link: Link) -> None:
        """Close an idle one."""
        del self._idle[link]
        link.connection.pgconn.finish()
        self._forget(link.user)

    def _discard(self, link: Link) -> None:
        """Stop on the server whatever this one does, and close it; nobody waits for that."""
        farewell = asyncio.create_task(self._farewell(link))
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)

    async def _farewell(self, link: Link) -> None:
        try:
            if not link.wire.idle:
                with contextlib.suppress(Error, OSError):
                    await link.connection.cancel_safe(timeout=_CANCEL_SECONDS)
            await link.part()
        except TimeoutError:
            _log.error("a statement of %s does not stop: its server process is no longer counted", link.user)
        finally:
            link.connection.pgconn.finish()
            self._forget(link.user)

    def _schedule(self) -> None:
        if self._reaper is None and self._idle and not self._closed:
            oldest = next(iter(self._idle))
            delay = max(0.0, oldest.used + self._settings.idle_seconds - time.monotonic())
            self._reaper = asyncio.get_running_loop().call_later(delay, self._reap)

    def _reap(self) -> None:
        self._reaper = None
        now = time.monotonic()
        for link in list(self._idle):
            if now - link.used >= self._settings.idle_seconds:
                self._retire(link)
        self._schedule()
