"""From a session to the name of its login role."""

import getpass
import re

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Session
from actas.delegation.sql.settings import SqlSettings

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\-]{0,62}")
_KEYWORDS = frozenset({"postgres", "public", "none", "current_user", "current_role", "session_user", "user"})


class Principals:
    """Names login roles: ASCII letters, digits and ``_ . @ -``, at most 63 bytes, and none that is denied."""

    def __init__(self, settings: SqlSettings) -> None:
        self._field = settings.principal
        self._denied = {*_KEYWORDS, *(role.casefold() for role in settings.denied_roles)}
        if settings.service is not None:
            self._denied.add(settings.service.role.casefold())
        try:
            self._denied.add(getpass.getuser().casefold())
        except (OSError, KeyError):
            pass  # this process runs under a number without a name: no role can have it

    def of(self, session: Session) -> str:
        """The session's login role.

        Raises:
            PrincipalUnavailable: it has none, or one that is unsafe or denied. Only ``detail`` says which.
        """
        name: str | None = getattr(session, self._field)
        if not name:
            raise PrincipalUnavailable(detail=f"the session has no {self._field}")
        if not _SAFE.fullmatch(name):
            raise PrincipalUnavailable(detail=f"the session's {self._field} is no safe role name")
        if name.casefold() in self._denied or name.casefold().startswith("pg_"):
            raise PrincipalUnavailable(detail=f"the session's {self._field} is a denied role")
        return name
