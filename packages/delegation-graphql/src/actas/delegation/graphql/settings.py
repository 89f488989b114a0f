"""What an operator may write about a GraphQL service. The configuration reference is made from this."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from urllib.parse import urlsplit

from actas.core.errors import ConfigurationError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")


@dataclass(frozen=True, kw_only=True)
class PermissionSettings:
    """Which permission shows which tools. What kind of operation a document is decides, nothing else."""

    read: str = "graphql:read"
    """For queries, for looking at the schema, and for asking how the service is."""
    write: str = "graphql:write"
    """For mutations. Does not include `read`."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """Bounds of one call. Fragments count wherever they are used, and `@skip` and `@include` save nothing."""

    document_bytes: int = 16_384
    """Longest document."""
    tokens: int = 2_000
    """Words and signs of a document, comments aside."""
    depth: int = 12
    """Fields inside of fields."""
    fields: int = 300
    """Fields in all."""
    aliases: int = 30
    """Aliases in all."""
    root_fields: int = 10
    """Fields at the top: queries that are answered side by side, mutations that are carried out in turn."""
    fragments: int = 20
    """Fragments that a document defines."""
    list_size: int = 100
    """Most that one of `size_arguments` may ask for."""
    assumed_list_size: int = 10
    """How long a list is taken to be for which none of `size_arguments` is given."""
    cost: int = 10_000
    """Fields that the answer can have: each counts as often as the lists around it are long."""
    variables_bytes: int = 65_536
    """Most JSON of all variables."""
    response_bytes: int = 1_048_576
    """Longest answer; a longer one is refused while it arrives."""
    seconds: float = 10.0
    """Time for a whole exchange with the service."""
    connections: int = 50
    """Connections to the service at the same time."""
    calls_per_user: int = 20
    """Calls of one user at the same time; others of the same user's wait, so that nobody takes all connections."""


@dataclass(frozen=True, kw_only=True)
class GraphqlSettings:
    """A GraphQL service that takes bearer tokens. Each call carries the token that was exchanged for the caller's;
    there is no account of the gateway's own, and each document is judged before it is sent."""

    url: str
    """The service's one address, `https://orders.example.com/graphql`; plain `http` to the loopback only. Redirects are
    not followed."""
    schema_file: str | None = None
    """Its schema: SDL (`.graphql`, `.gql`), or the answer to an introspection query (`.json`). None: the service is
    asked when the module starts, without any token; no tools can be made from `operations` then."""
    operations: str | None = None
    """A folder: each `*.graphql` file in it holds one named operation, with its fragments, and becomes a tool.
    Needs `schema_file`."""
    free_documents: bool = False
    """Whether callers may write documents of their own: the tools `PREFIX-delegate` (queries), `PREFIX-mutate` and
    `PREFIX-schema`. Without it, the operations on file are all that can ever be asked."""
    permissions: PermissionSettings = field(default_factory=PermissionSettings)
    """Who sees which tools."""
    introspection: bool = False
    """Whether documents may ask for `__schema` and `__type`."""
    show_messages: bool = False
    """Whether the service's own error messages are passed on. They may say anything; paths and codes are told in any
    case."""
    size_arguments: list[str] = field(default_factory=lambda: ["first", "last", "limit"])
    """Arguments, also inside of input objects, that say how long a list will be."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """Bounds of one call."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust *instead of* the system's."""
    networks: list[str] = field(default_factory=list[str])
    """Networks besides the public internet in which the service may be, `10.2.0.0/16`. The loopback needs none where
    `url` names it."""


def check(settings: GraphqlSettings) -> None:
    """See whether ``settings`` make sense.

    Raises:
        ConfigurationError: with every problem, each with its path.
    """
    problems = [*_address(settings.url), *_networks(settings.networks), *_bounds(settings.limits)]
    if settings.operations is None and not settings.free_documents:
        problems.append("operations: missing, and free_documents is not set: there would be no tools")
    if settings.operations is not None and settings.schema_file is None:
        problems.append("schema_file: missing; tools from operations are made before the service is asked")
    permissions = settings.permissions
    if not permissions.read or not permissions.write or permissions.read == permissions.write:
        problems.append("permissions: read and write each need one of their own")
    if not all(_NAME.fullmatch(name) for name in settings.size_arguments):
        problems.append("size_arguments: one of them is no GraphQL name")
    if problems:
        raise ConfigurationError(problems)


def _address(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        good = parts.port != 0 and _HOST.fullmatch(parts.hostname or "") is not None
    except ValueError:
        return ["url: its host or port is none"]
    if parts.scheme not in ("https", "http") or not good:
        return ["url: must begin with https:// and name a host, in ASCII"]
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return ["url: https is needed; plain http only to the loopback"]
    if parts.username is not None or parts.fragment or not url.isascii() or not url.isprintable():
        return ["url: has no place for credentials, a fragment, or anything but plain ASCII"]
    return []


def _networks(networks: list[str]) -> list[str]:
    try:
        for network in networks:
            ip_network(network)
    except ValueError:
        return ["networks: write networks like 10.2.0.0/16"]
    return []


def _bounds(limits: LimitSettings) -> list[str]:
    return [f"limits.{name}: must be more than 0" for name, value in vars(limits).items() if not value > 0]
