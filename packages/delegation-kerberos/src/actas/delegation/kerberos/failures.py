"""What can go wrong here, with stable codes, and what the Kerberos libraries' numbers mean. None of their text is
repeated: it has principals and paths in it."""

from typing import Final

from actas.core.errors import (
    ActasError,
    CredentialRejected,
    DelegationError,
    DelegationRefused,
    DelegationTimeout,
    DownstreamUnavailable,
    LimitExceeded,
    PrincipalUnavailable,
)
from actas.core.events import Outcome
from actas.http import HttpError, HttpTimeout, ResponseTooLarge, UnexpectedResponse


class TargetRefused(DelegationRefused):
    """The target is not among `targets`, or is no service's name at all. The KDC was not asked."""

    code = "kerberos_target_refused"
    default_message = "This service is not among those that may be reached. The tool's description has them."


class UserUnknown(PrincipalUnavailable):
    """The KDC knows no such user."""

    code = "kerberos_user_unknown"
    default_message = "The Kerberos realm does not know you. Ask for an account there, or for your name to be mapped."


class UserDisabled(DelegationRefused):
    """The KDC gives out no tickets for this user: disabled, locked or expired."""

    code = "kerberos_user_disabled"
    default_message = "Your account in the Kerberos realm is disabled, locked or expired. Ask for it to be opened."


class NotDelegable(DelegationRefused):
    """Nobody may act as this user ("sensitive and cannot be delegated"), or the gateway may act as nobody who did not
    sign in with Kerberos (no protocol transition)."""

    code = "kerberos_user_not_delegable"
    default_message = "The Kerberos realm does not let this server act as you. Use the service directly, or ask for it."


class TargetNotDelegable(DelegationRefused):
    """The KDC does not let the gateway go on to this target: by neither the gateway's list nor the target's."""

    code = "kerberos_target_not_delegable"
    default_message = "The Kerberos realm does not let this server reach that service. Report it to the administrator."


class TargetUnknown(DelegationRefused):
    """The KDC knows no service of this name, or its account is disabled."""

    code = "kerberos_target_unknown"
    default_message = "The Kerberos realm does not know that service. Report it to the administrator."


class KdcUnavailable(DownstreamUnavailable):
    """No KDC answers, or not in time."""

    code = "kerberos_kdc_unavailable"
    default_message = "The Kerberos realm's servers do not answer. Try again later."


class ClockSkew(DownstreamUnavailable):
    """The clocks of this server and of the KDC, or of the target, are too far apart."""

    code = "kerberos_clock_skew"
    default_message = "The clocks of this server and of the Kerberos realm differ too much. Report it."


class GatewayRefused(DownstreamUnavailable):
    """The KDC does not take the gateway's own key, or the keytab cannot be read: rotated, missing, disabled."""

    code = "kerberos_gateway_refused"
    default_message = "This server cannot sign in to the Kerberos realm at the moment. Report it."


class TicketRejected(CredentialRejected):
    """The target did not take the ticket, or it ran out before it was used; once more with a new one is safe."""

    code = "kerberos_ticket_rejected"
    default_message = "The service did not take your Kerberos ticket. Try again; report it if that fails."


class TargetUnproven(DelegationError):
    """The target did not prove that it is the one the ticket was for (mutual authentication). What it said was thrown
    away; what was asked of it may have been done."""

    code = "kerberos_target_unproven"
    outcome = Outcome.REFUSED
    default_message = (
        "The service did not prove who it is, so its answer was thrown away. Do not repeat what changes something;"
        " report it."
    )


class ServiceRefused(DelegationRefused):
    """The web service knew the user and said no (HTTP 403 and others of 4xx)."""

    code = "kerberos_http_refused"


class NotFound(DelegationRefused):
    """The web service has no such thing, or not for this user (HTTP 404, 410)."""

    code = "kerberos_http_not_found"


class ServiceFailed(DownstreamUnavailable):
    """The web service failed, or is busy (HTTP 429, 5xx)."""

    code = "kerberos_http_failed"


class UnexpectedAnswer(DelegationError):
    """The answer is none that can be used: a redirect, broken JSON, an unknown character set."""

    code = "kerberos_http_unexpected_answer"
    default_message = "The service behind this tool gave an answer that cannot be used. Report the request id."


class KerberosFailed(DelegationError):
    """The Kerberos library failed in a way that has no code of its own here. Its number is in the audit's `reason`."""

    code = "kerberos_failed"
    default_message = "Kerberos failed in an unexpected way. Report the request id."


_BASE: Final = -1765328384
"""Where MIT's error numbers begin; RFC 4120 section 7.5.9 gives what is added for the first 128."""
_KDC_UNREACHABLE, _REALM_UNKNOWN, _REALM_UNRESOLVABLE = 156, 154, 220
_KEYTAB_NO_KEY, _NO_SUCH_CREDENTIAL = 181, 141

STALE: Final = frozenset({31, 32, 33, 37, 41, 44, 45, 60})
"""What a KDC says whose key, or whose clock, is another one than when the gateway signed in."""
_UNREACHABLE = dict.fromkeys((_KDC_UNREACHABLE, _REALM_UNKNOWN, _REALM_UNRESOLVABLE, 29, 52, 60), KdcUnavailable)
_SKEW = {33: ClockSkew, 37: ClockSkew}
_OF_GATEWAY: dict[int, type[ActasError]] = {**_UNREACHABLE, **_SKEW}
"""Signing in with the keytab; all else is the gateway's own account."""
_OF_USER: dict[int, type[ActasError]] = {
    **_UNREACHABLE,
    **_SKEW,
    6: UserUnknown,
    7: GatewayRefused,
    1: UserDisabled,
    12: UserDisabled,
    18: UserDisabled,
    23: UserDisabled,
    68: UserUnknown,
    13: NotDelegable,
}
"""S4U2Self."""
_OF_TARGET: dict[int, type[ActasError]] = {
    **_UNREACHABLE,
    **_SKEW,
    7: TargetUnknown,
    2: TargetUnknown,
    19: TargetUnknown,
    13: TargetNotDelegable,
    12: TargetNotDelegable,
    _NO_SUCH_CREDENTIAL: TicketRejected,
}
"""S4U2Proxy."""


def number(code: int) -> int:
    """RFC 4120's number of an error of the library, 16 or 32 bits wide, signed or not."""
    signed = code - 2**32 if code >= 2**31 else code
    return signed - _BASE


def of_gateway(code: int) -> ActasError:
    """The error for a sign-in with the keytab that failed with ``code``."""
    return _OF_GATEWAY.get(number(code), GatewayRefused)(
        detail=f"signing in with the keytab: Kerberos error {number(code)}"
    )


def of_user(code: int) -> ActasError:
    """The error for an S4U2Self that failed with ``code``."""
    return _OF_USER.get(number(code), KerberosFailed)(detail=f"S4U2Self: Kerberos error {number(code)}")


def of_target(code: int) -> ActasError:
    """The error for an S4U2Proxy that failed with ``code``."""
    return _OF_TARGET.get(number(code), KerberosFailed)(detail=f"S4U2Proxy: Kerberos error {number(code)}")


def from_status(status: int) -> ActasError:
    """The error for an answer that is no success. It has the status, and not a word of the answer."""
    detail = f"status {status}"
    match status:
        case 404 | 410:
            return NotFound("The service has no such thing, or not for you.", detail=detail)
        case 429:
            return ServiceFailed("The service is asked too often. Try again later.", detail=detail)
        case _ if status // 100 == 4:
            return ServiceRefused(f"The service refused this with HTTP {status}: by its own rules.", detail=detail)
        case _ if status // 100 == 5:
            return ServiceFailed(f"The service failed with HTTP {status}. Try again later.", detail=detail)
        case _:
            return UnexpectedAnswer(detail=detail)


def from_http(error: HttpError) -> ActasError:
    """The error for an exchange that did not come to an answer."""
    detail = f"{error.code}: {error.detail}"
    match error:
        case HttpTimeout():
            return DelegationTimeout(detail=detail)
        case ResponseTooLarge():
            return LimitExceeded("The answer is too large. Ask for less.", detail=detail)
        case UnexpectedResponse():
            return UnexpectedAnswer(detail=detail)
        case _:
            return DownstreamUnavailable(detail=detail)
