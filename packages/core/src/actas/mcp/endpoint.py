"""The MCP endpoint: the SDK, kept behind one file, with our tools and our callers in it.

The SDK does the protocol: both wires, header checks, versions, errors. It never decides who may do
what: its handlers here ask the guard.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.context import ServerMiddleware, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.message import SessionMessage
from opentelemetry import trace
from starlette.requests import ClientDisconnect

from actas.core import Pipeline, Session
from actas.mcp.answer import Answer
from actas.mcp.attendance import Attendance, TakenBack, hears_events
from actas.mcp.caller import Exchange, enter
from actas.mcp.challenge import Challenges
from actas.mcp.guard import Guard
from actas.mcp.handlers import GuardedServer, Handlers
from actas.mcp.running import RunningCalls
from actas.oauth.asgi import Receive, Scope, Send, respond

MODERN: Final = "2026-07-28"
"""The wire without sessions, on which every request says all that is to know, and closing the response cancels."""
_SAYS_MODERN: Final = (b"mcp-protocol-version", MODERN.encode())

Streams = tuple[ReadStream[SessionMessage | Exception], WriteStream[SessionMessage]]
"""Both directions of one connection."""


class McpEndpoint:
    """Serves what the door lets in.

    Args:
        name, version, instructions: what clients are told of this server.
        guard: the tools, resources and prompts.
        challenges: for the step-up.
        allowed_hosts, allowed_origins: header values, against DNS rebinding.
        max_body_bytes: the longest request.
        running: the calls that can be taken back.
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
        running: RunningCalls,
    ) -> None:
        self._challenges = challenges
        self._pipeline = guard.pipeline
        server = GuardedServer(
            name,
            version=version,
            instructions=instructions,
            # Our tools declare no Mcp-Param-* headers; an answer here would tell hidden tools from unknown ones.
            get_tool_input_schema=lambda _: None,
        )
        self._running = running
        self._handlers = Handlers(guard, running)
        self._handlers.register(server)
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

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Runs the SDK's machinery; can be entered once."""
        async with self._manager.run():
            yield

    def end_streams(self) -> None:
        """End the streams of events, which would keep a server from stopping; to be called before it stops."""
        self._handlers.end_streams()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, session: Session) -> None:
        """Serve one request as ``session``. A call that needs more scopes becomes an HTTP 403, one that cannot be
        recorded a 503.

        There are no sessions to end and no streams to open, so POST is all there is (2025-11-25, Transports).
        """
        if scope["method"] != "POST":
            await respond(send, 405, [(b"allow", b"POST")], b"")
            return
        exchange = enter(scope, session, self._challenges, self._pipeline)
        attendance = exchange.attendance = Attendance(
            receive,
            send,
            watch_with=self._running if is_modern(scope) else None,
            hears=any(name == b"accept" and hears_events(value) for name, value in scope["headers"]),
            silent=lambda: exchange.refusal is not None,
        )
        answer = Answer(attendance.send, exchange)
        context = auth_context_var.set(scope["user"])
        try:
            await attendance.run(self._manager.handle_request(scope, attendance.receive, answer))
            await answer.finish()
        except TakenBack:
            await attendance.answer_nothing()
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


def with_caller(
    context: ServerRequestContext[Any, Any], session: Session, challenges: Challenges, pipeline: Pipeline
) -> tuple[ServerRequestContext[Any, Any], Exchange]:
    """``context`` with its caller, for a message that came through no door; and what says how it ended."""
    scope: Scope = {}
    exchange = enter(scope, session, challenges, pipeline)
    return replace(context, request=SimpleNamespace(scope=scope)), exchange


def is_modern(scope: Scope) -> bool:
    """Whether a request says that it comes on the modern wire."""
    return _SAYS_MODERN in scope["headers"]


def traced() -> bool:
    """Whether an OpenTelemetry SDK is at work in this process."""
    return type(trace.get_tracer_provider()).__name__ not in ("ProxyTracerProvider", "NoOpTracerProvider")
