"""What came back is believed as little as what came in: every check that a caller's token goes through, and more."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from actas.core.errors import AuthenticationError, AuthenticationUnavailable
from actas.core.models import Credential, Session
from actas.oauth.claims import ClaimPath, actors_of, is_name, scopes_of
from actas.oauth.exchange.grants import ExchangeRefused, ExchangeUnavailable, Issued
from actas.oauth.exchange.prover import KeyProver
from actas.oauth.exchange.settings import ExchangeSettings
from actas.oauth.introspection import Introspector
from actas.oauth.jwks import KeySource
from actas.oauth.jwt import TokenPolicy, TokenReader, names_any
from actas.oauth.settings import TrustedIssuer
from actas.oauth.signatures import check_signature

_EVERYTHING = "/.default"
"""How a scope of Entra ID ends that stands for all that was consented to."""


def issuer_of(settings: ExchangeSettings, provider: TrustedIssuer) -> TrustedIssuer:
    """Whom a module's exchanged tokens must come from, and what they must be like."""
    return replace(
        provider,
        issuer=settings.expected_issuer or provider.issuer,
        audience=settings.expected_audience or [*settings.audience, *settings.resource],
        authorized_parties=[],
        security=settings.security,
    )


class Verifier:
    """Judges the tokens that are exchanged for one module.

    Args:
        settings: the module's.
        issuer: as :func:`issuer_of` says.
        keys: that issuer's.
        introspector: asks about tokens that are no JWTs, by that issuer's rules; None refuses them.
        clock: seconds since the epoch.
        prover: the key of ours that tokens must be bound to; None: they must be bound to none.
    """

    def __init__(
        self,
        settings: ExchangeSettings,
        issuer: TrustedIssuer,
        keys: KeySource,
        introspector: Introspector | None,
        clock: Callable[[], float],
        *,
        prover: KeyProver | None = None,
    ) -> None:
        self._prover = prover
        self._issuer = issuer.issuer
        self._policy = TokenPolicy(issuer)
        self._reader = TokenReader(max_bytes=issuer.security.max_token_bytes)
        self._keys = keys
        self._introspector = introspector
        self._clock = clock
        self._asked = frozenset(settings.scope)
        self._any_scope = not settings.scope or any(scope.endswith(_EVERYTHING) for scope in settings.scope)
        self._actor = settings.expected_actor
        self._required = {path: ClaimPath(path) for path in settings.required_claims}
        self._caller, self._exchanged = ClaimPath(settings.same_user.caller), ClaimPath(settings.same_user.exchanged)

    async def verified(self, session: Session, issued: Issued) -> Credential:
        """``issued``, if it is a good token of the right issuer for the right service about the same user.

        Raises:
            ExchangeRefused: it is not; ``detail`` says in what.
            ExchangeUnavailable: that cannot be found out just now.
        """
        if session.token is not None and issued.token == session.token:
            raise ExchangeRefused(detail="the caller's own token came back, which is never passed on")
        token = issued.token.reveal()
        try:
            claims = await (self._claims_of_jwt(token) if token.count(".") == 2 else self._claims_of_opaque(token))
        except AuthenticationUnavailable as error:
            raise ExchangeUnavailable(detail=error.detail) from None
        except AuthenticationError as error:
            raise ExchangeRefused(detail=f"the exchanged token is not accepted: {error.detail}") from None
        self._check_user(session, claims)
        self._check_actor(claims)
        self._check_scopes(issued, claims)
        self._check_binding(issued, claims)
        for path, claim in self._required.items():
            if claim.find(claims) in (None, "", [], {}, False):
                raise ExchangeRefused(detail=f"the exchanged token lacks {path}")
        ends = cast(float, claims["exp"])
        if issued.expires_in is not None:
            ends = min(ends, self._clock() + issued.expires_in)
        kind = "Bearer" if self._prover is None else "DPoP"
        subject = cast(str, claims["sub"])
        return Credential(token=issued.token, token_type=kind, subject=subject, expires_at=ends, prover=self._prover)

    async def _claims_of_jwt(self, token: str) -> dict[str, object]:
        parsed = self._reader.read(token.encode("ascii"))
        self._check_place(parsed.claims)
        self._policy.check(parsed, self._clock())
        if not await check_signature(parsed, self._keys):
            self._policy.check(parsed, self._clock())
        self._reader.remember(parsed)
        return parsed.claims

    async def _claims_of_opaque(self, token: str) -> dict[str, object]:
        if self._introspector is None:
            raise ExchangeRefused(detail="the exchanged token is opaque, and the provider has no introspection set")
        return (await self._introspector.introspect(token.encode("ascii"))).claims

    def _check_place(self, claims: Mapping[str, object]) -> None:
        if claims.get("iss") != self._issuer:
            raise ExchangeRefused(detail="the exchanged token is from another issuer")
        if not names_any(claims.get("aud"), self._policy.audience):
            raise ExchangeRefused(detail="the exchanged token is not for this module's service (aud)")

    def _check_user(self, session: Session, claims: dict[str, object]) -> None:
        caller, exchanged = self._caller.find(dict(session.claims)), self._exchanged.find(claims)
        if not is_name(caller) or caller != exchanged:
            raise ExchangeRefused(detail="the exchanged token is about somebody else than the caller")

    def _check_actor(self, claims: Mapping[str, object]) -> None:
        if self._actor is None:
            return
        try:
            actors = actors_of(claims.get("act"))
        except AuthenticationError as error:
            raise ExchangeRefused(detail=f"the exchanged token's act: {error.detail}") from None
        if not actors or actors[0].subject != self._actor:
            raise ExchangeRefused(detail="the exchanged token does not name the expected actor (act)")

    def _check_binding(self, issued: Issued, claims: Mapping[str, object]) -> None:
        """Bound to our key where one is configured, else to none; and the answer says the same."""
        ours = None if self._prover is None else {"jkt": self._prover.thumbprint}
        if claims.get("cnf") != ours:
            raise ExchangeRefused(
                detail="the exchanged token is not bound (cnf) as it should be: to our key, or to none"
            )
        if issued.token_type != ("bearer" if ours is None else "dpop"):
            raise ExchangeRefused(detail="the answer's token_type does not fit what the token is bound to")

    def _check_scopes(self, issued: Issued, claims: Mapping[str, object]) -> None:
        if self._any_scope:
            return
        try:
            # All that a downstream may go by: which of the two claims it reads is not known here.
            carried = scopes_of(claims.get("scope")) | scopes_of(claims.get("scp")) | scopes_of(issued.scope)
        except AuthenticationError:
            raise ExchangeRefused(detail="the exchanged token's scopes cannot be read") from None
        if not carried <= self._asked:
            raise ExchangeRefused(detail="the exchanged token has wider scopes than were asked for")
