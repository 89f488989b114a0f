"""From an access token to a session: the whole of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from actas.core.errors import ActasError, AuthenticationError, AuthenticationUnavailable
from actas.core.models import Session
from actas.core.roles import Permissions
from actas.http import HttpClient
from actas.oauth.denylist import DeniedClaim, DenyList, Revocation
from actas.oauth.introspection import Introspector, introspectors, is_opaque
from actas.oauth.jwks import KeySource
from actas.oauth.jwt import TokenPolicy, TokenReader
from actas.oauth.metadata import fetch_keys
from actas.oauth.providers import Provider, Providers, Verified, check_settings
from actas.oauth.reasons import Reason
from actas.oauth.revocation import RevocationFile
from actas.oauth.sessions import SessionFactory
from actas.oauth.settings import RevocationSettings, TrustedIssuer
from actas.oauth.signatures import check_signature
from actas.oauth.tokencache import TokenCache


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerReport:
    """How it stands with one trusted ``issuer``, by its configured ``name``. For the operator: ``problem`` is not for
    callers."""

    name: str
    issuer: str
    reachable: bool
    """Whether its keys could be fetched just now, and it answered about a token where that is configured."""
    keys: int
    """Usable signing keys at hand, fetched just now or earlier."""
    problem: str | None = None


class Authenticator:
    """Verifies access tokens as RFC 9068 and RFC 8725 say, for any number of identity providers.

    A JWT is taken apart; ``iss`` and ``aud`` choose the provider, the first in configured order; that one's
    rules, keys and mappings alone apply. Any other token is shown to the one provider that can have issued it, where
    that is configured (RFC 7662). Safe to use from many tasks of one event loop.

    ``clock`` gives seconds since the epoch. ``cache_size`` tokens are kept for ``cache_ttl`` seconds at most (opaque
    ones for their provider's ``cache_seconds``); 0 keeps none. An ``http`` that is given stays the caller's to close.

    Raises:
        ConfigurationError: no issuers, a name twice, a provider that no token could ever reach, opaque tokens that
            could be of several providers, a client key or a file of revocations that cannot be read.
    """

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        permissions: Permissions,
        *,
        http: HttpClient | None = None,
        cache_size: int = 10_000,
        cache_ttl: float = 60.0,
        revocation: RevocationSettings | None = None,
        on_revoked: Callable[[list[Revocation]], object] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_settings(issuers)
        self._http = http or HttpClient()
        self._owns_http = http is None
        self._clock = clock
        self._max_bytes = max(issuer.security.max_token_bytes for issuer in issuers)
        self._reader = TokenReader(max_bytes=self._max_bytes)
        self._cache = TokenCache(size=cache_size)
        self._ttl = cache_ttl
        self._denied = DenyList()
        self._on_revoked = on_revoked
        self._revoked = None if revocation is None else RevocationFile(Path(revocation.path), clock, on_revoked)
        self._providers = Providers(
            [
                Provider(
                    issuer,
                    TokenPolicy(issuer),
                    KeySource(issuer, partial(fetch_keys, self._http, issuer), clock),
                    SessionFactory(issuer, permissions),
                )
                for issuer in issuers
            ]
        )
        self._introspectors = introspectors(tuple(self._providers), self._http, clock)

    def inherit(self, predecessor: "Authenticator") -> None:
        """Take over what must outlive a change of the configuration, before :meth:`start`.

        What was revoked stays revoked: both have the same deny list from now on. The keys of a provider that is found
        in the same place are taken along, so that one that is out of reach just now goes on being trusted as before.
        Verified tokens are not: the rules that made sessions of them may have changed.
        """
        self._denied = predecessor._denied
        known = {_place(provider.settings): provider.keys for provider in predecessor._providers}
        for provider in self._providers:
            if (source := known.get(_place(provider.settings))) is not None:
                provider.keys.adopt(source)

    async def start(self) -> None:
        """Fetch all keys ahead, and look for revocations from now on. Never raises.

        A provider that is out of reach does not matter yet.
        """
        if self._revoked is not None:
            self._revoked.start()
        async with anyio.create_task_group() as group:
            for provider in self._providers:
                group.start_soon(provider.keys.refresh)

    async def aclose(self) -> None:
        """Look for revocations no more; close the HTTP client, where it was made here. May be called twice."""
        if self._revoked is not None:
            self._revoked.close()
        if self._owns_http:
            await self._http.aclose()

    async def check(self) -> list[IssuerReport]:
        """Fetch every provider's keys now, ask those that introspect about a token that nobody has, and say how that
        went, in configured order. Never raises."""
        problems: dict[str, str | None] = {}

        async def report(provider: Provider) -> None:
            name = provider.settings.name
            problems[name] = await _problem(provider, self._introspector_of(provider))

        async with anyio.create_task_group() as group:
            for provider in self._providers:
                group.start_soon(report, provider)
        return [_report(provider, problems[provider.settings.name]) for provider in self._providers]

    def cached(self, token: bytes) -> Session | None:
        """The session of a token that was verified a short while ago; None means: :meth:`authenticate` it.

        Expiry, key rotation and what is revoked are heeded on every hit. Does no I/O.
        """
        if len(token) > self._max_bytes:
            return None
        now = self._clock()
        session = self._cache.get(token, now)
        return None if session is None or self._refusal(session, now) is not None else session

    async def authenticate(self, token: str) -> Session:
        """The session that ``token`` stands for. A session may be ``rejected``: known, and admitted to nothing.

        Raises:
            AuthenticationError: the token is not accepted; ``reason`` is one of :class:`actas.oauth.reasons.Reason`.
            AuthenticationUnavailable: whether it is good cannot be found out just now.
        """
        encoded = _encoded(token)
        return self.cached(encoded) or await self._admit(token, encoded)

    async def verify(self, token: str) -> Mapping[str, object]:
        """The claims of ``token``, verified like any other, without a session: no cache, no deny list, no mappings.

        Raises:
            AuthenticationError: as :meth:`authenticate`.
        """
        return (await self._verified(_encoded(token))).claims

    def revoke(
        self,
        *,
        jti: str | None = None,
        subject: str | None = None,
        session: str | None = None,
        issuer: str | None = None,
        until: float = float("inf"),
    ) -> None:
        """Refuse, from now on, tokens with this ``jti``, this subject or this ``sid``, of ``issuer`` or of any.

        Holds in this process, until then (seconds since the epoch) or until it ends. For all processes and for longer:
        :func:`actas.oauth.revocation.append`.

        Raises:
            LimitExceeded: too many are refused already.
        """
        named: tuple[tuple[DeniedClaim, str | None], ...] = (("jti", jti), ("sub", subject), ("sid", session))
        entries = [
            Revocation(claim=claim, value=value, issuer=issuer, until=until)
            for claim, value in named
            if value is not None
        ]
        for entry in entries:
            self._denied.add(entry, self._clock())
        self._on_revoked(entries)

    def denies(self, session: Session) -> bool:
        """Whether the token of ``session``, which was let in before, would be refused now as revoked."""
        return self._refusal(session, self._clock()) is not None

    async def _admit(self, token: str, encoded: bytes) -> Session:
        verified = await self._verified(encoded)
        provider, now = verified.provider, self._clock()
        session = provider.sessions.make(token, verified.claims, verified.expires_at)
        refusal = self._refusal(session, now)
        if refusal is not None:
            raise refusal
        ttl = self._ttl if verified.cache_seconds is None else verified.cache_seconds
        self._cache.put(encoded, session, provider.keys, verified.epoch, now, ttl)
        return session

    def _refusal(self, session: Session, now: float) -> AuthenticationError | None:
        """Why ``session`` is refused although its token is good."""
        if self._denied.denies(session, now):
            return AuthenticationError(Reason.REVOKED)
        if self._revoked is not None:
            denied = self._revoked.denied
            if denied is None:
                return AuthenticationUnavailable(Reason.REVOCATIONS_UNREADABLE)
            if denied.denies(session, now):
                return AuthenticationError(Reason.REVOKED)
        return None

    async def _verified(self, encoded: bytes) -> Verified:
        if self._introspectors and is_opaque(encoded):
            for introspector in self._introspectors:
                if introspector.owns(encoded):
                    return await introspector.introspect(encoded)
        return await self._verified_here(encoded)

    async def _verified_here(self, encoded: bytes) -> Verified:
        parsed = self._reader.read(encoded)
        provider = self._providers.of(parsed.claims)
        expires_at = provider.policy.check(parsed, self._clock())
        if not await check_signature(parsed, provider.keys):
            provider.policy.check(parsed, self._clock())
        self._reader.remember(parsed)
        return Verified(parsed.claims, provider, expires_at, provider.keys.epoch)

    def _introspector_of(self, provider: Provider) -> Introspector | None:
        return next((each for each in self._introspectors if each.asks(provider)), None)


def _place(settings: TrustedIssuer) -> tuple[str, str | None, str | None]:
    """What says where a provider's keys are."""
    return settings.issuer, settings.discovery_url, settings.jwks_uri


def _encoded(token: str) -> bytes:
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise AuthenticationError(Reason.MALFORMED) from None


async def _problem(provider: Provider, introspector: Introspector | None) -> str | None:
    problem = None
    try:
        await provider.keys.check()
    except (ActasError, ValueError, OSError) as error:
        problem = f"its keys cannot be fetched: {getattr(error, 'detail', None) or str(error)}"
    if problem is None and provider.keys.count == 0:
        problem = "it publishes no signing key that can be used here"
    if introspector is None:
        return problem
    try:
        await introspector.check()  # where it answers as it should, it need not have keys
    except AuthenticationUnavailable as error:
        return error.detail
    return None


def _report(provider: Provider, problem: str | None) -> IssuerReport:
    return IssuerReport(
        name=provider.settings.name,
        issuer=provider.settings.issuer,
        reachable=problem is None,
        keys=provider.keys.count,
        problem=problem,
    )
