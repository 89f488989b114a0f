"""The contract: actions, principal, delegate, health, release."""

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from actas.core import (
    Action,
    ConfigurationError,
    DelegationCall,
    DelegationResult,
    DownstreamUnavailable,
    Effect,
    Health,
    InvalidParameters,
    PrincipalUnavailable,
    Receipt,
    Session,
    UnknownAction,
)
from notes_for_actas.notebook import Notebook, opened
from notes_for_actas.settings import NotesSettings

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""Names that are safe in a path."""
_LONGEST = 10_000
"""Characters of a note."""


@dataclass(frozen=True, kw_only=True)
class ListNotes:
    """Parameters of ``list``."""

    containing: str = ""
    """Only notes in which this stands, to the letter; all of them where it is empty."""


@dataclass(frozen=True, kw_only=True)
class AddNote:
    """Parameters of ``add``."""

    text: str
    """The note: 1 to 10,000 characters."""

    def __post_init__(self) -> None:
        if not 0 < len(self.text) <= _LONGEST:
            raise ValueError("text: 1 to 10,000 characters")


@dataclass(frozen=True, kw_only=True)
class DeleteNote:
    """Parameters of ``delete``."""

    number: int
    """The note's number, as `list` gives it."""

    def __post_init__(self) -> None:
        if not 0 < self.number < 2**63:
            raise ValueError("number: as `list` gives it")


class Notes:
    """Notes of the session's user, in a file that says itself whose it is."""

    actions = (
        Action(name="list", description="Your notes, the newest first.", parameters=ListNotes, permission="notes:read"),
        Action(
            name="add",
            description="Write a note.",
            parameters=AddNote,
            permission="notes:write",
            effect=Effect.WRITE,
        ),
        Action(
            name="delete",
            description="Delete one of your notes.",
            parameters=DeleteNote,
            permission="notes:write",
            effect=Effect.DESTRUCTIVE,
        ),
    )

    def __init__(self, settings: NotesSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.folder)
        self._threads: ThreadPoolExecutor | None = None
        self._room = asyncio.Semaphore(settings.threads)

    async def initialize(self) -> None:
        """See that the folder is there and that nobody else may write into it."""
        if not self._writable():
            raise DownstreamUnavailable(detail=f"{self._folder} is no folder that this account may write to")
        if self._folder.stat().st_mode & 0o022:
            raise ConfigurationError(f"{self._folder} may be written by others: chmod go-w")

    def principal(self, session: Session) -> str:
        """The name that the operator mapped, where it is safe as a file's."""
        name = session.legacy_username or ""
        if not _NAME.fullmatch(name):
            raise PrincipalUnavailable(detail=f"legacy_username must be like {_NAME.pattern}")
        return name

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Do it in the user's own file. The receipt is what that file says."""
        work = self._work(call.parameters)
        user = self.principal(call.session)
        async with self._room:  # who waits here can be cancelled; a thread's work ends at its deadline
            data, owner = await self._in_thread(work, user, call.deadline)
        return DelegationResult(data=data, receipt=Receipt(identity=owner, method="file-owner"))

    def _work(self, parameters: object) -> Callable[[Notebook], object]:
        match parameters:
            case ListNotes(containing=containing):
                return lambda notebook: {"notes": notebook.notes(containing, self._settings.most_answered)}
            case AddNote(text=text):
                _demand_storable(text)
                return lambda notebook: {"number": notebook.add(text, self._settings.most_notes)}
            case DeleteNote(number=number):
                return lambda notebook: {"deleted": notebook.delete(number)}
            case _:
                raise UnknownAction

    async def _in_thread(self, work: Callable[[Notebook], object], user: str, deadline: float) -> tuple[object, str]:
        stop = Event()

        def do() -> tuple[object, str]:
            with opened(self._folder, user, deadline, stop) as notebook:
                return work(notebook), notebook.owner

        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="notes")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, do)
        finally:
            stop.set()  # where this was cancelled, the thread still works

    def _writable(self) -> bool:
        return self._folder.is_dir() and os.access(self._folder, os.W_OK | os.X_OK)

    async def health_check(self) -> Health:
        """Whether the folder is there."""
        return Health(healthy=True) if self._writable() else Health(healthy=False, message="the folder is not there")

    async def destroy(self) -> None:
        """Let the threads end."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _demand_storable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParameters(detail="text: half a surrogate pair is no character") from None
