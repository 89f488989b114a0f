"""A user's folder, and what lies in it: reached beneath its descriptor, and believed only where the kernel agrees.

Each thing is first named (``O_PATH``), then looked at, then asked of the kernel by which path it is reached, and only
then opened: that very thing, not its name once more. The path must be the one that was asked for. So a file that was
removed, moved away or swapped meanwhile is noticed, and one that has a second name elsewhere cannot hide it by giving
up the name here between two looks.
"""

import errno
import os
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager

from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import NoFolder, NotFound, NotPlain, WrongKind, from_os
from actas.delegation.filesystem.kernel import path_of, reopen
from actas.delegation.filesystem.names import OWN
from actas.delegation.filesystem.ways import Way

_SETTLED = 10.0
"""Seconds after which a name that was given or taken is no news: both change the file's ctime."""
_TRIES = 16
"""Looks at what others replace all the time, as a good writer does, before it counts as not there."""


class Root:
    """A user's folder. ``folder`` is the kernel's word for where the last thing was that was looked at: in which folder
    beneath the base."""

    __slots__ = ("_at", "_base", "_held", "_home", "_one_name", "_own", "_parts", "_path", "_way", "budget", "folder")

    def __init__(
        self, base: Base, parts: tuple[bytes, ...], way: Way, budget: Budget, *, hard_links: bool = False
    ) -> None:
        """Nothing is looked at yet.

        Args:
            parts: the names of the folder beneath ``base``.
            hard_links: whether files may have several names.

        Raises:
            StorageFailed: the base cannot be opened.
        """
        self._base, self._way, self._one_name, self.budget = base, way, not hard_links, budget
        self._held = base.held()
        self._home = parts
        self._at, self._own, self._parts = self._held.fd, -1, parts
        self._path = b"/".join((self._held.path, *parts))
        self.folder = b""

    def close(self) -> None:
        """Give it back."""
        if self._own >= 0:
            os.close(self._own)

    def look(self, parts: tuple[bytes, ...]) -> tuple[int, os.stat_result]:
        """Name what lies at ``parts``: a descriptor (``O_PATH``), for the caller to close, and what it is.

        It may be anything: a link, a device.

        Raises:
            NotFound: nothing does, or it is being replaced all the time.
            NoFolder: the user has no folder.
            StorageFailed: the base cannot be opened.
            OSError: the kernel says no.
        """
        wanted = b"/".join((self._path, *parts)) if parts else self._path
        for _ in range(_TRIES):
            self.budget.check()
            fd = self._named(parts)
            try:
                found = os.fstat(fd)
                # After fstat: as long as this path leads here, the name was there when the names were counted.
                reached = path_of(fd)
            except BaseException:
                os.close(fd)
                raise
            if reached == wanted:
                if not parts and not stat.S_ISDIR(found.st_mode):
                    os.close(fd)
                    raise NoFolder(detail="the user's folder is no folder")
                self.folder = reached[len(self._held.path) + 1 : len(self._path)]
                return fd, found
            os.close(fd)
        self._see_that_it_is_there()
        raise NotFound(detail="it was moved or removed while it was opened")

    def _named(self, parts: tuple[bytes, ...]) -> int:
        """From the base at once; from the folder itself where that is a file system of its own, as homes often are."""
        try:
            if self._own < 0 or parts:
                return self._way.to(self._at, self._parts + parts)
            return os.dup(self._own)
        except OSError as error:
            if self._own >= 0:
                raise
            self._see_that_it_is_there()
            if error.errno != errno.EXDEV:
                raise
        self._own = self._at = self._way.to(self._held.fd, self._home, one_mount=False)
        self._parts = ()
        return self._named(parts)

    def _see_that_it_is_there(self) -> None:
        """Tell a folder that is missing from what is missing in it."""
        held = self._base.held(anew=True)
        try:
            fd = self._way.to(held.fd, self._home, one_mount=False)
        except OSError as error:
            raise NoFolder(detail=f"the user's folder: {from_os(error).detail}") from None
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise NoFolder(detail="the user's folder is no folder")
        finally:
            os.close(fd)

    def file(self, parts: tuple[bytes, ...]) -> tuple[int, os.stat_result]:
        """Open a plain file for reading, for the caller to close; and what was seen of it.

        Raises:
            NotPlain: it is a device, a socket, a FIFO, a link, or has several names.
            WrongKind: it is a folder.
            NotFound: it is not there.
            OSError: the kernel says no.
        """
        for _ in range(_TRIES):
            fd, found = self.look(parts)
            try:
                self.plain(found)
                settled = not self._one_name or found.st_ctime < time.time() - _SETTLED
                if settled or self._no_name_is_going(fd, parts):
                    return reopen(fd, os.O_RDONLY), found
            finally:
                os.close(fd)
        raise NotFound(detail="its name was taken away while it was opened")

    def _no_name_is_going(self, fd: int, parts: tuple[bytes, ...]) -> bool:
        """Whether the one name that was counted is this one.

        While a name is being taken away, the kernel counts it no more and still reaches the file by it. It holds the
        lock of the name's folder for so long; so does who looks for a name there that nobody has looked for before.
        """
        folder = self._named(parts[:-1])
        try:
            looked_at(folder, OWN + os.urandom(8).hex().encode())
            return self.still_here(folder, parts[:-1]) and self.still_here(fd, parts)
        finally:
            os.close(folder)

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


def looked_at(folder: int, name: bytes) -> os.stat_result | None:
    """What has that name in a folder, a link as itself; None where nothing has."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def not_plain(mode: int) -> NotPlain:
    """The refusal of what is no file and no folder."""
    what = kind(mode)
    return NotPlain(f"This is a {what}. It is neither opened nor followed.", detail=f"a {what}")


def kind(mode: int) -> str:
    """In a word, what a mode says that it is."""
    return _KINDS.get(stat.S_IFMT(mode), "thing of another kind")


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
