"""A module's way to its downstream's tokens: kept ones, else exchanged ones, in any case verified ones."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from actas.core.models import Credential, Session
from actas.core.roles import Permissions
from actas.core.secret import Secret
from actas.http import HttpClient
from actas.oauth.client_auth import Client, connected
from actas.oauth.exchange.cache import CredentialCache
from actas.oauth.exchange.endpoint import TokenEndpoint
from actas.oauth.exchange.grants import ExchangeRefused, ExchangeUnavailable, Grant, Wanted
from actas.oauth.exchange.identity_assertion import IdentityAssertion
from actas.oauth.exchange.jwt_bearer import JwtBearer
from actas.oauth.exchange.on_behalf_of import OnBehalfOf
from actas.oauth.exchange.prover import KeyProver
from actas.oauth.exchange.settings import ExchangeSettings, GrantKind
from actas.oauth.exchange.shared import SharedEntries
from actas.oauth.exchange.token_exchange import TokenExchange
from actas.oauth.exchange.vault import Vault
from actas.oauth.exchange.verification import Verifier, issuer_of
from actas.oauth.introspection import Introspector
from actas.oauth.jwks import KeySource
from actas.oauth.jwt import TokenPolicy
from actas.oauth.metadata import fetch_endpoint, fetch_keys
from actas.oauth.providers import Provider
from actas.oauth.sessions import SessionFactory
from actas.oauth.settings import TrustedIssuer

_LONGEST_ACTOR_TOKEN = 16_384


@dataclass(slots=True)
class ExchangeMetrics:
    """What the provider was asked since the start, by what came of it."""

    exchanged: int = 0
    refused: int = 0
    unavailable: int = 0


class Exchanger:
    """Gets the credentials of one module.

    Args:
        settings: the module's.
        provider: the trusted provider that they name.
        http: our client.
        vault: where credentials are kept, if the settings say so.
        shared: where other processes find them too.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        settings: ExchangeSettings,
        provider: TrustedIssuer,
        *,
        http: HttpClient,
        vault: Vault,
        shared: SharedEntries | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self.metrics = ExchangeMetrics()
        self._provider = provider.name
        self._wanted = Wanted(
            audience=tuple(settings.audience),
            resource=tuple(settings.resource),
            scope=tuple(settings.scope),
            requested_token_type=settings.requested_token_type,
        )
        client = Client(settings.client, provider.issuer, clock)
        prover = None if settings.dpop_key is None else KeyProver(settings.dpop_key, clock)
        self._prover = prover
        redeemed = settings.grant is GrantKind.IDENTITY_ASSERTION  # there, the first answer is no token yet
        self._endpoint = TokenEndpoint(
            connected(settings.client, http),
            partial(_find, settings, provider, http),
            client,
            timeout=settings.timeout_seconds,
            prover=None if redeemed else prover,
        )
        self._grant = _grant(settings, http, prover, clock)
        issuer = issuer_of(settings, provider)
        keys = KeySource(issuer, partial(fetch_keys, http, issuer), clock)
        introspector = _introspector(issuer, keys, http, clock)
        self._verifier = Verifier(settings, issuer, keys, introspector, clock, prover=prover)
        self._cache = (
            CredentialCache(
                vault,
                _purpose(settings, provider, prover),
                ttl=settings.cache.ttl_seconds,
                leeway=settings.cache.leeway_seconds,
                shared=shared,
                patience=settings.timeout_seconds + 1.0,
                clock=clock,
            )
            if settings.cache.enabled
            else None
        )

    async def obtain(self, session: Session) -> Credential:
        """The credential with which the module acts as ``session``'s user.

        Raises:
            ExchangeRefused: there is none for this user, or not one that passes every check.
            ExchangeUnavailable: the provider cannot be asked.
        """
        if session.provider != self._provider:
            raise ExchangeRefused(detail=f"the caller's token is not one of {self._provider}, which would exchange it")
        if self._cache is None:
            return await self._exchange(session)
        credential = await self._cache.obtain(session, partial(self._exchange, session))
        return credential if credential.prover is self._prover else replace(credential, prover=self._prover)

    async def discard(self, session: Session, refused: Credential) -> None:
        """Forget a credential that the downstream did not take (401)."""
        if self._cache is not None:
            await self._cache.discard(session, refused)

    def plan(self, session: Session) -> dict[str, object]:
        """What would be asked for, of whom; no secret is in it."""
        asked = self._settings
        told: dict[str, object] = {"idp": asked.idp, "grant": asked.grant.value, "client": asked.client.id}
        told |= {name: list(value) for name in ("audience", "resource", "scope") if (value := getattr(asked, name))}
        told |= {"bound_to_our_key": self._prover is not None, "kept_seconds": self._kept_seconds}
        if session.provider != self._provider:
            told["problem"] = f"the caller's token is not one of {self._provider}"
        return told

    @property
    def provider_left_alone(self) -> bool:
        """Whether the provider has failed repeatedly and is not asked for a while."""
        return self._endpoint.breaker.open

    @property
    def _kept_seconds(self) -> float:
        return self._settings.cache.ttl_seconds if self._cache is not None else 0.0

    async def aclose(self) -> None:
        """End what is under way."""
        if self._cache is not None:
            await self._cache.aclose()

    async def _exchange(self, session: Session) -> Credential:
        if session.token is None:
            raise ExchangeRefused(detail="the session has no token to exchange")
        try:
            issued = await self._grant.exchange(session.token, self._wanted, self._endpoint.ask)
            credential = await self._verifier.verified(session, issued)
        except ExchangeRefused:
            self.metrics.refused += 1
            raise
        except ExchangeUnavailable:
            self.metrics.unavailable += 1
            raise
        self.metrics.exchanged += 1
        return credential


async def _find(settings: ExchangeSettings, provider: TrustedIssuer, http: HttpClient) -> str:
    if settings.token_endpoint is not None:
        return settings.token_endpoint
    return await fetch_endpoint(http, provider, "token_endpoint", mtls=settings.client.certificate is not None)


def _introspector(
    issuer: TrustedIssuer, keys: KeySource, http: HttpClient, clock: Callable[[], float]
) -> Introspector | None:
    if issuer.introspection is None:
        return None
    judge = Provider(issuer, TokenPolicy(issuer), keys, SessionFactory(issuer, Permissions()))
    return Introspector([judge], issuer.introspection, http, clock)


def _grant(settings: ExchangeSettings, http: HttpClient, prover: KeyProver | None, clock: Callable[[], float]) -> Grant:
    match settings.grant:
        case GrantKind.TOKEN_EXCHANGE:
            file = settings.actor_token_file
            return TokenExchange(actor_token=None if file is None else partial(_actor_token, Path(file)))
        case GrantKind.ON_BEHALF_OF:
            return OnBehalfOf()
        case GrantKind.JWT_BEARER:
            return JwtBearer()
        case GrantKind.IDENTITY_ASSERTION:
            there = settings.identity_assertion
            if there is None:
                raise ValueError("the settings were not checked")
            client = Client(there.client, there.authorization_server, clock)

            async def place() -> str:
                return there.token_endpoint

            asking = connected(there.client, http)
            redeem = TokenEndpoint(asking, place, client, timeout=settings.timeout_seconds, prover=prover)
            return IdentityAssertion(authorization_server=there.authorization_server, redeem=redeem.ask)


def _actor_token(path: Path) -> Secret:
    """The token that lies in the file just now."""
    try:
        with path.open(encoding="ascii") as file:
            token = file.read(_LONGEST_ACTOR_TOKEN + 1).strip()
    except (OSError, ValueError) as error:
        raise ExchangeUnavailable(detail=f"actor_token_file cannot be read: {type(error).__name__}") from None
    if not token or len(token) > _LONGEST_ACTOR_TOKEN:
        raise ExchangeUnavailable(detail="actor_token_file is empty, or too long for a token")
    return Secret(token)


def _purpose(settings: ExchangeSettings, provider: TrustedIssuer, prover: KeyProver | None) -> bytes:
    """All that a credential depends on besides the caller: one that was got for another purpose is not found."""
    # A repr shows every setting, and never a secret.
    key = None if prover is None else prover.thumbprint
    return hashlib.sha256(repr((provider.issuer, settings, key)).encode()).digest()
