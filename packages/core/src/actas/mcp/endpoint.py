"""The MCP endpoint: the SDK, kept behind one file, with our tools and our callers in it.

The SDK does the protocol: both wires, header checks, versions, errors. It never decides who may do
what: its handlers here ask the guard.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import mcp_types as types
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from opentelemetry import trace
from starlette.requests import ClientDisconnect

from actas.core import ActasError, Session, UnknownAction
from actas.mcp.answer import Answer
from actas.mcp.asgi import Receive, Scope, Send, respond
from actas.mcp.caller import Exchange, enter, exchange_of
from actas.mcp.challenge import Challenges
from actas.mcp.encoding import encode
from actas.mcp.guard import Guard

LIST_HINT = {"ttlMs": 60_000, "cacheScope": "private"}
"""A client may keep its list of tools for a minute, and for nobody else (MCP 2026-07-28, caching)."""


class McpEndpoint:
    """Serves what the door lets in.

    Args:
        name, version, instructions: what clients are told of this server.
        guard: the tools.
        challenges: for the step-up.
        allowed_hosts, allowed_origins: header values, against DNS rebinding.
        max_body_bytes: the longest request.
    """

    def __init__(
        self,
        *,
        name: str,
        version: str,
        instructions: str | None,
        guard: Guard,
        challenges: Challenges,
        allowed_hosts: list[str],
        allowed_origins: list[str],
        max_body_bytes: int,
    ) -> None:
        self._guard = guard
        self._challenges = challenges
        server: Server[Any] = Server(  # Any: the SDK's lifespan result, which we do not use
            name,
            version=version,
            instructions=instructions,
            # Our tools declare no Mcp-Param-* headers; an answer here would tell hidden tools from unknown ones.
            get_tool_input_schema=lambda _: None,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        self.server_info: dict[str, Any] = server.server_info_stamp
        """What the SDK stamps modern results with."""
        if not traced():
            server.middleware.clear()  # OpenTelemetry's: costs a span a request that nobody would get
        self._manager = StreamableHTTPSessionManager(
            server,
            json_response=True,
            stateless=True,
            max_request_body_size=max_body_bytes,
            security_settings=TransportSecuritySettings(allowed_hosts=allowed_hosts, allowed_origins=allowed_origins),
        )

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Runs the SDK's machinery; can be entered once."""
        return self._manager.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, session: Session) -> None:
        """Serve one request as ``session``. A call that needs more scopes becomes an HTTP 403, one that cannot be
        recorded a 503.

        There are no sessions to end and no streams to open, so POST is all there is (2025-11-25, Transports).
        """
        if scope["method"] != "POST":
            await respond(send, 405, [(b"allow", b"POST")], b"")
            return
        answer = Answer(send, enter(scope, session, self._challenges))
        context = auth_context_var.set(scope["user"])
        try:
            await self._manager.handle_request(scope, receive, answer)
            await answer.finish()
        except ClientDisconnect:
            pass  # he left before he had said what he wanted: there is nothing to do, and nobody to tell
        finally:
            auth_context_var.reset(context)

    async def _list_tools(
        self, context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        listing = self._guard.view(_exchange(context).session).listing
        result = {"tools": listing, "resultType": "complete", **LIST_HINT}
        return cast("types.ListToolsResult", result)  # the SDK takes the wire form as well

    async def _call_tool(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        exchange = _exchange(context)
        arguments: Mapping[str, object] = params.arguments or {}
        try:
            result = await self._guard.call(exchange.session, params.name, arguments)
        except ActasError as error:
            raise _answered(exchange, error) from error
        plain = json.loads(encode(result))  # the SDK looks into it, so fragments will not do
        return cast("types.CallToolResult", plain)  # it takes the wire form as well


def _exchange(context: ServerRequestContext[Any]) -> Exchange:
    """Who calls. A request that did not come through the door has no session, and ends here."""
    exchange = exchange_of(cast("Any", context.request).scope)  # Any: the SDK types the request as unknown
    if exchange is None:
        raise MCPError(types.INVALID_REQUEST, "This server is served through its door only.")
    return exchange


def _answered(exchange: Exchange, error: ActasError) -> MCPError:
    """What is answered in place of a result: by the door, or by MCP."""
    if exchange.refuse(error):
        return MCPError(types.INVALID_REQUEST, error.message)
    return MCPError(types.INVALID_PARAMS if isinstance(error, UnknownAction) else types.INTERNAL_ERROR, error.message)


def traced() -> bool:
    """Whether an OpenTelemetry SDK is at work in this process."""
    return type(trace.get_tracer_provider()).__name__ not in ("ProxyTracerProvider", "NoOpTracerProvider")
