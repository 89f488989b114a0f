"""The guard of a server that was written without us: what the policy lets a caller see and use of it.

It runs as a middleware of the MCP SDK, an interface that the SDK calls provisional and that nothing else here
touches. The SDK's own parsed message is judged, so there is no second reading that could differ from the one that
is carried out; and everything goes through it, on both wires, streamed or not.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate
from mcp_types import methods
from pydantic import BaseModel

from actas.core import ActasError, Action, InsufficientScope, Pipeline, Session
from actas.mcp.caller import Exchange, exchange_of
from actas.mcp.policy import Kind, Policy
from actas.mcp.ruling import Ruling, StepUp, answered, completed
from actas.mcp.subscriptions import counted, listening, while_admitted

_Context = ServerRequestContext[Any, Any]  # Any: the SDK's lifespan result and request, which are not ours
_Json = dict[str, Any]  # Any: JSON

_OPEN: Final = frozenset(
    {
        "initialize",
        "ping",
        "server/discover",
        "logging/setLevel",
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/roots/list_changed",
    }
)
"""Methods that name nothing: every admitted session has them."""

_NAMED: Final[Mapping[str, tuple[Kind, str]]] = {
    "tools/call": ("tool", "name"),
    "resources/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"),
    "resources/unsubscribe": ("resource", "uri"),
    "prompts/get": ("prompt", "name"),
}
"""Methods that name one thing: what kind, and in which parameter."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """One ``…/list`` method: where its entries are, and what names them."""

    kind: Kind
    method: str
    entries: str
    name: str


_LISTINGS: Final = (
    _Listing("tool", "tools/list", "tools", "name"),
    _Listing("resource", "resources/list", "resources", "uri"),
    _Listing("resource", "resources/templates/list", "resourceTemplates", "uriTemplate"),
    _Listing("prompt", "prompts/list", "prompts", "name"),
)
_BY_METHOD: Final = {listing.method: listing for listing in _LISTINGS}
_MOST_PAGES: Final = 100


@contextlib.contextmanager
def step_up() -> Generator[None]:
    """Inside, an InsufficientScope becomes the HTTP 403 that a client steps up from.

    For tools, resources and prompts of an ``MCPServer``, which would make an error result of it. Sessions that lack
    a scope which the policy's rule names never get that far.
    """
    try:
        yield
    except InsufficientScope as error:
        raise StepUp(error) from None


class PolicyGuard:
    """Judges every message of one server.

    Args:
        policy: the rules.
        pipeline: the road that every call takes: authorised anew, within its time, recorded.
        has_tool: whether the server has a tool of this name, where that can be known without listing them.
        has_method: whether the server has a handler for a method.
    """

    def __init__(
        self,
        policy: Policy,
        pipeline: Pipeline,
        *,
        has_tool: Callable[[str], bool] | None,
        has_method: Callable[[str], bool],
    ) -> None:
        self._ruling = Ruling(policy, pipeline)
        self._has_tool = has_tool
        self._has_method = has_method

    async def __call__(self, ctx: _Context, call_next: CallNext) -> HandlerResult:
        """Judge one message, and let it through to the server or not."""
        exchange = None if ctx.request is None else exchange_of(ctx.request.scope)
        if exchange is None:
            raise MCPError(types.INVALID_REQUEST, "This server is served through its door only.")

        async def in_json(ctx: _Context) -> HandlerResult:
            result = await call_next(ctx)  # a model where another middleware answers in the handler's place
            return (
                result.model_dump(mode="json", by_alias=True, exclude_none=True)
                if isinstance(result, BaseModel)
                else result
            )

        try:
            return await self._judge(exchange, ctx, in_json)
        except ActasError as error:
            raise answered(exchange, error) from None
        finally:
            exchange.decided = True

    async def _judge(self, exchange: Exchange, ctx: _Context, call_next: CallNext) -> HandlerResult:
        method, params = ctx.method, ctx.params or {}
        if method in _OPEN:
            exchange.decided = True
            return await call_next(ctx)
        if method in methods.SPEC_CLIENT_METHODS and not self._served(method, ctx.protocol_version):
            return await call_next(ctx)  # nobody serves it: "method not found", whatever it names
        if method in _BY_METHOD:
            return await self._filtered(exchange.session, _BY_METHOD[method], ctx, call_next)
        if method == "subscriptions/listen":
            return await self._listen(exchange, ctx, call_next)
        kind, name = _target(method, params)
        if not isinstance(name, str):
            raise MCPError(types.INVALID_PARAMS, "Invalid request parameters")
        action = await self._known(exchange.session, ctx, call_next, kind, name)
        if action is None:
            raise await self._ruling.unknown(exchange.session, method, kind, name)
        return await self._carry_out(exchange, action, kind, lambda: call_next(ctx))

    def _served(self, method: str, version: str) -> bool:
        """Whether the server has the method and the protocol's ``version`` does."""
        return (method, version) in methods.CLIENT_REQUESTS and self._has_method(method)

    async def _filtered(self, session: Session, listing: _Listing, ctx: _Context, call_next: CallNext) -> HandlerResult:
        """The entries that ``session`` may know of; for it alone to keep (MCP 2026-07-28, caching).

        All on one page: the server's pages would say how many are hidden, and its cursors perhaps which.
        """
        if (ctx.params or {}).get("cursor") is not None:
            raise MCPError(types.INVALID_PARAMS, "There is no such page. List without a cursor.")
        pages = [page async for page in _pages(listing, ctx, call_next)]
        shown = [
            entry
            for page in pages
            for entry in cast("list[_Json]", page.get(listing.entries, []))
            if await self._ruling.sees(session, listing.kind, str(entry.get(listing.name)))
        ]
        first = {name: value for name, value in pages[0].items() if name != "nextCursor"}
        return {**_private(first), listing.entries: shown}

    async def _known(
        self, session: Session, ctx: _Context, call_next: CallNext, kind: Kind, name: str
    ) -> Action | None:
        """What ``name`` needs, if the policy shows it and the server has it.

        The server is asked whatever the policy says, so that an answer takes as long for what is hidden.
        """
        action = await self._ruling.sees(session, kind, name)
        if kind == "method":
            return action
        if kind == "tool" and self._has_tool is not None:
            return action if self._has_tool(name) else None
        there = False
        for listing in (each for each in _LISTINGS if each.kind == kind):
            for known in await _names(listing, ctx, call_next):
                there = there or known == name or (listing.name == "uriTemplate" and _matches(known, name))
        return action if there else None

    async def _carry_out(
        self, exchange: Exchange, action: Action, source: str, work: Callable[[], Awaitable[HandlerResult]]
    ) -> HandlerResult:
        result = await self._ruling.carry_out(exchange, action, source, work)
        return _private(result) if isinstance(result, dict) else result

    async def _listen(self, exchange: Exchange, ctx: _Context, call_next: CallNext) -> HandlerResult:
        """A stream of events about what the caller may know of, no longer than his token.

        URIs that are hidden, and those that are not there, are left out of what is acknowledged.
        """
        session, params = exchange.session, dict(ctx.params or {})
        wanted = params.get("notifications")
        if not isinstance(wanted, dict):
            raise MCPError(types.INVALID_PARAMS, "Invalid request parameters")
        wanted = dict(cast("_Json", wanted))
        needed: list[Action] = []
        if isinstance(uris := wanted.get("resourceSubscriptions"), list):
            asked = counted([uri for uri in cast("list[object]", uris) if isinstance(uri, str)])
            known = [await self._known(session, ctx, call_next, "resource", uri) for uri in asked]
            needed = [action for action in known if action is not None]
            wanted["resourceSubscriptions"] = [action.name for action in needed]
        changed = replace(ctx, params={**params, "notifications": wanted})
        ended: HandlerResult = {"resultType": "complete", "_meta": {SUBSCRIPTION_ID_META_KEY: ctx.request_id}}

        async def stream() -> HandlerResult:
            return await while_admitted(session, lambda: call_next(changed), ended)

        return await self._carry_out(exchange, listening(needed), "subscription", stream)


def _target(method: str, params: Mapping[str, Any]) -> tuple[Kind, object]:
    """What a request names."""
    if method in _NAMED:
        kind, key = _NAMED[method]
        return kind, params.get(key)
    if method == "completion/complete":
        return completed(params.get("ref"))
    return "method", method


async def _names(listing: _Listing, ctx: _Context, call_next: CallNext) -> list[str]:
    """What the server lists; nothing where it lists nothing of the kind."""
    names: list[str] = []
    with contextlib.suppress(MCPError):
        async for page in _pages(listing, ctx, call_next):
            names += [str(entry.get(listing.name)) for entry in page.get(listing.entries, [])]
    return names


async def _pages(listing: _Listing, ctx: _Context, call_next: CallNext) -> AsyncGenerator[_Json]:
    """What the server lists, page by page: at least one, and not for ever."""
    meta = {"_meta": (ctx.params or {})["_meta"]} if "_meta" in (ctx.params or {}) else {}
    cursor: object = None
    for _ in range(_MOST_PAGES):
        params = meta if cursor is None else {**meta, "cursor": cursor}
        page = cast("_Json", await call_next(replace(ctx, method=listing.method, params=params)) or {})
        yield page
        cursor = page.get("nextCursor")
        if cursor is None:
            return


def _matches(template: str, uri: str) -> bool:
    try:
        return UriTemplate.parse(template).match(uri) is not None
    except InvalidUriTemplate:
        return False


def _private(result: _Json) -> _Json:
    return {**result, "cacheScope": "private"} if "cacheScope" in result else result
