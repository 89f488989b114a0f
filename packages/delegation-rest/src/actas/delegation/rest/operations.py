"""An operation: what a model sees of it, and the request that its parameters become."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from actas.core.errors import InvalidParameters
from actas.core.models import Action, Effect, JsonSchema
from actas.delegation.rest.settings import Method, PageSettings
from actas.http import RequestRefused
from actas.http.paths import AllowList, Template
from actas.http.query import Pair, Style, as_json, encoded, joined, pairs, text

Scalar = str | int | float | bool | None

JSON = "application/json"
EFFECTS: Mapping[str, Effect] = {"GET": Effect.READ, "HEAD": Effect.READ, "POST": Effect.WRITE}
"""By method; the others are destructive."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request before anything is known of who makes it: below the base URL, encoded, checked."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the caller gave; nothing is checked of it yet."""
    content: bytes | None = None
    content_type: str = JSON

    def on(self, query: str) -> "Target":
        """The same with another query: the next page."""
        return replace(self, query=query)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parameter goes."""

    where: Literal["path", "query", "header", "body"]
    name: str
    """What it is called there."""
    style: Style = "repeated"


@dataclass(frozen=True, slots=True)
class Operation:
    """One action and how its parameters become a request."""

    action: Action
    request: Callable[[object], Target]
    pages: PageSettings | None = None


def by_places(
    method: str, template: Template, places: Mapping[str, Place], content_type: str = JSON
) -> Callable[[object], Target]:
    """How parameters, by name, become a request; those that have no place are left out."""

    def request(parameters: object) -> Target:
        given = cast("Mapping[str, object]", parameters)
        path: dict[str, str] = {}
        query: list[Pair] = []
        headers: dict[str, str] = {}
        content: bytes | None = None
        for name, place in places.items():
            if name not in given:
                continue
            value = given[name]
            match place.where:
                case "path":
                    path[place.name] = _joined(value)
                case "query":
                    query += pairs(place.name, value, place.style)
                case "header":
                    headers[place.name] = _joined(value)
                case _:
                    content = body(value)
        return Target(method, template.fill(path), encoded(query), headers, content, content_type)

    return request


@dataclass(frozen=True, kw_only=True)
class Request:
    """Parameters of ``request``."""

    path: str
    """The path, as the description lists them, with plain values for {…}: /customers/Anna Müller. Nothing in it is
    percent-encoded; the query goes into query."""
    method: Method = "GET"
    """The HTTP method."""
    query: dict[str, Scalar | list[Scalar]] = field(default_factory=dict[str, Scalar | list[Scalar]])
    """Query parameters by name; a list repeats its name."""
    body: dict[str, object] | list[object] | None = None
    """The JSON body, for methods that have one."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Headers, of those alone that this service lets you give. Who you are is sent anyway."""


def by_allow_list(allowed: AllowList) -> Callable[[object], Target]:
    """How a :class:`Request` becomes a request."""

    def request(parameters: object) -> Target:
        if not isinstance(parameters, Request):
            raise InvalidParameters
        path = allowed.encoded(parameters.method, parameters.path)
        if parameters.body is not None and parameters.method in ("GET", "HEAD"):
            raise RequestRefused("GET and HEAD have no body.", detail="a body with GET or HEAD")
        query = [pair for name, value in parameters.query.items() for pair in pairs(name, value, "repeated")]
        content = None if parameters.body is None else body(parameters.body)
        return Target(parameters.method, path, encoded(query), parameters.headers, content)

    return request


def body(value: object) -> bytes:
    """``value`` as JSON. Raises InvalidParameters where it is none."""
    try:
        return as_json(value).encode()
    except UnicodeEncodeError:
        raise InvalidParameters("A value is not JSON.", detail="half a character") from None


def _joined(value: object) -> str:
    """A value in a path or a header; a list with commas (OpenAPI: ``simple``)."""
    return joined(cast("list[object]", value), ",") if isinstance(value, list) else text(value)


def schema(properties: Mapping[str, object], required: Iterable[str], **more: object) -> JsonSchema:
    """The parameters of an operation: these properties and no others."""
    return JsonSchema(
        {
            "type": "object",
            "properties": dict(properties),
            "required": list(required),
            "additionalProperties": False,
            **more,
        }
    )
