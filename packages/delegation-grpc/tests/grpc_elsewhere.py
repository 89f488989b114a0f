"""A loop beside the tests' own, for services of grpc.aio: what the library has not told a loop yet when that is closed,
it tells the next test instead."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="services", daemon=True).start()
    return loop


async def elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives, in that loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _loop()))


@asynccontextmanager
async def open_elsewhere(manager: AbstractAsyncContextManager[T]) -> AsyncGenerator[T]:
    """``manager``, entered and left in that loop."""

    async def enter() -> T:
        return await manager.__aenter__()

    async def leave() -> None:
        await manager.__aexit__(None, None, None)

    entered = await elsewhere(enter())
    try:
        yield entered
    finally:
        await elsewhere(leave())
