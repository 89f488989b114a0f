"""What is told of a file or folder."""

import os
import stat
from datetime import UTC, datetime

from actas.delegation.filesystem.actions import FileInfo
from actas.delegation.filesystem.names import joined, parts
from actas.delegation.filesystem.roots import Root, kind
from actas.delegation.filesystem.settings import LimitSettings


def brief(found: os.stat_result) -> dict[str, object]:
    """Type, size in bytes and time of the last change; no size but a file's."""
    return {
        "type": kind(found.st_mode),
        "size": found.st_size if stat.S_ISREG(found.st_mode) else None,
        "modified": _time(found.st_mtime),
    }


def _time(seconds: float) -> str | None:
    """ISO 8601, in UTC; None where a file has a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return None


class Info:
    """The action ``info``. It opens nothing, so it may be asked of anything."""

    def __init__(self, asked: FileInfo, limits: LimitSettings) -> None:
        self._parts = parts(asked.path, deepest=limits.depth)

    def __call__(self, root: Root) -> dict[str, object]:
        fd, found = root.look(self._parts)
        os.close(fd)
        return {
            "path": joined(self._parts),
            **brief(found),
            "mode": f"{stat.S_IMODE(found.st_mode):04o}",
            "rights": stat.filemode(found.st_mode)[1:],
            "owner_id": found.st_uid,
            "group_id": found.st_gid,
            "names": found.st_nlink,
        }
