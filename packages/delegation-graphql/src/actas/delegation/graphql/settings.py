"""What an operator may write about a GraphQL service. The configuration reference is made from this."""

from dataclasses import dataclass, field


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
