"""A user's folder, and what lies in it: reached beneath its descriptor, and believed only where the kernel agrees.

Each thing is first named (``O_PATH``), then looked at, then asked of the kernel by which path it is reached, and only
then opened: that very thing, not its name once more. The path must be the one that was asked for. So a file that was
removed, moved away or swapped meanwhile is noticed, and one that has a second name elsewhere cannot hide it by giving
up the name here between two looks.
"""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import NoFolder, NotFound, NotPlain, StorageFailed, WrongKind, from_os
from actas.delegation.filesystem.kernel import path_of, reopen
from actas.delegation.filesystem.ways import Way

_TRIES = 16
"""Looks at what others replace all the time, as a good writer does, before it counts as not there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a user's folder is: what the operator wrote, and the names that were filled in."""

    base: str
    """An absolute path without anything of the user's in it. The operator's: links in it are followed."""
    parts: tuple[bytes, ...]
    """The folder beneath it."""


class Root:
    """An open folder of a user's. ``folder`` is the kernel's word for where it is beneath the base."""

    __slots__ = ("_fd", "_one_name", "_path", "_way", "budget", "folder", "owner")

    def __init__(self, place: Place, way: Way, budget: Budget, *, hard_links: bool = False) -> None:
        """Open it.

        Args:
            hard_links: whether files may have several names.

        Raises:
            NoFolder: there is none.
            StorageFailed: the base cannot be opened.
        """
        self._way, self._one_name, self.budget = way, not hard_links, budget
        try:
            base = os.open(place.base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageFailed(detail=f"the base of all folders: {from_os(error).detail}") from None
        try:
            above = path_of(base)
            # The folder itself may be a file system of its own, as homes often are.
            self._fd = way.to(base, place.parts, one_mount=False)
        except OSError as error:
            raise NoFolder(detail=f"the user's folder: {from_os(error).detail}") from None
        finally:
            os.close(base)
        self._path = path_of(self._fd)
        found = os.fstat(self._fd)
        self.folder = self._path.removeprefix(above.rstrip(b"/") + b"/")
        self.owner = found.st_uid
        if not stat.S_ISDIR(found.st_mode) or self.folder != b"/".join(place.parts):
            self.close()
            raise NoFolder(detail="the user's folder is no folder, or was moved while it was opened")

    def close(self) -> None:
        """Give it back."""
        os.close(self._fd)

    def look(self, parts: tuple[bytes, ...]) -> tuple[int, os.stat_result]:
        """Name what lies at ``parts``: a descriptor (``O_PATH``), for the caller to close, and what it is.

        It may be anything: a link, a device.

        Raises:
            NotFound: nothing does, or it is being replaced all the time.
            OSError: the kernel says no.
        """
        wanted = b"/".join((self._path, *parts))
        for _ in range(_TRIES):
            self.budget.check()
            fd = self._way.to(self._fd, parts) if parts else os.dup(self._fd)
            try:
                found = os.fstat(fd)
                # After fstat: as long as this path leads here, the name was there when the names were counted.
                if path_of(fd) == wanted:
                    return fd, found
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        raise NotFound(detail="it was moved or removed while it was opened")

    def file(self, parts: tuple[bytes, ...]) -> int:
        """Open a plain file for reading, for the caller to close.

        Raises:
            NotPlain: it is a device, a socket, a FIFO, a link, or has several names.
            WrongKind: it is a folder.
            NotFound: it is not there.
            OSError: the kernel says no.
        """
        fd, found = self.look(parts)
        try:
            self.plain(found)
            return reopen(fd, os.O_RDONLY)
        finally:
            os.close(fd)

    def plain(self, found: os.stat_result) -> None:
        """Raises NotPlain or WrongKind where ``found`` is not a plain file that may be read."""
        mode = found.st_mode
        if not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode):
                raise WrongKind("This is a folder. List it.", detail="a folder")
            raise not_plain(mode)
        if self._one_name and found.st_nlink != 1:
            raise NotPlain(
                "This file has several names, of which one may lie elsewhere. It is not opened.",
                detail=f"a file with {found.st_nlink} hard links",
            )

    @contextmanager
    def opened(self, parts: tuple[bytes, ...]) -> Generator[int]:
        """A folder, open for reading.

        Raises:
            NotPlain, WrongKind: it is none.
            NotFound: it is not there.
            OSError: the kernel says no.
        """
        fd, found = self.look(parts)
        try:
            if not stat.S_ISDIR(found.st_mode):
                raise (
                    WrongKind("This is a file, no folder.", detail="a file")
                    if stat.S_ISREG(found.st_mode)
                    else not_plain(found.st_mode)
                )
            held = reopen(fd, os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(fd)
        try:
            yield held
        finally:
            os.close(held)

    @contextmanager
    def entered(self, parts: tuple[bytes, ...]) -> Generator[int]:
        """A folder, to reach names in it; it need not be readable.

        Raises:
            NotPlain, WrongKind, NotFound, OSError: as for :meth:`opened`.
        """
        fd, found = self.look(parts)
        try:
            if not stat.S_ISDIR(found.st_mode):
                raise WrongKind("A part of the path is no folder.", detail="no folder on the way")
            yield fd
        finally:
            os.close(fd)

    def still_here(self, fd: int, parts: tuple[bytes, ...]) -> bool:
        """Whether the kernel still reaches ``fd`` at ``parts`` in this folder."""
        return path_of(fd) == b"/".join((self._path, *parts))


def not_plain(mode: int) -> NotPlain:
    """The refusal of what is no file and no folder."""
    what = kind(mode)
    return NotPlain(f"This is a {what}. It is neither opened nor followed.", detail=f"a {what}")


def kind(mode: int) -> str:
    """In a word, what a mode says that it is."""
    for test, word in _KINDS:
        if test(mode):
            return word
    return "thing of another kind"


_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "folder"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
