"""An ordinary MCP client, as any other would be written: it knows nothing of the server's insides."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, cast

import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: rows, or why not; and whom the database saw."""

    rows: list[list[object]]
    refusal: str | None = None
    identity: str | None = None


class Visitor:
    """One user's client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str, token: str) -> AsyncGenerator[Self]:
        """A client that shows ``token`` with each request."""
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            yield cls(client)

    async def tools(self) -> list[str]:
        """The names of the tools that this user sees."""
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def query(self, sql: str) -> Answer:
        """Call ``sql-delegate``, seen or not."""
        try:
            result = await self._client.call_tool("sql-delegate", {"sql": sql})
        except MCPError as error:
            return Answer([], refusal=error.error.message)
        data = cast("dict[str, Any]", result.structured_content or {})  # Any: the tool's JSON
        if result.is_error:
            return Answer([], refusal=_text(result))
        receipt = cast("dict[str, Any]", (result.meta or {}).get("actas/receipt", {}))
        return Answer(data.get("rows", []), identity=receipt.get("identity"))


def _text(result: types.CallToolResult) -> str:
    structured = cast("dict[str, Any]", result.structured_content or {})
    error = structured.get("error", {})
    return f"{error.get('message', 'refused')} ({error.get('code', 'error')})"
