"""What an operator may write."""

from dataclasses import dataclass, field
from typing import Literal

from actas.core.models import Effect
from actas.core.secret import Secret

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
SessionField = Literal["subject", "username", "legacy_username", "issuer", "role", "client_id"]


@dataclass(frozen=True, kw_only=True)
class OperationSettings:
    """One operation that becomes a tool."""

    path: str
    """Path template under `base_url`: `/customers/{id}`. Each `{name}` becomes a required text parameter that fills
    one segment, or a part of one."""
    description: str
    """What it does, for the model that chooses it."""
    method: Method = "GET"
    """HTTP method."""
    query: list[str] = field(default_factory=list[str])
    """Query parameters that may be given, as text."""
    body: bool | None = None
    """Whether a JSON body is sent. None: with POST, PUT and PATCH."""
    permission: str | None = None
    """Who lacks it does not see the tool. None: the module's `permission`."""
    scopes: list[str] = field(default_factory=list[str])
    """Scopes that the caller's token needs; who lacks one is told to step up."""
    effect: Effect | None = None
    """What it does there. None: by the method; GET and HEAD read, POST writes, the others are destructive."""


@dataclass(frozen=True, kw_only=True)
class ChangeSettings:
    """What is different about one operation of the document."""

    permission: str | None = None
    """Who lacks it does not see the tool."""
    scopes: list[str] = field(default_factory=list[str])
    """Scopes that the caller's token needs."""
    effect: Effect | None = None
    """What it does there, such as `read` for a search by POST."""
    description: str | None = None
    """What it does, for the model that chooses it."""


@dataclass(frozen=True, kw_only=True)
class OpenApiSettings:
    """An OpenAPI document (3.0 or 3.1, JSON) whose operations become tools. Its `servers` do not matter: requests go
    to `base_url`."""

    document: str
    """File. A relative path starts where the server was started."""
    include: list[str] = field(default_factory=list[str])
    """Operations to take, all where empty. Patterns with `*`, for a tool's name, an `operationId`, `GET /path` or
    `tag:Name`. One that fits nothing is an error."""
    exclude: list[str] = field(default_factory=list[str])
    """Operations to leave out, likewise."""
    tags: dict[str, str] = field(default_factory=dict[str, str])
    """Permission of each operation that has this tag."""
    operations: dict[str, ChangeSettings] = field(default_factory=dict[str, ChangeSettings])
    """What is different about single operations, by tool name (without prefix) or `operationId`."""


@dataclass(frozen=True, kw_only=True)
class RequestSettings:
    """The tool `PREFIX-delegate`: any request that the list allows."""

    allow: list[str]
    """What may be requested: method and path, `GET /customers/{id}`; `{name}` stands for one segment, `**` at the end
    for one or more."""
    permission: str | None = None
    """Who lacks it does not see the tool. None: the module's `permission`."""
    scopes: list[str] = field(default_factory=list[str])
    """Scopes that the caller's token needs."""


@dataclass(frozen=True, kw_only=True)
class HealthSettings:
    """Where the service says how it is, and the tool `PREFIX-health`, which asks there as the user."""

    path: str = "/"
    """Path under `base_url`, for GET. The server's own check asks there without any token: an answer below 500 will
    do."""
    permission: str | None = None
    """Who lacks it does not see the tool. None: the module's `permission`."""


@dataclass(frozen=True, kw_only=True)
class PageSettings:
    """How an operation's answers go on, to be collected into one. Pages come from the same origin and path."""

    items: str = ""
    """Path of the list in an answer, `data.items`; empty where the answer is the list."""
    next: Literal["link", "cursor"] = "link"
    """`link`: the header `Link` with `rel="next"` (RFC 8288). `cursor`: a field of the answer."""
    cursor: str = "next"
    """Path of that field."""
    parameter: str = "cursor"
    """Query parameter that takes the cursor."""
    most: int = 10
    """Pages that are fetched at most; what is left out is told."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What one call may take."""

    seconds: float = 20.0
    """Time of one request; a shorter time that the caller has left wins."""
    connect_seconds: float = 3.0
    """Time to reach the service, TLS included."""
    response_bytes: int = 1_000_000
    """Size of an answer, all pages together; a larger one is refused."""
    request_bytes: int = 1_000_000
    """Size of a body that is sent."""
    connections: int = 50
    """Connections to the service at the same time."""
    calls_per_user: int = 20
    """Calls of one user at the same time; others of the same user's wait, so that nobody takes all connections."""
    attempts: int = 3
    """How often a request is tried that may be repeated: GET, HEAD, PUT, DELETE, and others with an
    `idempotency_header`."""


@dataclass(frozen=True, kw_only=True)
class RestSettings:
    """A REST service that takes bearer tokens. Each call carries the token that was exchanged for the caller's;
    there is no account of the gateway's own, and nothing that a caller writes changes who is seen."""

    base_url: str
    """Where the service is: `https://api.example.com/v1`. Every request goes there; plain `http` to the loopback
    only."""
    permission: str | None = None
    """Permission of each tool that has none of its own. None: each must have one."""
    operations: dict[str, OperationSettings] = field(default_factory=dict[str, OperationSettings])
    """Tools one by one, by name: `[delegation.modules.crm.operations.get-customer]` becomes `crm-get-customer`."""
    openapi: OpenApiSettings | None = None
    """A document whose operations become tools."""
    requests: RequestSettings | None = None
    """A tool for free requests."""
    health: HealthSettings = field(default_factory=HealthSettings)
    """Where the service says how it is."""
    pages: dict[str, PageSettings] = field(default_factory=dict[str, PageSettings])
    """Operations whose pages are collected, by tool name (without prefix)."""
    identity_headers: dict[str, SessionField] = field(default_factory=dict[str, SessionField])
    """Headers that say who calls, for services that want that besides the token: `{ X-User = "subject" }`. Mind that
    `username` and `legacy_username` are what a claim says: take one that users cannot change."""
    headers: dict[str, Secret] = field(default_factory=dict[str, Secret])
    """Headers that are always the same, such as a gateway's subscription key. They say nothing of who calls."""
    caller_headers: list[str] = field(default_factory=list[str])
    """Headers that a caller may give, such as `Accept-Language`. Any other is refused."""
    idempotency_header: str | None = None
    """Header in which POST and PATCH carry a fresh key, such as `Idempotency-Key`, and so may be tried again. Only
    for a service that keeps such keys."""
    content_types: list[str] = field(
        default_factory=lambda: ["application/json", "application/*+json", "text/plain", "text/csv", "text/markdown"]
    )
    """Content types that are accepted. JSON is parsed, `text/*` and XML are text, anything else comes as base64.
    HTML is not among the defaults: from an API it is a login or an error page."""
    networks: list[str] = field(default_factory=list[str])
    """Networks besides the public internet in which the service may be, `10.2.0.0/16`. The loopback needs none where
    `base_url` names it."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust *instead of* the system's."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """Bounds of one call."""
