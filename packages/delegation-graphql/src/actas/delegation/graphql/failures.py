"""What can go wrong here: this plug-in's own errors. None has a document, a value or a text of the service's in it."""

from actas.core.errors import DelegationError, DelegationRefused, DownstreamUnavailable, LimitExceeded

UNCERTAIN = " It is not known what of the change was made: look before you try again."
"""How the message of a mutation that failed on its way ends."""


class DocumentRefused(DelegationRefused):
    """The document is beyond what is allowed here. Nothing was sent."""

    code = "graphql_document_refused"
    default_message = "The document is not allowed here."


class DocumentInvalid(DelegationRefused):
    """The document cannot be read, or does not fit the schema. Nothing was sent."""

    code = "graphql_document_invalid"
    default_message = "The document does not fit the service's schema."


class OperationFailed(DelegationError):
    """The service carried out nothing, or not to the end, and answered with errors alone."""

    code = "graphql_operation_failed"


class ServiceRefused(DelegationRefused):
    """The service knows the user and refused the request as a whole: HTTP 403, or nothing but errors that say so."""

    code = "graphql_service_refused"
    default_message = "The service does not let you do this."


class ServiceBusy(LimitExceeded):
    """The service has too many requests (HTTP 429)."""

    code = "graphql_service_busy"
    default_message = "The service has too many requests. Try again in a while."


class AnswerTooLarge(LimitExceeded):
    """The service's answer is longer than the limit."""

    code = "graphql_answer_too_large"
    default_message = "The service's answer is too long. Ask for fewer fields or shorter lists."


class BadAnswer(DownstreamUnavailable):
    """What answered is not a GraphQL service, or not a working one."""

    code = "graphql_bad_answer"
    default_message = "The service does not answer as a GraphQL service does. Report this."


def failed(kind: type[DelegationError], detail: str, *, changes: bool) -> DelegationError:
    """The error for something that was sent; ``changes``: it was a mutation."""
    return kind(kind.default_message + (UNCERTAIN if changes else ""), detail=detail)
