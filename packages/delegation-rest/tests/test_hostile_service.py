"""A service that lies, drips, floods, and answers two for one. Raw sockets: no server library would."""

import asyncio
import gzip
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rest_gateway import ALICE, BOB, Gateway, gateway_to
from rest_service import Service

from actas.core import ActasError, DelegationTimeout, DownstreamUnavailable
from actas.delegation.rest.failures import AnswerTooLarge, UnexpectedAnswer
from actas.delegation.rest.settings import LimitSettings

pytestmark = pytest.mark.anyio

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LIMITS = LimitSettings(seconds=1, response_bytes=10_000, attempts=1)


@asynccontextmanager
async def gateway_before(answer: Answer, service: Service, **fields: Any) -> AsyncGenerator[Gateway]:
    """A gateway to a server that answers each request's head with ``answer``."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while True:
                await answer(await reader.readuntil(b"\r\n\r\n"), writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        async with gateway_to(service, base_url=base, **{"limits": LIMITS, **fields}) as opened:
            yield opened
    finally:
        for task in tasks:
            task.cancel()
        server.close()


def saying(*parts: bytes, then_close: bool = False) -> Answer:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_close:
            writer.close()

    return answer


def for_ever(head: bytes, part: bytes, pause: float = 0) -> Answer:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


BOMB = gzip.compress(b" " * 5_000_000)
CHUNKED = JSON + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (for_ever(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n"), AnswerTooLarge),
        (for_ever(JSON + b"\r\n", b"x" * 1024), AnswerTooLarge),
        (for_ever(CHUNKED, b"1\r\nx\r\n", pause=0.05), DelegationTimeout),
        (for_ever(JSON + b"content-length: 9000\r\n\r\n", b"x", pause=0.05), DelegationTimeout),
        (for_ever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.01), DelegationTimeout),
        (for_ever(JSON, b"x-more: " + b"y" * 1000 + b"\r\n"), DownstreamUnavailable),
        (for_ever(b"HTTP/1.1 200 ", b"O" * 1000), DownstreamUnavailable),
        (saying(JSON + b"content-length: 100\r\n\r\n{}", then_close=True), DownstreamUnavailable),
        (saying(JSON + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"), DownstreamUnavailable),
        (saying(JSON + b"content-length: -1\r\n\r\n{}"), DownstreamUnavailable),
        (saying(JSON + b"content-length: 999999999\r\n\r\n{}"), DelegationTimeout),
        (saying(CHUNKED + b"zz\r\n{}\r\n"), DownstreamUnavailable),
        (saying(JSON + b"transfer-encoding: gzip, chunked\r\n\r\n"), DownstreamUnavailable),
        (saying(JSON + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BOMB) + BOMB), UnexpectedAnswer),
        (saying(JSON + b"content-encoding: identity, br\r\ncontent-length: 2\r\n\r\n{}"), UnexpectedAnswer),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"), UnexpectedAnswer),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>"), UnexpectedAnswer),
        (saying(b"HTTP/1.1 302 Found\r\nlocation: /v1/customers/7\r\ncontent-length: 0\r\n\r\n"), UnexpectedAnswer),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n", then_close=True), DownstreamUnavailable),
        (saying(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), ActasError),
        (saying(b"", then_close=True), DownstreamUnavailable),
    ],
    ids=range(21),
)
async def test_a_service_that_answers_wrongly_costs_a_bounded_time_and_is_told_as_a_failure(
    answer: Answer, kind: type[ActasError], service: Service
) -> None:
    async with asyncio.timeout(20), gateway_before(answer, service) as opened:
        with pytest.raises(kind) as caught:
            await opened.call("get-customer", id="7")
        assert opened.source.kept["alice"].token.reveal() not in f"{caught.value!r}{opened.sink.entries()}"


async def test_two_answers_for_one_request_never_answer_another_user(service: Service) -> None:
    forged = JSON + b'content-length: 16\r\n\r\n{"who":"forged"}'
    answer = saying(JSON + b'content-length: 14\r\n\r\n{"who":"mine"}' + forged)
    async with gateway_before(answer, service) as opened:
        for session in (ALICE, BOB, ALICE, BOB):
            assert (await opened.call("get-customer", session, id="7"))["body"] == {"who": "mine"}


async def test_a_thousand_cookies_are_kept_by_nobody(service: Service) -> None:
    heads: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        cookies = b"".join(b"set-cookie: s%d=alice; Path=/\r\n" % number for number in range(1000))
        writer.write(JSON + cookies + b"content-length: 2\r\n\r\n{}")

    async with gateway_before(answer, service) as opened:
        for session in (ALICE, BOB):
            await opened.call("get-customer", session, id="7")
    assert len(heads) == 2 and b"cookie:" not in heads[1].lower() and b"alice" not in heads[1].lower()


async def test_pages_that_never_end_or_grow_without_end_are_cut(service: Service) -> None:
    from actas.delegation.rest.settings import OperationSettings, PageSettings

    asked: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head)
        body = b'["x"]'
        link = b'link: <?page=%d>; rel="next"\r\n' % len(asked)
        writer.write(JSON + link + b"content-length: %d\r\n\r\n" % len(body) + body)

    listing = {"list": OperationSettings(path="/orders", description="All orders.")}
    fields: dict[str, Any] = {"operations": listing, "pages": {"list": PageSettings(most=100)}}
    async with gateway_before(answer, service, **fields) as opened:
        answered = await opened.call("list")
    assert len(asked) == 100 and answered["truncated"] is True
