"""Connections to file servers: each one user's, one call's at a time, in bounded threads of this module's own."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from actas.core.errors import DownstreamUnavailable
from actas.delegation.kerberos.smb_client import UserConnection
from actas.delegation.kerberos.smb_failures import SharesBusy, late
from actas.delegation.kerberos.smb_settings import SharePoolSettings

T = TypeVar("T")


class Owner(NamedTuple):
    """Whose connection it is, and where it goes."""

    principal: str
    server: str
    port: int


@dataclass(slots=True)
class _Idle:
    connection: UserConnection
    opened: float
    used: float


@dataclass(slots=True)
class _Place:
    job: "asyncio.Future[Any] | None" = None  # Any: whatever it gives
    """What is done in it, or was last."""


class SharePool:
    """At most ``total`` connections, and ``per_user`` of one user. Belongs to one event loop."""

    def __init__(self, settings: SharePoolSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.total, thread_name_prefix="actas-smb")
        self._total = asyncio.Semaphore(settings.total)
        self._of_user: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()
        self._waiting = 0
        self._busy: set[UserConnection] = set()
        self._idle: dict[Owner, list[_Idle]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def run(
        self, owner: Owner, log_in: Callable[[UserConnection], None], work: Callable[[UserConnection], T], until: float
    ) -> tuple[T, UserConnection]:
        """Do ``work``, which only reads, on a connection of ``owner``'s, a new one where none is kept.

        Args:
            log_in: what makes a new connection the user's.
            until: on :func:`time.monotonic`'s clock. Then, or if this is cancelled, the connection is closed, which
                ends what waits for it.

        Raises:
            SharesBusy: no place in time.
            DelegationTimeout: ``until`` came.
            ActasError: what ``log_in`` and ``work`` raise.
        """
        async with self._place(owner.principal, until) as place:
            held = self._kept(owner)
            if held is not None:
                try:
                    return await self._on(held, owner, place, work, until), held.connection
                except DownstreamUnavailable:
                    if held.connection.usable or self._closed:
                        raise  # otherwise the server had ended it, maybe long ago: again, on a new one
            now = time.monotonic()
            fresh = _Idle(UserConnection(owner.server, owner.port), now, now)

            def first(connection: UserConnection) -> T:
                log_in(connection)
                return work(connection)

            return await self._on(fresh, owner, place, first, until), fresh.connection

    async def _on(
        self, held: _Idle, owner: Owner, place: "_Place", work: Callable[[UserConnection], T], until: float
    ) -> T:
        """``work`` in a thread. Whoever stops waiting for it ends it, by closing the connection under it."""
        connection = held.connection
        try:
            job = asyncio.get_running_loop().run_in_executor(self._threads, work, connection)
        except RuntimeError:
            # The executor queues the work before it sees that the system gives out no thread for it.
            connection.close()
            raise DownstreamUnavailable(detail="the module was closed, or there is no thread to be had") from None
        place.job = job
        self._busy.add(connection)
        limit = asyncio.timeout(max(0.0, until - time.monotonic()))
        try:
            async with limit:
                return await asyncio.shield(job)
        except BaseException as error:
            if not job.done():
                connection.close()
                job.add_done_callback(_seen)
            if isinstance(error, TimeoutError) and limit.expired():
                raise late() from None
            raise
        finally:
            self._busy.discard(connection)
            self._keep(held, owner)

    def _kept(self, owner: Owner) -> _Idle | None:
        self._sweep()
        kept = self._idle.get(owner)
        if not kept:
            return None
        held = kept.pop()
        if not kept:
            del self._idle[owner]  # or there would be a list for each user who ever came
        return held

    def _keep(self, held: _Idle, owner: Owner) -> None:
        if self._closed or not held.connection.usable:
            held.connection.close()
            return
        held.used = time.monotonic()
        self._idle.setdefault(owner, []).append(held)
        self._sweep()
        self._sweep_later()

    def _sweep_later(self) -> None:
        if self._timer is None and self._idle:
            self._timer = asyncio.get_running_loop().call_later(self._settings.idle_seconds + 0.1, self._swept)

    def _swept(self) -> None:
        self._timer = None
        self._sweep()
        self._sweep_later()

    def _sweep(self) -> None:
        """Close what is too old or broken, and as many of the longest unused as there are too many."""
        now, today = time.monotonic(), time.time()
        every = [(held.used, owner, held) for owner, kept in self._idle.items() for held in kept]
        every.sort(key=lambda item: item[0])
        over = len(every) + len(self._busy) - self._settings.total
        for index, (used, owner, held) in enumerate(every):
            old = now - used > self._settings.idle_seconds or now - held.opened > self._settings.lifetime_seconds
            ended = held.connection.expires_at <= today or not held.connection.usable
            if old or ended or index < over:
                self._idle[owner].remove(held)
                if not self._idle[owner]:
                    del self._idle[owner]
                held.connection.close()

    @asynccontextmanager
    async def _place(self, user: str, until: float) -> AsyncGenerator["_Place"]:
        """A place among all and among the user's, until its last job ends. Raises SharesBusy."""
        if self._closed:
            raise DownstreamUnavailable(detail="the module was closed")
        mine = self._of_user.setdefault(user, asyncio.Semaphore(self._settings.per_user))
        self._users[user] += 1
        try:
            await self._enter(mine, until)
        except BaseException:
            self._forget(user)
            raise
        place = _Place()
        try:
            yield place
        finally:

            def give_back(_: object) -> None:
                self._total.release()
                mine.release()
                self._forget(user)

            if place.job is None or place.job.done():
                give_back(None)
            else:  # a name that is looked up, a server that does not answer to connecting: that cannot be ended
                place.job.add_done_callback(give_back)

    def _forget(self, user: str) -> None:
        self._users[user] -= 1
        if not self._users[user]:
            del self._users[user], self._of_user[user]

    async def _enter(self, mine: asyncio.Semaphore, until: float) -> None:
        if self._waiting >= self._settings.waiting:
            raise SharesBusy
        self._waiting += 1
        try:
            async with asyncio.timeout(min(self._settings.wait_seconds, until - time.monotonic())):
                await mine.acquire()
                try:
                    await self._total.acquire()
                except BaseException:
                    mine.release()
                    raise
        except TimeoutError:
            raise SharesBusy from None
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Close all connections, which ends what waits for them. May be called twice."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        idle = [held.connection for kept in self._idle.values() for held in kept]
        self._idle.clear()
        for connection in [*idle, *self._busy]:
            connection.close()
        self._threads.shutdown(wait=False)


def _seen(job: "asyncio.Future[Any]") -> None:  # Any: whatever it gives
    """Nobody waits for it any more; asyncio shall not complain of what it raised."""
    if not job.cancelled():
        job.exception()
