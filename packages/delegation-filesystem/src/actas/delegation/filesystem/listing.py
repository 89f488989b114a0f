"""The action ``list``: one folder, in the order of names, so much at a time."""

import os
from collections.abc import Iterator
from heapq import nsmallest

from actas.core.errors import InvalidParameters
from actas.delegation.filesystem.actions import ListFolder
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.facts import brief
from actas.delegation.filesystem.names import is_own, joined, name, parts, shown
from actas.delegation.filesystem.roots import Root
from actas.delegation.filesystem.settings import LimitSettings

_MOST = 1000
_EACH = 256
"""Names after which the time is looked at."""


class Names:
    """The names in an open folder, in no order, ``own`` ones only where that is said; at most ``most``. ``cut`` where
    there are more."""

    def __init__(self, folder: int, budget: Budget, most: int, *, own: bool = False) -> None:
        self._folder, self._budget, self._most, self._own = folder, budget, most, own
        self.cut = False

    def __iter__(self) -> Iterator[bytes]:
        seen = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if seen % _EACH == 0:
                    self._budget.check()
                if seen >= self._most:
                    self.cut = True
                    return
                seen += 1
                name = os.fsencode(entry.name)
                if self._own or not is_own(name):
                    yield name


class List:
    """Memory is for one page, however many entries there are."""

    def __init__(self, asked: ListFolder, limits: LimitSettings) -> None:
        if not 1 <= asked.limit <= _MOST:
            raise InvalidParameters(f"limit: is a number from 1 to {_MOST}.")
        self._parts = parts(asked.path, deepest=limits.depth)
        self._after = b"" if asked.after is None else name(asked.after)
        self._limit = asked.limit
        self._seen = limits.entries

    def __call__(self, root: Root) -> dict[str, object]:
        with root.opened(self._parts) as folder:
            names = Names(folder, root.budget, self._seen)
            page = nsmallest(self._limit + 1, (each for each in names if each > self._after))
            more = len(page) > self._limit
            del page[self._limit :]
            entries = [_entry(folder, each) for each in page]
        return {
            "path": joined(self._parts),
            "entries": entries,
            "next": shown(page[-1]) if more else None,
            "truncated": "entries" if names.cut else None,
        }


def _entry(folder: int, name: bytes) -> dict[str, object]:
    """One line. Where it vanished since, or may not be looked at, its name alone is told."""
    try:
        facts = brief(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except OSError:
        facts = {"type": None, "size": None, "modified": None}
    return {"name": shown(name), **facts}
