"""The calls to the kernel that Python does not make, and what it says about a descriptor.

A descriptor names a thing for good, whatever becomes of the path that led to it: ``/proc/self/fd`` tells by which path
the kernel reaches it now, and opens that very thing again.
"""

import ctypes
import errno
import os
from functools import cache

_libc = ctypes.CDLL(None, use_errno=True)

_OPENAT2 = 437
"""The number of openat2(2), the same on every architecture."""
_BENEATH, _NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS = 0x08, 0x01, 0x02, 0x04
_RENAME_NOREPLACE = 1
_TRIES = 8

PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
"""Opens nothing: names a thing, a device and a link too, without touching it."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_SIZE = ctypes.sizeof(_How)
_ONE_MOUNT = _How(PATH, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | _NO_XDEV)
_ANY_MOUNT = _How(PATH, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
_HOW = {True: ctypes.addressof(_ONE_MOUNT), False: ctypes.addressof(_ANY_MOUNT)}

_syscall = _libc.syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_syscall.restype = ctypes.c_long


def openat2(at: int, path: bytes, *, one_mount: bool) -> int:
    """A descriptor (``O_PATH``) of what is at ``path`` beneath ``at``, with no link followed (openat2(2)).

    Args:
        one_mount: whether another file system that is mounted on the way is refused.

    Raises:
        OSError: there is none; ENOSYS or EPERM where the kernel, or what confines this process, has no such call.
    """
    for _ in range(_TRIES):
        made: int = _syscall(_OPENAT2, at, path, _HOW[one_mount], _SIZE)
        if made >= 0:
            return made
        number = ctypes.get_errno()
        if number not in (errno.EINTR, errno.EAGAIN):
            raise OSError(number, os.strerror(number))
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@cache
def has_openat2() -> bool:
    """Whether openat2(2) may be called here: Linux from 5.6, where no filter stands against it."""
    at = os.open("/", PATH)
    try:
        os.close(openat2(at, b".", one_mount=True))
    except OSError:
        return False
    finally:
        os.close(at)
    return True


def rename_to_free_name(at: int, name: bytes, to: int, new: bytes) -> None:
    """renameat2(2) with ``RENAME_NOREPLACE``.

    Raises:
        OSError: EEXIST where ``new`` is taken; ENOSYS or EINVAL where the system or the file system does not know it.
    """
    call = getattr(_libc, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(at, name, to, new, _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _own(what: str, process: int) -> int:
    """A descriptor of ``/proc/self/fd``: whatever is mounted there later, this process is asked. Kept for good.

    ``process`` is this one: what another has open under the same numbers, such as the one that it was forked from, is
    not to be looked at.
    """
    return os.open(f"/proc/{process}/{what}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def has_proc() -> bool:
    """Whether ``/proc`` is there."""
    try:
        return path_of(_own("fd", os.getpid())).startswith(b"/proc/")
    except OSError:
        return False


def path_of(descriptor: int) -> bytes:
    """By which path the kernel reaches it now; it ends in `` (deleted)`` where no path does."""
    return os.readlink(b"%d" % descriptor, dir_fd=_own("fd", os.getpid()))


def reopen(descriptor: int, flags: int) -> int:
    """Open the very thing that ``descriptor`` names, with the permissions of this process.

    Raises:
        OSError: the kernel says no.
    """
    return os.open(
        b"%d" % descriptor, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=_own("fd", os.getpid())
    )


def mount_of(descriptor: int) -> bytes:
    """The number of the mount that it was reached through; a bind mount has one of its own."""
    held = os.open(b"%d" % descriptor, os.O_RDONLY | os.O_CLOEXEC, dir_fd=_own("fdinfo", os.getpid()))
    try:
        said = os.read(held, 4096)
    finally:
        os.close(held)
    return said.partition(b"mnt_id:")[2].split(None, 1)[0]
