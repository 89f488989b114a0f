"""A running server before the service: real tokens, a real exchange, an unmodified client."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from graphql_gateway import on_file
from graphql_service import AUDIENCE, Service
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from actas.core import MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.idp import IdentityProvider
from actas.testing.idp_clients import DemoClient

MCP = "https://mcp.example/mcp"
Wire = Literal["auto", "legacy"]
WIRES: list[Wire] = ["auto", "legacy"]


class Road:
    """A running server, its minutes, and the service behind it."""

    def __init__(self, server: MCPOAuthServer, provider: IdentityProvider, minutes: MemorySink, wire: Wire) -> None:
        self.server, self.provider, self.minutes, self.wire = server, provider, minutes, wire

    @asynccontextmanager
    async def client(self, user: str = "alice", token: str | None = None) -> AsyncGenerator[Client]:
        headers = {"Authorization": f"Bearer {token or self.provider.issue(user)}"}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as http,
            Client(streamable_http_client(self.server.url, http_client=http), mode=self.wire) as client,
        ):
            yield client

    async def call(self, tool: str, user: str = "alice", **arguments: object) -> Any:
        """The structured content; where it is an error, its code."""
        async with self.client(user) as client:
            result = await client.call_tool(tool, arguments)
        assert result.structured_content is not None
        if result.is_error:
            return result.structured_content["error"]["code"]
        assert (result.meta or {})["actas/receipt"]["identity"] == user
        return result.structured_content


@pytest.fixture(autouse=True)
def exchanging(provider: IdentityProvider) -> Iterator[None]:
    provider.exchanges.clients.add(DemoClient("gateway", secret="s3cret"))
    yield
    provider.exchanges.asked.clear()
    provider.exchanges.claims = {}
    provider.exchanges.error = None


def configuration(provider: IdentityProvider, service: Service, folder: Path) -> dict[str, Any]:
    return {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {
            "trusted_idps": [
                {
                    "name": "test",
                    "issuer": provider.issuer,
                    "audience": MCP,
                    "role_mappings": {"user": ["staff"], "guest": ["reader"]},
                }
            ],
            "permissions": {"user": ["graphql:read", "graphql:write"], "guest": ["graphql:read"]},
        },
        "delegation": {
            "modules": {
                "shop": {
                    "kind": "graphql",
                    "url": service.url,
                    "free_documents": True,
                    **on_file(folder),
                    "token_exchange": {
                        "idp": "test",
                        "client": {"id": "gateway", "secret": "s3cret"},
                        "audience": AUDIENCE,
                        "cache": {"enabled": True},
                    },
                }
            }
        },
    }


@asynccontextmanager
async def running(written: dict[str, Any], provider: IdentityProvider, wire: Wire = "auto") -> AsyncGenerator[Road]:
    minutes = MemorySink()
    server = MCPOAuthServer(written, audit_sink=minutes)
    await server.start()
    try:
        yield Road(server, provider, minutes, wire)
    finally:
        await server.stop()
