"""What an operator may set. The docstrings are the reference."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NotesSettings:
    """Where the notes are, and how much of them there may be."""

    folder: str
    """The folder of the users' files, `alice.db` for alice. Only this server's account may write there."""
    most_notes: int = 1000
    """How many notes a user may keep."""
    most_answered: int = 100
    """How many notes one call answers at most, the newest first."""
    threads: int = 4
    """How many calls work on files at the same time."""

    def __post_init__(self) -> None:
        for name in ("most_notes", "most_answered", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1")
