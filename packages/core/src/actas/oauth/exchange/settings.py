"""What an operator may write about exchanging a module's tokens. The configuration reference is made from this."""

from dataclasses import dataclass, field
from enum import StrEnum

from actas.core.secret import Secret
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.exchange.grants import ACCESS_TOKEN, JWT
from actas.oauth.exchange.sealing import SECRET_BYTES
from actas.oauth.settings import TokenRules


class GrantKind(StrEnum):
    """How the provider exchanges tokens."""

    TOKEN_EXCHANGE = "token_exchange"  # noqa: S105 -- a name
    """RFC 8693: Keycloak, Okta, Auth0, oidc-provider and most others."""
    ON_BEHALF_OF = "on_behalf_of"
    """Microsoft Entra ID."""
    JWT_BEARER = "jwt_bearer"
    """RFC 7523: a provider that trusts the caller's."""
    IDENTITY_ASSERTION = "identity_assertion"
    """An ID-JAG first, then a token at the downstream's own authorization server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SameUser:
    """How the exchanged token is seen to be about the caller: these two claims must be equal."""

    caller: str = "sub"
    """Path of the claim in the caller's token."""
    exchanged: str = "sub"
    """Path of the claim in the exchanged token: `oid` in both for Entra ID, whose `sub` differs per application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Keeping exchanged tokens, sealed so that only the caller's own token opens them."""

    enabled: bool = False
    """Whether any is kept."""
    ttl_seconds: float = 60.0
    """How long one is kept at most; never beyond its own end."""
    leeway_seconds: float = 10.0
    """How long before its own end a token is not used any more."""

    def __post_init__(self) -> None:
        if not 0 < self.ttl_seconds <= 3600:
            raise ValueError("ttl_seconds must be above 0 and at most 3600")
        if not 0 <= self.leeway_seconds <= 300:
            raise ValueError("leeway_seconds must be 0 to 300")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityAssertionSettings:
    """The downstream's own authorization server, which trusts the provider's assertions about users (ID-JAG)."""

    authorization_server: str
    """Its issuer identifier: the assertion's audience, and what `iss` of the token must be."""
    token_endpoint: str
    """URL of its token endpoint."""
    client: ClientCredentials
    """Who we are to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSettings:
    """The token that a module's downstream gets, exchanged for the caller's. Configured means mandatory: where no
    token can be had that passes every check, the call is refused."""

    idp: str
    """The name of the trusted provider that is asked, and whose keys verify what comes back."""
    client: ClientCredentials
    """Who we are to that provider."""
    grant: GrantKind = GrantKind.TOKEN_EXCHANGE
    """How it exchanges tokens."""
    token_endpoint: str | None = None
    """Its URL. None: as the provider's metadata says."""
    audience: list[str] = field(default_factory=list[str])
    """`audience` to ask for (RFC 8693)."""
    resource: list[str] = field(default_factory=list[str])
    """`resource` to ask for: URLs (RFC 8707)."""
    scope: list[str] = field(default_factory=list[str])
    """Scopes to ask for. A token with any other is refused; `…/.default`, of Entra ID, stands for all."""
    expected_audience: list[str] = field(default_factory=list[str])
    """What `aud` must contain one of. Empty: what `audience` and `resource` ask for."""
    expected_issuer: str | None = None
    """What `iss` must be. None: the provider's own."""
    same_user: SameUser = field(default_factory=SameUser)
    """How the token is seen to be about the caller."""
    actor_token_file: str | None = None
    """Path of a file with a JWT that says who acts (`actor_token`), read for each exchange: somebody else renews it, as
    Kubernetes does with the token of a service account. None: our client authentication alone says so."""
    dpop_key: Secret | None = None
    """A private key, PEM or JWK: tokens are bound to it (DPoP, RFC 9449), and worth nothing to whoever else gets at
    one. The same in all processes that share a cache. None: bearer tokens."""
    expected_actor: str | None = None
    """What `act.sub` must be, so that the downstream sees who acts: usually our client. None: not looked at."""
    required_claims: list[str] = field(default_factory=list[str])
    """Paths of claims that must be there, and not be empty."""
    identity_assertion: IdentityAssertionSettings | None = None
    """For the grant `identity_assertion`: where the assertion is redeemed."""
    requested_token_type: str = ACCESS_TOKEN
    """What kind of token to ask for (RFC 8693 section 3)."""
    security: TokenRules = field(default_factory=TokenRules)
    """What the token must be like."""
    timeout_seconds: float = 5.0
    """How long an exchange may take, all attempts together."""
    cache: CacheSettings = field(default_factory=CacheSettings)
    """Whether and how exchanged tokens are kept."""

    def __post_init__(self) -> None:
        if self.requested_token_type not in (ACCESS_TOKEN, JWT):
            raise ValueError(f"requested_token_type must be {ACCESS_TOKEN} or {JWT}")
        if not (self.expected_audience or self.audience or self.resource):
            raise ValueError(
                "audience, resource or expected_audience must name the service: no token for anybody is taken"
            )
        if self.grant is GrantKind.ON_BEHALF_OF and not self.scope:
            raise ValueError("scope is needed: on_behalf_of names the service by it, such as api://…/.default")
        if (self.grant is GrantKind.IDENTITY_ASSERTION) != (self.identity_assertion is not None):
            raise ValueError("identity_assertion and the grant of that name go together")
        if self.actor_token_file is not None and self.grant is not GrantKind.TOKEN_EXCHANGE:
            raise ValueError("actor_token_file: only the grant token_exchange knows actor tokens")
        if not 0 < self.timeout_seconds <= 60:
            raise ValueError("timeout_seconds must be above 0 and at most 60")


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """Where exchanged tokens are kept, for all modules whose `token_exchange` has a cache."""

    max_entries: int = 10_000
    """Tokens in all; the least recently used leaves first."""
    max_entries_per_user: int = 10
    """Tokens of one user."""
    secrets: list[Secret] = field(default_factory=list[Secret])
    """What entries are sealed with, besides the caller's own token: 32 to 64 characters each, such as `openssl rand
    -hex 32` gives. The first one seals, all of them open: put a new one in front, and take the old one out when its
    entries have ended. Empty: a random one, which dies with the process."""
    shared: bool = False
    """Whether other processes find them too, in the store of `[shared]`. All need the same `secrets` then."""

    def __post_init__(self) -> None:
        if self.max_entries < 1 or self.max_entries_per_user < 1:
            raise ValueError("max_entries and max_entries_per_user must be at least 1")
        if self.shared and not self.secrets:
            raise ValueError("secrets are needed where entries are shared: with random ones nobody opens another's")
        if any(len(secret.reveal().encode()) not in SECRET_BYTES for secret in self.secrets):
            raise ValueError("secrets must have 32 to 64 characters each")
