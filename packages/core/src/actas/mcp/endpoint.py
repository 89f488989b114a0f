"""The MCP endpoint: the SDK, kept behind one file, with our tools and our callers in it.

The SDK does the protocol: both wires, header checks, versions, errors. It never decides who may do
what: its handlers here ask the guard.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import mcp_types as types
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerMiddleware, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from opentelemetry import trace
from starlette.authentication import AuthCredentials
from starlette.requests import ClientDisconnect

from actas.core import ActasError, AuditUnavailable, InsufficientScope, Session, UnknownAction
from actas.mcp.asgi import Message, Receive, Scope, Send, respond
from actas.mcp.challenge import Challenges, Refusal
from actas.mcp.encoding import encode
from actas.mcp.guard import Guard

_SESSION = "actas.session"
_REFUSAL = "actas.refusal"
_ERROR = "actas.error"
"""Keys in the ASGI scope: who calls, what the door has to answer in the SDK's place, and why."""

LIST_HINT = {"ttlMs": 60_000, "cacheScope": "private"}
"""A client may keep its list of tools for a minute, and for nobody else (MCP 2026-07-28, caching)."""


Streams = tuple[ReadStream[SessionMessage | Exception], WriteStream[SessionMessage]]
"""Both directions of one connection."""


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
        self._server = server
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
        scope[_SESSION] = session
        user = _sdk_user(session)
        scope["user"], scope["auth"] = user, AuthCredentials(list(session.scopes))
        held_back = False

        async def send_or_challenge(message: Message) -> None:
            nonlocal held_back
            if held_back:
                return
            refusal = cast("Refusal | None", scope.get(_REFUSAL))
            if refusal is not None and message["type"] == "http.response.start":
                held_back = True
                await respond(send, refusal.status, refusal.headers, refusal.body)
                return
            await send(message)

        context = auth_context_var.set(user)
        try:
            await self._manager.handle_request(scope, receive, send_or_challenge)
        except ClientDisconnect:
            pass  # he left before he had said what he wanted: there is nothing to do, and nobody to tell
        finally:
            auth_context_var.reset(context)

    async def over_streams(self, streams: Streams, admit: ServerMiddleware[Any]) -> None:  # Any: as in __init__
        """Serve one connection, on either wire, until its other end closes it; to be done once.

        Args:
            streams: as the SDK's transports yield them.
            admit: is given every message before anything is done, and puts the caller into its context.
        """
        self._server.middleware.append(admit)
        await self._server.run(*streams, self._server.create_initialization_options())

    async def _list_tools(
        self, context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        try:
            view = await self._guard.view(_session_of(context))
        except AuditUnavailable as error:
            _scope_of(context)[_REFUSAL] = self._challenges.unavailable(error)
            raise MCPError(types.INTERNAL_ERROR, error.message) from error
        result = {"tools": view.listing, "resultType": "complete", **LIST_HINT}
        return cast("types.ListToolsResult", result)  # the SDK takes the wire form as well

    async def _call_tool(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        arguments: Mapping[str, object] = params.arguments or {}
        try:
            result = await self._guard.call(_session_of(context), params.name, arguments)
        except InsufficientScope as error:
            _scope_of(context)[_REFUSAL], _scope_of(context)[_ERROR] = self._challenges.step_up(error), error
            raise MCPError(types.INVALID_REQUEST, error.message) from error
        except AuditUnavailable as error:
            _scope_of(context)[_REFUSAL], _scope_of(context)[_ERROR] = self._challenges.unavailable(error), error
            raise MCPError(types.INTERNAL_ERROR, error.message) from error
        except UnknownAction as error:
            raise MCPError(types.INVALID_PARAMS, error.message) from error
        plain = json.loads(encode(result))  # the SDK looks into it, so fragments will not do
        return cast("types.CallToolResult", plain)  # it takes the wire form as well


def with_caller(context: ServerRequestContext[Any], session: Session) -> tuple[ServerRequestContext[Any], Scope]:
    """``context`` with its caller, for a message that came through no door; and the scope that he is kept in."""
    scope: Scope = {_SESSION: session}
    return replace(context, request=SimpleNamespace(scope=scope)), scope


def refusal_in(scope: Scope) -> ActasError | None:
    """Why the door would have to answer in the SDK's place."""
    return cast("ActasError | None", scope.get(_ERROR))


def _scope_of(context: ServerRequestContext[Any]) -> Scope:
    return cast("Scope", cast("Any", context.request).scope)  # Any: the SDK types the request as unknown


def _session_of(context: ServerRequestContext[Any]) -> Session:
    """Who calls. A request that did not come through the door has no session, and ends here."""
    return cast("Session", _scope_of(context)[_SESSION])


def _sdk_user(session: Session) -> AuthenticatedUser:
    """The caller as the SDK knows him: it binds its sealed request state to client, issuer and subject.

    It gets no token: nothing in the SDK needs it, so nothing can pass it on.
    """
    return AuthenticatedUser(
        AccessToken.model_construct(
            token="",
            client_id=session.client_id or "",
            scopes=list(session.scopes),
            expires_at=None,
            resource=None,
            subject=session.subject,
            claims={"iss": session.issuer},
        )
    )


def traced() -> bool:
    """Whether an OpenTelemetry SDK is at work in this process."""
    return type(trace.get_tracer_provider()).__name__ not in ("ProxyTracerProvider", "NoOpTracerProvider")
