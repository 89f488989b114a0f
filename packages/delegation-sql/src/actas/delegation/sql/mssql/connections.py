"""Connections, each lent to one user only although all log in as the service, in threads of this module's own."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from actas.core.errors import DelegationTimeout, DownstreamUnavailable
from actas.delegation.sql.failures import PoolExhausted
from actas.delegation.sql.settings import PoolSettings


class Closable(Protocol):
    """A connection."""

    def close(self) -> None: ...


class Spendable(Protocol):
    """An answer; ``spent`` where its connection must not be used again."""

    spent: bool


C = TypeVar("C", bound=Closable)
A = TypeVar("A", bound=Spendable)


Work = Callable[[C, threading.Event], A]
"""What is done on a connection, in a thread; the event says that nobody waits for it any more."""
Opening = Callable[[], Awaitable[Callable[[], C]]]
"""Gets what opens a connection; that blocks, and is for a thread."""


@dataclass(slots=True)
class _Idle(Generic[C]):
    connection: C
    opened: float
    used: float


class Connections(Generic[C]):
    """At most ``total`` connections, each one user's from its opening to its end."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.total, thread_name_prefix="actas-mssql")
        self._total = asyncio.Semaphore(settings.total)
        self._of_user: dict[str, asyncio.Semaphore] = {}
        self._using: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._idle: dict[str, list[_Idle[C]]] = {}
        self._busy = 0
        self._running: set[threading.Event] = set()
        self._closed = False

    async def run(self, user: str, work: Work[C, A], seconds: float, opening: Opening[C]) -> A:
        """Do ``work`` on a connection of ``user``'s. Where the caller does not wait for it any more it is told so, and
        keeps its place until it is done.

        Args:
            opening: gets what opens one, where none of the user's is left.

        Raises:
            PoolExhausted: no place in time.
            DelegationTimeout: ``seconds`` passed.
            DownstreamUnavailable: it is closed, or what ``work`` and opening raise.
        """
        started = time.monotonic()
        if self._closed:
            raise DownstreamUnavailable(detail="the module was closed")
        await self._take_place(user, min(seconds, self._settings.wait_seconds))
        self._sweep(room_for=1)
        idle = self._kept(user)
        self._busy += 1
        given_up = threading.Event()
        try:
            hold = _new(await opening()) if idle is None else lambda: idle
        except BaseException:
            self._give_place(user)
            raise
        try:
            job = asyncio.get_running_loop().run_in_executor(self._threads, self._job, hold, work, given_up)
        except RuntimeError:
            # The executor queues the work before it sees that the system gives out no thread for it.
            given_up.set()
            if idle is not None:
                _close(idle.connection)
            self._give_place(user)
            raise DownstreamUnavailable(detail="the module was closed, or there is no thread to be had") from None
        self._running.add(given_up)
        job.add_done_callback(lambda done: self._done(user, given_up, done))
        try:
            async with asyncio.timeout(max(0.0, seconds - (time.monotonic() - started))):
                answer, _ = await asyncio.shield(job)
        except TimeoutError:
            raise DelegationTimeout(detail="the deadline passed; the statement was given up") from None
        finally:
            given_up.set()
        return answer

    def _kept(self, user: str) -> _Idle[C] | None:
        kept = self._idle.get(user)
        if not kept:
            return None
        idle = kept.pop()
        if not kept:
            del self._idle[user]  # or there would be a list for each user who ever came
        return idle

    def _job(
        self, hold: Callable[[], _Idle[C]], work: Work[C, A], given_up: threading.Event
    ) -> tuple[A, _Idle[C] | None]:
        if given_up.is_set():
            raise DelegationTimeout(detail="the work was given up before it began")
        held = hold()
        try:
            answer = work(held.connection, given_up)
        except BaseException:
            _close(held.connection)
            raise
        if answer.spent:
            _close(held.connection)
            return answer, None
        held.used = time.monotonic()
        return answer, held

    def _done(self, user: str, given_up: threading.Event, job: "asyncio.Future[tuple[A, _Idle[C] | None]]") -> None:
        self._running.discard(given_up)
        self._give_place(user)
        if job.cancelled() or job.exception() is not None:
            return
        held = job.result()[1]
        if held is None:
            return
        if self._closed:
            _close(held.connection)
            return
        self._idle.setdefault(user, []).append(held)
        asyncio.get_running_loop().call_later(self._settings.idle_seconds + 0.1, self._sweep)

    async def _take_place(self, user: str, seconds: float) -> None:
        limit = self._settings
        if self._waiting[user] >= limit.waiting_per_user or self._waiting.total() >= limit.waiting:
            raise PoolExhausted
        mine = self._of_user.setdefault(user, asyncio.Semaphore(limit.per_user))
        self._using[user] += 1
        try:
            async with self._counted(user), asyncio.timeout(seconds):
                await mine.acquire()
                try:
                    await self._total.acquire()
                except BaseException:
                    mine.release()
                    raise
        except BaseException as error:
            self._forget(user)
            if isinstance(error, TimeoutError):
                raise PoolExhausted from None
            raise

    @asynccontextmanager
    async def _counted(self, user: str) -> AsyncGenerator[None]:
        self._waiting[user] += 1
        try:
            yield
        finally:
            self._waiting[user] -= 1
            if not self._waiting[user]:
                del self._waiting[user]

    def _give_place(self, user: str) -> None:
        self._busy -= 1
        self._total.release()
        self._of_user[user].release()
        self._forget(user)

    def _forget(self, user: str) -> None:
        self._using[user] -= 1
        if not self._using[user]:
            del self._using[user], self._of_user[user]

    def _sweep(self, room_for: int = 0) -> None:
        """Close what is too old, and as many of the longest unused as make room."""
        now = time.monotonic()
        every = [(held.used, user, held) for user, kept in self._idle.items() for held in kept]
        every.sort(key=lambda item: item[0])
        over = len(every) + self._busy + room_for - self._settings.total
        for index, (used, user, held) in enumerate(every):
            old = now - used > self._settings.idle_seconds or now - held.opened > self._settings.lifetime_seconds
            old = old or now >= getattr(held.connection, "good_until", now + 1)  # those that a ticket opened have it
            if old or index < over:
                self._idle[user].remove(held)
                if not self._idle[user]:
                    del self._idle[user]
                with suppress(RuntimeError):
                    self._threads.submit(_close, held.connection)

    async def close(self) -> None:
        """Close what is idle, and give up what is in use. May be called twice."""
        self._closed = True
        for given_up in self._running:
            given_up.set()
        idle = [held.connection for kept in self._idle.values() for held in kept]
        self._idle.clear()
        for connection in idle:
            with suppress(RuntimeError):
                self._threads.submit(_close, connection)
        self._threads.shutdown(wait=False)


def _new(open_one: Callable[[], C]) -> Callable[[], _Idle[C]]:
    return lambda: _Idle(open_one(), time.monotonic(), 0.0)


def _close(connection: Closable) -> None:
    with suppress(Exception):  # whatever a broken connection says: it is gone
        connection.close()
