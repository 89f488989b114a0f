"""The four levels of statements, and which one a session has.

====================  =============  =====================  ==================
here                  in a message   setting                default permission
====================  =============  =====================  ==================
``Level.SQL_READ``    ``sql-read``   ``levels.sql_read``    ``sql:read``
``Level.SQL_WRITE``   ``sql-write``  ``levels.sql_write``   ``sql:write``
``Level.SQL_ADMIN``   ``sql-admin``  ``levels.sql_admin``   ``sql:admin``
``Level.ADMIN``       ``admin``      ``levels.admin``       ``admin``
====================  =============  =====================  ==================

Each includes those above it. :class:`~.settings.LevelSettings` says what each may do.
"""

from enum import IntEnum

from actas.core.models import Session
from actas.delegation.sql.settings import LevelSettings


class Level(IntEnum):
    """What statements may do; each level includes those below it."""

    SQL_READ = 1
    SQL_WRITE = 2
    SQL_ADMIN = 3
    ADMIN = 4

    @property
    def setting(self) -> str:
        """The level's field in the settings."""
        return self.name.lower()

    @property
    def label(self) -> str:
        """The level's name in messages."""
        return self.setting.replace("_", "-")


class Levels:
    """Finds a session's level: the highest one that any of its permissions gives."""

    def __init__(self, settings: LevelSettings) -> None:
        self._highest_first: list[tuple[Level, str]] = [
            (level, getattr(settings, level.setting)) for level in sorted(Level, reverse=True)
        ]

    def of(self, session: Session) -> Level | None:
        """The session's level; None where it has none, or where the session was rejected."""
        if session.rejected:
            return None
        return next((level for level, permission in self._highest_first if permission in session.permissions), None)
