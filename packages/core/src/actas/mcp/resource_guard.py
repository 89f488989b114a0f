"""Which resources a caller sees, and reading them. One that he may not see does not exist."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from mcp.server.subscriptions import InMemorySubscriptionBus

from actas.core import (
    ActasError,
    Action,
    ConfigurationError,
    PermissionDenied,
    Pipeline,
    Session,
    UnknownAction,
)
from actas.mcp.completion import suggestions
from actas.mcp.encoding import encode
from actas.mcp.receipts import proof
from actas.mcp.resources import Resource
from actas.mcp.schema import adapter
from actas.mcp.visibility import hidden

_Json = dict[str, Any]  # Any: JSON as the MCP schema has it

UNKNOWN = "Unknown resource. List the resources to see what there is."


class ResourceGuard:
    """Holds the resources; answers what a session sees and reads what it asks for."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._resources: dict[str, Resource] = {}
        self.bus = InMemorySubscriptionBus()
        """Where changes are told, and subscriptions listen."""

    def __len__(self) -> int:
        return len(self._resources)

    def add(self, resources: Iterable[Resource]) -> None:
        """Add resources, all or none. Raises ConfigurationError: a URI or name is taken, or a schema is impossible."""
        known = dict(self._resources)
        for resource in resources:
            name = resource.action.name
            if resource.uri in known or any(each.action.name == name for each in known.values()):
                raise ConfigurationError(f"two resources have the URI {resource.uri} or the name {name}")
            try:
                adapter(resource.action.parameters)
            except TypeError as error:
                raise ConfigurationError(f"the resource {name}: {error}") from error
            known[resource.uri] = resource
        self._resources = known

    def scopes(self) -> set[str]:
        """All scopes that any resource asks for."""
        return {scope for resource in self._resources.values() for scope in resource.action.scopes}

    @property
    def completes(self) -> bool:
        """Whether any has suggestions."""
        return any(resource.completions for resource in self._resources.values())

    async def listing(self, session: Session, *, templates: bool = False) -> list[_Json]:
        """What ``session`` sees, by entitlement, as ``resources/list`` or ``resources/templates/list`` shows it."""
        seen = [resource for resource, why in await self._judged(session) if why is None]
        return [_listed(resource) for resource in seen if (resource.template is not None) is templates]

    async def needs(self, session: Session, uris: Iterable[str]) -> dict[str, Action]:
        """What reading each of ``uris`` needs; those that are not there, for this caller, are left out."""
        judged = await self._judged(session)
        found = {uri: _found(judged, uri) for uri in uris}
        return {uri: each[0].action for uri, each in found.items() if each is not None}

    async def read(self, session: Session, uri: str) -> _Json:
        """A ``ReadResourceResult``.

        Raises:
            UnknownAction: there is no such resource, for this caller. Recorded.
            ActasError: as the pipeline does.
        """
        judged = await self._judged(session)
        found = _found(judged, uri)
        if found is None:
            fitting = [why for resource, why in judged if resource.variables(uri) is not None]
            raise await self._unknown(session, "read", uri, fitting)
        resource, variables = found
        pipeline = self._pipeline
        result = await pipeline.call(
            session, resource.action, variables, lambda call: resource.function(call, pipeline), source="resource"
        )
        return {
            "contents": [_content(uri, resource.mime_type, result.data)],
            "resultType": "complete",
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": proof(result.receipt),
        }

    async def complete(self, session: Session, uri: str, argument: str, typed: Mapping[str, object]) -> _Json:
        """A ``CompleteResult`` for a variable of the template ``uri``. Raises as :meth:`read` does."""
        named = [(resource, why) for resource, why in await self._judged(session) if resource.uri == uri]
        resource = next((resource for resource, why in named if why is None), None)
        if resource is None:
            raise await self._unknown(session, "complete", uri, [why for _, why in named])
        return await suggestions(
            self._pipeline, session, resource.action, resource.completions, argument, typed, source="resource"
        )

    async def _judged(self, session: Session) -> list[tuple[Resource, str | None]]:
        """All of them, each with why it is hidden from ``session``."""
        resources = list(self._resources.values())
        actions = [resource.action for resource in resources]
        return list(zip(resources, await hidden(self._pipeline, session, actions, source="resource"), strict=True))

    async def _unknown(self, session: Session, method: str, uri: str, fitting: list[str | None]) -> ActasError:
        """The caller is told the same of one that is hidden and of one that is not there; the minutes differ.

        ``fitting``: why each that has the URI is hidden.
        """
        error: ActasError = UnknownAction(detail="there is no such resource")
        if fitting:
            error = PermissionDenied(detail=fitting[0])
        await self._pipeline.refuse(session, method, error, tool=uri, source="resource")
        return UnknownAction(UNKNOWN)


def _found(judged: list[tuple[Resource, str | None]], uri: str) -> tuple[Resource, Mapping[str, object]] | None:
    """The first that fits, single ones first, among those that are seen; hidden ones are compared too."""
    fitting = [(resource, why, resource.variables(uri)) for resource, why in judged]
    seen = [(resource, found) for resource, why, found in fitting if why is None and found is not None]
    return min(seen, key=lambda each: each[0].template is not None, default=None)


def _listed(resource: Resource) -> _Json:
    action, key = resource.action, "uri" if resource.template is None else "uriTemplate"
    listed = {key: resource.uri, "name": action.name, "description": action.description}
    return listed if resource.mime_type is None else {**listed, "mimeType": resource.mime_type}


def _content(uri: str, mime_type: str | None, data: object) -> _Json:
    """One content of a resource. Raises ValueError: the data is not JSON."""
    match data:
        case bytes():
            blob = base64.b64encode(data).decode()
            return {"uri": uri, "mimeType": mime_type or "application/octet-stream", "blob": blob}
        case str():
            return {"uri": uri, "mimeType": mime_type or "text/plain", "text": data}
        case _:
            return {"uri": uri, "mimeType": mime_type or "application/json", "text": encode(data).decode()}
