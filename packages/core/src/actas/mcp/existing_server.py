"""The door before an ``MCPServer`` that is there already: its tools, resources and prompts, for those who may."""

import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http import EventStore
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import ClientDisconnect

from actas.core import AuditSink, ConfigurationError, Session
from actas.core.authorization import entitled
from actas.mcp import assembly
from actas.mcp.answer import Answer
from actas.mcp.caller import enter
from actas.mcp.door import Door
from actas.mcp.own_events import OwnEvents
from actas.mcp.policy import Policy
from actas.mcp.policy_guard import PolicyGuard
from actas.mcp.settings import Settings
from actas.mcp.site import CoreContext, Site
from actas.mcp.subscriptions import while_admitted
from actas.oauth.asgi import Receive, Scope, Send

_caller: ContextVar[Session] = ContextVar("actas_caller")
"""For the one question that the SDK asks before its middleware runs."""


class ProtectedServer:
    """An ASGI application: the door, and behind it an MCP server that was written without us.

    ::

        server = MCPServer("reports")
        app = ProtectedServer(server, "actas.toml", Policy(tools={"report-*": Rule(permission="reports:read")}))

    The server is changed: from now on it serves nobody who did not come through this door. Serve ``app`` with
    uvicorn, or mount it where the lifespan of the mounted application is run.

    Args:
        server: its own authentication must be off. It may be the SDK's low-level ``Server``.
        configuration: a file's path, the content of one, or :class:`Settings`. Delegation modules in it are there
            for the server's own tools: ``current_pipeline(ctx).delegate(current_session(ctx), …)``.
        policy: who may use what.
        json_response: as ``MCPServer.streamable_http_app`` has it.
        stateless: likewise.
        event_store: to resume streams from, likewise; each user's are kept apart in it.
        audit_sink: where the minutes go, in place of what the configuration says.

    Raises:
        ConfigurationError: the configuration is wrong, or the server has an authentication or a door already.
    """

    def __init__(
        self,
        server: MCPServer[Any] | Server[Any],  # Any: the server's lifespan result, which is its own
        configuration: Path | str | Mapping[str, object] | Settings,
        policy: Policy,
        *,
        json_response: bool = False,
        stateless: bool = False,
        event_store: EventStore | None = None,
        audit_sink: AuditSink | None = None,
    ) -> None:
        if isinstance(server, MCPServer) and server.settings.auth is not None:
            raise ConfigurationError("the server has an authentication of its own: make it without auth")
        if any(isinstance(each, PolicyGuard) for each in server.middleware):
            raise ConfigurationError("the server has a door already")
        self._site = Site(assembly.configuration(configuration), audit_sink=audit_sink)
        settings = self._site.settings.mcp
        resource = settings.resource_at(settings.port)
        if urlsplit(resource).port == 0:
            raise ConfigurationError("mcp.port: 0 names no resource; set mcp.resource, or the port that is served")
        server.streamable_http_app(
            streamable_http_path=settings.path,
            json_response=json_response,
            stateless_http=stateless,
            event_store=None if event_store is None else OwnEvents(event_store, _caller.get),
            max_request_body_size=settings.max_body_bytes,
            transport_security=TransportSecuritySettings(
                allowed_hosts=assembly.allowed_hosts(settings, resource), allowed_origins=settings.allowed_origins
            ),
        )
        self._manager = server.session_manager
        self._site.furnish(resource, scopes=policy.scopes())
        self._site.endpoint = self._serve
        self._install_guard(server, policy)
        self._door = Door(path=settings.path, current=lambda: self._site, lifespan=self._lifespan)

    @property
    def core_context(self) -> CoreContext:
        """The pipeline, the modules, the audit and the authenticator."""
        return self._site.context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await self._door(scope, receive, send)

    def _install_guard(self, server: MCPServer[Any] | Server[Any], policy: Policy) -> None:
        app = self._manager.app
        lookup = app.get_tool_input_schema
        # Who lists tools in a way of his own may have others than this finds.
        sure = isinstance(server, MCPServer) and type(server).list_tools is MCPServer.list_tools

        def has_tool(name: str) -> bool:
            return lookup is not None and lookup(name) is not None

        pipeline = self.core_context.pipeline
        guard = PolicyGuard(
            policy,
            pipeline,
            has_tool=has_tool if sure and lookup is not None else None,
            has_method=lambda method: app.get_request_handler(method) is not None,
        )
        server.middleware.insert(0, guard)

        def seen_schema(name: str) -> Mapping[str, Any] | None:
            action = policy.action("tool", name)
            # Authorisers cannot be asked here, and they may hide the tool.
            seen = action is not None and entitled(_caller.get(), action) and not pipeline.authority.authorizers
            return lookup(name) if seen and lookup is not None else None

        if lookup is not None:
            # The SDK compares Mcp-Param-* headers before its middleware runs: not for what the caller may not see.
            app.get_tool_input_schema = seen_schema

    @contextlib.asynccontextmanager
    async def _lifespan(self) -> AsyncGenerator[None]:
        async with self._site.opened(), self._manager.run():
            yield

    async def _serve(self, scope: Scope, receive: Receive, send: Send, session: Session) -> None:
        answer = Answer(send, enter(scope, session, self._site.entrance.challenges, self.core_context.pipeline))
        user, caller = auth_context_var.set(scope["user"]), _caller.set(session)
        try:
            if scope["method"] == "GET":  # a stream that waits for events
                await while_admitted(session, lambda: self._manager.handle_request(scope, receive, answer), None)
            else:
                await self._manager.handle_request(scope, receive, answer)
            await answer.finish()
        except ClientDisconnect:
            pass  # he left before he had said what he wanted: there is nothing to do, and nobody to tell
        finally:
            _caller.reset(caller)
            auth_context_var.reset(user)
