"""The actions ``rename`` and ``delete``."""

import errno
import os
import stat
from contextlib import suppress

from actas.delegation.filesystem.actions import Delete, Rename
from actas.delegation.filesystem.failures import AlreadyExists, NotFound
from actas.delegation.filesystem.names import is_own, joined
from actas.delegation.filesystem.roots import Root, looked_at, not_plain
from actas.delegation.filesystem.settings import ChangeSettings, LimitSettings
from actas.delegation.filesystem.usage import Quota, swept
from actas.delegation.filesystem.writing import a_name, keep, take_free_name


class Move:
    """The action ``rename``."""

    def __init__(self, asked: Rename, change: ChangeSettings, limits: LimitSettings) -> None:
        self._old, self._new = a_name(asked.path, limits), a_name(asked.to, limits, new=not asked.replace)
        self._replace = asked.replace
        self._quota = Quota(change, limits)
        self._durable = change.durable

    def __call__(self, root: Root) -> dict[str, object]:
        with self._quota.alone(root), root.entered(self._old[:-1]) as here, root.entered(self._new[:-1]) as there:
            _movable(here, self._old[-1])
            found = looked_at(there, self._new[-1])
            if found is not None:
                if not self._replace or not stat.S_ISREG(found.st_mode):
                    raise AlreadyExists("There is something by that name already; only a file can be replaced.")
            if not root.still_here(there, self._new[:-1]):
                raise NotFound(detail="the folder was moved or removed meanwhile")
            if self._replace:
                os.rename(self._old[-1], self._new[-1], src_dir_fd=here, dst_dir_fd=there)
            else:
                take_free_name(here, self._old[-1], there, self._new[-1])
            if self._durable:
                keep(there)
                keep(here)
        return {"path": joined(self._new), "replaced": found is not None}


class Remove:
    """The action ``delete``."""

    def __init__(self, asked: Delete, change: ChangeSettings, limits: LimitSettings) -> None:
        self._parts = a_name(asked.path, limits)
        self._quota = Quota(change, limits)
        self._durable = change.durable

    def __call__(self, root: Root) -> dict[str, object]:
        name = self._parts[-1]
        with self._quota.alone(root), root.entered(self._parts[:-1]) as folder:
            if stat.S_ISDIR(_movable(folder, name).st_mode):
                self._folder(root, folder)
            else:
                os.unlink(name, dir_fd=folder)
            if self._durable:
                keep(folder)
        return {"path": joined(self._parts)}

    def _folder(self, root: Root, above: int) -> None:
        try:
            os.rmdir(self._parts[-1], dir_fd=above)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not _swept(root, self._parts):
                raise
            os.rmdir(self._parts[-1], dir_fd=above)


def _movable(folder: int, name: bytes) -> os.stat_result:
    """What has that name: a file, a folder, or a link itself.

    Raises:
        NotFound, NotPlain: nothing, or something else.
    """
    found = looked_at(folder, name)
    if found is None:
        raise NotFound
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise not_plain(found.st_mode)
    return found


def _swept(root: Root, parts: tuple[bytes, ...]) -> bool:
    """Take away what killed processes left in a folder that looks empty; whether there was nothing else in it."""
    with root.opened(parts) as folder:
        names = os.listdir(folder)
        if not all(is_own(os.fsencode(each)) for each in names):
            return False
        for each in map(os.fsencode, names):
            with suppress(OSError):
                swept(folder, each, os.stat(each, dir_fd=folder, follow_symlinks=False))
    return True
