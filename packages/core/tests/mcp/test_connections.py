"""Connections: how many there are, and what becomes of those that say or read nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from actas.mcp.places import Places

from .conftest import HANDSHAKE, Limited, Stage, refused

pytestmark = pytest.mark.anyio

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def address(stage: Stage) -> tuple[str, int]:
    host, port = stage.origin.removeprefix("http://").split(":")
    return host, int(port)


@asynccontextmanager
async def connection(stage: Stage) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection(*address(stage))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the server closes, which it must."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return head + await reader.readexactly(length)


METADATA = b"GET /.well-known/oauth-protected-resource/mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
UNFINISHED = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:1\r\ncontent-length: 10\r\n\r\n{"


async def test_a_connection_too_many_takes_the_place_of_the_one_that_is_silent_longest(limited: Limited) -> None:
    stage = await limited(connections=3)
    async with connection(stage) as oldest, connection(stage) as second, connection(stage) as third:
        for stream in (oldest, second, third):
            stream[1].write(METADATA)
            assert (await answer(stream[0])).startswith(b"HTTP/1.1 200")
        second[1].write(METADATA)  # no longer silent longest
        await answer(second[0])
        oldest[1].write(METADATA)
        await answer(oldest[0])
        async with connection(stage) as fourth:
            fourth[1].write(METADATA)
            assert (await answer(fourth[0])).startswith(b"HTTP/1.1 200")
            assert await closed(third[0]) == b""
            for stream in (oldest, second):
                stream[1].write(METADATA)
                assert (await answer(stream[0])).startswith(b"HTTP/1.1 200")


async def test_a_call_that_is_served_is_never_cut_off_for_newcomers(limited: Limited) -> None:
    stage = await limited(connections=2)
    call = asyncio.create_task(stage.call(stage.token(), "toy-slow"))
    async with asyncio.timeout(20):
        await stage.toy.running.wait()
    async with AsyncExitStack() as slowloris:
        for _ in range(10):  # each begins a request and never ends it
            _, writer = await slowloris.enter_async_context(connection(stage))
            writer.write(UNFINISHED)
        newcomer = await slowloris.enter_async_context(connection(stage))
        newcomer[1].write(METADATA)
        assert (await answer(newcomer[0])).startswith(b"HTTP/1.1 200")
    stage.toy.release.set()
    assert not refused(await call)


async def test_when_every_place_is_served_a_newcomer_is_turned_away(limited: Limited) -> None:
    stage = await limited(connections=1)
    call = asyncio.create_task(stage.call(stage.token(), "toy-slow"))
    async with asyncio.timeout(20):
        await stage.toy.running.wait()
    async with connection(stage) as newcomer:
        assert await closed(newcomer[0]) == b""
    stage.toy.release.set()
    assert not refused(await call)


@pytest.mark.parametrize("said", [b"\r\n", b"G", b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n\r"])
async def test_who_begins_a_second_request_and_says_no_more_is_closed(
    limited: Limited, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr("actas.mcp.connection.RECEIVE_SECONDS", 0.3)
    stage = await limited()
    async with connection(stage) as (reader, writer):
        writer.write(METADATA)
        await answer(reader)
        writer.write(said)
        await closed(reader)


async def test_who_has_his_answer_before_the_end_of_his_request_is_closed(
    limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.mcp.connection.RECEIVE_SECONDS", 0.3)
    stage = await limited()
    async with connection(stage) as (reader, writer):
        writer.write(UNFINISHED)
        assert (await answer(reader)).startswith(b"HTTP/1.1 401")
        writer.write(b" " * 9)
        await closed(reader)


async def test_who_does_not_read_his_answer_is_closed_and_his_place_is_free(
    limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.mcp.connection.SEND_SECONDS", 0.3)
    stage = await limited(concurrent_per_user=1, concurrent=1)
    stage.toy.answer = "x" * 8_000_000
    token = stage.token()
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"toy-data","arguments":{}}}'
    head = (
        f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:1\r\nauthorization: Bearer {token}\r\nmcp-protocol-version: {HANDSHAKE}"
        "\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection(*address(stage), limit=1024)
    writer.write((head + body) * 3)  # one after the other on one connection
    try:
        async with asyncio.timeout(20):
            while len(stage.toy.calls) < 2:  # noqa: ASYNC110 -- the second one is what cannot be answered
                await asyncio.sleep(0.02)
            while (await stage.post(token)).status_code != 200:  # noqa: ASYNC110 -- nothing tells of a free place
                await asyncio.sleep(0.02)
        assert len(await closed(reader)) < 16_000_000
    finally:
        writer.transport.abort()


class Named:
    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("closing", [True, False])
def test_what_was_said_twice_or_late_counts_once(closing: bool) -> None:
    places = Places(lambda: 2)
    one, other = Named(), Named()
    steps: list[Callable[[Named], object]] = [places.served, places.opened, places.served, places.served,
                                              places.silent, places.silent]  # fmt: skip
    for step in steps:
        step(one)
    assert len(places) == 1
    assert places.opened(other)
    if closing:
        places.closed(one)
        places.closed(one)
        assert len(places) == 1
    else:
        assert places.opened(Named())
        assert one.aborted
        assert not other.aborted
