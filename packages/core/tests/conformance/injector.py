"""A reverse proxy on the loopback that adds a bearer token: the official suite has none to send."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

_LONGEST_HEAD = 65_536
_START_SECONDS = 30


@contextlib.asynccontextmanager
async def _injector(port: int, token: str) -> AsyncIterator[int]:
    """Byte for byte what comes goes to ``port``, but for two more headers. One request for each connection: then
    bodies and streams need not be understood, and who hangs up on one side has hung up on the other."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n")
            ours, theirs = await asyncio.open_connection("127.0.0.1", port)
            theirs.write(head + b"authorization: Bearer " + token.encode() + b"\r\nconnection: close\r\n")
            up, down = asyncio.ensure_future(_pass(reader, theirs)), asyncio.ensure_future(_pass(ours, writer))
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            theirs.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_LONGEST_HEAD)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_LONGEST_HEAD):
        writer.write(chunk)
        await writer.drain()


@contextlib.contextmanager
def injecting(port: int, token: str) -> Iterator[str]:
    """An injector before ``port``, in a thread of its own. Its origin."""
    ready, done = threading.Event(), threading.Event()
    found: list[int] = []

    async def run() -> None:
        async with _injector(port, token) as own_port:
            found.append(own_port)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    try:
        assert ready.wait(_START_SECONDS)
        yield f"http://127.0.0.1:{found[0]}"
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def served(app: Any, port: int) -> Iterator[None]:
    """``app`` on ``port`` of the loopback, in a thread of its own."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="error", lifespan="on", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()
