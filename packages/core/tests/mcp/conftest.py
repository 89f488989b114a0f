"""A real identity provider, a toy module that delegates in this process, and a real server before both."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from actas.core import (
    Action,
    DelegationCall,
    DelegationResult,
    DownstreamUnavailable,
    Effect,
    Health,
    MemorySink,
    Receipt,
    Session,
)
from actas.core.progress import note
from actas.core.roles import Permissions, RoleMappings
from actas.mcp import AuthSettings, MCPOAuthServer, McpSettings, Settings
from actas.mcp.settings import LimitSettings, SharedSettings
from actas.testing.idp import DemoUser, IdentityProvider

PASSWORD = "hunter2"
MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
WIRES = pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
ROLES = RoleMappings(admin=["boss"], user=["staff"], custom={"auditor": ["audit"]})
PERMISSIONS = Permissions(admin=["toy:use", "toy:break"], user=["toy:use"], custom={"auditor": ["toy:look"]})
USERS = {
    "alice": DemoUser(roles=["staff"], scopes=["toy.read"]),
    "bob": DemoUser(roles=["boss"], scopes=["toy.read", "toy.write"]),
    "guest": DemoUser(),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Say:
    """What to say."""

    text: str
    """The words."""
    times: int = 1
    """How often."""


@dataclass(frozen=True)
class Anything:
    """Takes any JSON."""

    value: object = None


@dataclass
class Toy:
    """Delegates to nobody; ``answer`` is what its ``data`` action returns."""

    answer: object = None
    identity: str | None = None
    broken_start: Exception | None = None
    calls: list[str] = field(default_factory=list[str])
    initialized: int = 0
    destroyed: int = 0
    said: str = "Half of it is done."
    running: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    actions = (
        Action(name="say", description="Say it.", parameters=Say, permission="toy:use"),
        Action(name="data", description="What is configured.", permission="toy:use"),
        Action(name="take", description="Give it back.", parameters=Anything, permission="toy:use"),
        Action(name="fail", description="Fail.", permission="toy:use"),
        Action(name="crash", description="A defect.", permission="toy:use"),
        Action(name="slow", description="Wait.", permission="toy:use"),
        Action(name="wait", description="Too long.", permission="toy:use", timeout=0.05),
        Action(
            name="write",
            description="Write.",
            parameters=Say,
            permission="toy:use",
            scopes=frozenset({"toy.read", "toy.write", "toy.extra"}),
            effect=Effect.DESTRUCTIVE,
        ),
        Action(name="break", description="For bosses.", parameters=Say, permission="toy:break"),
    )

    async def initialize(self) -> None:
        self.initialized += 1
        if self.broken_start is not None:
            raise self.broken_start

    def principal(self, session: Session) -> str:
        return session.username

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        self.calls.append(call.action.name)
        return DelegationResult(
            data=await self._data(call), receipt=Receipt(identity=self.identity or call.session.username, method="toy")
        )

    async def _data(self, call: DelegationCall) -> object:
        match call.action.name:
            case "say" | "write" | "break":
                assert isinstance(call.parameters, Say)
                return " ".join([call.parameters.text] * call.parameters.times)
            case "take":
                assert isinstance(call.parameters, Anything)
                return call.parameters.value
            case "fail":
                raise DownstreamUnavailable(detail="the toy is broken")
            case "crash":
                raise RuntimeError(f"password={PASSWORD}")
            case "slow":
                self.running.set()
                note(self.said)
                await self.release.wait()
                return "done"
            case "wait":
                await asyncio.sleep(30)
                return "never"
            case _:
                return self.answer

    async def health_check(self) -> Health:
        return Health(healthy=True, message="plays")

    async def destroy(self) -> None:
        self.destroyed += 1


@pytest.fixture(scope="session")
def running_idp() -> Iterator[IdentityProvider]:
    with IdentityProvider(users=USERS, audience="https://mcp.test/mcp") as provider:
        yield provider


@pytest.fixture
def idp(running_idp: IdentityProvider) -> Iterator[IdentityProvider]:
    published = list(running_idp.keys)
    yield running_idp
    running_idp.keys[:] = published
    running_idp.down = False


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink(100_000)


@pytest.fixture
def hours(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The plug-in ``hours``, installed; its module."""
    monkeypatch.syspath_prepend(install("dummy-hours"))
    import dummy_hours  # type: ignore[import-not-found,unused-ignore]  # there from now on

    yield dummy_hours
    del sys.modules["dummy_hours"]


def settings_for(*issuers: Any, **mcp: Any) -> Settings:
    return Settings(
        auth=AuthSettings(trusted_idps=list(issuers), permissions=PERMISSIONS),
        mcp=McpSettings(port=0, **mcp),
    )


@dataclass
class Stage:
    """A running server and ways to talk to it."""

    server: MCPOAuthServer
    idp: IdentityProvider
    sink: MemorySink
    toy: Toy
    http: httpx2.AsyncClient

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def origin(self) -> str:
        return self.url.removesuffix(self.server.settings.mcp.path)

    def token(self, user: str = "alice", **changed: Any) -> str:
        return self.idp.issue(user, **changed)

    @asynccontextmanager
    async def client(self, token: str, mode: str = "auto") -> AsyncIterator[Client]:
        """The unmodified SDK client."""
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=mode) as client,
        ):
            yield client

    async def call(
        self, token: str | None, name: str, arguments: Mapping[str, object] | None = None, **options: Any
    ) -> httpx2.Response:
        return await self.post(token, "tools/call", {"name": name, "arguments": dict(arguments or {})}, **options)

    async def post(
        self,
        token: str | None,
        method: str = "tools/list",
        params: Mapping[str, object] | None = None,
        *,
        version: str = MODERN,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        sent, body = request(method, params or {}, version)
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return await self.http.post(self.url, headers={**sent, **(headers or {})}, json=body)


def request(method: str, params: Mapping[str, object], version: str) -> tuple[dict[str, str], dict[str, object]]:
    """Headers and body as a client would send them."""
    headers = {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": version,
    }
    params = dict(params)
    if version == MODERN:
        headers["mcp-method"] = method
        if "name" in params:
            headers["mcp-name"] = str(params["name"])
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        }
    return headers, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


Serve = Callable[..., AbstractAsyncContextManager[Stage]]
Mode = Literal["auto", "legacy"]


@pytest.fixture
def serve(idp: IdentityProvider, sink: MemorySink, toy: Toy) -> Serve:
    @asynccontextmanager
    async def serve(
        *issuers: Any, prepare: Callable[[MCPOAuthServer], object] | None = None, **mcp: Any
    ) -> AsyncIterator[Stage]:
        server = MCPOAuthServer(settings_for(*(issuers or (idp.trusted(role_mappings=ROLES),)), **mcp), audit_sink=sink)
        server.register_delegation_module("toy", toy)
        if prepare is not None:
            prepare(server)
        await server.start()
        try:
            async with httpx2.AsyncClient(timeout=30) as http:
                yield Stage(server, idp, sink, toy, http)
        finally:
            await server.stop()

    return serve


@pytest.fixture
async def stage(serve: Serve) -> AsyncIterator[Stage]:
    async with serve() as running:
        yield running


class Limited:
    """Starts servers with limits."""

    def __init__(self, idp: IdentityProvider, sink: MemorySink, toy: Toy, stack: AsyncExitStack) -> None:
        self._idp, self._sink, self._toy, self._stack = idp, sink, toy, stack

    async def __call__(
        self, *, shared: SharedSettings | None = None, mcp: Mapping[str, Any] | None = None, **limits: Any
    ) -> Stage:
        settings = replace(
            settings_for(self._idp.trusted(role_mappings=ROLES), **(mcp or {})),
            limits=LimitSettings(**limits),
            shared=shared or SharedSettings(),
        )
        server = MCPOAuthServer(settings, audit_sink=self._sink)
        server.register_delegation_module("toy", self._toy)
        await server.start()
        self._stack.push_async_callback(server.stop)
        http = await self._stack.enter_async_context(httpx2.AsyncClient(timeout=30))
        return Stage(server, self._idp, self._sink, self._toy, http)


@pytest.fixture
async def limited(idp: IdentityProvider, sink: MemorySink, toy: Toy) -> AsyncIterator[Limited]:
    async with AsyncExitStack() as stack:
        yield Limited(idp, sink, toy, stack)


def refused(response: httpx2.Response) -> bool:
    """Whether it is a complete 429; anything but that and 200 fails."""
    if response.status_code == 200:
        return False
    assert response.status_code == 429
    assert response.json()["error"] == "too_many_requests"
    assert 1 <= int(response.headers["retry-after"]) <= 86_400
    assert response.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in response.headers
    return True


class InProcess:
    """One ASGI endpoint, asked without a network: status, headers and body of each answer."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(
        self,
        body: bytes | list[bytes],
        headers: list[tuple[bytes, bytes]],
        *,
        method: str = "POST",
        path: str = "/mcp",
        query: bytes = b"",
        extra: tuple[object, ...] = (),
        disconnects: bool = False,
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        chunks = body if isinstance(body, list) else [body]
        incoming: list[dict[str, object]] = [
            {"type": "http.request", "body": chunk, "more_body": disconnects or index < len(chunks) - 1}
            for index, chunk in enumerate(chunks)
        ]
        incoming.append({"type": "http.disconnect"})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, object]:
            return incoming.pop(0) if len(incoming) > 1 else incoming[0]

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
            "state": {},
        }
        await self._app(scope, receive, send, *extra)
        starts = [message for message in sent if message["type"] == "http.response.start"]
        assert len(starts) <= 1
        if not starts:
            return 0, {}, b""
        answer = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
        return starts[0]["status"], dict(starts[0]["headers"]), answer
