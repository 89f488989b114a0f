"""Starting, stopping, extending, and living in somebody else's ASGI host."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from actas.core import (
    Action,
    AuditEvent,
    ConfigurationError,
    DelegationCall,
    DownstreamUnavailable,
    MemorySink,
    Outcome,
    Pipeline,
)
from actas.mcp import AuditSettings, AuthSettings, MCPOAuthServer, Settings, Tool, create_delegation_tool
from actas.mcp.listener import listen
from actas.testing.idp import IdentityProvider

from .conftest import HANDSHAKE, MODERN, Mode, Serve, Stage, Toy, request, settings_for

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(idp: IdentityProvider, sink: MemorySink, toy: Toy) -> MCPOAuthServer:
    server = MCPOAuthServer(settings_for(idp.trusted()), audit_sink=sink)
    server.register_delegation_module("toy", toy)
    return server


async def test_a_server_runs_between_start_and_stop(server: MCPOAuthServer, toy: Toy) -> None:
    assert not server.is_running
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url
    await server.start()
    assert server.is_running
    with pytest.raises(ConfigurationError, match="running already"):
        await server.start()
    url = server.url
    await server.stop()
    await server.stop()
    assert not server.is_running
    assert (toy.initialized, toy.destroyed) == (1, 1)
    async with httpx2.AsyncClient() as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get(url)


async def test_a_stopped_server_says_that_it_is_not_started_again(server: MCPOAuthServer) -> None:
    await server.start()
    await server.stop()
    with pytest.raises(ConfigurationError, match="make a new one"):
        await server.start()
    assert not server.is_running


async def test_a_taken_port_is_a_clear_error_and_the_port_can_be_used_later(
    idp: IdentityProvider, sink: MemorySink
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = settings_for(idp.trusted())
        object.__setattr__(settings.mcp, "port", port)
        server = MCPOAuthServer(settings, audit_sink=sink)
        with pytest.raises(ConfigurationError, match=f"mcp.port: cannot listen on 127.0.0.1:{port}.* another port"):
            await server.start()
        assert not server.is_running
    await server.start()
    await server.stop()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a\0b", "x" * 300])
async def test_an_address_that_is_not_ours_is_a_clear_error(idp: IdentityProvider, sink: MemorySink, host: str) -> None:
    settings = settings_for(idp.trusted(), host=host, resource="https://mcp.example/mcp")
    with pytest.raises(ConfigurationError, match=r"mcp\.host: cannot listen on .* Take an address of this machine"):
        await MCPOAuthServer(settings, audit_sink=sink).start()


def test_a_port_that_takes_a_right_is_told_with_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("socket.socket.bind", bind)  # whoever runs the tests may have the right
    with pytest.raises(ConfigurationError, match=r"mcp\.port: .*Permission denied.*CAP_NET_BIND_SERVICE"):
        listen("127.0.0.1", 443)


@pytest.mark.parametrize("error", [ConfigurationError("no such table", detail="private"), RuntimeError("private")])
async def test_a_module_that_does_not_start_keeps_the_server_from_starting_and_all_is_released(
    server: MCPOAuthServer, toy: Toy, error: Exception
) -> None:
    second = Toy(broken_start=error)
    server.register_delegation_module("second", second)
    before = {task for task in asyncio.all_tasks()}
    with pytest.raises((ConfigurationError, RuntimeError)) as caught:
        await server.start()
    if isinstance(caught.value, ConfigurationError):
        assert caught.value.message.startswith("delegation.modules.second: ")
        assert "private" not in caught.value.message
    assert not server.is_running
    assert toy.destroyed >= 1 and second.destroyed >= 1
    assert {task for task in asyncio.all_tasks()} == before


async def test_the_log_says_why_a_module_does_not_start_and_no_caller_learns_it(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    away = Toy(broken_start=DownstreamUnavailable(detail="/srv/files cannot be opened as a folder"))
    async with serve(prepare=lambda server: server.register_delegation_module("away", away)) as stage:
        health = (await stage.call(stage.token(), "health-check", {"module": "away"})).text
    assert "the module away does not start" in caplog.text and "/srv/files cannot be opened" in caplog.text
    assert "did not answer" in health and "/srv/files" not in health


async def test_a_module_whose_downstream_is_away_keeps_no_other_from_serving_and_comes_back_by_itself(
    serve: Serve, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.core.latecomer.FIRST_PAUSE", 0.01)
    away = Toy(broken_start=DownstreamUnavailable(detail="private"))

    def prepare(server: MCPOAuthServer) -> None:
        server.register_delegation_module("away", away)

    async with serve(prepare=prepare) as stage:
        token = stage.token()
        assert (await stage.call(token, "toy-say", {"text": "x"})).json()["result"]["isError"] is False
        refused = (await stage.call(token, "away-say", {"text": "x"})).json()["result"]
        assert refused["structuredContent"]["error"]["code"] == "downstream_unavailable"
        health = (await stage.call(token, "health-check")).json()["result"]["structuredContent"]
        assert health["healthy"] is False and health["modules"]["toy"]["healthy"] is True
        assert "did not answer when the server started" in health["modules"]["away"]["message"]
        away.broken_start = ConfigurationError("still not as it should be")
        async with asyncio.timeout(10):
            while away.initialized < 3:  # noqa: ASYNC110 -- a toy tells nobody
                await asyncio.sleep(0.01)
        assert (await stage.call(token, "away-say", {"text": "x"})).json()["result"]["isError"] is True
        away.broken_start = None
        async with asyncio.timeout(10):
            while (await stage.call(token, "away-say", {"text": "x"})).json()["result"]["isError"]:
                pass
        assert (await stage.call(token, "health-check")).json()["result"]["structuredContent"]["healthy"] is True
    assert away.destroyed == 1 and away.calls == ["say"]
    assert (toy.initialized, toy.destroyed) == (1, 1)


async def test_a_module_that_hangs_at_the_start_is_away_too_and_the_stop_does_not_wait_for_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("actas.core.latecomer.START_TIMEOUT", 0.05)
    hanging = Toy()

    async def initialize() -> None:
        await asyncio.Event().wait()

    hanging.initialize = initialize  # type: ignore[method-assign]
    async with serve(prepare=lambda server: server.register_delegation_module("hanging", hanging)) as stage:
        health = (await stage.call(stage.token(), "health-check", {"module": "hanging"})).json()["result"]
        assert health["structuredContent"]["healthy"] is False
    assert hanging.destroyed == 1
    assert "does not answer (not within 0.05 s)" in caplog.text


def test_what_is_no_module_is_refused(server: MCPOAuthServer) -> None:
    with pytest.raises(ConfigurationError, match=r"delegation\.modules\.x: int is no DelegationModule"):
        server.register_delegation_module("x", 5)  # type: ignore[arg-type]


async def test_a_start_that_is_cancelled_leaves_nothing_behind(server: MCPOAuthServer, toy: Toy) -> None:
    hanging = asyncio.Event()

    async def initialize() -> None:
        await hanging.wait()

    toy.initialize = initialize  # type: ignore[method-assign]
    before = {task for task in asyncio.all_tasks()}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await server.start()
    assert not server.is_running
    assert toy.destroyed >= 1
    assert {task for task in asyncio.all_tasks()} == before


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
@pytest.mark.parametrize("extra", [{}, {"last-event-id": "1"}])  # the short way, and the SDK's
async def test_a_running_call_ends_before_the_server_does(stage: Stage, version: str, extra: dict[str, str]) -> None:
    call = asyncio.create_task(stage.call(stage.token(), "toy-slow", version=version, headers=extra))
    await stage.toy.running.wait()
    stopping = asyncio.create_task(stage.server.stop())
    await asyncio.sleep(0.3)
    assert not stopping.done()
    stage.toy.release.set()
    assert (await call).json()["result"]["structuredContent"] == {"result": "done"}
    await stopping
    assert [event.outcome for event in stage.sink.entries(source="delegation:toy")] == [Outcome.SUCCESS]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_stays_connected_does_not_hold_up_the_stop(stage: Stage, mode: Mode) -> None:
    async with stage.client(stage.token(), mode) as client:
        await client.list_tools()
        async with asyncio.timeout(5):
            await stage.server.stop()


@pytest.mark.parametrize("extra", [{}, {"last-event-id": "1"}])
@pytest.mark.parametrize(("version", "ended"), [(MODERN, Outcome.CANCELLED), (HANDSHAKE, Outcome.SUCCESS)])
async def test_a_call_whose_client_leaves_is_carried_out_once_at_most_and_recorded_as_it_ended(
    stage: Stage, extra: dict[str, str], version: str, ended: Outcome
) -> None:
    """On the older wires, a lost connection is no cancelling; see test_long_calls."""
    call = asyncio.create_task(stage.call(stage.token(), "toy-slow", headers=extra, version=version))
    await stage.toy.running.wait()
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    await asyncio.sleep(0.5)
    stage.toy.release.set()
    async with asyncio.timeout(5):
        while not (events := stage.sink.entries(source="delegation:toy")):  # noqa: ASYNC110 -- a sink tells nobody
            await asyncio.sleep(0.01)
    assert [event.outcome for event in events] == [ended]
    assert stage.toy.calls == ["slow"]


async def test_a_call_that_is_cut_off_by_the_stop_is_answered_and_recorded_as_cancelled(
    serve: Serve,
) -> None:
    async with serve(drain_timeout=0.2) as stage:
        call = asyncio.create_task(stage.call(stage.token(), "toy-slow"))
        await stage.toy.running.wait()
        await stage.server.stop()
        answer = await call
    assert answer.status_code == 503 and answer.json()["error"] == "cut_off"
    assert [event.outcome for event in stage.sink.entries(source="delegation:toy")] == [Outcome.CANCELLED]


async def test_the_asgi_application_lives_under_a_plain_uvicorn_and_a_starlette_host(
    server: MCPOAuthServer, idp: IdentityProvider, toy: Toy
) -> None:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    door = server.asgi_app(port=port)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with door.lifespan():
            yield

    hosts: list[Any] = [Starlette(routes=[Mount("/", app=door)], lifespan=lifespan)]
    for app in hosts:
        await _ask_under_uvicorn(app, listening, port, idp.issue())
    assert (toy.initialized, toy.destroyed) == (1, 1)


async def test_the_asgi_application_is_an_application_of_its_own(
    server: MCPOAuthServer, idp: IdentityProvider, toy: Toy
) -> None:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    await _ask_under_uvicorn(server.asgi_app(port=port), listening, port, idp.issue())
    assert (toy.initialized, toy.destroyed) == (1, 1)


async def _ask_under_uvicorn(app: Any, listening: socket.socket, port: int, token: str) -> None:
    host = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    host.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(host.serve(sockets=[listening]))
    while not host.started and not serving.done():  # noqa: ASYNC110 -- uvicorn tells nobody
        await asyncio.sleep(0.01)
    headers, body = request("tools/list", {}, MODERN)
    async with httpx2.AsyncClient() as http:
        url = f"http://127.0.0.1:{port}"
        answer = await http.post(f"{url}/mcp", headers={**headers, "authorization": f"Bearer {token}"}, json=body)
        assert answer.status_code == 200
        assert (await http.get(f"{url}/.well-known/oauth-protected-resource/mcp")).json()["resource"] == f"{url}/mcp"
    host.should_exit = True
    await serving


async def test_a_failed_start_is_told_to_the_host_without_anything_private(server: MCPOAuthServer, toy: Toy) -> None:
    toy.broken_start = RuntimeError("password=hunter2")
    messages: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        messages.append(message)

    await server.asgi_app(port=1)({"type": "lifespan"}, receive, send)
    assert messages == [{"type": "lifespan.startup.failed", "message": "RuntimeError"}]


async def test_nothing_is_registered_once_the_server_was_started(server: MCPOAuthServer) -> None:
    await server.start()
    try:
        with pytest.raises(ConfigurationError, match="before the server starts"):
            server.register_delegation_module("late", Toy())
        with pytest.raises(ConfigurationError, match="before the server starts"):
            server.register_tools([])
    finally:
        await server.stop()


async def _echo(call: DelegationCall, pipeline: Pipeline) -> object:
    return {"who": call.session.username}


async def test_two_tools_of_one_name_are_refused_naming_both_and_nothing_is_half_done(
    server: MCPOAuthServer, toy: Toy
) -> None:
    clash = Tool.own(Action(name="toy-say", description="x"), _echo)
    fine = Tool.own(Action(name="fine", description="x"), _echo)
    with pytest.raises(ConfigurationError, match=r"toy-say: from delegation\.modules\.toy and from the tool toy-say"):
        server.register_tools([fine, clash])
    server.register_tool(fine)  # the first attempt added nothing
    with pytest.raises(ConfigurationError, match="registered already"):
        server.register_delegation_module("toy", Toy())
    with pytest.raises(ConfigurationError, match="two tools are called toy-say"):
        server.register_delegation_module("other", Toy(), prefix="toy")
    with pytest.raises(ConfigurationError, match="no tool 'nothing'"):
        server.register_delegation_module("third", Toy(), tools=["nothing"])
    with pytest.raises(ConfigurationError, match="is no tool name"):
        Tool.own(Action(name="a/b", description="x"), _echo)
    with pytest.raises(ConfigurationError, match="must be a dataclass"):
        server.register_tool(Tool.own(Action(name="typed", description="x", parameters=int), _echo))
    await server.release()


@dataclass(frozen=True)
class Greeting:
    """What the model fills in."""

    name: str
    """Whom to greet."""


async def test_a_tool_in_five_lines_needs_its_own_permission_and_the_modules(serve: Serve) -> None:
    greet = create_delegation_tool(
        "greet", "Greet somebody.", module="toy", action="say", parameters=Greeting, permission="toy:break",
        arguments=lambda call: {"text": f"hello {call.parameters.name} from {call.session.username}"},
    )  # fmt: skip
    fixed = create_delegation_tool("fixed", "Say it.", module="toy", action="break", arguments={"text": "x"})
    lost = create_delegation_tool("lost", "None.", module="nowhere", action="x", arguments={})
    async with serve(prepare=lambda server: server.register_tools([greet, fixed, lost])) as stage:
        async with stage.client(stage.token("bob")) as bob:
            result = await bob.call_tool("greet", {"name": "you"})
            assert result.structured_content == {"result": "hello you from bob"}
            events = stage.sink.entries()[-2:]
            assert [(e.source, e.action, e.tool) for e in events] == [
                ("delegation:toy", "say", "greet"), ("tool", "greet", "greet")]  # fmt: skip
            assert (await bob.call_tool("lost", {})).is_error
        async with stage.client(stage.token("alice")) as alice:
            names = [tool.name for tool in (await alice.list_tools()).tools]
            assert "greet" not in names and "fixed" in names
            refused = await alice.call_tool("fixed", {})
            assert refused.is_error and refused.structured_content is not None
            assert refused.structured_content["error"]["code"] == "permission_denied"
    assert stage.toy.calls == ["say"]


async def test_a_tool_of_ones_own_returns_plain_data(serve: Serve) -> None:
    own = Tool.own(Action(name="echo", description="x", parameters=Greeting), _echo)
    async with serve(prepare=lambda server: server.register_tool(own)) as stage:
        answer = (await stage.call(stage.token("guest"), "echo", {"name": "x"})).json()
        assert answer["result"]["structuredContent"] == {"who": "guest"}


class Empty(MemorySink):
    """A sink that is false, as a container without entries is."""

    def __len__(self) -> int:
        return 0

    async def write(self, event: AuditEvent) -> None:
        await super().write(event)


async def test_the_sink_that_is_given_is_the_one_that_is_used(idp: IdentityProvider) -> None:
    sink = Empty()
    server = MCPOAuthServer(settings_for(idp.trusted()), audit_sink=sink)
    assert server.core_context.audit.sink is sink
    await server.release()


def test_settings_that_name_a_plug_in_are_refused_instead_of_forgotten(idp: IdentityProvider) -> None:
    auth = AuthSettings(trusted_idps=[idp.trusted()], audit=AuditSettings(kind="elsewhere"))
    with pytest.raises(ConfigurationError, match="name no plug-ins"):
        MCPOAuthServer(Settings(auth=auth))


async def test_every_module_is_released_although_one_refuses(server: MCPOAuthServer, toy: Toy) -> None:
    bad = Toy()

    async def destroy() -> None:
        raise RuntimeError("stuck")

    bad.destroy = destroy  # type: ignore[method-assign]
    server.register_delegation_module("bad", bad)
    await server.start()
    await server.stop()
    assert toy.destroyed == 1


async def test_serve_runs_until_cancelled(server: MCPOAuthServer) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(server.serve(told.put_nowait))
    assert await told.get() == server.url
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert not server.is_running


def test_answers_leave_at_once_and_do_not_wait_for_more() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # without it asyncio leaves Nagle's algorithm on
