"""A connection on which nothing comes any more, though nobody closed it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from grpc_gateway import gateway_to, until
from grpc_service import Service

from actas.core import ActasError
from actas.delegation.grpc.settings import KeepaliveSettings, LimitSettings
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio

QUIET = [("grpc.http2.min_ping_interval_without_data_ms", 100), ("grpc.keepalive_permit_without_calls", 1)]
"""A server that does not mind pings."""


class Wire:
    """Passes on what is sent, until it is ``cut``: then nothing comes through, and nothing ends."""

    def __init__(self) -> None:
        self.cut = asyncio.Event()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            if self.cut.is_set():
                await asyncio.Event().wait()
            writer.write(part)
            await writer.drain()


@asynccontextmanager
async def wired(port: int) -> AsyncGenerator[tuple[str, Wire]]:
    wire = Wire()
    tasks: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if wire.cut.is_set():
            return
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writers.append(back)
        tasks.append(asyncio.create_task(wire.pass_on(reader, back)))
        tasks.append(asyncio.create_task(wire.pass_on(there, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", wire
    finally:
        server.close()
        await asyncio.sleep(0.1)  # who was let in just now is among those that are closed
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def test_a_connection_that_is_dead_is_given_up_long_before_the_deadline(provider: IdentityProvider) -> None:
    with Service(provider, options=QUIET) as service:
        async with wired(service.port) as (target, wire):
            fields = {
                "targets": [target],
                "limits": LimitSettings(seconds=60),
                "keepalive": KeepaliveSettings(seconds=0.5, answer_seconds=0.5),
            }
            async with gateway_to(service, **fields) as gateway:
                await gateway.call("who-am-i")
                began = time.monotonic()
                call = asyncio.ensure_future(gateway.call("wait", seconds=30))
                await until(lambda: len(service.seen) == 2)
                wire.cut.set()
                with pytest.raises(ActasError) as caught:
                    await asyncio.wait_for(call, 20)
                assert caught.value.code == "downstream_unavailable" and time.monotonic() - began < 20
                for seen in service.seen:
                    seen.cancelled.set()
