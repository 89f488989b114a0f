"""How much a folder holds, counted only as far as somebody wants to know."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress

from actas.delegation.filesystem.failures import NotFound, QuotaExceeded
from actas.delegation.filesystem.listing import Names
from actas.delegation.filesystem.names import is_own
from actas.delegation.filesystem.roots import Root
from actas.delegation.filesystem.settings import ChangeSettings, LimitSettings

_PAUSE = 0.01
"""Seconds between two looks at whether another change is over."""
_STALE = 3600.0
"""Seconds after which a temporary file is one that a killed process left behind."""


class Quota:
    """What a folder may hold, by the settings.

    Temporary files of ours count: processes that are killed leave them behind, which a user can bring about.
    """

    def __init__(self, change: ChangeSettings, limits: LimitSettings) -> None:
        self._size, self._entries, self._depth = change.quota_bytes, change.quota_entries, limits.depth

    @contextmanager
    def alone(self, root: Root) -> Generator[None]:
        """While this lasts, nobody else who goes by this lock changes anything: a lock on the folder itself holds for
        all processes. What moves while it is counted, or is gone when it is replaced, would be counted wrong.

        Raises:
            DelegationTimeout: another change took too long.
        """
        if self._size is None:
            yield
            return
        with root.opened(()) as held:
            while True:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    root.budget.check()
                    time.sleep(_PAUSE)
            yield

    def see(self, root: Root, *, more: int, entries: int) -> None:
        """See that ``more`` bytes and ``entries`` entries fit besides what is there. To be asked within :meth:`alone`.

        Raises:
            QuotaExceeded: they do not fit.
            OSError: a folder cannot be read: then nobody knows.
        """
        if self._size is not None:
            self._count(root, self._size, more, entries)

    def _count(self, root: Root, most: int, size: int, count: int) -> None:
        below: list[tuple[bytes, ...]] = [()]
        while below:
            folder = below.pop()
            for name, found in self._in(root, folder):
                count += 1
                if stat.S_ISREG(found.st_mode):
                    size += found.st_size
                elif stat.S_ISDIR(found.st_mode):
                    below.append((*folder, name))
                self._compare(most, size, count)
        self._compare(most, size, count)

    def _compare(self, most: int, size: int, count: int) -> None:
        if size > most or count > self._entries:
            raise QuotaExceeded(detail=f"more than {most} bytes or {self._entries} entries")

    def _in(self, root: Root, folder: tuple[bytes, ...]) -> Iterator[tuple[bytes, os.stat_result]]:
        """What is in ``folder``; what vanishes meanwhile takes no room, and what is mounted there is no part of it."""
        if len(folder) > self._depth:
            raise QuotaExceeded(detail="folders deeper than limits.depth")
        with suppress(NotFound, FileNotFoundError), _passing_over_mounts(), root.opened(folder) as held:
            for name in Names(held, root.budget, self._entries + 1, own=True):
                with suppress(FileNotFoundError):
                    found = os.stat(name, dir_fd=held, follow_symlinks=False)
                    if not (is_own(name) and swept(held, name, found)):
                        yield name, found


def swept(folder: int, name: bytes, found: os.stat_result) -> bool:
    """Take a temporary file of ours away where a killed process left it behind; whether it is gone."""
    if found.st_mtime >= time.time() - _STALE:
        return False
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
        return True
    return False


@contextmanager
def _passing_over_mounts() -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
