"""What can go wrong here. Nothing that the service wrote is repeated: its status code, and nothing else."""

import grpc

from actas.core.errors import (
    ActasError,
    CredentialRejected,
    DelegationError,
    DelegationRefused,
    DelegationTimeout,
    DownstreamUnavailable,
    LimitExceeded,
)
from actas.core.events import Outcome


class ServiceRefused(DelegationRefused):
    """The service refused the call by its own rules (PERMISSION_DENIED)."""

    code = "grpc_permission_denied"


class NotFound(DelegationRefused):
    """The service has no such thing, or not for this user (NOT_FOUND)."""

    code = "grpc_not_found"


class InvalidRequest(DelegationError):
    """The service does not take what was sent (INVALID_ARGUMENT, OUT_OF_RANGE)."""

    code = "grpc_invalid_request"
    outcome = Outcome.REFUSED


class Conflict(DelegationError):
    """What was sent does not fit the present state (ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED)."""

    code = "grpc_conflict"
    outcome = Outcome.REFUSED


class ServiceBusy(DownstreamUnavailable):
    """The service, or the user's quota there, has no room (RESOURCE_EXHAUSTED)."""

    code = "grpc_busy"


class ServiceFailed(DownstreamUnavailable):
    """The service failed (INTERNAL, UNKNOWN, DATA_LOSS), or cancelled the call itself."""

    code = "grpc_service_failed"


class Unimplemented(DelegationError):
    """The service has no such method (UNIMPLEMENTED): it is another version than its descriptors."""

    code = "grpc_unimplemented"


class UnexpectedAnswer(DelegationError):
    """The answer is none that can be used: it is not the message that the descriptors say."""

    code = "grpc_unexpected_answer"
    default_message = "The service behind this tool gave an answer that cannot be used. Report the request id."


class AnswerTooLarge(LimitExceeded):
    """One message of the answer is larger than `limits.response_bytes`, or has more than `limits.values` values or
    `limits.depth` levels."""

    code = "grpc_answer_too_large"
    default_message = "The answer is too large. Ask for less: a smaller page, fewer fields, a narrower filter."


class TokenNotPlain(DelegationRefused):
    """The exchanged token is bound to a key (DPoP), and gRPC has nothing that could prove that we have it: leave
    `dpop_key` out of the module's `token_exchange`. Nothing was sent."""

    code = "grpc_token_not_plain"
    default_message = "This tool is set up with tokens that its system cannot take. Report this: the audit says why."


_SAYS: dict[grpc.StatusCode, tuple[type[DelegationError], str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (InvalidRequest, "it does not take the values that were sent"),
    grpc.StatusCode.OUT_OF_RANGE: (InvalidRequest, "something that was sent is beyond what there is"),
    grpc.StatusCode.NOT_FOUND: (NotFound, "there is no such thing, or not for you"),
    grpc.StatusCode.PERMISSION_DENIED: (ServiceRefused, "you have no right to this there"),
    grpc.StatusCode.ALREADY_EXISTS: (Conflict, "it is there already"),
    grpc.StatusCode.FAILED_PRECONDITION: (Conflict, "the present state does not allow it; look at that first"),
    grpc.StatusCode.ABORTED: (Conflict, "something else came between; read it again and try again"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (ServiceBusy, "a limit or quota is reached; ask for less, or later"),
    grpc.StatusCode.UNIMPLEMENTED: (Unimplemented, "it has no such method; report this"),
    grpc.StatusCode.UNAVAILABLE: (DownstreamUnavailable, "it does not answer; try again later"),
}
_OTHER = (ServiceFailed, "it failed; try again later")


def from_status(code: grpc.StatusCode, request_id: str) -> ActasError:
    """The error for a call that did not end well. It has the status code, and not a word of the service's."""
    detail = f"{code.name}, request {request_id}"
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return CredentialRejected(detail=detail)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DelegationTimeout(detail=detail)
    kind, said = _SAYS.get(code, _OTHER)
    message = f"The service behind this tool answered with {code.name}: {said}. Request id: {request_id}."
    return kind(message, detail=detail)
