"""A file system that hangs: the kernel asks its server (FUSE), which never answers. Takes root."""

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from actas.testing.fixtures import needed_in_ci
from actas.testing.missing import ServerMissing

_DETACH = 2


@contextmanager
def hanging(at: Path) -> Generator[None]:
    """Whoever looks at what is in ``at`` meanwhile waits; behind it, they get an error."""
    with needed_in_ci():
        if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
            raise ServerMissing("a file system that hangs takes root and /dev/fuse: run the tests as root, with fuse")
    libc = ctypes.CDLL(None, use_errno=True)
    server = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={server},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if libc.mount(b"hanging", os.fsencode(at), b"fuse", 0, options) != 0:
            raise OSError(ctypes.get_errno(), "mount")
        try:
            yield
        finally:
            libc.umount2(os.fsencode(at), _DETACH)
    finally:
        os.close(server)
