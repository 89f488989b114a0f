"""What a request presents to show who makes it (RFC 6750 section 2.1)."""

from actas.core import AuthenticationError
from actas.mcp.asgi import Headers
from actas.oauth.reasons import Reason


def bearer_token(headers: Headers) -> bytes | None:
    """The token of the one ``Authorization`` header, or None where there is none or of another scheme.

    Another scheme counts as no authentication at all (RFC 6750 section 3.1).

    Raises:
        AuthenticationError: there are several headers, or nothing that could be a token after the scheme.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise AuthenticationError(Reason.MALFORMED, detail="several Authorization headers")
            found = value
    if found is None:
        return None
    scheme, _, token = found.partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    token = token.strip(b" ")
    if not token or not token.isascii():
        raise AuthenticationError(Reason.MALFORMED, detail="no token after Bearer")
    return token
