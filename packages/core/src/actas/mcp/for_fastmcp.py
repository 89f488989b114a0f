"""The door before a FastMCP server: an auth provider of FastMCP's, and a middleware of FastMCP's.

Needs the extra ``fastmcp``. Only what FastMCP makes public is used.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import mcp_types as types
from fastmcp import Context, FastMCP
from fastmcp.exceptions import DisabledError, NotFoundError
from fastmcp.prompts import Prompt
from fastmcp.resources import Resource, ResourceTemplate
from fastmcp.server.auth import AccessToken, AuthProvider
from fastmcp.server.dependencies import get_http_request
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import Tool
from mcp.shared.exceptions import MCPError
from starlette.middleware import Middleware as StarletteMiddleware

from actas.core import ActasError, AuditSink, ConfigurationError
from actas.mcp.answer import Answer
from actas.mcp.caller import Exchange, exchange_of
from actas.mcp.middleware import DoorMiddleware
from actas.mcp.policy import Kind, Policy
from actas.mcp.ruling import Ruling, answered, completed
from actas.mcp.settings import Settings
from actas.oauth.asgi import ASGIApp, Receive, Scope, Send

_OPEN: Final = frozenset({"ping", "initialize", "server/discover", "logging/setLevel"})
_LISTS: Final = frozenset({"tools/list", "resources/list", "resources/templates/list", "prompts/list"})
"""Methods that name nothing: every admitted session has them; lists are filtered."""


class FastMCPDoor(AuthProvider):
    """The auth provider of a FastMCP server; its :attr:`policy` goes into the same server's ``middleware``.

    ::

        door = FastMCPDoor("actas.toml", Policy(tools={"report-*": Rule(permission="reports:read")}))
        mcp = FastMCP("reports", auth=door, middleware=[door.policy])
        app = mcp.http_app()

    Inside, ``current_session(get_http_request())`` is the caller. Custom routes need a token too, but on ``public``
    paths.

    Args:
        configuration: a file's path, the content of one, or :class:`Settings`.
        policy: who may use what.
        public: as :class:`actas.mcp.DoorMiddleware` has it.
        audit_sink: where the minutes go, in place of what the configuration says.
    """

    def __init__(
        self,
        configuration: Path | str | Mapping[str, object] | Settings,
        policy: Policy,
        *,
        public: Sequence[str] = (),
        audit_sink: AuditSink | None = None,
    ) -> None:
        super().__init__()
        self._made = {
            "configuration": configuration,
            "public": tuple(public),
            "scopes": policy.scopes(),
            "audit_sink": audit_sink,
        }
        self.policy = PolicyMiddleware(policy)
        """The middleware that applies the policy."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """Nobody, whatever the token: identifying is the business of the middleware that :meth:`get_middleware` has."""
        return None

    def get_middleware(self) -> list[StarletteMiddleware]:
        """The door, for FastMCP's HTTP application."""
        door = cast("Any", _Door)  # Any: Starlette's own ASGI types are narrower than the specification's
        return [StarletteMiddleware(door, policy=self.policy, **self._made), StarletteMiddleware(_Streams)]


class _Door(DoorMiddleware):
    """The door, which does not open where nothing applies the policy behind it."""

    def __init__(self, app: ASGIApp, *, policy: "PolicyMiddleware", **options: Any) -> None:  # Any: the door's own
        super().__init__(app, **options)
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            state = scope["app"].state
            if self._policy not in state.fastmcp_server.middleware:
                raise ConfigurationError("FastMCP(…, middleware=[door.policy]) is missing: nothing applies the policy")
            if state.transport_type != "streamable-http":
                raise ConfigurationError("only FastMCP's streamable HTTP is protected: serve mcp.http_app()")
        await super().__call__(scope, receive, send)


class _Streams:
    """Lets a refusal be an HTTP status although FastMCP has begun an event stream already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        if exchange is None:
            await self._app(scope, receive, send)
            return
        answer = Answer(send, exchange)
        await self._app(scope, receive, answer)
        await answer.finish()


class PolicyMiddleware(Middleware):
    """Applies a policy to every message of a FastMCP server; made by :class:`FastMCPDoor`.

    FastMCP serves no subscriptions: asking for one names a method, which is not there without a rule for it.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def on_message(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Judge one message, and let it through to the server or not."""
        exchange = _exchange()
        ruling = Ruling(self._policy, exchange.pipeline)
        try:
            return await self._judge(exchange, ruling, context, call_next)
        except ActasError as error:
            raise answered(exchange, error) from None
        finally:
            exchange.decided = True

    async def _judge(
        self, exchange: Exchange, ruling: Ruling, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        method, session = context.method or "", exchange.session
        if context.type == "notification" or method in _OPEN:
            exchange.decided = True
            return await call_next(context)
        if method in _LISTS:
            listed = cast("Sequence[object]", await call_next(context))
            return [each for each in listed if await ruling.sees(session, *_named(each)) is not None]
        kind, name = _target(method, context.message)
        if not isinstance(name, str):
            raise MCPError(types.INVALID_PARAMS, "Invalid request parameters")
        there = kind == "method" or await _has(cast("Context", context.fastmcp_context).fastmcp, kind, name)
        action = await ruling.sees(session, kind, name)
        if action is None or not there:
            raise await ruling.unknown(session, method, kind, name)
        try:
            return await ruling.carry_out(exchange, action, kind, lambda: call_next(context))
        except (NotFoundError, DisabledError):
            raise await ruling.unknown(session, method, kind, name) from None


def _exchange() -> Exchange:
    """Who calls. Without a request, as over stdio, nobody does."""
    try:
        exchange = exchange_of(get_http_request().scope)
    except RuntimeError:
        exchange = None
    if exchange is None:
        raise MCPError(types.INVALID_REQUEST, "This server is served through its door only.")
    return exchange


async def _has(server: FastMCP[Any], kind: Kind, name: str) -> bool:
    """Whether ``server`` has it: asked for what is hidden too, so that an answer takes as long for it."""
    by_kind: dict[Kind, list[Callable[[str], Awaitable[object]]]] = {
        "tool": [server.get_tool],
        "prompt": [server.get_prompt],
        "resource": [server.get_resource, server.get_resource_template],
    }
    found = False
    for lookup in by_kind.get(kind, []):
        found = await lookup(name) is not None or found
    return found


def _named(component: object) -> tuple[Kind, str]:
    match component:
        case Tool():
            return "tool", component.name
        case ResourceTemplate():
            return "resource", component.uri_template
        case Resource():
            return "resource", str(component.uri)
        case _:
            return "prompt", cast("Prompt", component).name


def _target(method: str, message: Any) -> tuple[Kind, object]:
    """What a request names; FastMCP has parsed some requests already, and others not."""
    match method:
        case "tools/call":
            return "tool", message.name
        case "prompts/get":
            return "prompt", message.name
        case "resources/read":
            return "resource", str(message.uri)
        case "completion/complete":
            return completed(message.get("ref"))
        case _:
            return "method", method
