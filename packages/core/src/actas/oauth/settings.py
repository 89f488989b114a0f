"""Whom to trust, and what to take from their tokens."""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from actas.core.roles import RoleMappings
from actas.oauth.client_settings import ClientCredentials

SUPPORTED_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519",
)  # fmt: skip
"""RFC 7518 and RFC 9864, the asymmetric ones. A symmetric key is nobody's signature: whoever can verify can forge."""

UNTYPED = "none"
"""Stands in ``token_types`` for a token that has no ``typ``."""

_MAX_TOKEN_BYTES = 1_048_576


def canonical_algorithm(name: str) -> str:
    """``EdDSA`` (RFC 8037) is taken for what it means here: Ed25519 (RFC 9864)."""
    return "Ed25519" if name == "EdDSA" else name


def canonical_type(typ: str) -> str:
    """Lower case and without ``application/`` (RFC 7515 section 4.1.9)."""
    return typ.lower().removeprefix("application/")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMappings:
    """Which claims mean what. A path is a claim's name, dots and all (`https://ns.example/roles`); where there is
    no claim of that name, a way through nested objects (`realm_access.roles`)."""

    user_id: str = "sub"
    """Path of the claim that identifies the user at this issuer, for ever. Must be in every token."""
    username: str = "preferred_username"
    """Path of the user's name. A token without it gives the user's id instead."""
    legacy_username: str | None = None
    """Path of the name by which older systems know the user. None: there is no such name."""
    roles: str = "roles"
    """Path of the user's roles: a list of strings, or one string divided by spaces."""
    scopes: str | None = None
    """Path of the token's scopes: a string divided by spaces, or a list. None: `scope`, else `scp`."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) == "":
                raise ValueError(f"{each.name} must name a claim, not be empty")


class Binding(StrEnum):
    """Whether tokens must be bound to whom they were issued to, so that a stolen one is worth nothing."""

    OPTIONAL = "optional"
    """A token that is bound is held to it; one that is not will do."""
    DPOP = "dpop"
    """Bound to a key of the client's (RFC 9449)."""
    MTLS = "mtls"
    """Bound to the client's TLS certificate (RFC 8705)."""
    EITHER = "either"
    """One of the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What a token must be like, beyond a good signature. `iss`, `aud`, `exp` and `sub` are always demanded."""

    clock_tolerance: float = 60.0
    """Seconds by which the provider's clock and this server's may differ, 0 to 300. Applies to `exp`, `nbf`, `iat`."""
    max_token_age: float = 3600.0
    """Seconds since `iat` after which a token is refused, whatever its `exp` says. 0: only `exp` counts, and `iat` may
    be absent."""
    require_nbf: bool = False
    """Refuse tokens without `nbf`."""
    token_types: list[str] = field(default_factory=lambda: ["at+jwt"])
    """Values of the header's `typ` that are access tokens; `at+jwt` is RFC 9068's. Case does not matter, nor does
    `application/` before it. Add `JWT` for providers that send that, `none` for those that send no `typ`."""
    max_token_bytes: int = 16_384
    """Longest token that is looked at, in bytes, 256 to 1048576."""
    binding: Binding = Binding.OPTIONAL
    """Whether its tokens must be bound to the client that they were issued to: `dpop` (RFC 9449), `mtls` (RFC 8705),
    `either`, or `optional`. A token that is bound is never accepted without its proof, whatever stands here."""

    def __post_init__(self) -> None:
        if not 0 <= self.clock_tolerance <= 300:
            raise ValueError("clock_tolerance must be 0 to 300 seconds; set the clocks right instead of going beyond")
        if not self.max_token_age >= 0:
            raise ValueError("max_token_age must be a number of seconds, or 0 for no limit")
        if not self.token_types or not all(self.token_types):
            raise ValueError("token_types must name at least one typ, such as at+jwt")
        if not 256 <= self.max_token_bytes <= _MAX_TOKEN_BYTES:
            raise ValueError(f"max_token_bytes must be 256 to {_MAX_TOKEN_BYTES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectionSettings:
    """Where to ask about tokens that are no JWT (RFC 7662). JWTs are always verified here, and never sent anywhere."""

    client: ClientCredentials
    """Who this server is to the provider."""
    endpoint: str | None = None
    """URL of the introspection endpoint. None: as the provider's metadata says (`introspection_endpoint`)."""
    token_prefix: str = ""
    """What the provider's opaque tokens begin with. Needed where several providers are asked: a token is shown to the
    one whose prefix it has, and to no other."""
    cache_seconds: float = 30.0
    """Seconds for which an answer is remembered, 0 to 300, at most until the token ends: so long may a token that the
    provider revoked go on working. 0 asks each time."""
    signed_responses: bool = False
    """Ask for answers that the provider signs (RFC 9701), and believe no others."""

    def __post_init__(self) -> None:
        if self.endpoint is not None and not _is_url(self.endpoint):
            raise ValueError("endpoint must be an http or https URL")
        if not 0 <= self.cache_seconds <= 300:
            raise ValueError("cache_seconds must be 0 to 300")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownActor:
    """Somebody who may act for users of this provider: an agent, a service. What is done so is allowed only where the
    user *and* the actor may do it."""

    subject: str
    """The actor's `sub` in the token's `act` claim."""
    issuer: str | None = None
    """The actor's `iss` in the `act` claim. None: the provider's own issuer, which an `act` without `iss` means too."""
    permissions: list[str] = field(default_factory=list[str])
    """Of the user's permissions, those that count when this actor acts. None of them by default."""
    scopes: list[str] | None = None
    """Of the token's scopes, those that count. None: all of them."""
    roles: list[str] = field(default_factory=list[str])
    """Of the user's roles here, those that count, for tools that ask for a role. None of them by default."""

    def __post_init__(self) -> None:
        if not self.subject or self.issuer == "":
            raise ValueError("subject must name the actor, and issuer not be empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationSettings:
    """Tokens, sessions and users that are refused although their tokens are good."""

    path: str
    """The file that `actas revoke` appends to, absolute. Changes are noticed within a second or two; several servers
    may share it. Where it cannot be read, nobody is let in."""

    def __post_init__(self) -> None:
        if not Path(self.path).is_absolute():
            raise ValueError("path must be absolute: the server and actas revoke may start in different folders")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An identity provider whose access tokens are accepted.

    Several may share one `issuer`: a token goes to the first, in configured order, that has one of the token's
    audiences in `audience`, and is judged by that one's keys, mappings and rules alone.
    """

    name: str
    """A name of your choice, unique; appears in the audit."""
    issuer: str
    """What `iss` must be, to the letter: a final slash counts."""
    audience: list[str]
    """What `aud` must contain one of: how this server is named at the provider, usually its own URL (RFC 8707)."""
    discovery_url: str | None = None
    """URL of the provider's metadata (RFC 8414 or OpenID Connect discovery). None, and no `jwks_uri`: the
    well-known URLs of `issuer` are tried."""
    jwks_uri: str | None = None
    """URL of the provider's signing keys. Set, no metadata is read."""
    algorithms: list[str] = field(default_factory=lambda: ["RS256", "PS256", "ES256", "Ed25519"])
    """Signature algorithms to accept, out of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and
    Ed25519 (also spelled EdDSA). Name only what the provider uses."""
    authorized_parties: list[str] = field(default_factory=list[str])
    """Clients (`client_id` or `azp`) whose tokens are accepted. Empty: any client of this issuer."""
    claim_mappings: ClaimMappings = field(default_factory=ClaimMappings)
    """Which claims hold user, roles and scopes."""
    role_mappings: RoleMappings = field(default_factory=RoleMappings)
    """Which of the provider's roles mean which role here."""
    security: TokenRules = field(default_factory=TokenRules)
    """What its tokens must be like."""
    introspection: IntrospectionSettings | None = None
    """How tokens that are no JWT are looked up at the provider. None: they are refused."""
    accept_applications: bool = False
    """Admit tokens that stand for an application and no user (client credentials). They never get a
    `legacy_username`."""
    actors: list[KnownActor] = field(default_factory=list[KnownActor])
    """Who may act for the provider's users. A token with any other actor in its `act` claim is admitted to nothing."""
    keys_refresh_interval: float = 300.0
    """Seconds after which the signing keys are fetched again."""
    keys_refresh_cooldown: float = 30.0
    """Least seconds between two fetches that tokens with unknown keys cause; also the longest pause between two
    attempts while the provider is out of reach."""
    keys_max_age: float = 86_400.0
    """Seconds for which the last good keys go on being trusted while the provider is out of reach."""
    publish_metadata: bool = False
    """Whether its metadata is passed on under this server's own `/.well-known/oauth-authorization-server`, where
    clients of MCP revisions before 2025-06-18 look for it. At most one provider."""

    def __post_init__(self) -> None:
        if not self.name or not self.issuer:
            raise ValueError("name and issuer must not be empty")
        if not self.audience or not all(self.audience):
            raise ValueError("audience must name at least one audience: a token for anybody is not for this server")
        self._check_algorithms()
        if self.discovery_url is None and self.jwks_uri is None and not _is_url(self.issuer):
            raise ValueError("issuer is not a URL, so its keys cannot be found: set jwks_uri or discovery_url")
        if self.publish_metadata and self.discovery_url is None and not _is_url(self.issuer):
            raise ValueError(
                "publish_metadata: issuer is not a URL, so its metadata cannot be found: set discovery_url"
            )
        for name in ("discovery_url", "jwks_uri"):
            url = getattr(self, name)
            if url is not None and not _is_url(url):
                raise ValueError(f"{name} must be an http or https URL")
        if not 0 < self.keys_refresh_interval <= self.keys_max_age:
            raise ValueError("keys_refresh_interval must be greater than 0 and at most keys_max_age seconds")
        if not 1 <= self.keys_refresh_cooldown <= 3600:
            raise ValueError("keys_refresh_cooldown must be 1 to 3600 seconds")
        if self.introspection is not None and self.introspection.endpoint is None:
            if self.discovery_url is None and not _is_url(self.issuer):
                raise ValueError("introspection.endpoint is needed: no metadata can be found that names it")
        actors = [(actor.issuer or self.issuer, actor.subject) for actor in self.actors]
        if len(set(actors)) != len(actors):
            raise ValueError("actors: the same actor is there twice")

    def _check_algorithms(self) -> None:
        if not self.algorithms:
            raise ValueError("algorithms must name at least one algorithm, such as RS256")
        for name in self.algorithms:
            if canonical_algorithm(name) not in SUPPORTED_ALGORITHMS:
                raise ValueError(
                    f"algorithms: {name} is not accepted, only signatures with a public key are: "
                    f"{', '.join(SUPPORTED_ALGORITHMS)}"
                )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
