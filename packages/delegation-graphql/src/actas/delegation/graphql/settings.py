"""What an operator may write about a GraphQL service. The configuration reference is made from this."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from actas.core.errors import ConfigurationError

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")


@dataclass(frozen=True, kw_only=True)
class PermissionSettings:
    """Which permission shows which tools. What kind of operation a document is decides, nothing else."""

    read: str = "graphql:read"
    """For queries, and for reading the schema."""
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
    connections: int = 20
    """Connections to the service at the same time."""


@dataclass(frozen=True, kw_only=True)
class GraphqlSettings:
    """A GraphQL service that is asked as the user: `Authorization` has the exchanged token, nothing comes from callers.

    `token_exchange` is required in the module's table.
    """

    url: str
    """The service's one address. https, or http on the loopback; redirects are not followed."""
    schema_file: str | None = None
    """Its schema: SDL (`.graphql`, `.gql`), or the answer to an introspection query (`.json`). None: the service is
    asked when the module starts, without any token; no tools can be made from `operations` then."""
    operations: str | None = None
    """A folder: each `*.graphql` file in it holds one named operation, with its fragments, and becomes a tool.
    Needs `schema_file`."""
    free_documents: bool = False
    """Whether callers may write documents of their own: the tools `query`, `mutate` and `schema`."""
    permissions: PermissionSettings = field(default_factory=PermissionSettings)
    """Who sees which tools."""
    introspection: bool = False
    """Whether documents may ask for `__schema` and `__type`."""
    show_messages: bool = False
    """Whether the service's own error messages are passed on. They may say anything; paths and codes are always told."""
    size_arguments: list[str] = field(default_factory=lambda: ["first", "last", "limit"])
    """Arguments, also inside of input objects, that say how long a list will be."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """Bounds of one call."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust *instead of* the system's."""
    insecure_hosts: list[str] = field(default_factory=list[str])
    """Host names to which plain `http:` is allowed, besides the loopback: whoever sits on the way to them reads tokens."""


def check(settings: GraphqlSettings) -> None:
    """See whether ``settings`` make sense.

    Raises:
        ConfigurationError: with every problem, each with its path.
    """
    problems = [*_address(settings), *_bounds(settings.limits)]
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


def _address(settings: GraphqlSettings) -> list[str]:
    try:
        parts = urlsplit(settings.url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return ["url: this is no URL"]
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        return ["url: must have a host, and neither credentials nor a fragment"]
    plain = _LOOPBACK | {name.lower() for name in settings.insecure_hosts}
    if parts.scheme != "https" and not (parts.scheme == "http" and host in plain):
        return ["url: must be https; plain http only to the loopback or to a host in insecure_hosts"]
    return []


def _bounds(limits: LimitSettings) -> list[str]:
    return [f"limits.{name}: must be more than 0" for name, value in vars(limits).items() if not value > 0]
