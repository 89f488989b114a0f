"""What the SDK calls for each MCP method: it asks the guard, as the caller, and shapes what came of it."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar, cast

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from actas.core import ActasError, InternalError, InvalidParameters, UnknownAction
from actas.core.errors import places
from actas.core.pipeline import current_request
from actas.core.progress import Progress, progress
from actas.mcp.attendance import BEAT_SECONDS, FIRST_BEAT, running_for
from actas.mcp.caller import Exchange, exchange_of
from actas.mcp.encoding import encode
from actas.mcp.guard import Guard
from actas.mcp.running import RunningCalls
from actas.mcp.subscriptions import counted, listening, while_admitted

logger = logging.getLogger(__name__)

_Context = ServerRequestContext[Any, Any]  # Any: the SDK's lifespan result and request, which are not ours
_Json = dict[str, Any]  # Any: JSON as the MCP schema has it
_Result = TypeVar("_Result")

LIST_HINT = {"ttlMs": 60_000, "cacheScope": "private"}
"""A client may keep a list for a minute, and for nobody else (MCP 2026-07-28, caching)."""


class GuardedServer(Server[Any]):  # Any: the SDK's lifespan result, which we do not use
    """The SDK's server; it announces what is there, and no change of what does not change while it runs."""

    def get_capabilities(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
        *,
        protocol_version: str | None = None,
    ) -> types.ServerCapabilities:
        """The SDK's, without the promise to tell when a list changes."""
        made = super().get_capabilities(
            notification_options, experimental_capabilities, extensions, protocol_version=protocol_version
        )
        for each in (made.tools, made.resources, made.prompts):
            if each is not None:
                each.list_changed = False
        return made


class Handlers:
    """The handlers of one server.

    Args:
        guard: what they ask.
        running: the calls that can be taken back.
    """

    def __init__(self, guard: Guard, running: RunningCalls) -> None:
        self._guard = guard
        self._running = running
        self._listen = ListenHandler(guard.resources.bus)

    def register(self, server: Server[Any]) -> None:
        """Put the handlers into ``server``, of what is there and of nothing else."""
        add, guard = server.add_request_handler, self._guard
        add("tools/list", types.PaginatedRequestParams, self._list_tools)
        add("tools/call", types.CallToolRequestParams, self._call_tool)
        server.add_notification_handler("notifications/cancelled", types.CancelledNotificationParams, self._cancelled)
        if len(guard.resources):
            add("resources/list", types.PaginatedRequestParams, self._list_resources)
            add("resources/templates/list", types.PaginatedRequestParams, self._list_templates)
            add("resources/read", types.ReadResourceRequestParams, self._read_resource)
            add("subscriptions/listen", types.SubscriptionsListenRequestParams, self._listen_to_resources)
        if len(guard.prompts):
            add("prompts/list", types.PaginatedRequestParams, self._list_prompts)
            add("prompts/get", types.GetPromptRequestParams, self._get_prompt)
        if guard.resources.completes or guard.prompts.completes:
            add("completion/complete", types.CompleteRequestParams, self._complete)

    def end_streams(self) -> None:
        """Tell everybody who listens that it is over; the streams end by themselves."""
        self._listen.close()

    async def _list_tools(self, context: _Context, params: types.PaginatedRequestParams) -> _Json:
        exchange = _exchange(context)
        return _list("tools", (await _answered(exchange, self._guard.view(exchange.session))).listing)

    async def _list_resources(self, context: _Context, params: types.PaginatedRequestParams) -> _Json:
        exchange = _exchange(context)
        return _list("resources", await _answered(exchange, self._guard.resources.listing(exchange.session)))

    async def _list_templates(self, context: _Context, params: types.PaginatedRequestParams) -> _Json:
        exchange = _exchange(context)
        listing = self._guard.resources.listing(exchange.session, templates=True)
        return _list("resourceTemplates", await _answered(exchange, listing))

    async def _list_prompts(self, context: _Context, params: types.PaginatedRequestParams) -> _Json:
        exchange = _exchange(context)
        return _list("prompts", await _answered(exchange, self._guard.prompts.listing(exchange.session)))

    async def _call_tool(self, context: _Context, params: types.CallToolRequestParams) -> _Json:
        exchange = _exchange(context)
        arguments: Mapping[str, object] = params.arguments or {}
        call = _answered(exchange, self._guard.call(exchange.session, params.name, arguments))
        attendance, token = exchange.attendance, (params.meta or {}).get("progress_token")
        if attendance is None:
            return await (call if token is None else _reported(context, call))
        attendance.report(token)
        if context.request_id is None:
            return await call
        with self._running.listed(exchange.session, context.request_id, attendance.take_back):
            return await call

    async def _cancelled(self, context: _Context, params: types.CancelledNotificationParams) -> None:
        """On the older wires over HTTP: over other transports the SDK has cancelled it already."""
        exchange = exchange_of(getattr(context.request, "scope", {}))
        if exchange is not None and params.request_id is not None:
            self._running.take_back(exchange.session, params.request_id)

    async def _read_resource(self, context: _Context, params: types.ReadResourceRequestParams) -> _Json:
        exchange = _exchange(context)
        return await _answered(exchange, self._guard.resources.read(exchange.session, params.uri))

    async def _get_prompt(self, context: _Context, params: types.GetPromptRequestParams) -> _Json:
        exchange = _exchange(context)
        arguments: Mapping[str, object] = params.arguments or {}
        return await _answered(exchange, self._guard.prompts.get(exchange.session, params.name, arguments))

    async def _complete(self, context: _Context, params: types.CompleteRequestParams) -> _Json:
        exchange, ref, argument = _exchange(context), params.ref, params.argument
        others = (params.context.arguments if params.context else None) or {}
        typed = {"value": argument.value, "others": others}
        if isinstance(ref, types.PromptReference):
            asked = self._guard.prompts.complete(exchange.session, ref.name, argument.name, typed)
        else:
            asked = self._guard.resources.complete(exchange.session, ref.uri, argument.name, typed)
        return await _answered(exchange, asked)

    async def _listen_to_resources(
        self, context: _Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        exchange = _exchange(context)
        return await _answered(exchange, self._listening(context, exchange, params))

    async def _listening(
        self, context: _Context, exchange: Exchange, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Only resources are told of. URIs that are hidden, and those that are not there, are left out."""
        session, guard = exchange.session, self._guard
        needs = await guard.resources.needs(session, counted(params.notifications.resource_subscriptions or []))
        heeded = types.SubscriptionFilter(resource_subscriptions=list(needs) or None)
        changed = params.model_copy(update={"notifications": heeded})
        ended = types.SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: context.request_id})

        async def step(_: object) -> object:
            return await while_admitted(session, lambda: self._listen(context, changed), ended)

        done = await guard.pipeline.call(session, listening(needs.values()), {}, step, source="subscription")
        return cast("types.SubscriptionsListenResult", done.data)


def _list(entries: str, listing: list[_Json]) -> _Json:
    return {entries: listing, "resultType": "complete", **LIST_HINT}


async def _reported(context: _Context, call: Awaitable[_Result]) -> _Result:
    """What ``call`` comes to; meanwhile its caller hears that it goes on, where the connection is the SDK's alone."""

    said = Progress()
    progress.set(said)

    async def beat() -> None:
        began = time.monotonic()
        await asyncio.sleep(FIRST_BEAT)
        while True:
            elapsed = round(time.monotonic() - began, 1)
            await context.session.report_progress(elapsed, message=running_for(elapsed, said.message))
            await asyncio.sleep(BEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        return await call
    finally:
        beating.cancel()


async def _answered(exchange: Exchange, work: Awaitable[_Result]) -> _Result:
    """What ``work`` comes to; its errors become the door's answer, or MCP's.

    Raises:
        MCPError: what to answer.
    """
    try:
        result = await work
        # The SDK looks into it, so fragments will not do.
        return cast("_Result", json.loads(encode(cast("object", result)))) if isinstance(result, dict) else result
    except ActasError as error:
        raise _error(exchange, error) from error
    except (TypeError, ValueError) as error:
        # It was done, and the minutes say so; only the answer is lost.
        logger.error("request %s: what was returned is no JSON: %s", current_request(), places(error))
        raise _error(exchange, InternalError()) from error


def _error(exchange: Exchange, error: ActasError) -> MCPError:
    if exchange.refuse(error):
        return MCPError(types.INVALID_REQUEST, error.message)
    if isinstance(error, UnknownAction):
        return MCPError(types.INVALID_PARAMS, error.message)  # the same to the byte, whatever it was that is unknown
    code = types.INVALID_PARAMS if isinstance(error, InvalidParameters) else types.INTERNAL_ERROR
    message = str(error.message).encode(errors="replace").decode()  # a plug-in's, perhaps with half a character
    request = current_request()
    data = {"code": error.code, "requestId": request}
    return MCPError(code, f"{message} (code {error.code}, request {request})", data)


def _exchange(context: _Context) -> Exchange:
    """Who calls. A request that did not come through the door has no session, and ends here."""
    exchange = exchange_of(cast("Any", context.request).scope)  # Any: the SDK types the request as unknown
    if exchange is None:
        raise MCPError(types.INVALID_REQUEST, "This server is served through its door only.")
    exchange.decided = True  # whatever is said from here on, the guard has been asked for it
    return exchange
