"""The two ways to a thing beneath a folder: asked of the kernel at once, or gone step by step.

Both follow no link, not even in the middle, and cross into no other mount. Neither opens what it comes to: a device is
named, not touched.
"""

import errno
import os
from collections.abc import Sequence
from typing import Protocol

from actas.delegation.filesystem.kernel import PATH, has_openat2, mount_of, openat2


class Way(Protocol):
    """A way. :meth:`to` gives a descriptor (``O_PATH``) that the caller closes."""

    name: str

    def to(self, at: int, parts: Sequence[bytes], *, one_mount: bool = True) -> int:
        """What lies at ``parts`` beneath the folder ``at``. ``parts`` are checked names, at least one.

        Raises:
            OSError: ENOENT, ENOTDIR, EACCES; ELOOP for a link in the middle, EXDEV for another mount.
        """
        ...


class AtOnce:
    """openat2(2): one call, and the kernel holds the rules."""

    name = "openat2"

    def to(self, at: int, parts: Sequence[bytes], *, one_mount: bool = True) -> int:
        return openat2(at, b"/".join(parts), one_mount=one_mount)


class Stepwise:
    """openat(2) for each name, with ``O_NOFOLLOW``: for kernels before 5.6, and filters that refuse openat2."""

    name = "stepwise"

    def to(self, at: int, parts: Sequence[bytes], *, one_mount: bool = True) -> int:
        here = os.open(parts[0], PATH | (os.O_DIRECTORY if len(parts) > 1 else 0), dir_fd=at)
        try:
            for index, part in enumerate(parts[1:], 2):
                last = index == len(parts)
                there = os.open(part, PATH | (0 if last else os.O_DIRECTORY), dir_fd=here)
                here, left = there, here
                os.close(left)
            if one_mount and mount_of(here) != mount_of(at):
                # There is no way back out of a mount without "..": the last one says it for all.
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        except BaseException:
            os.close(here)
            raise
        return here


def best() -> Way:
    """The way that this kernel offers."""
    return AtOnce() if has_openat2() else Stepwise()
