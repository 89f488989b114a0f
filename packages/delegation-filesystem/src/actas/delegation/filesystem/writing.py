"""The actions ``write`` and ``make-directory``: whole or not at all, and over nothing that was not named for it."""

import base64
import binascii
import errno
import os
import stat
from contextlib import suppress

from actas.core.errors import InvalidParameters, LimitExceeded
from actas.delegation.filesystem.actions import MakeDirectory, WriteFile
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import AlreadyExists, NotFound, PathRefused
from actas.delegation.filesystem.kernel import rename_to_free_name, reopen
from actas.delegation.filesystem.names import OWN, joined, parts
from actas.delegation.filesystem.roots import Root, looked_at
from actas.delegation.filesystem.settings import ChangeSettings, LimitSettings
from actas.delegation.filesystem.usage import Quota

_PIECE = 1_048_576
_NOT_OFFERED = (errno.ENOSYS, errno.EINVAL)


def a_name(path: str, limits: LimitSettings, *, new: bool = False) -> tuple[bytes, ...]:
    """The names in ``path``, which is not the user's folder itself.

    Raises:
        PathRefused: it is, or is no path.
    """
    names = parts(path, deepest=limits.depth, new=new)
    if not names:
        raise PathRefused("path: is needed; your folder itself stays as it is.", detail="an empty path")
    return names


def keep(folder: int) -> None:
    """See that the disk has what became of the names in a folder. One that may not be read cannot be asked."""
    with suppress(PermissionError):
        held = reopen(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(held)
        finally:
            os.close(held)


class Write:
    """Into a temporary file in the same folder, which then takes the name."""

    def __init__(self, asked: WriteFile, change: ChangeSettings, limits: LimitSettings) -> None:
        self._parts = a_name(asked.path, limits, new=not asked.replace)
        self._data = _bytes(asked)
        if len(self._data) > limits.write_bytes:
            raise LimitExceeded("content: is too large. Write less at once.", detail="larger than limits.write_bytes")
        self._replace = asked.replace
        self._quota = Quota(change, limits)
        self._mode = 0o666 & ~int(change.umask, 8)
        self._durable = change.durable

    def __call__(self, root: Root) -> dict[str, object]:
        with self._quota.alone(root), root.entered(self._parts[:-1]) as folder:
            old = looked_at(folder, self._parts[-1])
            if old is not None:
                if not self._replace:
                    raise AlreadyExists
                root.plain(old)
            mode = self._mode if old is None else stat.S_IMODE(old.st_mode) & 0o777
            more = len(self._data) - (0 if old is None else old.st_size)
            self._quota.see(root, more=more, entries=int(old is None))
            self._put(root, folder, mode)
            if self._durable:
                keep(folder)
        return {"path": joined(self._parts), "size": len(self._data), "replaced": old is not None}

    def _put(self, root: Root, folder: int, mode: int) -> None:
        temporary = OWN + os.urandom(12).hex().encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=folder)
        try:
            _write_all(fd, self._data, root.budget)
            os.fchmod(fd, mode)
            if self._durable:
                os.fsync(fd)
            root.budget.check()
            if not root.still_here(folder, self._parts[:-1]):
                raise NotFound(detail="the folder was moved or removed meanwhile")
            if self._replace:
                os.rename(temporary, self._parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            else:
                take_free_name(folder, temporary, folder, self._parts[-1])
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        finally:
            os.close(fd)


def take_free_name(at: int, name: bytes, to: int, new: bytes) -> None:
    """Rename a file or a folder to a name that nothing has.

    Raises:
        OSError: EEXIST where something has it.
    """
    try:
        rename_to_free_name(at, name, to, new)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        # The file system does not know it. A second name never takes the place of something either.
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            raise
        os.link(name, new, src_dir_fd=at, dst_dir_fd=to, follow_symlinks=False)
        os.unlink(name, dir_fd=at)


def _write_all(fd: int, data: bytes, budget: Budget) -> None:
    left = memoryview(data)
    while left:
        budget.check()
        left = left[os.write(fd, left[:_PIECE]) :]


def _bytes(asked: WriteFile) -> bytes:
    try:
        if asked.encoding == "base64":
            return base64.b64decode(asked.content, validate=True)
        return asked.content.encode()
    except (binascii.Error, ValueError):  # of which half a character is one
        raise InvalidParameters(f"content: is no {asked.encoding}.") from None


class Make:
    """The action ``make-directory``."""

    def __init__(self, asked: MakeDirectory, change: ChangeSettings, limits: LimitSettings) -> None:
        self._parts = a_name(asked.path, limits, new=True)
        self._quota = Quota(change, limits)
        self._mode = 0o777 & ~int(change.umask, 8)
        self._durable = change.durable

    def __call__(self, root: Root) -> dict[str, object]:
        with self._quota.alone(root), root.entered(self._parts[:-1]) as folder:
            if looked_at(folder, self._parts[-1]) is not None:
                raise AlreadyExists
            self._quota.see(root, more=0, entries=1)
            os.mkdir(self._parts[-1], self._mode, dir_fd=folder)
            if self._durable:
                keep(folder)
        return {"path": joined(self._parts)}
