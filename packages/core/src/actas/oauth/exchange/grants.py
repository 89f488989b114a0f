"""What every way of exchanging a token has in common: a form goes to a token endpoint, a token comes back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from actas.core.errors import DelegationError
from actas.core.events import Outcome
from actas.core.secret import Secret

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 -- a name (RFC 8693 section 2.1)
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""``grant_type`` (RFC 7523 section 2.1)."""
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 -- a name (RFC 8693 section 3)
JWT = "urn:ietf:params:oauth:token-type:jwt"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"

Form = list[tuple[str, str]]
"""What is posted, in order; a name may occur several times."""
Ask = Callable[[Form], Awaitable[Mapping[str, object]]]
"""Posts a form to a token endpoint as our client. Raises ExchangeRefused or ExchangeUnavailable."""


class ExchangeRefused(DelegationError):
    """The provider gave no token for this user and this service, or one that must not be used."""

    code = "exchange_refused"
    outcome = Outcome.REFUSED
    default_message = (
        "The identity provider gave you no access to the system behind this tool. Ask for access, or sign in anew."
    )


class ExchangeUnavailable(DelegationError):
    """The provider cannot be asked just now."""

    code = "exchange_unavailable"
    default_message = "The identity provider does not answer, and without it this tool cannot act as you. Try later."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for; the same for every caller of one module."""

    audience: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    requested_token_type: str = ACCESS_TOKEN

    def form(self) -> Form:
        """As form fields (RFC 8693 section 2.1, RFC 8707 section 2)."""
        fields: Form = [("resource", each) for each in self.resource]
        fields += [("audience", each) for each in self.audience]
        if self.scope:
            fields.append(("scope", " ".join(self.scope)))
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a token endpoint gave: not verified yet."""

    token: Secret
    token_type: str
    scope: str | None
    """As the answer says; None where it says nothing, which means: as asked (RFC 6749 section 5.1)."""
    expires_in: float | None
    """Seconds, as the answer says."""


class Grant(Protocol):
    """One way of exchanging."""

    async def exchange(self, subject_token: Secret, wanted: Wanted, ask: Ask) -> Issued:
        """Exchange the caller's token.

        Raises:
            ExchangeRefused: the provider refused, or what it answered is no token.
            ExchangeUnavailable: it could not be asked.
        """
        ...


def issued(answer: Mapping[str, object], *, token_type: str | None = None, issued_as: str | None = None) -> Issued:
    """A token endpoint's answer (RFC 6749 section 5.1, RFC 8693 section 2.2.1), taken for what is needed of it.

    Tolerant where providers differ harmlessly: an absent ``issued_token_type``, ``refresh_token: null``, a
    lifetime as a string. A refresh token is never kept.

    Args:
        token_type: what ``token_type`` must be, in lower case; ``bearer`` or ``dpop`` where None.
        issued_as: what ``issued_token_type`` must be, where it is there.

    Raises:
        ExchangeRefused: there is no token in it, or one of another kind.
    """
    token, kind = answer.get("access_token"), answer.get("token_type")
    if not isinstance(token, str) or not token or not isinstance(kind, str):
        raise ExchangeRefused(detail="the answer has no access_token, or no token_type")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ExchangeRefused(detail="the access_token is nothing that goes into a header")
    if kind.lower() not in ((token_type,) if token_type else ("bearer", "dpop")):
        raise ExchangeRefused(detail="the answer's token_type is of another kind than needed")
    stated = answer.get("issued_token_type")
    if issued_as is not None and stated is not None and stated != issued_as:
        raise ExchangeRefused(detail="the answer's issued_token_type is not the one that was asked for")
    scope = answer.get("scope")
    if scope is not None and not isinstance(scope, str):
        raise ExchangeRefused(detail="the answer's scope is no string")
    return Issued(
        token=Secret(token), token_type=kind.lower(), scope=scope, expires_in=_lifetime(answer.get("expires_in"))
    )


def _lifetime(value: object) -> float | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        value = int(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        raise ExchangeRefused(detail="the answer's expires_in is no number of seconds")
    return float(value)
