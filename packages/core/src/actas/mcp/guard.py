"""What a caller sees, and what happens when he calls it. A tool he may not see does not exist.

Both the SDK's way and the short way (:mod:`actas.mcp.short_way`) come through here.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from actas.core import (
    ActasError,
    AuditUnavailable,
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
from actas.core.authorization import entitled
from actas.core.errors import places
from actas.core.pipeline import current_request
from actas.mcp.encoding import encode
from actas.mcp.prompt_guard import PromptGuard
from actas.mcp.receipts import proof
from actas.mcp.resource_guard import ResourceGuard
from actas.mcp.schema import adapter, json_schema
from actas.mcp.tools import Tool

logger = logging.getLogger(__name__)

_MOST_VIEWS = 512
"""Permission sets whose views are remembered."""


@dataclass(frozen=True, slots=True)
class View:
    """What everybody with one set of permissions sees."""

    tools: Mapping[str, Tool]
    listing: list[dict[str, Any]]  # Any: JSON as the MCP schema has it
    """The tools as ``tools/list`` shows them."""


class Guard:
    """Holds the tools; answers what a session sees and carries out what it calls."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.resources = ResourceGuard(pipeline)
        self.prompts = PromptGuard(pipeline)
        self._tools: dict[str, Tool] = {}
        self._views: dict[frozenset[str], View] = {}

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
                adapter(tool.action.parameters)
            except TypeError as error:
                raise ConfigurationError(f"{tool.origin}: {error}") from error
            known[tool.name] = tool
        self._tools = known
        self._views.clear()

    def scopes(self) -> list[str]:
        """All scopes that any tool, resource or prompt asks for, sorted: for the resource's metadata."""
        tools = {scope for tool in self._tools.values() for scope in tool.action.scopes}
        return sorted(tools | self.resources.scopes() | self.prompts.scopes())

    def view(self, session: Session) -> View:
        """What ``session`` sees: by entitlement, not by scope. The same for equal permissions."""
        key = frozenset[str]() if session.rejected else session.permissions
        view = self._views.get(key)
        if view is None or session.rejected:
            visible = {name: tool for name, tool in self._tools.items() if entitled(session, tool.action)}
            view = View(visible, [_listed(tool) for tool in visible.values()])
            if not session.rejected:
                if len(self._views) >= _MOST_VIEWS:
                    self._views.clear()
                self._views[key] = view
        return view

    async def call(self, session: Session, name: str, arguments: Mapping[str, object]) -> dict[str, Any]:
        """Carry out a tool and shape what came of it as a ``CallToolResult``.

        Raises:
            UnknownAction: there is no such tool, for this caller. Recorded.
            InsufficientScope: he may use it with more scopes. Recorded.
            AuditUnavailable: it cannot be recorded.
        """
        tool = self.view(session).tools.get(name)
        if tool is None:
            raise await self._unknown(session, name)
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

    async def _unknown(self, session: Session, name: str) -> ActasError:
        """The caller is told the same of a tool that is hidden and of one that is not there; the minutes differ."""
        if name in self._tools:
            error: ActasError = PermissionDenied(detail=f"needs the permission {self._tools[name].action.permission}")
        else:
            error = UnknownAction(detail="there is no such tool")
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
