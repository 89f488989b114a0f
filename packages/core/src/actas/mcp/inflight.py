"""What runs at this moment: counted, waited for, and ended where it takes too long."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_Result = TypeVar("_Result")


class CutOff(Exception):
    """The time that was left to what ran is over."""


class InFlight:
    """The requests that one site serves. Belongs to one event loop."""

    def __init__(self) -> None:
        self._running: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, work: Awaitable[_Result]) -> _Result:
        """What ``work`` returns, counted while it runs.

        Raises:
            CutOff: :meth:`end` was called before it was done; it was cancelled.
        """
        limit = asyncio.timeout(None)
        self._running.add(limit)
        self._idle.clear()
        try:
            async with limit:
                return await work
        except TimeoutError:
            if limit.expired():
                raise CutOff from None
            raise
        finally:
            self._running.discard(limit)
            if not self._running:
                self._idle.set()

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing runs, ``seconds`` at most. Returns whether nothing does."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def end(self) -> None:
        """Cancel what runs."""
        now = asyncio.get_running_loop().time()
        for limit in self._running:
            limit.reschedule(now)
