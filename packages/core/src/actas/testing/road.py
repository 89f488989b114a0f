"""The whole road to a service that takes exchanged tokens: a running server, and an unmodified MCP client before it."""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from actas.core import MemorySink
from actas.mcp import MCPOAuthServer
from actas.testing.idp import IdentityProvider
from actas.testing.idp_clients import DemoClient

MCP = "https://mcp.example/mcp"
"""The server's resource identifier: the audience of the tokens that its callers have."""
CLIENT = {"id": "gateway", "secret": "s3cret"}
"""Who the server is to the provider."""

Wire = Literal["auto", "legacy"]
WIRES: list[Wire] = ["auto", "legacy"]


class Road:
    """A running server, its provider and its minutes; callers speak ``wire``."""

    def __init__(self, server: MCPOAuthServer, provider: IdentityProvider, minutes: MemorySink, wire: Wire) -> None:
        self.server, self.provider, self.minutes, self.wire = server, provider, minutes, wire

    @asynccontextmanager
    async def client(self, user: str = "alice", token: str | None = None) -> AsyncGenerator[Client]:
        """A client with ``token``; with one of ``user``'s where None."""
        headers = {"Authorization": f"Bearer {token or self.provider.issue(user)}"}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as http,
            Client(streamable_http_client(self.server.url, http_client=http), mode=self.wire) as client,
        ):
            yield client

    async def call(self, tool: str, user: str = "alice", **arguments: object) -> Any:  # Any: what the tool gives
        """The structured content, once its receipt names ``user``; where it is an error, its code."""
        async with self.client(user) as client:
            result = await client.call_tool(tool, arguments)
        content = result.structured_content
        assert content is not None, "no structured content"  # noqa: S101 -- for tests
        if result.is_error:
            return content["error"]["code"]
        seen = (result.meta or {})["actas/receipt"]["identity"]
        assert seen == user, f"{tool} was carried out as {seen}, not as {user}"  # noqa: S101 -- for tests
        return content


@pytest.fixture(autouse=True)
def exchanging(provider: IdentityProvider) -> Generator[None]:
    """The fixture ``provider`` exchanges tokens for :data:`CLIENT`; what a test changed in that is undone behind it."""
    provider.exchanges.clients.add(DemoClient(CLIENT["id"], secret=CLIENT["secret"]))
    yield
    provider.exchanges.asked.clear()
    provider.exchanges.claims = {}
    provider.exchanges.error = None


def configuration(
    provider: IdentityProvider,
    modules: Mapping[str, object],
    *,
    permissions: Mapping[str, Sequence[str]],
    roles: Mapping[str, Sequence[str]],
    claims: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # Any: tests change it
    """A server that trusts ``provider``, by the name ``test``.

    Args:
        modules: tables by name; see :func:`exchange`.
        permissions: by role.
        roles: the provider's, by those of the server.
        claims: which claim has what, such as ``{"legacy_username": "preferred_username"}``.
    """
    issuer = {"name": "test", "issuer": provider.issuer, "audience": MCP, "role_mappings": roles}
    if claims is not None:
        issuer["claim_mappings"] = claims
    return {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {"trusted_idps": [issuer], "permissions": permissions},
        "delegation": {"modules": modules},
    }


def exchange(audience: str) -> dict[str, object]:
    """A module's ``token_exchange``, with a cache, for a service that takes tokens for ``audience``."""
    return {"idp": "test", "client": CLIENT, "audience": audience, "cache": {"enabled": True}}


@asynccontextmanager
async def running(
    written: Mapping[str, object], provider: IdentityProvider, wire: Wire = "auto"
) -> AsyncGenerator[Road]:
    """The road, while the server that ``written`` configures is running."""
    minutes = MemorySink()
    server = MCPOAuthServer(written, audit_sink=minutes)
    await server.start()
    try:
        yield Road(server, provider, minutes, wire)
    finally:
        await server.stop()
