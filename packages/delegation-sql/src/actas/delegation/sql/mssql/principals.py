"""From a session to the name that SQL Server knows the user by."""

import re

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Session
from actas.delegation.sql.mssql.settings import MssqlSettings

_SAFE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.\-]{0,62}\\)?[A-Za-z0-9_][A-Za-z0-9_.@\-]{0,63}")
_DENIED = frozenset({"dbo", "sa", "guest", "sys", "information_schema", "public"})
_ROLES = "db_"


class MssqlPrincipals:
    """Names users: ASCII letters, digits and ``_ . @ -``, with ``DOMAIN\\`` before them or without."""

    def __init__(self, settings: MssqlSettings) -> None:
        self._field = settings.principal
        self._denied = _DENIED | {name.casefold() for name in settings.denied_principals}
        if settings.service is not None:
            self._denied |= {settings.service.login.casefold()}

    def of(self, session: Session) -> str:
        """The user's name.

        Raises:
            PrincipalUnavailable: it has none, or one that is unsafe or denied. Only ``detail`` says which.
        """
        name: str | None = getattr(session, self._field)
        if not name:
            raise PrincipalUnavailable(detail=f"the session has no {self._field}")
        if not _SAFE.fullmatch(name):
            raise PrincipalUnavailable(detail=f"the session's {self._field} is no safe name")
        if name.casefold() in self._denied or name.casefold().startswith(_ROLES):
            raise PrincipalUnavailable(detail=f"the session's {self._field} is a denied name")
        return name
