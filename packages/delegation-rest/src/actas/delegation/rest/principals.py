"""Who a caller is to the service: the subject, as the caller's own token and the exchanged one agree on it."""

import re

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Session

_SUBJECT = re.compile(r"[A-Za-z0-9!#$%&*+./:=?@^_|~-]{1,255}")
"""ASCII of at most 255 characters (OpenID Connect Core section 2), without blanks, quotes, separators."""


def principal(session: Session) -> str:
    """The subject. Raises PrincipalUnavailable where it is none that could be one."""
    if not _SUBJECT.fullmatch(session.subject):
        raise PrincipalUnavailable(detail="the subject is none that a service could know")
    return session.subject
