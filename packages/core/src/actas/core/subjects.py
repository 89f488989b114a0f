"""Who a caller is to a service that takes exchanged tokens."""

import re

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Session

_SUBJECT = re.compile(r"[A-Za-z0-9!#$%&*+./:=?@^_|~-]{1,255}")
"""ASCII of at most 255 characters (OpenID Connect Core section 2), without blanks, quotes, separators."""


def subject(session: Session) -> str:
    """Who the caller is to a service that takes exchanged tokens: the one that both tokens agree on.

    Raises:
        PrincipalUnavailable: it is none that can be compared and written down safely.
    """
    if not _SUBJECT.fullmatch(session.subject):
        raise PrincipalUnavailable(detail="the session's subject is none that a service could know")
    return session.subject
