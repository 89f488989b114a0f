"""Links, each its owner's from the opening to the end, and the threads in which they are used: a bounded number."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from actas.core.errors import DelegationTimeout, DownstreamUnavailable
from actas.delegation.ldap.failures import PoolExhausted
from actas.delegation.ldap.link import Link
from actas.delegation.ldap.settings import PoolSettings

T = TypeVar("T")


class _Job(Generic[T]):
    """One piece of work in a thread, which can be told to stop."""

    def __init__(self, link: Link | None, open_link: Callable[[], Link], work: Callable[[Link], T]) -> None:
        self._open, self._work = open_link, work
        self._lock = threading.Lock()
        self._stopped = False
        self.link = link

    def run(self) -> T:
        if self._stopped:  # before its turn came: nobody waits for it, and nothing of it may happen any more
            raise DelegationTimeout(detail="the work was given up before it began")
        link = self.link or self._open()
        with self._lock:
            self.link = link
            if self._stopped:
                link.abort()
        try:
            return self._work(link)
        except BaseException:
            if link.broken:
                link.close()
            raise

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self.link is not None:
                self.link.abort()


class Connections:
    """At most ``total`` links and threads. An owner is the gateway, where all are its own, or one user."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.total, thread_name_prefix="actas-ldap")
        self._places = asyncio.Semaphore(settings.total)
        self._waiting = 0
        self._idle: dict[str, list[tuple[float, Link]]] = {}
        self._busy = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def run(
        self, owner: str, open_link: Callable[[], Link], work: Callable[[Link], T], deadline: float, *, fresh: bool
    ) -> T:
        """What ``work`` gives on a link of ``owner``'s.

        Where the caller no longer waits, the link is broken off and its thread ends.

        Args:
            deadline: on :func:`time.monotonic`'s clock.
            fresh: take none that was used before.

        Raises:
            PoolExhausted: no place in time.
            DelegationTimeout: the deadline passed.
            DownstreamUnavailable: it is closed, or what ``work`` and opening raise.
        """
        if self._closed:
            raise DownstreamUnavailable(detail="the module was closed")
        await self._take_place(deadline)
        job = _Job(None if fresh else self._kept(owner), open_link, work)
        self._busy += 1
        try:
            self._make_room()
            running = asyncio.get_running_loop().run_in_executor(self._threads, job.run)
        except RuntimeError:
            # The executor queues the work before it sees that the system gives out no thread for it.
            job.stop()
            if job.link is not None:
                job.link.close()
            self._give_place()
            raise DownstreamUnavailable(detail="the module was closed, or there is no thread to be had") from None
        running.add_done_callback(lambda done: self._done(owner, job, done))
        try:
            done, _ = await asyncio.wait((running,), timeout=max(0.0, deadline - time.monotonic()))
        except asyncio.CancelledError:
            if not running.done():  # else the link may be somebody else's by now
                job.stop()
            raise
        if not done:
            job.stop()
            raise DelegationTimeout(detail="the deadline passed")
        return running.result()

    async def _take_place(self, deadline: float) -> None:
        if not self._places.locked():
            await self._places.acquire()  # without waiting, and so without a clock
            return
        if self._waiting >= self._settings.waiting:
            raise PoolExhausted
        self._waiting += 1
        try:
            async with asyncio.timeout(min(self._settings.wait_seconds, max(0.0, deadline - time.monotonic()))):
                await self._places.acquire()
        except TimeoutError:
            raise PoolExhausted from None
        finally:
            self._waiting -= 1

    def _give_place(self) -> None:
        self._busy -= 1
        self._places.release()

    def _kept(self, owner: str) -> Link | None:
        kept = self._idle.get(owner, [])
        found: Link | None = None
        while kept and found is None:
            _, link = kept.pop()
            if link.usable and time.monotonic() - link.opened < self._settings.lifetime_seconds:
                found = link
            else:
                link.close()
        if not kept:
            self._idle.pop(owner, None)
        return found

    def _done(self, owner: str, job: "_Job[T]", done: "asyncio.Future[T]") -> None:
        self._give_place()
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody may be left
        link = job.link
        if link is None:
            return
        if self._closed or link.broken:
            link.close()
            return
        self._idle.setdefault(owner, []).append((time.monotonic(), link))
        self._plan_sweep()

    def _plan_sweep(self) -> None:
        if self._sweeper is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(self._settings.idle_seconds + 0.1, self._sweep_again)

    def _sweep_again(self) -> None:
        self._sweeper = None
        self._sweep()
        if self._idle:
            self._plan_sweep()

    def _sweep(self) -> None:
        """Close what is too old, or no longer there."""
        now = time.monotonic()
        for used, owner, link in self._every():
            if now - used > self._settings.idle_seconds or not link.usable:
                self._drop(used, owner, link)

    def _make_room(self) -> None:
        """Close as many of the longest unused as are too many beside those that are in use."""
        over = sum(len(kept) for kept in self._idle.values()) + self._busy - self._settings.total
        if over > 0:
            for used, owner, link in sorted(self._every(), key=lambda each: each[0])[:over]:
                self._drop(used, owner, link)

    def _every(self) -> list[tuple[float, str, Link]]:
        return [(used, owner, link) for owner, kept in self._idle.items() for used, link in kept]

    def _drop(self, used: float, owner: str, link: Link) -> None:
        self._idle[owner].remove((used, link))
        if not self._idle[owner]:
            del self._idle[owner]
        link.close()

    async def close(self) -> None:
        """Close what is idle now, and what is in use when it is done. May be called twice."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for kept in self._idle.values():
            for _, link in kept:
                with suppress(Exception):  # whatever a broken connection says: it is gone
                    link.close()
        self._idle.clear()
        self._threads.shutdown(wait=False)
