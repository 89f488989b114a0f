"""What can go wrong on the way to another server. No message or detail has a URL, a header or a body in it."""

from actas.core.errors import ActasError, DelegationRefused


class HttpError(ActasError):
    """The exchange failed: no connection, no valid TLS, a broken answer."""

    code = "http_failed"
    default_message = "Another server that is needed for this does not answer properly. Try again later."


class HttpTimeout(HttpError):
    """The time for the exchange was up."""

    code = "http_timeout"


class InsecureUrl(HttpError):
    """The URL is not one to send anything to: not https, with credentials in it, or no URL at all."""

    code = "http_insecure_url"
    default_message = "This server is configured with an address that it must not use. Tell whoever administers it."


class AddressRefused(HttpError):
    """The host's name leads to an address that nothing may be sent to: a private one, most likely."""

    code = "http_address_refused"
    default_message = "This server is configured with an address that it must not use. Tell whoever administers it."


class ResponseTooLarge(HttpError):
    """The answer is larger than the limit; reading it was stopped there.

    ``status`` is None where it had not come.
    """

    code = "http_too_large"

    def __init__(self, *, detail: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(detail=detail)


class UnexpectedResponse(HttpError):
    """The answer came, but has another status or content than needed.

    ``status`` is the answer's.
    """

    code = "http_unexpected_response"

    def __init__(self, *, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail=f"status {status}: {detail}")


class RequestRefused(DelegationRefused):
    """The request is none that may be sent: its path, its query, a header, a value. Nothing was sent."""

    code = "http_request_refused"
    default_message = "This request is not allowed here."
