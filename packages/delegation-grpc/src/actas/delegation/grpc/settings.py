"""What an operator may write about a gRPC service. The configuration reference is made from this."""

from dataclasses import dataclass, field
from typing import Literal

from actas.core.models import Effect
from actas.core.secret import Secret

SessionField = Literal["subject", "username", "legacy_username", "issuer", "role", "client_id"]


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """What is different about one method."""

    tool: str | None = None
    """The tool's name after the prefix. None: the method's own, `GetOrder` as `get-order`."""
    description: str | None = None
    """What it does, for the model that chooses it. None: the comment that the descriptors have."""
    permission: str | None = None
    """Who lacks it does not see the tool. None: the module's `permission`."""
    scopes: list[str] = field(default_factory=list[str])
    """Scopes that the caller's token needs; who lacks one is told to step up."""
    effect: Effect | None = None
    """What it does there. None: what the `idempotency_level` of the descriptor file says (`NO_SIDE_EFFECTS` reads,
    `IDEMPOTENT` writes); destructive where that says nothing."""
    idempotent: bool | None = None
    """Whether it may be sent again when it is not known what became of it. None: what `idempotency_level` says; no
    where that says nothing."""
    seconds: float | None = None
    """Time of one call, in place of `limits.seconds`. The whole call, the exchange of the token included, has
    `mcp.tool_timeout` where that is shorter."""
    items: int | None = None
    """Messages that are taken of a stream, in place of `limits.items`."""


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """How the service is known, and how we are known to it."""

    ca_file: str | None = None
    """PEM file of the certificate authorities to trust *instead of* those that grpcio brings (Mozilla's)."""
    certificate_file: str | None = None
    """PEM file of our certificate, with its chain, for a service that asks for one (mutual TLS). It names the gateway,
    not a user."""
    key_file: str | None = None
    """PEM file of its private key."""
    server_name: str | None = None
    """The name that the service's certificate must have. None: the host of `targets`. Needed where several addresses
    are given."""


@dataclass(frozen=True, kw_only=True)
class RetrySettings:
    """How idempotent methods are tried again, when the service does not answer (`UNAVAILABLE`): by gRPC itself, within
    the deadline of the call. Others never are."""

    attempts: int = 3
    """How often a call is tried in all, 5 at most; 1 tries nothing again."""
    first_seconds: float = 0.1
    """Pause before the second attempt; gRPC draws it by lot, up to this."""
    longest_seconds: float = 2.0
    """Longest pause."""
    factor: float = 2.0
    """By how much a pause may be longer than the one before."""


@dataclass(frozen=True, kw_only=True)
class KeepaliveSettings:
    """Whether a quiet connection is still one."""

    seconds: float = 60.0
    """Quiet for as long, while calls are under way, and the service is pinged. Services may refuse pings that come more
    often than every five minutes, unless they are set up for it."""
    answer_seconds: float = 10.0
    """Without an answer for as long, the connection is given up."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What one call may take."""

    seconds: float = 20.0
    """Time of one call; sent as its deadline. A shorter time that the caller has left wins."""
    connect_seconds: float = 3.0
    """Time for one attempt to connect, TLS included."""
    request_bytes: int = 1_000_000
    """Size of the message that is sent."""
    response_bytes: int = 1_000_000
    """Size of a message that is received; of a stream, all of them together."""
    items: int = 1_000
    """Messages that are taken of a stream; it is cancelled there."""
    depth: int = 32
    """Levels of the parameters, and of an answer."""
    values: int = 100_000
    """Values of the parameters, and of an answer, all messages of a stream together."""
    calls_per_user: int = 20
    """Calls of one user at the same time; others of the same user's wait, so that nobody takes everything."""


@dataclass(frozen=True, kw_only=True)
class HealthSettings:
    """What is asked of the standard health service (`grpc.health.v1`): by the server's own check, without any token,
    and by the tool `PREFIX-health`, as the user."""

    service: str = ""
    """Whose health. Empty: the whole server's."""
    permission: str | None = None
    """Who lacks it does not see the tool. None: the module's `permission`."""


@dataclass(frozen=True, kw_only=True)
class ReflectionSettings:
    """The service is asked for its descriptors when the module starts: `grpc.reflection.v1`, or `v1alpha` where it has
    only that."""

    metadata: dict[str, Secret] = field(default_factory=dict[str, Secret])
    """Metadata of these requests, for a service that tells its descriptors not to everybody: `{ authorization =
    "Bearer …" }`. No user's token is ever sent with them."""
    seconds: float = 5.0
    """Time for all of it."""
    files: int = 500
    """Descriptor files that are taken at most."""


@dataclass(frozen=True, kw_only=True)
class GrpcSettings:
    """A gRPC service that takes bearer tokens. Each call carries the token that was exchanged for the caller's; there
    is no account of the gateway's own, and nothing that a caller writes becomes metadata."""

    targets: list[str]
    """Where the service is. One `orders.example.com:443`, of which all addresses are used in turn; or several IP
    addresses with their ports, all IPv4 or all IPv6."""
    allow: list[str]
    """Methods that become tools, `shop.v1.Orders/GetOrder`; in a descriptor file also patterns, `shop.v1.Orders/Get*`.
    One that fits nothing is an error. There is no default: what is not named cannot be called."""
    exclude: list[str] = field(default_factory=list[str])
    """Methods that the patterns of `allow` fit, and that are left out; likewise."""
    descriptors: str | None = None
    """File with a serialised `FileDescriptorSet`, its imports included: `python -m grpc_tools.protoc -I protos
    --include_imports --include_source_info --descriptor_set_out=shop.pb shop.proto`."""
    reflection: ReflectionSettings | None = None
    """Ask the service for its descriptors instead, `{}` for the defaults. Tools have no schema of their own then:
    `PREFIX-describe` tells it."""
    permission: str | None = None
    """Permission of each tool that has none of its own. None: each must have one."""
    methods: dict[str, MethodSettings] = field(default_factory=dict[str, MethodSettings])
    """What is different about single methods, by `shop.v1.Orders/GetOrder`."""
    plaintext: bool = False
    """Whether there is no TLS: to the loopback only."""
    tls: TlsSettings = field(default_factory=TlsSettings)
    """How the service is known."""
    identity_metadata: dict[str, SessionField] = field(default_factory=dict[str, SessionField])
    """Metadata that says who calls, for services that want that besides the token: `{ x-user = "subject" }`. Mind that
    `username` and `legacy_username` are what a claim says: take one that users cannot change."""
    metadata: dict[str, Secret] = field(default_factory=dict[str, Secret])
    """Metadata that is always the same, such as a tenant's key. It says nothing of who calls."""
    retries: RetrySettings = field(default_factory=RetrySettings)
    """How idempotent methods are tried again."""
    keepalive: KeepaliveSettings = field(default_factory=KeepaliveSettings)
    """Whether a quiet connection is still one."""
    health: HealthSettings = field(default_factory=HealthSettings)
    """What is asked of the health service."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """Bounds of one call."""
