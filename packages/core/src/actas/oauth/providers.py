"""The trusted identity providers, ready to judge, and which of them is whose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from actas.core.errors import AuthenticationError, ConfigurationError
from actas.oauth.jwks import KeySource
from actas.oauth.jwt import TokenPolicy, names_any
from actas.oauth.reasons import Reason
from actas.oauth.sessions import SessionFactory
from actas.oauth.settings import TrustedIssuer


@dataclass(frozen=True, slots=True)
class Provider:
    """One trusted provider with all that is needed to judge its tokens."""

    settings: TrustedIssuer
    policy: TokenPolicy
    keys: KeySource
    sessions: SessionFactory


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that was found good."""

    claims: dict[str, object]
    provider: Provider
    expires_at: float
    """Seconds since the epoch, the tolerance included."""
    epoch: int
    """The key source's, as it was when the token was verified."""
    cache_seconds: float | None = None
    """How long it may be remembered; None: as long as any JWT."""


class Providers:
    """All of them, in configured order."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._all = tuple(providers)
        self._by_issuer: dict[str, list[Provider]] = {}
        for provider in providers:
            self._by_issuer.setdefault(provider.settings.issuer, []).append(provider)

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._all)

    def of(self, claims: Mapping[str, object]) -> Provider:
        """The provider that ``iss`` and ``aud`` choose.

        Raises:
            AuthenticationError: there is none.
        """
        issuer = claims.get("iss")
        providers = self._by_issuer.get(issuer) if isinstance(issuer, str) else None
        if providers is None:
            raise AuthenticationError(Reason.UNTRUSTED_ISSUER)
        return first_for(claims.get("aud"), providers)


def first_for(audience: object, providers: Sequence[Provider]) -> Provider:
    """The first of ``providers`` that has one of the audiences.

    Raises:
        AuthenticationError: there is none.
    """
    for provider in providers:
        if names_any(audience, provider.policy.audience):
            return provider
    raise AuthenticationError(Reason.WRONG_AUDIENCE)


def check_settings(issuers: Sequence[TrustedIssuer]) -> None:
    """Raises ConfigurationError where there are no issuers, a name is there twice, or a token could reach no issuer,
    or more than one."""
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
    problems += _mistakable(issuers)
    if problems:
        raise ConfigurationError(problems)


def _mistakable(issuers: Sequence[TrustedIssuer]) -> Iterator[str]:
    """An opaque token says nothing of its issuer: it could be shown to a provider whose business it is not."""
    asked = [(issuer, issuer.introspection) for issuer in issuers if issuer.introspection is not None]
    for number, (later, its) in enumerate(asked):
        for earlier, other in asked[:number]:
            prefixes = its.token_prefix, other.token_prefix
            apart = not prefixes[0].startswith(prefixes[1]) and not prefixes[1].startswith(prefixes[0])
            if not apart and not asked_as_one(later, earlier):
                yield (
                    f"an opaque token could be of {earlier.name} or of {later.name}: give each a token_prefix that the "
                    "other's does not begin with (or, where both are one provider, the same introspection)"
                )


def asked_as_one(one: TrustedIssuer, other: TrustedIssuer) -> bool:
    """Whether both are the same provider, asked in the same way: then ``aud`` in the answer chooses between them."""
    where = (one.issuer, one.discovery_url, one.jwks_uri, one.algorithms, one.introspection)
    return where == (other.issuer, other.discovery_url, other.jwks_uri, other.algorithms, other.introspection)
