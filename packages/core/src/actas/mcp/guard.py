"""What a caller sees, and what happens when he calls it. A tool he may not see does not exist.

Both the SDK's way and the short way (:mod:`actas.mcp.short_way`) come through here.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from actas.core import (
    ActasError,
    AuditUnavailable,
    AuthorizerUnavailable,
    ConfigurationError,
    DelegationResult,
    Effect,
    InsufficientScope,
    InternalError,
    PermissionDenied,
    Pipeline,
    Session,
    UnknownAction,
)
from actas.core.authorization import entitled, hidden_because
from actas.core.errors import places
from actas.core.pipeline import current_request
from actas.mcp.encoding import encode
from actas.mcp.limits import Limits
from actas.mcp.prompt_guard import PromptGuard
from actas.mcp.receipts import proof
from actas.mcp.resource_guard import ResourceGuard
from actas.mcp.schema import check_declaration, json_schema
from actas.mcp.tools import Tool

logger = logging.getLogger(__name__)

_MOST_VIEWS = 512
"""Views, and ways to one, that are remembered."""
_MOST_CALLERS = 2048
"""Sessions whose own view is remembered."""
_VIEW_SECONDS = 5.0
"""How long what ``can_access`` and authorisers said of a session's list counts. A call is always asked about anew."""


_Rights = tuple[frozenset[str], str, tuple[str, ...], str]
"""Permissions, roles and provider: all that a tool without ``can_access`` is hidden by."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What somebody sees. Whoever sees the same gets the same object, so it can be a key."""

    tools: Mapping[str, Tool]
    listing: list[dict[str, Any]]  # Any: JSON as the MCP schema has it
    """The tools as ``tools/list`` shows them."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one session sees, for a short while."""

    session: Session
    view: View
    hidden: Mapping[str, str | None]
    """Why, for the operator, each tool is hidden; None: it is not."""
    until: float


class Guard:
    """Holds the tools; answers what a session sees and carries out what it calls.

    What permissions and roles alone decide is looked up. Where a tool has ``can_access``, or authorisers
    are asked, all of a session's tools are decided before one is looked for, and remembered together: so
    a hidden tool takes as long as one that is not there.
    """

    def __init__(self, pipeline: Pipeline, limits: Limits) -> None:
        self.pipeline = pipeline
        self._limits = limits
        self.resources = ResourceGuard(pipeline)
        self.prompts = PromptGuard(pipeline)
        self._tools: dict[str, Tool] = {}
        self._asked = bool(pipeline.authority.authorizers)
        """Whether what a session sees is more than a look-up."""
        self._by_rights: dict[_Rights, View] = {}
        self._by_names: dict[frozenset[str], View] = {}
        self._seen: dict[int, _Seen] = {}

    def add(self, tools: Iterable[Tool]) -> None:
        """Add tools, all or none.

        Raises:
            ConfigurationError: a name is taken (naming both), or a schema cannot be made.
        """
        known = dict(self._tools)
        for tool in tools:
            other = known.get(tool.name)
            if other is not None:
                raise ConfigurationError(
                    f"two tools are called {tool.name}: from {other.origin} and from {tool.origin}"
                )
            try:
                check_declaration(tool.action.parameters)
            except TypeError as error:
                raise ConfigurationError(f"{tool.origin}: {tool.name}: {error}") from error
            known[tool.name] = tool
        self._tools = known
        self._asked = self._asked or any(tool.action.can_access is not None for tool in known.values())
        for cache in (self._by_rights, self._by_names, self._seen):
            cache.clear()

    @property
    def tools(self) -> Mapping[str, Tool]:
        """All tools, whoever sees them: for the operator."""
        return self._tools

    def scopes(self) -> list[str]:
        """All scopes that any tool, resource or prompt asks for, sorted: for the resource's metadata."""
        tools = {scope for tool in self._tools.values() for scope in tool.action.scopes}
        return sorted(tools | self.resources.scopes() | self.prompts.scopes())

    def first_scopes(self) -> list[str]:
        """What a client should ask for at first, sorted: the scopes that reading needs, for it can step up to the
        rest (MCP, Scope Minimization). All of them where reading needs none."""
        reading = {s for tool in self._tools.values() if tool.action.effect is Effect.READ for s in tool.action.scopes}
        return sorted(reading | self.resources.scopes() | self.prompts.scopes()) or self.scopes()

    async def hidden(self, session: Session) -> Mapping[str, str | None]:
        """Why each tool is hidden from ``session``, None where it is not: for the operator."""
        return (await self._ask(session)).hidden

    async def view(self, session: Session) -> View:
        """What ``session`` sees: by entitlement and what authorisers say, not by scope."""
        if self._asked:
            return (await self._ask(session)).view
        if session.rejected:
            return self._view_of(())
        rights = (session.permissions, session.role, session.custom_roles, session.provider)
        view = self._by_rights.get(rights)
        if view is None:
            view = self._view_of(name for name, tool in self._tools.items() if entitled(session, tool.action))
            if len(self._by_rights) >= _MOST_VIEWS:
                self._by_rights.clear()
            self._by_rights[rights] = view
        return view

    def _view_of(self, names: Iterable[str]) -> View:
        key = frozenset(names)
        view = self._by_names.get(key)
        if view is None:
            visible = {name: tool for name, tool in self._tools.items() if name in key}
            view = View(visible, [_listed(tool) for tool in visible.values()])
            if len(self._by_names) >= _MOST_VIEWS:
                self._by_names.clear()
            self._by_names[key] = view
        return view

    async def _ask(self, session: Session) -> _Seen:
        """What ``session`` sees, remembered for as long as it is the same object: what it says cannot change."""
        now = time.monotonic()
        known = self._seen.get(id(session))
        if known is not None and known.session is session and now < known.until:
            return known
        hidden = {name: hidden_because(session, tool.action) for name, tool in self._tools.items()}
        visible = [tool for name, tool in self._tools.items() if hidden[name] is None]
        decisions = await self.pipeline.authority.ask([tool.question(session) for tool in visible])
        for tool, decision in zip(visible, decisions, strict=True):
            if not decision.allowed and not decision.missing:  # what a step-up would help is shown
                hidden[tool.name] = decision.reason
        view = self._view_of(name for name, why in hidden.items() if why is None)
        seen = _Seen(session, view, hidden, now + _VIEW_SECONDS)
        failed = next((each for each in decisions if each.code == AuthorizerUnavailable.code), None)
        if failed is not None:
            await self.pipeline.refuse(session, "list", AuthorizerUnavailable(detail=failed.reason))
            return seen  # and not remembered: it may be over by the next request
        if len(self._seen) >= _MOST_CALLERS:
            del self._seen[next(iter(self._seen))]
        self._seen[id(session)] = seen
        return seen

    async def call(self, session: Session, name: str, arguments: Mapping[str, object]) -> dict[str, Any]:
        """Carry out a tool and shape what came of it as a ``CallToolResult``.

        Raises:
            UnknownAction: there is no such tool, for this caller. Recorded.
            InsufficientScope: he may use it with more scopes. Recorded.
            TooManyRequests: he called it too often. Recorded.
            AuditUnavailable: it cannot be recorded.
        """
        seen = await self._ask(session) if self._asked else None
        view = await self.view(session) if seen is None else seen.view
        tool = view.tools.get(name)
        if tool is None:
            raise await self._unknown(session, name, seen)
        await self._limits.spend_call(session, name)
        try:
            result = await tool.run(self.pipeline, session, arguments)
        except (InsufficientScope, AuditUnavailable):
            raise  # not the tool's answer, but the door's
        except ActasError as error:
            return failed(error)
        try:
            return succeeded(result)
        except (TypeError, ValueError) as error:
            # The downstream did what it was asked, and the minutes say so; only the answer is lost.
            logger.error("request %s: what %s returned is no JSON: %s", current_request(), name, places(error))
            return failed(InternalError())

    async def _unknown(self, session: Session, name: str, seen: _Seen | None) -> ActasError:
        """The caller is told the same of a tool that is hidden and of one that is not there; the minutes differ."""
        tool = self._tools.get(name)
        if tool is None:
            error: ActasError = UnknownAction(detail="there is no such tool")
        else:
            # ``can_access`` is not asked again: that would take its time only for a tool that is there.
            error = PermissionDenied(detail=seen.hidden[name] if seen else hidden_because(session, tool.action))
        await self.pipeline.refuse(session, "call", error, tool=name)
        return UnknownAction("Unknown tool. List the tools to see what there is.")


def succeeded(result: DelegationResult) -> dict[str, Any]:
    """A ``CallToolResult``: the data as structured content and as text, the receipt in ``_meta``.

    Data and receipt are JSON already, as fragments: whoever serialises the rest cannot change them.

    Raises:
        ValueError: the data or the receipt is not JSON.
    """
    data = result.data
    # The SDK goes as deep as orjson does, and counts what the answer wraps the data in: leave room for that.
    encoded = encode([[[data]]])[3:-3]
    structured = encoded if isinstance(data, dict) else b'{"result":' + encoded + b"}"
    return {
        "content": [{"type": "text", "text": data if isinstance(data, str) else encoded.decode()}],
        "structuredContent": orjson.Fragment(structured),
        "isError": False,
        "resultType": "complete",
        "_meta": proof(result.receipt),
    }


def failed(error: ActasError) -> dict[str, Any]:
    """A ``CallToolResult`` with ``isError``: code and safe message, and the request id to quote."""
    request = current_request()
    message = str(error.message).encode(errors="replace").decode()  # a plug-in's, perhaps with half a character
    return {
        "content": [{"type": "text", "text": f"{message} (code {error.code}, request {request})"}],
        "structuredContent": {"error": {"code": error.code, "message": message, "requestId": request}},
        "isError": True,
        "resultType": "complete",
    }


def _listed(tool: Tool) -> dict[str, Any]:
    effect = tool.action.effect
    return {
        "name": tool.name,
        "description": tool.action.description,
        "inputSchema": json_schema(tool.action.parameters),
        "annotations": {
            "readOnlyHint": effect is Effect.READ,
            "destructiveHint": effect is Effect.DESTRUCTIVE,
            "openWorldHint": False,
        },
    }
