"""What a request presents to show who makes it (RFC 6750 section 2.1, RFC 9449 section 7.1, RFC 9110 section 11.4)."""

import re

from actas.core import AuthenticationError
from actas.oauth.asgi import Headers
from actas.oauth.reasons import Reason

_TOKEN68 = re.compile(rb"[A-Za-z0-9._~+/-]+=*")


Credentials = tuple[bytes, bool]
"""A token as it came, and whether its scheme was DPoP; else it was Bearer. A plain tuple: made for each request."""


def credentials(headers: Headers) -> Credentials | None:
    """The token of the one ``Authorization`` header, or None where there is none or of another scheme.

    Another scheme counts as no authentication at all (RFC 6750 section 3.1).

    Raises:
        AuthenticationError: there are several headers, or nothing after the scheme.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise AuthenticationError(Reason.MALFORMED, detail="several Authorization headers")
            found = value
    if found is None:
        return None
    scheme, _, token = found.strip(b" \t").partition(b" ")
    scheme = scheme.lower()
    if scheme != b"bearer" and scheme != b"dpop":
        return None
    token = token.lstrip(b" ")
    if not token:
        raise AuthenticationError(Reason.MALFORMED, detail="no token after the scheme")
    return token, scheme == b"dpop"


def token68(token: bytes) -> str:
    """``token`` as text (RFC 9110 section 11.2). To be asked once per token: it reads the whole of it.

    Raises:
        AuthenticationError: it has characters that no token has.
    """
    if not _TOKEN68.fullmatch(token):
        raise AuthenticationError(Reason.MALFORMED, detail="no token68 after the scheme")
    return token.decode("ascii")


def proofs(headers: Headers) -> list[bytes]:
    """The values of all ``DPoP`` headers; there should be one (RFC 9449 section 4.3)."""
    return [value for name, value in headers if name == b"dpop"]
