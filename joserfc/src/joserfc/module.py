"""The delegation module: what it can do, and as whom."""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from actas.core import (
    Action,
    DelegationCall,
    DelegationRefused,
    DelegationResult,
    DelegationTimeout,
    DownstreamUnavailable,
    Health,
    NoParameters,
    PrincipalUnavailable,
    Receipt,
    Session,
    UnknownAction,
)

from joserfc.settings import JoserfcSettings
from joserfc.system import Answer, System


# EDIT 4: what callers give. A model reads the docstrings; no field says who acts.
@dataclass(frozen=True, kw_only=True)
class ReadNote:
    """Parameters of ``read-note``."""

    name: str
    """The note's name, as list-notes has it."""


# EDIT 5: errors of your own. ``message`` goes to a model, so it has no data and no text of your system's in it.
class NoteDenied(DelegationRefused):
    """The system has no such note, or not for this user."""

    code = "joserfc_denied"
    default_message = "There is no such note, or it is not yours. List the notes to see what there is."


class Joserfc:
    """Acts in your system as the user who called."""

    # EDIT 6: what it can do, who may (permission), and what it changes (effect).
    actions: Sequence[Action] = (
        Action(
            name="list-notes",
            description="List the notes that you may read.",
            parameters=NoParameters,
            permission="joserfc:read",
        ),
        Action(
            name="read-note",
            description="Read one of your notes.",
            parameters=ReadNote,
            permission="joserfc:read",
        ),
    )

    def __init__(self, settings: JoserfcSettings, system: System | None = None) -> None:
        self._settings = settings
        self._system = system or System()

    async def initialize(self) -> None:
        """EDIT 7: connect, and prove that your system takes on users' identities as configured."""
        try:
            await self._system.ping()
        except OSError:
            raise DownstreamUnavailable(detail="the system does not answer") from None

    def principal(self, session: Session) -> str:
        """EDIT 8: the name by which your system knows the caller. From the session alone, and without I/O."""
        name = session.legacy_username or ""
        if not re.fullmatch("[a-z][a-z0-9_-]{0,31}", name):
            raise PrincipalUnavailable(detail="the session has no legacy_username that is a user's name here")
        return name

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Carry out one call as ``principal(call.session)``, until ``call.deadline``."""
        who = self.principal(call.session)
        try:
            async with asyncio.timeout(call.remaining(time.monotonic())):
                answer = await self._carried_out(who, call)
        except PermissionError:
            raise NoteDenied from None
        except TimeoutError:  # before OSError: it is one
            raise DelegationTimeout(detail="the system did not answer in time") from None
        except OSError:
            raise DownstreamUnavailable(detail="the system does not answer") from None
        # EDIT 9: the receipt is your system's own word on whom it saw. Never copy ``who`` into it.
        receipt = Receipt(identity=answer.seen, method="in-process")
        if call.action.name == "list-notes":
            return DelegationResult(data={"notes": sorted(answer.notes)}, receipt=receipt)
        (text,) = answer.notes.values()
        return DelegationResult(data={"text": text[: self._settings.longest]}, receipt=receipt)

    async def _carried_out(self, who: str, call: DelegationCall) -> Answer:
        match call.parameters:
            case NoParameters():
                return await self._system.list(who)
            case ReadNote(name=name):
                return await self._system.read(who, name)
            case _:
                raise UnknownAction

    async def health_check(self) -> Health:
        """Ask the system whether it is there. Never raises."""
        try:
            async with asyncio.timeout(3):
                await self._system.ping()
        except OSError:  # TimeoutError is one
            return Health(healthy=False, message="The system does not answer.")
        return Health(healthy=True)

    async def destroy(self) -> None:
        """Release everything. May be called twice, and without ``initialize``."""
        await self._system.close()
