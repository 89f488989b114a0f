"""Blocking calls in threads of the module's own, a bounded number of them; nobody waits for one longer than asked."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """At most ``threads`` blocking calls at the same time.

    One that hangs keeps its thread until it ends, for threads cannot be stopped; others have the rest of them, and
    whoever finds none free waits no longer than he wants to.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = asyncio.Semaphore(threads)
        self._closed = False

    async def run(self, work: Callable[[], T], deadline: float) -> T:
        """What ``work`` gives or raises.

        Args:
            deadline: on :func:`time.monotonic`'s clock.

        Raises:
            TimeoutError: it did not end by then, or did not begin. It may still go on: its result must need no care.
        """
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await self._free.acquire()
            try:
                if self._closed:
                    raise TimeoutError
                running = asyncio.get_running_loop().run_in_executor(self._pool, work)
            except BaseException:
                self._free.release()
                raise
            running.add_done_callback(self._ended)
            return await asyncio.shield(running)

    def close(self) -> None:
        """Begin nothing any more. What runs ends by itself; nobody waits for it."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, running: asyncio.Future[T]) -> None:
        self._free.release()
        if not running.cancelled():
            running.exception()  # whoever waited has it; where nobody does any more, asyncio shall not complain
