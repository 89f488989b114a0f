"""From an access token to a session: the whole of it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import anyio
from joserfc.jws import JWSRegistry

from actas.core.errors import ActasError, AuthenticationError, ConfigurationError
from actas.core.models import Session
from actas.core.roles import Permissions
from actas.http import HttpClient
from actas.oauth.jwks import KeySource
from actas.oauth.jwt import TokenPolicy, TokenReader, UnverifiedToken, names_any
from actas.oauth.metadata import fetch_keys
from actas.oauth.reasons import Reason
from actas.oauth.sessions import SessionFactory
from actas.oauth.settings import SUPPORTED_ALGORITHMS, TrustedIssuer
from actas.oauth.tokencache import DenyList, TokenCache

_REGISTRY = JWSRegistry(algorithms=SUPPORTED_ALGORITHMS)
_ALGORITHMS = {name: _REGISTRY.get_alg(name) for name in SUPPORTED_ALGORITHMS}


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerReport:
    """How it stands with one trusted issuer. For the operator: ``problem`` is not for callers."""

    name: str
    issuer: str
    reachable: bool
    """Whether its keys could be fetched just now."""
    keys: int
    """Usable signing keys at hand, fetched just now or earlier."""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Provider:
    settings: TrustedIssuer
    policy: TokenPolicy
    keys: KeySource
    sessions: SessionFactory


class Authenticator:
    """Verifies access tokens as RFC 9068 and RFC 8725 say, for any number of identity providers.

    A token is taken apart; ``iss`` and ``aud`` choose the provider, the first in configured order; that one's
    rules, keys and mappings alone apply. Safe to use from many tasks of one event loop.

    ``clock`` gives seconds since the epoch. ``cache_size`` tokens are kept for ``cache_ttl`` seconds at most;
    0 keeps none. An ``http`` that is given stays the caller's to close.

    Raises:
        ConfigurationError: no issuers, a name twice, or a provider that no token could ever reach.
    """

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        permissions: Permissions,
        *,
        http: HttpClient | None = None,
        cache_size: int = 10_000,
        cache_ttl: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check(issuers)
        self._http = http or HttpClient()
        self._owns_http = http is None
        self._clock = clock
        self._max_bytes = max(issuer.security.max_token_bytes for issuer in issuers)
        self._reader = TokenReader(max_bytes=self._max_bytes)
        self._cache = TokenCache(size=cache_size, ttl=cache_ttl)
        self._denied = DenyList()
        self._providers: dict[str, list[_Provider]] = {}
        for issuer in issuers:
            source = KeySource(issuer, partial(fetch_keys, self._http, issuer), clock)
            provider = _Provider(issuer, TokenPolicy(issuer), source, SessionFactory(issuer, permissions))
            self._providers.setdefault(issuer.issuer, []).append(provider)

    def inherit(self, predecessor: "Authenticator") -> None:
        """Take over what must outlive a change of the configuration, before :meth:`start`.

        What was revoked stays revoked: both have the same deny list from now on. The keys of a provider that is found
        in the same place are taken along, so that one that is out of reach just now goes on being trusted as before.
        Verified tokens are not: the rules that made sessions of them may have changed.
        """
        self._denied = predecessor._denied
        known = {_place(provider.settings): provider.keys for provider in predecessor._all()}
        for provider in self._all():
            if (source := known.get(_place(provider.settings))) is not None:
                provider.keys.adopt(source)

    async def start(self) -> None:
        """Fetch all keys ahead. A provider that is out of reach does not matter yet. Never raises."""
        async with anyio.create_task_group() as group:
            for provider in self._all():
                group.start_soon(provider.keys.refresh)

    async def aclose(self) -> None:
        """Close the HTTP client, where it was made here. May be called twice."""
        if self._owns_http:
            await self._http.aclose()

    async def check(self) -> list[IssuerReport]:
        """Fetch every provider's keys now and say how that went, in configured order per issuer. Never raises."""
        reports: dict[str, IssuerReport] = {}

        async def report(provider: _Provider) -> None:
            reports[provider.settings.name] = await _report(provider)

        async with anyio.create_task_group() as group:
            for provider in self._all():
                group.start_soon(report, provider)
        return [reports[provider.settings.name] for provider in self._all()]

    def cached(self, token: bytes) -> Session | None:
        """The session of a token that was verified a short while ago; None means: :meth:`authenticate` it.

        Expiry, key rotation and the deny list are heeded on every hit. Does no I/O.
        """
        if len(token) > self._max_bytes:
            return None
        now = self._clock()
        session = self._cache.get(token, now)
        return None if session is None or self._denied.denies(session, now) else session

    async def authenticate(self, token: str) -> Session:
        """The session that ``token`` stands for. A session may be ``rejected``: known, and admitted to nothing.

        Raises:
            AuthenticationError: the token is not accepted; ``reason`` is one of :class:`actas.oauth.reasons.Reason`.
        """
        encoded = _encoded(token)
        return self.cached(encoded) or await self._admit(token, encoded)

    async def verify(self, token: str) -> Mapping[str, object]:
        """The claims of ``token``, verified like any other, without a session: no cache, no deny list, no mappings.

        Raises:
            AuthenticationError: as :meth:`authenticate`.
        """
        parsed, *_ = await self._verified(_encoded(token))
        return parsed.claims

    def revoke(
        self,
        *,
        jti: str | None = None,
        subject: str | None = None,
        session: str | None = None,
        until: float = float("inf"),
    ) -> None:
        """Refuse, from now on, tokens with this ``jti``, this subject (of any issuer) or this ``sid``.

        Holds in this process, until then (seconds since the epoch) or until it ends.

        Raises:
            LimitExceeded: too many are refused already.
        """
        now = self._clock()
        for claim, value in (("jti", jti), ("sub", subject), ("sid", session)):
            if value is not None:
                self._denied.add(claim, value, until, now)

    async def _admit(self, token: str, encoded: bytes) -> Session:
        parsed, provider, expires_at, epoch = await self._verified(encoded)
        now = self._clock()
        session = provider.sessions.make(token, parsed.claims, expires_at)
        if self._denied.denies(session, now):
            raise AuthenticationError(Reason.REVOKED)
        self._cache.put(encoded, session, provider.keys, epoch, now)
        return session

    async def _verified(self, encoded: bytes) -> tuple[UnverifiedToken, _Provider, float, int]:
        parsed = self._reader.read(encoded)
        provider = self._provider_for(parsed)
        expires_at = provider.policy.check(parsed, self._clock())
        header, source = parsed.header, provider.keys
        key = source.peek(header.key_id, header.algorithm)
        if key is None:
            key = await source.obtain(header.key_id, header.algorithm)
            provider.policy.check(parsed, self._clock())
        if not _ALGORITHMS[header.algorithm].verify(parsed.signing_input, parsed.signature, key):
            raise AuthenticationError(Reason.BAD_SIGNATURE)
        self._reader.remember(parsed)
        return parsed, provider, expires_at, source.epoch

    def _provider_for(self, token: UnverifiedToken) -> _Provider:
        issuer, audience = token.claims.get("iss"), token.claims.get("aud")
        providers = self._providers.get(issuer) if isinstance(issuer, str) else None
        if providers is None:
            raise AuthenticationError(Reason.UNTRUSTED_ISSUER)
        for provider in providers:
            if names_any(audience, provider.policy.audience):
                return provider
        raise AuthenticationError(Reason.WRONG_AUDIENCE)

    def _all(self) -> Iterable[_Provider]:
        return (provider for providers in self._providers.values() for provider in providers)


def _place(settings: TrustedIssuer) -> tuple[str, str | None, str | None]:
    """What says where a provider's keys are."""
    return settings.issuer, settings.discovery_url, settings.jwks_uri


def _encoded(token: str) -> bytes:
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise AuthenticationError(Reason.MALFORMED) from None


async def _report(provider: _Provider) -> IssuerReport:
    problem = None
    try:
        await provider.keys.check()
    except (ActasError, ValueError, OSError) as error:
        problem = getattr(error, "detail", None) or str(error)
    if problem is None and provider.keys.count == 0:
        problem = "it publishes no signing key that can be used here"
    settings = provider.settings
    return IssuerReport(
        name=settings.name,
        issuer=settings.issuer,
        reachable=problem is None,
        keys=provider.keys.count,
        problem=problem,
    )


def _check(issuers: Sequence[TrustedIssuer]) -> None:
    problems: list[str] = [] if issuers else ["at least one trusted issuer is needed"]
    names: set[str] = set()
    taken: dict[str, set[str]] = {}
    for issuer in issuers:
        if issuer.name in names:
            problems.append(f"two trusted issuers have the name {issuer.name}")
        names.add(issuer.name)
        earlier = taken.setdefault(issuer.issuer, set())
        if earlier.issuperset(issuer.audience):
            problems.append(
                f"no token can reach the trusted issuer {issuer.name}: others before it, with the same issuer, "
                "have all of its audiences"
            )
        earlier.update(issuer.audience)
    if problems:
        raise ConfigurationError(problems)
