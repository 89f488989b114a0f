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
from actas.core.authorization import entitled
from actas.mcp.completion import suggestions
from actas.mcp.encoding import encode
from actas.mcp.receipts import proof
from actas.mcp.resources import Resource
from actas.mcp.schema import adapter

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

    def listing(self, session: Session) -> list[_Json]:
        """The single resources that ``session`` sees, by entitlement, as ``resources/list`` shows them."""
        return [_listed(each, "uri") for each in self._resources.values() if _seen(session, each, template=False)]

    def templates(self, session: Session) -> list[_Json]:
        """The templates that ``session`` sees, as ``resources/templates/list`` shows them."""
        return [
            _listed(each, "uriTemplate") for each in self._resources.values() if _seen(session, each, template=True)
        ]

    def needs(self, session: Session, uri: str) -> Action | None:
        """What reading ``uri`` needs; None where there is no such resource, for this caller."""
        found = self._find(session, uri)
        return None if found is None else found[0].action

    async def read(self, session: Session, uri: str) -> _Json:
        """A ``ReadResourceResult``.

        Raises:
            UnknownAction: there is no such resource, for this caller. Recorded.
            ActasError: as the pipeline does.
        """
        found = self._find(session, uri)
        if found is None:
            raise await self._unknown(session, "read", uri)
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
        resource = self._resources.get(uri)
        if resource is None or not entitled(session, resource.action):
            raise await self._unknown(session, "complete", uri)
        return await suggestions(
            self._pipeline, session, resource.action, resource.completions, argument, typed, source="resource"
        )

    def _find(self, session: Session, uri: str) -> tuple[Resource, Mapping[str, object]] | None:
        """The first that fits, single ones first, among those that ``session`` sees.

        Hidden ones are compared too, and only then left out: so an answer takes as long whether they are there or not.
        """
        fitting: list[tuple[Resource, Mapping[str, object]]] = []
        for resource in self._resources.values():
            variables = resource.variables(uri)
            if variables is not None:
                fitting.append((resource, variables))
        seen = [each for each in fitting if entitled(session, each[0].action)]
        return min(seen, key=lambda each: each[0].template is not None, default=None)

    async def _unknown(self, session: Session, method: str, uri: str) -> ActasError:
        """The caller is told the same of one that is hidden and of one that is not there; the minutes differ."""
        hidden = [each for each in self._resources.values() if uri == each.uri or each.variables(uri) is not None]
        error: ActasError = UnknownAction(detail="there is no such resource")
        if hidden:
            error = PermissionDenied(detail=f"needs the permission {hidden[0].action.permission}")
        await self._pipeline.refuse(session, method, error, tool=uri, source="resource")
        return UnknownAction(UNKNOWN)


def _seen(session: Session, resource: Resource, *, template: bool) -> bool:
    return (resource.template is not None) is template and entitled(session, resource.action)


def _listed(resource: Resource, key: str) -> _Json:
    action = resource.action
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
