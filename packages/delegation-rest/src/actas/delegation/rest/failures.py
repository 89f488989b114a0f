"""What can go wrong here. Nothing that the service wrote is repeated: its status, and nothing else."""

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
from actas.http import AddressRefused, HttpError, HttpTimeout, InsecureUrl, ResponseTooLarge, UnexpectedResponse


class ServiceRefused(DelegationRefused):
    """The service refused the call by its own rules (HTTP 403, 405, 451)."""

    code = "rest_forbidden"


class NotFound(DelegationRefused):
    """The service has no such thing, or not for this user (HTTP 404, 410)."""

    code = "rest_not_found"


class InvalidRequest(DelegationError):
    """The service does not take what was sent (HTTP 400, 422 and their like)."""

    code = "rest_invalid_request"
    outcome = Outcome.REFUSED


class Conflict(DelegationError):
    """What was sent does not fit the present state (HTTP 409, 412, 428)."""

    code = "rest_conflict"
    outcome = Outcome.REFUSED


class ServiceBusy(DownstreamUnavailable):
    """The service has too much to do (HTTP 429, 503), also after it was asked again where that is safe."""

    code = "rest_busy"


class ServiceFailed(DownstreamUnavailable):
    """The service failed (HTTP 5xx)."""

    code = "rest_service_failed"


class UnexpectedAnswer(DelegationError):
    """The answer is none that can be used: a redirect, another content type, broken JSON."""

    code = "rest_unexpected_answer"
    default_message = "The service behind this tool gave an answer that cannot be used. Report the request id."


class AnswerTooLarge(LimitExceeded):
    """The answer is larger than `limits.response_bytes`."""

    code = "rest_answer_too_large"
    default_message = "The answer is too large. Ask for less: a smaller page, fewer fields, a narrower filter."


_REFUSALS: dict[int, tuple[type[DelegationError], str]] = {
    400: (InvalidRequest, "it does not take what was sent; compare the parameters with the tool's schema"),
    403: (ServiceRefused, "you have no right to this there"),
    404: (NotFound, "there is no such thing, or not for you"),
    405: (ServiceRefused, "it does not allow this there"),
    409: (Conflict, "what was sent does not fit the present state; read it again first"),
    410: (NotFound, "it is gone"),
    412: (Conflict, "it was changed meanwhile; read it again first"),
    413: (InvalidRequest, "what was sent is too large for it"),
    422: (InvalidRequest, "it does not accept the values that were sent"),
    428: (Conflict, "it wants to know which version is to be changed; read it again first"),
    429: (ServiceBusy, "it was asked too often; try again later"),
    451: (ServiceRefused, "it may not give this out"),
    503: (ServiceBusy, "it is busy or being worked on; try again later"),
}
_CLASSES: dict[int, tuple[type[DelegationError], str]] = {
    3: (UnexpectedAnswer, "it redirects to another place, which is not followed"),
    4: (InvalidRequest, "it does not take the request"),
    5: (ServiceFailed, "it failed; try again later"),
}
_OTHER = (UnexpectedAnswer, "its answer is none that can be used")


def from_status(status: int, request_id: str) -> ActasError:
    """The error for an answer that is no success. It has the status, and not a word of the answer."""
    if status == 401:
        return CredentialRejected(detail=f"status 401, request {request_id}")
    kind, said = _REFUSALS.get(status) or _CLASSES.get(status // 100) or _OTHER
    message = f"The service behind this tool answered with HTTP {status}: {said}. Request id: {request_id}."
    return kind(message, detail=f"status {status}, request {request_id}")


def from_http(error: HttpError) -> ActasError:
    """The error for an exchange that did not come to an answer."""
    detail = f"{error.code}: {error.detail}"
    match error:
        case HttpTimeout():
            return DelegationTimeout(detail=detail)
        case ResponseTooLarge():
            return AnswerTooLarge(detail=detail)
        case UnexpectedResponse():
            return UnexpectedAnswer(detail=detail)
        case InsecureUrl() | AddressRefused():
            return DownstreamUnavailable(error.message, detail=detail)
        case _:
            return DownstreamUnavailable(detail=detail)
