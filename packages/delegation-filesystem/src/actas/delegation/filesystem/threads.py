"""Blocking work in threads of this module's own: so many in all, so many for each user.

A thread that hangs in the kernel, on a disk that does not answer, cannot be ended. It keeps its place, and its user's,
until it comes back; the caller does not wait for it. The threads are daemons, so that none of them keeps the server
from ending; those of ``concurrent.futures`` would.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from actas.core.errors import DelegationTimeout, DownstreamUnavailable
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import Busy

T = TypeVar("T")

_LONGEST_WAIT = 10.0
"""Seconds for a place."""
_MOST_WAITING = 200
_MOST_WAITING_OF_ONE = 20


class Threads:
    """At most ``most`` pieces of work at once, ``per_user`` of one user."""

    def __init__(self, most: int, per_user: int, name: str) -> None:
        self._most, self._per_user, self._name = most, per_user, name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started = 0
        self._total = asyncio.Semaphore(most)
        self._of_user: dict[str, asyncio.Semaphore] = {}
        self._using: Counter[str] = Counter()
        """Work of each user that is under way or waits."""
        self._at_work: set[Budget] = set()
        self._closed = False

    async def run(self, user: str, work: Callable[[Budget], T], deadline: float) -> T:
        """Do ``work`` in a thread. Where nobody waits for it any more, its budget says so.

        Args:
            deadline: on :func:`time.monotonic`'s clock.

        Raises:
            Busy: no place in time.
            DelegationTimeout: the deadline passed.
            DownstreamUnavailable: it is closed.
        """
        if self._closed:
            raise DownstreamUnavailable(detail="the module was closed")
        await self._take_place(user, deadline)
        if self._closed:  # while it waited: what was at work gave up its place
            self._give_back(user)
            raise DownstreamUnavailable(detail="the module was closed")
        budget = Budget(deadline)
        answer: asyncio.Future[T] | None = None
        try:
            answer = self._begin(user, work, budget)
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await answer
        except TimeoutError:
            raise DelegationTimeout(detail="the deadline passed; the file system has not answered") from None
        finally:
            budget.stop()
            # It holds the error, which holds this frame, which holds it: open folders would wait for the collector.
            answer = None

    def _begin(self, user: str, work: Callable[[Budget], T], budget: Budget) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._at_work.add(budget)

        def job() -> None:
            try:
                settle = partial(_give, answer, work(budget))
            except BaseException as error:  # whatever it is, it belongs to who waits for it
                settle = partial(_fail, answer, error)
            with suppress(RuntimeError):  # the loop has ended: nobody waits, and no place is wanted
                loop.call_soon_threadsafe(self._end, user, budget, settle)
            del settle  # as above: an error holds this frame

        if self._started < self._most and self._started < len(self._at_work):
            name = f"{self._name}-{self._started + 1}"
            try:
                threading.Thread(target=_serve, args=(self._jobs,), name=name, daemon=True).start()
            except RuntimeError:  # the system gives out no more of them at the moment: the place must come back
                self._at_work.discard(budget)
                self._give_back(user)
                raise Busy(detail="the system gives out no more threads") from None
            self._started += 1
        self._jobs.put(job)
        return answer

    def _end(self, user: str, budget: Budget, settle: Callable[[], None]) -> None:
        self._at_work.discard(budget)
        self._give_back(user)
        settle()

    def _give_back(self, user: str) -> None:
        self._total.release()
        self._of_user[user].release()
        self._forget(user)

    async def _take_place(self, user: str, deadline: float) -> None:
        if self._using[user] >= self._per_user + _MOST_WAITING_OF_ONE or (
            self._using.total() >= self._most + _MOST_WAITING
        ):
            raise Busy(detail="too many wait already")
        mine = self._of_user.setdefault(user, asyncio.Semaphore(self._per_user))
        self._using[user] += 1
        try:
            async with asyncio.timeout(min(_LONGEST_WAIT, max(0.0, deadline - time.monotonic()))):
                await mine.acquire()
                try:
                    await self._total.acquire()
                except BaseException:
                    mine.release()
                    raise
        except TimeoutError:
            self._forget(user)
            raise Busy(detail="no place in time") from None
        except BaseException:
            self._forget(user)
            raise

    def _forget(self, user: str) -> None:
        self._using[user] -= 1
        if not self._using[user]:
            del self._using[user], self._of_user[user]

    def __del__(self) -> None:
        self.close()  # of a module that nobody destroyed: its threads wait for ever otherwise

    def close(self) -> None:
        """Begin nothing more, tell what is at work to stop, and let the threads end. May be called twice."""
        self._closed = True
        for budget in self._at_work:
            budget.stop()
        for _ in range(self._started):
            self._jobs.put(None)
        self._started = 0


def _serve(jobs: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()


def _give(answer: "asyncio.Future[T]", given: T) -> None:
    if not answer.done():
        answer.set_result(given)


def _fail(answer: "asyncio.Future[T]", error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
