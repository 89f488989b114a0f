"""Is a token presented by whom it is bound to? (RFC 7800, RFC 8705 section 3, RFC 9449 section 7)

Asked for every request, whether or not the token was remembered: only what a token says is, never a proof.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from actas.core.errors import AuthenticationError
from actas.core.models import Session
from actas.oauth.dpop import ProofVerifier
from actas.oauth.reasons import Reason
from actas.oauth.settings import Binding, TrustedIssuer

KEY = "jkt"
CERTIFICATE = "x5t#S256"
"""The members of ``cnf`` that can be checked here. Both: both must hold."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a token came."""

    token: bytes
    method: str
    """The request's."""
    proofs: Sequence[bytes] | None
    """The values of all ``DPoP`` headers where the scheme was DPoP; None where it was Bearer."""
    certificate: Callable[[], str | None]
    """Gives the SHA-256 thumbprint (RFC 8705 section 3.1) of the caller's certificate, None where there is none.

    May raise AuthenticationError."""


class BindingChecker:
    """Holds tokens to what they are bound to, and providers to what the operator demands of them.

    Args:
        issuers: the trusted providers.
        proofs: checks DPoP proofs.
    """

    def __init__(self, issuers: Iterable[TrustedIssuer], proofs: ProofVerifier) -> None:
        demands = {issuer.name: issuer.security.binding for issuer in issuers}
        self._demands = {name: binding for name, binding in demands.items() if binding is not Binding.OPTIONAL}
        self._proofs = proofs

    def is_free(self, session: Session) -> bool:
        """Whether the token of ``session`` is bound to nothing and need not be: whoever has it may use it as Bearer."""
        return "cnf" not in session.claims and session.provider not in self._demands

    async def check(self, session: Session, presented: Presentation) -> str | None:
        """Return where the token of ``session`` is presented by whom it is bound to.

        Returns:
            A new DPoP nonce for the client, where its own is about to run out.

        Raises:
            AuthenticationError: it is not; ``reason`` is one of :class:`actas.oauth.reasons.Reason`.
        """
        bound = _confirmation(session.claims)
        if not _satisfies(self._demands.get(session.provider, Binding.OPTIONAL), bound):
            raise AuthenticationError(Reason.NOT_BOUND)
        if (KEY in bound) != (presented.proofs is not None):
            raise AuthenticationError(Reason.WRONG_SCHEME)
        if CERTIFICATE in bound:
            _check_certificate(bound[CERTIFICATE], presented.certificate())
        if presented.proofs is None:
            return None
        return await self._proofs.verify(
            presented.proofs, thumbprint=bound[KEY], token=presented.token, method=presented.method
        )


def _satisfies(demanded: Binding, bound: Mapping[str, str]) -> bool:
    kept = {Binding.OPTIONAL: True, Binding.DPOP: KEY in bound, Binding.MTLS: CERTIFICATE in bound}
    return kept.get(demanded, bool(bound))


def _check_certificate(demanded: str, presented: str | None) -> None:
    if presented is None:
        raise AuthenticationError(Reason.NO_CERTIFICATE)
    if presented != demanded:
        raise AuthenticationError(Reason.WRONG_CERTIFICATE)


def _confirmation(claims: Mapping[str, object]) -> Mapping[str, str]:
    """``cnf``: what the token is bound to. A member that is not known might be a binding that nobody would check."""
    if "cnf" not in claims:
        return {}
    stated = claims["cnf"]
    members = cast(dict[str, object], stated) if isinstance(stated, dict) else {}
    if not members:
        raise AuthenticationError(Reason.UNKNOWN_BINDING, detail="cnf says nothing")
    for name, value in members.items():
        if name not in (KEY, CERTIFICATE):
            raise AuthenticationError(Reason.UNKNOWN_BINDING, detail="cnf has a member that is not known")
        if not isinstance(value, str):
            raise AuthenticationError(Reason.UNKNOWN_BINDING, detail=f"{name} is no thumbprint")
    return cast(dict[str, str], members)


def is_key_bound(session: Session) -> bool:
    """Whether the token of ``session`` is bound to a DPoP key: then it came under that scheme."""
    bound = session.claims.get("cnf")
    return isinstance(bound, dict) and KEY in bound
