"""The four levels of statements, and which one a session has."""

from enum import IntEnum

from actas.core.models import Session
from actas.delegation.sql.settings import LevelSettings


class Level(IntEnum):
    """What statements may do; each level includes those below it."""

    READ = 1
    WRITE = 2
    ADMIN = 3
    ALL = 4

    @property
    def label(self) -> str:
        """The level's name in messages."""
        return ("sql-read", "sql-write", "sql-admin", "admin")[self - 1]


class Levels:
    """Finds a session's level: the highest one that any of its permissions gives."""

    def __init__(self, settings: LevelSettings) -> None:
        self._by_rank = (
            (Level.ALL, settings.all),
            (Level.ADMIN, settings.admin),
            (Level.WRITE, settings.write),
            (Level.READ, settings.read),
        )

    def of(self, session: Session) -> Level | None:
        """The session's level; None where it has none, or where the session was rejected."""
        if session.rejected:
            return None
        return next((level for level, permission in self._by_rank if permission in session.permissions), None)
