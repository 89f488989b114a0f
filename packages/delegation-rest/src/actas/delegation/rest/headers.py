"""Headers: ours last, so that nothing stands in their place; the caller's only where the operator listed them."""

import re
import uuid
from collections.abc import Iterator, Mapping

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Session
from actas.delegation.rest.settings import RestSettings
from actas.http import RequestRefused

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
"""A header's name (RFC 9110 section 5.1)."""
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?")
_LISTS = frozenset('",;\\')
"""What makes two of one value, to a server that takes a header for a list: nobody is two."""
_NOT_FOR_CALLERS = re.compile(
    r"x-forwarded-.*|(x-)?(real-ip|client-ip|remote-.*|auth-.*|original-.*|user)|true-client-ip"
)
"""Headers by which a proxy tells a server who calls, from where, and for what."""
_RESERVED = frozenset(
    "accept-encoding authorization connection content-encoding content-length content-type cookie dpop expect forwarded"
    " host keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade via"
    " x-http-method x-http-method-override x-method-override x-original-url x-request-id x-rewrite-url".split()
)
"""What carries the message, says who sends it, or makes another request of it: never by configuration nor by a
caller."""
_UNSAFE = frozenset({"POST", "PATCH"})
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
"""What may be sent again (RFC 9110 section 9.2.2)."""


class HeaderRules:
    """What the headers of requests to one service are."""

    def __init__(self, settings: RestSettings) -> None:
        self._fixed = {name.lower(): secret for name, secret in settings.headers.items()}
        self._identity = {name.lower(): field for name, field in settings.identity_headers.items()}
        self._callers = frozenset(name.lower() for name in settings.caller_headers)
        self._key = settings.idempotency_header

    def allows(self, name: str) -> bool:
        """Whether a caller may give the header ``name``."""
        return name.lower() in self._callers

    def repeatable(self, method: str) -> bool:
        """Whether a request may be sent again when it is not known what became of it."""
        return method in IDEMPOTENT or self._key is not None

    def identity(self, session: Session) -> dict[str, str]:
        """The headers that say who calls.

        Raises:
            PrincipalUnavailable: the session lacks what one of them says, or it is not fit for a header.
        """
        made: dict[str, str] = {}
        for name, field in self._identity.items():
            value = getattr(session, field)
            if not isinstance(value, str) or not _VALUE.fullmatch(value) or _LISTS & set(value):
                raise PrincipalUnavailable(detail=f"{field} is missing, or not fit for the header {name}")
            made[name] = value
        return made

    def made(
        self,
        session: Session,
        method: str,
        request_id: str,
        given: Mapping[str, str],
        *,
        content_type: str | None,
    ) -> dict[str, str]:
        """All headers of one request but those of :func:`actas.http.presented`, names in lower case.

        Raises:
            RequestRefused: ``given``, by the caller, has one that is not allowed or not fit.
            PrincipalUnavailable: as :meth:`identity`.
        """
        headers = {"accept": "application/json, */*;q=0.5", **self._given(given)}
        headers |= {name: secret.reveal() for name, secret in self._fixed.items()}
        headers |= self.identity(session)
        if content_type is not None:
            headers["content-type"] = content_type
        if self._key is not None and method in _UNSAFE:
            headers[self._key.lower()] = str(uuid.uuid4())
        if request_id and _VALUE.fullmatch(request_id):
            headers["x-request-id"] = request_id
        return headers

    def _given(self, given: Mapping[str, str]) -> dict[str, str]:
        made: dict[str, str] = {}
        for name, value in given.items():
            if not self.allows(name) or name.lower() in made:
                raise RequestRefused(
                    "A header is not among those that may be given. Leave it out; who calls is known already.",
                    detail="a header that callers may not give",
                )
            if not _VALUE.fullmatch(value):
                raise RequestRefused("A header's value is not plain ASCII text.", detail="a header value that is none")
            made[name.lower()] = value
        return made


def problems(settings: RestSettings) -> Iterator[str]:
    """What is wrong with the headers that are configured, each problem with its path."""
    taken: dict[str, str] = {}
    sections = {
        "headers": list(settings.headers),
        "identity_headers": list(settings.identity_headers),
        "caller_headers": settings.caller_headers,
        "idempotency_header": [] if settings.idempotency_header is None else [settings.idempotency_header],
    }
    for section, names in sections.items():
        for name in names:
            plain = name.lower().replace("_", "-")  # what is behind CGI and WSGI cannot tell them apart
            if not _TOKEN.fullmatch(name) or plain in _RESERVED:
                yield f"{section}: {name!r} is no header that can be set here"
            elif section == "caller_headers" and _NOT_FOR_CALLERS.fullmatch(plain):
                yield f"{section}: {name!r} says who calls, or from where: no caller may give it"
            elif plain in taken:
                yield f"{section}: {name!r} stands in {taken[plain]} already"
            taken[plain] = section
    if not all(_VALUE.fullmatch(secret.reveal()) for secret in settings.headers.values()):
        yield "headers: a value is empty or not plain ASCII text"
