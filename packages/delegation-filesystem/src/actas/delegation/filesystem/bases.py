"""The operator's folder, in which the users' folders are: held open, and opened anew every second."""

import os
import time

from actas.delegation.filesystem.failures import StorageFailed, from_os
from actas.delegation.filesystem.kernel import path_of

_SECONDS = 1.0
"""For how long it counts as the one that the path leads to: another disk may be mounted there meanwhile."""


class Held:
    """A descriptor of it (``O_PATH``), for as long as anybody uses it, and the kernel's path."""

    __slots__ = ("fd", "path", "until")

    def __init__(self, path: str) -> None:
        self.fd = -1
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = path_of(self.fd)
        self.until = time.monotonic() + _SECONDS

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Base:
    """Links in ``path`` are the operator's own, and followed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: Held | None = None
        self._closed = False

    def held(self, *, anew: bool = False) -> Held:
        """It, open. Blocking; safe in threads.

        Raises:
            StorageFailed: it cannot be opened.
        """
        held = self._held
        if held is None or anew or held.until < time.monotonic():
            try:
                held = self._held = Held(self._path)
            except OSError as error:
                self._held = None
                raise StorageFailed(detail=f"the base of all folders: {from_os(error).detail}") from None
            if self._closed:
                self._held = None
        return held

    def close(self) -> None:
        """Let go of it; who uses it just now may go on, and who begins just now keeps it for himself alone."""
        self._closed = True
        self._held = None
