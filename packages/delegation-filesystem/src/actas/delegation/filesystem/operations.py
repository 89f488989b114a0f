"""From an action and its parameters to what is done in a folder: checked first, without any folder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

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
from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.facts import Info
from actas.delegation.filesystem.failures import from_os
from actas.delegation.filesystem.listing import List
from actas.delegation.filesystem.moving import Move, Remove
from actas.delegation.filesystem.reading import Read
from actas.delegation.filesystem.roots import Root
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
            case WriteFile():
                return Write(asked, self._may(action), self.limits)
            case MakeDirectory():
                return Make(asked, self._may(action), self.limits)
            case Rename():
                return Move(asked, self._may(action), self.limits)
            case Delete():
                return Remove(asked, self._may(action), self.limits)
            case _:
                raise UnknownAction

    def _may(self, action: str) -> ChangeSettings:
        """How things are changed. Raises UnknownAction where this is no change that is configured."""
        if self.change is None or action not in self.change.actions:
            raise UnknownAction
        return self.change


class Done(NamedTuple):
    """What came back, and what the kernel said of the folder in which it was done."""

    data: dict[str, object]
    folder: bytes
    """Its names beneath the base."""


def carry_out(
    operation: Operation, base: Base, folder: tuple[bytes, ...], rules: Rules, way: Way, budget: Budget
) -> Done:
    """Do it in the user's folder, which lies at ``folder`` beneath ``base``. Blocking.

    Raises:
        ActasError: ours, with nothing private in the message.
    """
    try:
        root = Root(base, folder, way, budget, hard_links=rules.hard_links)
        try:
            return Done(operation(root), root.folder)
        finally:
            root.close()
    except OSError as error:
        raise from_os(error) from None
