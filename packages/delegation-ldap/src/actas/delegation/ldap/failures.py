"""What can go wrong here, and what the directory's result codes mean. Not a word of the directory's is repeated."""

from actas.core.errors import (
    DelegationError,
    DelegationRefused,
    DelegationTimeout,
    DownstreamUnavailable,
    IdentityMismatch,
    LimitExceeded,
)
from actas.core.events import Outcome
from actas.delegation.ldap.messages import Done


class AssumptionRefused(DelegationRefused):
    """The directory does not let the gateway act as this user, or does not know him."""

    code = "ldap_assumption_refused"
    default_message = "The directory does not know you, or does not let this server act as you. Ask for access there."


class AccessRefused(DelegationRefused):
    """The directory's own rules say no to this user."""

    code = "ldap_access_refused"


class NoSuchEntry(DelegationRefused):
    """There is no such entry, or this user may not know of it."""

    code = "ldap_no_such_entry"


class RequestFailed(DelegationError):
    """The directory does not take what was asked."""

    code = "ldap_request_failed"
    outcome = Outcome.REFUSED


class ServerAway(DownstreamUnavailable):
    """A server does not answer, cannot be verified, or does not let the gateway in. Nothing was asked of it."""

    code = "ldap_server_away"


class ConnectionLost(DownstreamUnavailable):
    """A connection broke while something was under way."""

    code = "ldap_connection_lost"
    default_message = "The connection to the directory broke. If this was a change, read before you repeat it."


class NothingDone(ConnectionLost):
    """It broke before anything was asked that would change something."""


class UnexpectedAnswer(DelegationError):
    """What the server sent is no answer to what was asked."""

    code = "ldap_unexpected_answer"
    default_message = "The directory gave an answer that cannot be used. Report the request id."


class AnswerTooLarge(LimitExceeded):
    """The answer is larger than allowed."""

    code = "ldap_answer_too_large"
    default_message = "The answer is too large. Ask for fewer attributes, or with a narrower filter."


class PoolExhausted(LimitExceeded):
    """No connection was free in time."""

    code = "ldap_pool_exhausted"
    default_message = "Too many calls are under way in the directory. Try again in a moment."


SUCCESS, SIZE_LIMIT, COMPARE_FALSE, COMPARE_TRUE, NO_SUCH_OBJECT = 0, 4, 5, 6, 32
PROTOCOL_ERROR, UNAVAILABLE_CONTROL, INVALID_CREDENTIALS = 2, 12, 49
ASSUMPTION_DENIED = frozenset({123, 47, 48, 49, 50, 53})
"""What servers answer where somebody may not be acted as: RFC 4370 has 123, older ones others."""

_MEANINGS: dict[int, tuple[type[DelegationError], str]] = {
    1: (DownstreamUnavailable, "it is in trouble; try again later"),
    2: (RequestFailed, "it does not know this operation"),
    3: (DelegationTimeout, "it took too long; ask for less, or with a narrower filter"),
    7: (RequestFailed, "it does not allow this way of signing in"),
    8: (AccessRefused, "it wants a better protected connection for this"),
    10: (RequestFailed, "it is kept by another server, which is not followed"),
    11: (LimitExceeded, "its own limit was reached; ask for less, or with a narrower filter"),
    12: (RequestFailed, "it does not know a control that is needed"),
    13: (AccessRefused, "it wants a better protected connection for this"),
    16: (RequestFailed, "the entry has no such attribute or value"),
    17: (RequestFailed, "there is no attribute of that name"),
    18: (RequestFailed, "the attribute cannot be searched this way"),
    19: (RequestFailed, "a rule of the directory forbids this value, such as that on passwords"),
    20: (RequestFailed, "the entry has this value already"),
    21: (RequestFailed, "the value has not the form that the attribute needs"),
    32: (NoSuchEntry, "there is no such entry, or you may not see it"),
    34: (RequestFailed, "that is no name of an entry"),
    48: (AccessRefused, "you may not do this"),
    49: (AccessRefused, "it does not take that password"),
    50: (AccessRefused, "you have no right to this there"),
    51: (DownstreamUnavailable, "it is busy; try again later"),
    52: (DownstreamUnavailable, "it is not available; try again later"),
    53: (AccessRefused, "it is not willing to do this"),
    64: (RequestFailed, "the entry's name forbids this"),
    65: (RequestFailed, "the entry would not have what its class needs, or more than that allows"),
    67: (RequestFailed, "the value is part of the entry's name"),
    68: (RequestFailed, "there is such an entry already"),
    69: (AccessRefused, "the entry's class may not be changed"),
    71: (RequestFailed, "it would have to be done on several servers"),
    123: (AssumptionRefused, ""),
}


def refused(done: Done, what: str) -> DelegationError:
    """The error for ``what`` (such as "The search") that ended with another code than success."""
    kind, said = _MEANINGS.get(done.code, (RequestFailed, "it did not do it"))
    detail = f"LDAP result {done.code}: {done.diagnostic}"
    if kind is AssumptionRefused:
        return AssumptionRefused(detail=detail)
    return kind(f"{what} was refused by the directory (result {done.code}): {said}.", detail=detail)


def not_proven(done: Done) -> DelegationError:
    """The error where the directory did not say whom it sees."""
    detail = f"LDAP result {done.code}, asked whom it sees: {done.diagnostic}"
    if done.code in ASSUMPTION_DENIED:
        return AssumptionRefused(detail=detail)
    if done.code in (51, 52):
        return DownstreamUnavailable(detail=detail)
    return IdentityMismatch(detail=detail)
