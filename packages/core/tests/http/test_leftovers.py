"""Bytes beyond an answer are nobody's answer. Raw sockets: no server library would send these."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from actas.http import AddressGuard, HttpClient

pytestmark = pytest.mark.anyio

FORGED = b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"who":"forged"}'
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def answering(answer: bytes, connections: list[int]) -> AsyncGenerator[str]:
    """The origin of a server that answers everything with ``answer``; ``connections`` gets one item for each."""
    open_ones: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        open_ones.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for each in open_ones:
            each.close()
        server.close()


@pytest.mark.parametrize("guard", [None, AddressGuard(loopback=True)], ids=["plain", "guarded"])
@pytest.mark.parametrize(
    "answer",
    [
        GOOD + FORGED,
        GOOD + b"\r\n",
        GOOD + b"H",
        CHUNKED + FORGED,
        b"HTTP/1.1 204 No Content\r\n\r\n" + FORGED,
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n" + FORGED,
    ],
    ids=["length", "line end", "one byte", "chunked", "204", "304"],
)
async def test_what_a_server_sends_beyond_its_answer_answers_nobody(answer: bytes, guard: AddressGuard | None) -> None:
    connections: list[int] = []
    client = HttpClient(guard=guard)
    async with answering(answer, connections) as origin:
        bodies = {(await client.request("GET", f"{origin}/{number}")).body for number in range(3)}
    await client.aclose()
    assert bodies <= {b"{}", b""} and len(connections) == 3


@pytest.mark.parametrize("guard", [None, AddressGuard(loopback=True)], ids=["plain", "guarded"])
@pytest.mark.parametrize("answer", [GOOD, CHUNKED], ids=["length", "chunked"])
async def test_a_connection_with_nothing_left_over_is_kept(answer: bytes, guard: AddressGuard | None) -> None:
    connections: list[int] = []
    client = HttpClient(guard=guard)
    async with answering(answer, connections) as origin:
        for number in range(3):
            assert (await client.request("GET", f"{origin}/{number}")).body == b"{}"
    await client.aclose()
    assert len(connections) == 1


async def test_where_nobody_can_look_no_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from actas.http import leftovers

    monkeypatch.setattr(leftovers, "_WAY", ("stream", "renamed"))
    connections: list[int] = []
    client = HttpClient()
    async with answering(GOOD, connections) as origin:
        for number in range(3):
            assert (await client.request("GET", f"{origin}/{number}")).body == b"{}"
    await client.aclose()
    assert len(connections) == 3
