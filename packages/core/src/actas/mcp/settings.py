"""What an operator may write. The configuration reference is made from these docstrings."""

import ipaddress
import re
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from urllib.parse import urlsplit

from actas.core.audit import OnAuditFailure
from actas.core.roles import Permissions
from actas.core.secret import Secret
from actas.http import HttpSettings
from actas.mcp.rates import Rate
from actas.oauth.exchange.settings import VaultSettings
from actas.oauth.settings import Binding, RevocationSettings, TrustedIssuer
from actas.oauth.target import normal

_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_URL = re.compile(r"[!#-;=?-\[\]_a-z~]+")
"""The characters of a URL (RFC 3986), percent-encoded where need be; it goes into headers as it is."""

PROBES = ("/livez", "/readyz")
"""Where orchestrators ask."""
SECRETS_DIRECTORY = "/run/secrets"
"""Where container platforms mount secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """TLS of the server's own, 1.2 or newer, for where no proxy ends it."""

    certificate: str
    """PEM file of the server's certificate, followed by the intermediate ones."""
    key: str
    """PEM file of its private key, without a password; readable by this user alone."""
    client_ca: str | None = None
    """PEM file of the certificate authorities whose client certificates are accepted, for tokens that are bound to
    one (RFC 8705). Clients without a certificate are served too. None: no client is asked for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """The proxies in front, and what to believe of what they say about the caller."""

    trusted: list[str] = field(default_factory=list[str])
    """Networks (`10.0.0.0/8`) or addresses from which nobody but your own proxies can connect. Headers about the
    caller count from there, and from nowhere else."""
    address_header: str = "x-forwarded-for"
    """Where they put the caller's address: `x-forwarded-for` or `forwarded` (RFC 7239). Its right-most address that
    is not `trusted` is the caller's. Name the one that they set themselves: anybody can send the other."""
    certificate_header: str | None = None
    """Where they put the client's certificate, having verified it: `client-cert` (RFC 9440),
    `x-forwarded-client-cert` (Envoy's, with one element), or any other name for PEM with URL escapes (nginx's
    `$ssl_client_escaped_cert`). They must remove such a header where a client sends it. None: they pass none on."""

    def __post_init__(self) -> None:
        for network in self.trusted:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"trusted: {error}") from None
            if ipaddress.ip_network(network).prefixlen == 0:
                raise ValueError(f"trusted: {network} would let anybody say who he is")
        if self.address_header not in ("x-forwarded-for", "forwarded"):
            raise ValueError("address_header must be x-forwarded-for or forwarded")
        if self.certificate_header is not None and not _HEADER.fullmatch(self.certificate_header):
            raise ValueError("certificate_header must be the name of a header")
        if self.certificate_header is not None and not self.trusted:
            raise ValueError("certificate_header counts only from trusted proxies: name them in trusted")


@dataclass(frozen=True, slots=True, kw_only=True)
class McpSettings:
    """The MCP server and its door."""

    server_name: str = "actas"
    """The name that clients show."""
    version: str = field(default_factory=lambda: installed_version("actas"))
    """The version that clients show."""
    instructions: str | None = None
    """What a model should know before it uses the tools."""
    host: str = "127.0.0.1"
    """The address to listen on. Anything but loopback needs `tls`, or a TLS-terminating proxy in front."""
    port: int = 8080
    """The TCP port to listen on; 0 takes a free one."""
    path: str = "/mcp"
    """The path of the MCP endpoint."""
    resource: str | None = None
    """The URL by which clients reach the endpoint: the resource identifier of RFC 8707 and RFC 9728.
    Needed unless `host` is loopback, where it is `http://host:port/path` (`https` with `tls`). Never taken from a
    request. DPoP proofs must be made for this URL."""
    allowed_hosts: list[str] = field(default_factory=list[str])
    """Further `Host` header values to accept, besides those of `resource` and of the listening address."""
    allowed_origins: list[str] = field(default_factory=list[str])
    """`Origin` header values to accept: web pages that may call this server."""
    max_body_bytes: int = 1_048_576
    """The longest request body, in bytes."""
    tool_timeout: float = 30.0
    """Seconds that a tool may take, unless it names its own."""
    drain_timeout: float = 20.0
    """Seconds that running calls get to finish, when the server stops or a reload has put another configuration in the
    place of theirs. Then they are answered with 503. Above `tool_timeout`, none is ever cut off."""
    watch: bool = True
    """Whether a configuration file, and the secret files that it names, are read anew when they change. SIGHUP reads
    them anew in any case."""
    tls: TlsSettings | None = None
    """TLS of the server's own. None: it speaks plain HTTP, and TLS is the business of a proxy."""
    proxies: ProxySettings = field(default_factory=ProxySettings)
    """The proxies in front, and what to believe of what they say about the caller."""

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path) or self.path.startswith("/.well-known"):
            raise ValueError("path must start with /, lie outside /.well-known, and need no percent-encoding")
        if self.path in PROBES:
            raise ValueError(f"path must be none of {' and '.join(PROBES)}: orchestrators ask there")
        if not 0 <= self.port <= 65535:
            raise ValueError("port must be between 0 and 65535")
        if not all(self.allowed_hosts) or not all(self.allowed_origins):
            raise ValueError("allowed_hosts and allowed_origins: an empty string is no host and no origin")
        if self.max_body_bytes < 1024:
            raise ValueError("max_body_bytes must be at least 1024")
        if not 0 < self.tool_timeout <= 3600:
            raise ValueError("tool_timeout must be above 0 and at most 3600 seconds")
        if not 0 <= self.drain_timeout <= 3600:
            raise ValueError("drain_timeout must be 0 to 3600 seconds")
        if self.resource is not None:
            _check_resource(self.resource)
        elif not is_loopback(self.host):
            raise ValueError("resource is required where host is not loopback: the URL by which clients reach this")
        if normal(self.resource_at(1)) is None:
            raise ValueError("resource must be a URL whose host is a name or an address (RFC 3986 section 3.2.2)")

    def resource_at(self, port: int) -> str:
        """The resource identifier when listening on ``port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.resource or f"{self.scheme}://{host}:{port}{self.path}"

    @property
    def scheme(self) -> str:
        """`https` where the server has TLS of its own."""
        return "http" if self.tls is None else "https"

    @property
    def sees_certificates(self) -> bool:
        """Whether a client's certificate can become known."""
        return (self.tls is not None and self.tls.client_ca is not None) or self.proxies.certificate_header is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """The minutes: who did what as whom, one JSON object a line."""

    enabled: bool = True
    """Whether anything is recorded."""
    kind: str = "jsonl"
    """`jsonl`, or the name of a plug-in's audit sink."""
    path: str | None = None
    """The file that `jsonl` appends to; without one, standard error."""
    on_failure: OnAuditFailure = OnAuditFailure.REFUSE
    """When a line cannot be written: `refuse` the call, or carry it out and `alert` in the log."""
    settings: dict[str, object] = field(default_factory=dict[str, object])
    """The settings of a plug-in's audit sink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DpopSettings:
    """How DPoP proofs are checked (RFC 9449). Which tokens need one, they and `security.binding` say."""

    require_nonce: bool = False
    """Refuse proofs without a nonce of this server's: they cannot be made in advance. Costs each client one more
    request at the start, and another when it was silent for two minutes."""
    nonce_secret: Secret | None = None
    """What nonces are made with: at least 32 random characters, the same in all replicas so that one accepts the
    other's. None: random, for this process alone."""

    def __post_init__(self) -> None:
        if self.nonce_secret is not None and len(self.nonce_secret.reveal()) < 32:
            raise ValueError("nonce_secret must have at least 32 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Whom to trust and what roles may do."""

    trusted_idps: list[TrustedIssuer]
    """The identity providers whose access tokens are accepted. At least one."""
    permissions: Permissions = field(default_factory=Permissions)
    """What each role may do."""
    authorizers: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    """Who decides besides roles, permissions and scopes; all must allow, asked in this order. `kind` names the
    plug-in, all other keys are its own settings."""
    audit: AuditSettings = field(default_factory=AuditSettings)
    """The minutes."""
    http: HttpSettings = field(default_factory=HttpSettings)
    """How the providers are asked for their keys, and about opaque tokens."""
    revocation: RevocationSettings | None = None
    """What is refused although its token is good: what `actas revoke` writes. None: nothing is."""
    exchange_cache: VaultSettings = field(default_factory=VaultSettings)
    """Where exchanged tokens are kept."""
    token_cache_seconds: float = 60.0
    """How long a verified token is remembered, at most until it expires; 0 verifies each time."""
    token_cache_entries: int = 10_000
    """How many verified tokens are remembered."""
    dpop: DpopSettings = field(default_factory=DpopSettings)
    """How DPoP proofs are checked."""

    def __post_init__(self) -> None:
        if not self.trusted_idps:
            raise ValueError("trusted_idps needs at least one identity provider")
        names = [issuer.name for issuer in self.trusted_idps]
        if len(set(names)) != len(names):
            raise ValueError("trusted_idps: two providers have the same name")
        if sum(issuer.publish_metadata for issuer in self.trusted_idps) > 1:
            raise ValueError("trusted_idps: publish_metadata can be set for one provider, there is one place for it")
        if not 0 <= self.token_cache_seconds <= 300:
            raise ValueError("token_cache_seconds must be between 0 and 300")
        if self.token_cache_entries < 1:
            raise ValueError("token_cache_entries must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationSettings:
    """The systems behind the tools."""

    modules: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    """A table for each module. `kind` names the plug-in (the module's own name where it is left out), `prefix` the
    tools' prefix (likewise), `providers` the trusted identity providers whose users may use it (all where it is left
    out; with several of them, a module that knows users by name must say), `tools` which of its tools there are: names
    or patterns with `*`, after a `!` those that there are not (all where it is left out, none for `[]`),
    `token_exchange` how the callers' tokens are exchanged for the downstream, `tickets_from` the module that lends it
    its users' Kerberos tickets; all other keys are the plug-in's own settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much of this server one caller, and all of them together, may have.

    A rate is a number and `second`, `minute`, `hour` or `day`: `600/minute`. Its window begins with the first request
    and ends that much later. Beyond it there is HTTP 429 with `Retry-After`.
    """

    per_user: str | None = None
    """Requests of one user, or of one client where a token stands for no user. None: any number."""
    per_issuer: str | None = None
    """Requests of all users of one issuer together. None: any number."""
    per_tool: dict[str, str] = field(default_factory=dict[str, str])
    """Calls of one tool by one user: a rate for each tool's name."""
    concurrent_per_user: int = 50
    """Requests of one user that are served at a time."""
    concurrent: int = 500
    """Requests that are served at a time. Beyond that there is HTTP 503, before anything is looked at."""
    connections: int = 800
    """Connections kept open at a time. A new one beyond that takes the place of the one that is silent longest."""
    failed_authentications_per_address: str | None = None
    """Tokens from one address (of IPv6, one /64) that may be refused; after that only tokens that were good before
    are looked at. Set it where this server sees its clients' addresses. None: any number."""

    def __post_init__(self) -> None:
        rates = {
            "per_user": self.per_user,
            "per_issuer": self.per_issuer,
            "failed_authentications_per_address": self.failed_authentications_per_address,
            **{f"per_tool.{tool}": rate for tool, rate in self.per_tool.items()},
        }
        for name, written in rates.items():
            try:
                _ = None if written is None else Rate.parse(written)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
        for name in ("concurrent_per_user", "concurrent", "connections"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name} must be between 1 and 1000000")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSettings:
    """A Valkey or Redis server for what several processes of this server share: how many requests somebody made, and
    exchanged tokens, sealed. Needs the extra `shared`. Where it does not answer, each process goes on by itself."""

    url: Secret | None = None
    """`rediss://user:password@host:port/0` (TLS), `redis://` (in the clear) or `unix:///path`; `valkey` in place of
    `redis` is the same. None: each process is for itself."""
    ca_file: str | None = None
    """A PEM file with the authorities that may have issued the certificate of a `rediss` server. None: the system's."""

    def __post_init__(self) -> None:
        if self.url is None:
            if self.ca_file is not None:
                raise ValueError("ca_file needs a url")
            return
        parts = urlsplit(self.revealed_url())
        if parts.scheme not in ("redis", "rediss", "unix") or parts.query or parts.fragment:
            raise ValueError("url must begin with rediss://, redis:// or unix:// and have neither ? nor #")
        if not parts.hostname if parts.scheme != "unix" else len(parts.path) < 2:
            raise ValueError("url must say where the server is")
        if self.ca_file is not None and parts.scheme != "rediss":
            raise ValueError("ca_file is for rediss:// only")

    def revealed_url(self) -> str:
        """The URL with its password, as Redis clients spell it. Raises ValueError where there is none."""
        if self.url is None:
            raise ValueError("there is no url")
        url = self.url.reveal()
        return f"redis{url.removeprefix('valkey')}" if url.startswith("valkey") else url

    def tls_options(self) -> dict[str, str]:
        """What a Redis client is told besides."""
        return {} if self.ca_file is None else {"ssl_ca_certs": self.ca_file}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration."""

    auth: AuthSettings
    """Whom to trust and what roles may do."""
    mcp: McpSettings = field(default_factory=McpSettings)
    """The MCP server and its door."""
    delegation: DelegationSettings = field(default_factory=DelegationSettings)
    """The systems behind the tools."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """How much of this server one caller, and all of them together, may have."""
    shared: SharedSettings = field(default_factory=SharedSettings)
    """What several processes of this server share."""
    plugins: list[str] = field(default_factory=list[str])
    """Plug-ins to load besides those that a module or the audit names: secret providers."""
    secrets_directory: str = SECRETS_DIRECTORY
    """Where `{"$secret": "NAME"}` looks for a file first."""

    def __post_init__(self) -> None:
        for issuer in self.auth.trusted_idps:
            if issuer.security.binding is Binding.MTLS and not self.mcp.sees_certificates:
                raise ValueError(
                    f"auth.trusted_idps: {issuer.name} demands tokens that are bound to a certificate, and none can be"
                    " seen: set mcp.tls.client_ca or mcp.proxies.certificate_header"
                )


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine's own: ``localhost`` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_resource(resource: str) -> None:
    """Raises ValueError where ``resource`` is no resource identifier (RFC 9728 section 1.2) that we can serve."""
    parts = urlsplit(resource)
    if parts.scheme not in ("https", "http") or not parts.hostname or "#" in resource or "?" in resource:
        raise ValueError("resource must be an absolute http(s) URL without query and fragment (RFC 9728)")
    if not _URL.fullmatch(resource) or "@" in parts.netloc or parts.port == 0:
        raise ValueError("resource must be a plain URL: no user name, and other letters percent-encoded")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("resource must be https unless it is on loopback")
