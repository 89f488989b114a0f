"""From an action and its parameters to what is done in a folder: checked first, without any folder."""

from collections.abc import Callable
from dataclasses import dataclass

from actas.core.errors import UnknownAction
from actas.delegation.filesystem.actions import (
    Delete,
    FileInfo,
    ListFolder,
    MakeDirectory,
    ReadFile,
    Rename,
    SearchFiles,
    WriteFile,
)
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.facts import Info
from actas.delegation.filesystem.failures import from_os
from actas.delegation.filesystem.listing import List
from actas.delegation.filesystem.moving import Move, Remove
from actas.delegation.filesystem.reading import Read
from actas.delegation.filesystem.roots import Place, Root
from actas.delegation.filesystem.searching import Search
from actas.delegation.filesystem.settings import ChangeSettings, LimitSettings
from actas.delegation.filesystem.ways import Way
from actas.delegation.filesystem.writing import Make, Write

Operation = Callable[[Root], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for each operation of a module."""

    limits: LimitSettings
    change: ChangeSettings | None
    hard_links: bool

    def operation(self, action: str, asked: object) -> Operation:
        """What ``asked`` comes to. Raises UnknownAction, PathRefused, InvalidParameters; nothing was looked at."""
        match asked:
            case ListFolder():
                return List(asked, self.limits)
            case ReadFile():
                return Read(asked, self.limits)
            case FileInfo():
                return Info(asked, self.limits)
            case SearchFiles():
                return Search(asked, self.limits)
            case _:
                return self._change(action, asked)

    def _change(self, action: str, asked: object) -> Operation:
        change = self.change
        if change is None or action not in change.actions:
            raise UnknownAction
        match asked:
            case WriteFile():
                return Write(asked, change, self.limits)
            case MakeDirectory():
                return Make(asked, change, self.limits)
            case Rename():
                return Move(asked, change, self.limits)
            case Delete():
                return Remove(asked, change, self.limits)
            case _:
                raise UnknownAction


@dataclass(frozen=True, slots=True)
class Done:
    """What came back, and what the kernel said of the folder in which it was done."""

    data: dict[str, object]
    folder: bytes
    """Its names beneath the base."""
    owner: int
    """Number of the user that it belongs to."""


def carry_out(operation: Operation, place: Place, rules: Rules, way: Way, budget: Budget) -> Done:
    """Open the folder, do it, close the folder. Blocking.

    Raises:
        ActasError: ours, with nothing private in the message.
    """
    try:
        root = Root(place, way, budget, hard_links=rules.hard_links)
        try:
            return Done(operation(root), root.folder, root.owner)
        finally:
            root.close()
    except OSError as error:
        raise from_os(error) from None
