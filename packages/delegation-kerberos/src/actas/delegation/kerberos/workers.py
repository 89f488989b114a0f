"""Blocking calls in threads of the module's own, a bounded number of them; nobody waits for one longer than asked."""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """At most ``threads`` blocking calls at the same time, a quarter of them one user's.

    One that hangs keeps its place until it ends, for threads cannot be stopped; others have the rest of them, and
    whoever finds none free waits no longer than he wants to. No such thread keeps the process from ending.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._name = name
        self._free = asyncio.Semaphore(threads)
        self._each = max(1, threads // 4)
        self._of_user: dict[Hashable, asyncio.Semaphore] = {}
        self._using: Counter[Hashable] = Counter()
        """Calls of each user that are under way or wait."""
        self._closed = False
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = self._busy = 0

    async def run(self, work: Callable[[], T], deadline: float, user: Hashable) -> T:
        """What ``work`` gives or raises.

        Args:
            deadline: on :func:`time.monotonic`'s clock.
            user: for whom. Whose realm does not answer takes no more than a part of the threads, however often he asks.

        Raises:
            TimeoutError: it did not end by then, or did not begin. It may still go on: its result must need no care.
        """
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await self._take_place(user)
            try:
                if self._closed:
                    raise TimeoutError
                ended = self._begun(work, user)
            except BaseException:
                self._give_back(user)
                raise
            return await asyncio.shield(ended)

    def close(self) -> None:
        """Begin nothing any more. What runs ends by itself; nobody waits for it."""
        self._closed = True
        for _ in range(self._threads):
            self._waiting.put(None)
        self._threads = 0

    async def _take_place(self, user: Hashable) -> None:
        mine = self._of_user.setdefault(user, asyncio.Semaphore(self._each))
        self._using[user] += 1
        try:
            await mine.acquire()
            try:
                await self._free.acquire()
            except BaseException:
                mine.release()
                raise
        except BaseException:
            self._forget(user)
            raise

    def _give_back(self, user: Hashable) -> None:
        self._free.release()
        self._of_user[user].release()
        self._forget(user)

    def _forget(self, user: Hashable) -> None:
        self._using[user] -= 1
        if not self._using[user]:
            del self._using[user], self._of_user[user]

    def _begun(self, work: Callable[[], T], user: Hashable) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()

        def tell(say: Callable[[], None]) -> None:
            self._busy -= 1
            self._give_back(user)
            if not ended.cancelled():
                say()

        def carry_out() -> None:
            try:
                say = partial(ended.set_result, work())
            except Exception as error:
                say = partial(ended.set_exception, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(tell, say)

        # Whoever waited has it; where nobody does any more, asyncio shall not complain.
        ended.add_done_callback(lambda future: None if future.cancelled() else future.exception())
        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            threading.Thread(target=_carry_out_all, args=(self._waiting,), name=self._name, daemon=True).start()
        self._waiting.put(carry_out)
        return ended


def _carry_out_all(waiting: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (work := waiting.get()) is not None:
        work()
        del work  # what it holds, a ticket too, is not this thread's to keep
