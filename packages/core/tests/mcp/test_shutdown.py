"""Stopping: what runs, what is on its way, what comes too late, and what takes too long."""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from actas.core import MemorySink, Outcome
from actas.mcp.listener import Listener, listen
from actas.testing.idp import IdentityProvider

from .conftest import HANDSHAKE, MODERN, Serve, Stage, request
from .process import Process, actas_run

pytestmark = pytest.mark.anyio


@pytest.fixture
def config(idp: IdentityProvider, tmp_path: Path) -> Callable[..., Path]:
    def write(*, word: str = "hello", mcp: str = "") -> Path:
        file = tmp_path / "actas.toml"
        draft = tmp_path / "draft"
        draft.write_text(f"""
[mcp]
port = 0
{mcp}
[auth]
audit = {{ path = "{tmp_path}/audit.jsonl" }}
[[auth.trusted_idps]]
name = "demo"
issuer = "{idp.issuer}"
audience = "{idp.audience}"
role_mappings = {{ user = ["staff"] }}
[auth.permissions]
user = ["relay:use"]
[delegation.modules.relay]
word = "{word}"
""")
        draft.rename(file)
        return file

    return write


class Caller:
    """Calls over one kept connection, or a new one each time; counts answers, and remembers what was lost."""

    def __init__(self, url: str, token: str, version: str = MODERN, *, fresh: bool = False) -> None:
        self._url, self._token, self._version, self._fresh = url, token, version, fresh
        self._http = httpx2.AsyncClient(timeout=60)
        self.answers: list[object] = []
        self.answered = 0
        self.lost: list[str] = []
        self.kept = False
        """Whether the next request goes over a connection that has been answered on before."""
        self.resets = 0
        """New connections that were made when the socket was about to be closed, and that nobody accepted."""

    async def ask(self, seconds: float) -> httpx2.Response:
        headers, body = request("tools/call", {"name": "relay-nap", "arguments": {"seconds": seconds}}, self._version)
        headers["authorization"] = f"Bearer {self._token}"
        return await self._http.post(self._url, headers=headers, json=body)

    async def go_on(self, seconds: float) -> None:
        """Until nobody listens any more: being refused before a word was said is no loss."""
        while True:
            try:
                answer = await self.ask(seconds)
            except httpx2.ConnectError:
                break
            except httpx2.TransportError as error:
                if isinstance(error, httpx2.ReadError) and not self.kept:
                    self.resets += 1
                else:
                    self.lost.append(repr(error))
                break
            if answer.status_code != 200:
                self.lost.append(answer.text)
                break
            self.kept = not self._fresh and answer.headers.get("connection") != "close"
            self.answered += 1
            self.answers.append(answer.json()["result"]["structuredContent"]["result"])
            if self._fresh:
                await self._http.aclose()
                self._http = httpx2.AsyncClient(timeout=60)
        await self._http.aclose()


async def _busy(callers: list[Caller]) -> None:
    """Return when each of them has had answers."""
    async with asyncio.timeout(60):
        while not all(len(caller.answers) > 3 or caller.lost for caller in callers):  # noqa: ASYNC110 -- a list tells nobody
            await asyncio.sleep(0.01)


async def test_no_request_is_lost_by_sigterm_under_load(
    config: Callable[..., Path], tmp_path: Path, idp: IdentityProvider
) -> None:
    async with actas_run(config(), tmp_path) as server:
        token = idp.issue()
        callers = [Caller(server.url, token, version) for version in (MODERN, HANDSHAKE) * 4]
        callers += [Caller(server.url, token, fresh=True) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for number, caller in enumerate(callers):
                group.create_task(caller.go_on(0.0 if number % 4 else 0.3))
            await _busy(callers)
            server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    _nothing_is_lost(callers, tmp_path)


def _nothing_is_lost(callers: list[Caller], folder: Path) -> None:
    """Whatever was begun was answered. One new connection may fall into the gap that decision 52 speaks of, between the
    last accept and the close. Nobody has read from it, so nothing was done."""
    assert [loss for caller in callers for loss in caller.lost] == []
    assert sum(caller.resets for caller in callers) <= 1
    lines = [json.loads(line) for line in folder.joinpath("audit.jsonl").read_text().splitlines()]
    carried_out = [line for line in lines if line["source"] == "delegation:relay"]
    assert len(carried_out) == sum(caller.answered for caller in callers)
    assert {line["outcome"] for line in carried_out} == {"success"}


async def test_no_request_is_lost_by_reloads_on_sighup_and_on_change_and_a_bad_file_is_told(
    config: Callable[..., Path], tmp_path: Path, idp: IdentityProvider
) -> None:
    async with actas_run(config(mcp="watch = false"), tmp_path) as server:
        callers = [Caller(server.url, idp.issue(), version) for version in (MODERN, HANDSHAKE) * 3]
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller.go_on(0.05))
            await _busy(callers)
            for number in range(3):
                seen = len(server.log)
                config(word=f"word{number}", mcp="watch = true" if number == 2 else "watch = false")
                server.signal(signal.SIGHUP)
                await server.says("the new configuration serves", after=seen)
                if number == 2:
                    break
                config(word="wrong", mcp="watch = false")
                server.signal(signal.SIGHUP)
                await server.says(r"last good configuration serves on: delegation\.modules\.relay", after=seen)
            seen = len(server.log)
            config(word="seen")
            await server.says("the new configuration serves", after=seen)
            for caller in callers:
                caller.answers.clear()
            await _busy(callers)
            server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    _nothing_is_lost(callers, tmp_path)
    assert all(caller.answers[-1] == "seen" for caller in callers)


async def _napping(server: Process, caller: Caller, tmp_path: Path) -> "asyncio.Task[httpx2.Response]":
    """A call that takes long, and has begun: the minutes have its caller."""
    call = asyncio.create_task(caller.ask(50))
    minutes = tmp_path / "audit.jsonl"
    async with asyncio.timeout(60):
        while '"authenticate"' not in minutes.read_text():  # noqa: ASYNC110 -- a file tells nobody
            await asyncio.sleep(0.01)
    return call


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_what_takes_too_long_is_answered_and_recorded(
    config: Callable[..., Path], tmp_path: Path, idp: IdentityProvider, version: str
) -> None:
    async with actas_run(config(mcp="drain_timeout = 1.5\ntool_timeout = 60"), tmp_path) as server:
        call = await _napping(server, Caller(server.url, idp.issue(), version), tmp_path)
        server.signal(signal.SIGTERM)
        answer = await call
        assert (answer.status_code, answer.json()["error"]) == (503, "cut_off")
        assert answer.headers["connection"] == "close" and answer.headers["retry-after"] == "1"
        assert await server.ended() == 0
    last = json.loads(tmp_path.joinpath("audit.jsonl").read_text().splitlines()[-1])
    assert (last["action"], last["outcome"]) == ("nap", "cancelled")


async def test_a_second_signal_stops_at_once(
    config: Callable[..., Path], tmp_path: Path, idp: IdentityProvider
) -> None:
    async with actas_run(config(mcp="drain_timeout = 3000\ntool_timeout = 3600"), tmp_path) as server:
        call = await _napping(server, Caller(server.url, idp.issue()), tmp_path)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGINT)
        assert (await call).status_code == 503
        assert await server.ended() == 0


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections stay until somebody closes them."""
    monkeypatch.setattr("actas.mcp.connection.LINGER_SECONDS", 60)
    monkeypatch.setattr("actas.mcp.listener.LINGER_SECONDS", 60)


def _raw(stage: Stage) -> bytes:
    headers, body = request("tools/list", {}, MODERN)
    content = json.dumps(body).encode()
    sent = {
        **headers, "host": "127.0.0.1:1", "content-length": str(len(content)),
        "authorization": f"Bearer {stage.token()}",
    }  # fmt: skip
    return b"POST /mcp HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in sent.items()).encode() + b"\r\n" + content


async def _open(stage: Stage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(stage.url.split(":")[2].split("/")[0]))


async def test_what_comes_on_an_open_connection_is_served_for_the_last_time(patient: None, serve: Serve) -> None:
    async with serve() as stage:
        opened = [await _open(stage) for _ in range(3)]
        used, unused, half = opened
        used[1].write(_raw(stage))
        head = await used[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await used[0].readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        half[1].write(_raw(stage)[:100])
        async with httpx2.AsyncClient() as http:
            assert (await http.get(f"{stage.origin}/readyz")).status_code == 200
            stopping = asyncio.create_task(stage.server.stop())
            async with asyncio.timeout(30):
                while (await http.get(f"{stage.origin}/readyz")).status_code != 503:
                    pass
            assert (await http.get(f"{stage.origin}/livez")).text == "ok\n"
        for _, writer in (used, unused):
            writer.write(_raw(stage))
        half[1].write(_raw(stage)[100:])
        for reader, writer in opened:
            answer = await reader.read()  # to the end: it is closed after that
            assert b"HTTP/1.1 200" in answer and b"connection: close\r\n" in answer
            writer.close()
        await stopping


async def test_idle_connections_are_closed(stage: Stage) -> None:
    reader, writer = await _open(stage)
    await stage.server.stop()
    assert await reader.read() == b""
    writer.close()


async def test_whoever_waits_to_be_accepted_is_served(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actas.mcp.listener.LINGER_SECONDS", 0)
    running = stage.server._running
    assert running is not None
    asyncio.get_running_loop().remove_reader(running._socket)  # nobody accepts
    reader, writer = await _open(stage)
    writer.write(_raw(stage))
    await stage.server.stop()
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("turns", range(5))
async def test_whoever_was_accepted_a_moment_ago_is_served(stage: Stage, monkeypatch: Any, turns: int) -> None:
    """However far the event loop has come with him: it takes three of its turns before it tells anybody."""
    monkeypatch.setattr("actas.mcp.listener.LINGER_SECONDS", 0.2)
    running = stage.server._running
    assert running is not None
    real, late = running._server._accept_the_rest, socket.socket()
    late.settimeout(2)

    async def one_comes(sockets: list[socket.socket]) -> None:
        late.connect(("127.0.0.1", running.port))
        late.sendall(_raw(stage))
        for _ in range(turns):
            await asyncio.sleep(0)
        await real(sockets)

    monkeypatch.setattr(running._server, "_accept_the_rest", one_comes)
    with late:
        await stage.server.stop()
        assert late.recv(100_000).startswith(b"HTTP/1.1 200")


async def test_one_connection_at_most_comes_between_the_last_accept_and_the_close(stage: Stage) -> None:
    running = stage.server._running
    assert running is not None
    (listening,) = running._server.servers
    close, came = listening.close, list[socket.socket]()
    with contextlib.ExitStack() as opened:

        def in_the_gap() -> None:
            for _ in range(5):
                late = opened.enter_context(socket.socket())
                late.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    late.connect(("127.0.0.1", running.port))
                    came.append(late)
            close()

        setattr(listening, "close", in_the_gap)  # noqa: B010 -- closes too
        await stage.server.stop()
        (only,) = came
        with pytest.raises(ConnectionResetError):
            only.recv(1)


async def test_a_client_that_does_not_read_does_not_hold_up_the_stop(serve: Serve, monkeypatch: Any) -> None:
    async with serve(drain_timeout=0.3) as stage:
        stage.toy.answer = "x" * 50_000_000
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", int(stage.url.split(":")[2].split("/")[0])))
            deaf.sendall(_raw(stage).replace(b"tools/list", b"tools/call"))
            deaf.sendall(_raw(stage))
            async with asyncio.timeout(30):
                await stage.server.stop()


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_say_ok_and_nothing_else(stage: Stage, path: str) -> None:
    async with httpx2.AsyncClient() as http:
        answer = await http.get(stage.origin + path)
        assert (answer.status_code, answer.text) == (200, "ok\n")
        assert (await http.head(stage.origin + path)).content == b""
        assert (await http.post(stage.origin + path)).status_code == 405
    assert stage.sink.entries() == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_unmodified_client_gets_the_answer_it_waits_for(stage: Stage, mode: str, sink: MemorySink) -> None:
    answer: object = None
    with contextlib.suppress(Exception):  # whatever the client makes, afterwards, of a server that is gone
        async with stage.client(stage.token(), mode) as client:
            await client.list_tools()  # or the client would do so after the call, to see how its result should look
            call = asyncio.create_task(client.call_tool("toy-slow", {}))
            await stage.toy.running.wait()
            stopping = asyncio.create_task(stage.server.stop())
            await asyncio.sleep(0)
            stage.toy.release.set()
            answer = (await call).structured_content
            await client.list_tools()
    assert answer == {"result": "done"}
    await stopping
    assert sink.entries(source="delegation:toy")[-1].outcome is Outcome.SUCCESS


async def test_a_second_signal_while_modules_are_closed_changes_nothing() -> None:
    """Nothing is waited for any more that could be hurried."""
    closing, closed = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        yield
        closing.set()
        await closed.wait()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody calls")

    listener = Listener(
        listen("127.0.0.1", 0),
        app,
        lifespan,
        longest_token=lambda: 1,
        most_connections=lambda: 1,
        seconds=lambda: 5.0,
        cut_off=lambda: None,
    )
    await listener.start()
    stopping = asyncio.ensure_future(listener.stop())
    await closing.wait()
    listener.hurry()
    closed.set()
    await stopping
