"""Any ASGI application on a real socket, as uvicorn serves it, and requests to it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from .conftest import MODERN, request


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Served:
    """An application that listens at ``origin``, with its MCP endpoint, if it has one, at ``/mcp``."""

    app: Any
    origin: str
    http: httpx2.AsyncClient

    @property
    def url(self) -> str:
        return f"{self.origin}/mcp"

    @asynccontextmanager
    async def client(self, token: str, mode: str = "auto", **options: Any) -> AsyncIterator[Client]:
        """The unmodified SDK client."""
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=30) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=mode, **options) as client,
        ):
            yield client

    async def post(
        self,
        token: str | None,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        version: str = MODERN,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        sent, body = request(method, params or {}, version)
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return await self.http.post(self.url, headers={**sent, **(headers or {})}, json=body)


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        pass


@asynccontextmanager
async def serving(made: Callable[[int], Any]) -> AsyncIterator[Served]:
    """Serve what ``made`` makes for a port; its lifespan must start and end well."""
    port = free_port()
    app = made(port)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, lifespan="on", timeout_graceful_shutdown=3
    )
    server = _Server(config)
    task = asyncio.create_task(server._serve())
    try:
        async with asyncio.timeout(20):
            while not server.started:
                assert not task.done(), "the lifespan did not start"
                await asyncio.sleep(0.01)
        async with httpx2.AsyncClient(timeout=30) as http:
            yield Served(app, f"http://127.0.0.1:{port}", http)
    finally:
        server.should_exit = True
        await task
        assert not server.lifespan.should_exit, "the lifespan did not end well"


def message_of(response: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC answer, which an event stream may hold after other events."""
    if response.headers["content-type"].startswith("text/event-stream"):
        import json

        lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
        return dict(json.loads(lines[-1]))
    return dict(response.json())
