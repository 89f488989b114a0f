"""What stands where your system is: it keeps notes, and knows by itself whose they are."""

from dataclasses import dataclass

_NOTES = {"welcome": "Good to have you here.", "alices-plan": "Buy a lamp.", "bobs-plan": "Sell the desk."}
_READERS = {"welcome": {"alice", "bob"}, "alices-plan": {"alice"}, "bobs-plan": {"bob"}}


@dataclass(frozen=True)
class Answer:
    """What the system says, and whom it says it to."""

    seen: str
    notes: dict[str, str]


# EDIT 3: your system's client, opened as one user and shared with no other.
class System:
    """Raises PermissionError where it denies something, and OSError where it cannot be reached."""

    async def list(self, user: str) -> Answer:
        """The notes that ``user`` may read."""
        return Answer(user, {name: text for name, text in _NOTES.items() if user in _READERS[name]})

    async def read(self, user: str, name: str) -> Answer:
        """One note."""
        if user not in _READERS.get(name, ()):
            raise PermissionError
        return Answer(user, {name: _NOTES[name]})

    async def ping(self) -> None:
        """Does it answer?"""

    async def close(self) -> None:
        """Hang up. May be called twice."""
