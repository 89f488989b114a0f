"""One user's file. Everything here blocks, and is called in a thread."""

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

from actas.core import DelegationTimeout, DownstreamUnavailable
from notes_for_actas.failures import NotebookFull, NotebookUnreadable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS notebook (owner TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);
"""
_STEPS = 10_000
"""How many of SQLite's steps lie between two looks at the clock."""


class Notebook:
    """The notes of ``owner``, in a transaction. ``owner`` is read from the file itself."""

    def __init__(self, connection: sqlite3.Connection, owner: str) -> None:
        self._connection = connection
        self.owner = owner

    def notes(self, containing: str, most: int) -> list[dict[str, object]]:
        """The newest notes in which ``containing`` stands; all of them where it is empty."""
        rows = self._connection.execute(
            "SELECT id, text FROM note WHERE instr(text, ?) OR ? = '' ORDER BY id DESC LIMIT ?",
            (containing, containing, most),
        )
        return [{"number": number, "text": text} for number, text in rows]

    def add(self, text: str, most: int) -> int:
        """Add a note; its number. Raises NotebookFull."""
        (count,) = self._connection.execute("SELECT count(*) FROM note").fetchone()
        if count >= most:
            raise NotebookFull
        return self._connection.execute("INSERT INTO note (text) VALUES (?)", (text,)).lastrowid or 0

    def delete(self, number: int) -> bool:
        """Delete a note. False where there is none: whether somebody else has one of that number is not said."""
        return self._connection.execute("DELETE FROM note WHERE id = ?", (number,)).rowcount == 1


@contextmanager
def opened(folder: Path, user: str, deadline: float, stop: Event) -> Generator[Notebook]:
    """The notebook of ``user``, made where there is none; what is done in it is done whole or not at all.

    Args:
        deadline: on :func:`time.monotonic`'s clock; SQLite is interrupted then, and when ``stop`` is set.

    Raises:
        DelegationTimeout, DownstreamUnavailable, NotebookUnreadable: it cannot be used.
    """
    file = folder / f"{user}.db"
    try:
        # A link would lead out of the folder, and SQLite would follow it.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        seconds = max(0.0, deadline - time.monotonic())
        with closing(sqlite3.connect(file, timeout=seconds, isolation_level=None)) as connection:
            connection.set_progress_handler(lambda: stop.is_set() or time.monotonic() >= deadline, _STEPS)
            yield from _transaction(connection, user)
    except OSError as error:
        raise DownstreamUnavailable(detail=f"{file}: {error.strerror}") from None
    except sqlite3.OperationalError as error:
        if time.monotonic() >= deadline:
            raise DelegationTimeout(detail=f"{file}: {error}") from None
        raise DownstreamUnavailable(detail=f"{file}: {error}") from None
    except (sqlite3.Error, ValueError) as error:
        raise NotebookUnreadable(detail=f"{file}: {type(error).__name__}") from None


def _transaction(connection: sqlite3.Connection, user: str) -> Generator[Notebook]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        owner = connection.execute("SELECT owner FROM notebook").fetchone()
        if owner is None:
            connection.execute("INSERT INTO notebook (owner) VALUES (?)", (user,))
            owner = connection.execute("SELECT owner FROM notebook").fetchone()
        if owner[0] != user:
            # The pipeline would throw the answer away; a note must not be written either.
            raise NotebookUnreadable(detail=f"the file of {user!r} says that it is {owner[0]!r}'s")
        yield Notebook(connection, owner[0])
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
