"""A process becomes a user of the operating system, for good: all of it, seen to be so, before it opens anything.

For a helper process alone: it changes what holds for the whole process.
"""

import ctypes
import os
import pwd
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass

from actas.delegation.filesystem.failures import NoAccount

NEEDED = (5, 6, 7)
"""Numbers of the capabilities that it takes (capabilities(7)): CAP_KILL, CAP_SETGID, CAP_SETUID."""

_libc = ctypes.CDLL(None, use_errno=True)
_PDEATHSIG, _DUMPABLE, _DROP_BOUNDING, _NO_NEW_PRIVS, _AMBIENT, _CLEAR_ALL = 1, 4, 24, 38, 47, 4
_CAPABILITIES = 64
_VERSION_3 = 0x20080522
_DESCRIPTORS = 128


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system."""

    name: str
    uid: int
    gid: int


def account(name: str, minimum: int) -> Account:
    """The user called ``name``.

    Raises:
        NoAccount: there is none, or its number, or its group's, is not one for people.
    """
    try:
        found = pwd.getpwnam(name)
        back = pwd.getpwuid(found.pw_uid)
    except KeyError:
        raise NoAccount(detail="the operating system has no such user") from None
    if back.pw_name != name:
        raise NoAccount(detail="another user of the operating system has the same number")
    if found.pw_uid < max(1, minimum):
        raise NoAccount(detail=f"the user's number {found.pw_uid} is below os_user.minimum_uid")
    if found.pw_gid == 0:
        raise NoAccount(detail="the user's own group is root's")
    return Account(name, found.pw_uid, found.pw_gid)


def become(who: Account, *, memory: int, file_size: int, umask: int) -> None:
    """Become ``who``, with the user's groups and no capability, and no way back.

    Args:
        memory: bytes of address space.
        file_size: bytes of the largest file that can be written.

    Raises:
        OSError: the kernel refuses a part of it. The process must end then.
    """
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_size),
    ):
        resource.setrlimit(what, (most, most))
    for number in range(_CAPABILITIES):
        _libc.prctl(_DROP_BOUNDING, number, 0, 0, 0)  # needs CAP_SETPCAP; without new privileges nothing comes of it
    os.initgroups(who.name, who.gid)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    _asked(_AMBIENT, _CLEAR_ALL)
    _drop_capabilities()
    _asked(_NO_NEW_PRIVS, 1)
    # After the numbers: the kernel forgets it when they change. And nobody reads this process, the user's others too.
    _asked(_PDEATHSIG, signal.SIGKILL)
    _asked(_DUMPABLE, 0)
    os.umask(umask)
    _seen_to_be(who)


def _asked(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _seen_to_be(who: Account) -> None:
    """Raises PermissionError where anything is left of who this process was."""
    said = status()
    groups = {who.gid, *os.getgrouplist(who.name, who.gid)}
    wanted = (
        said["Uid"].split() == [str(who.uid)] * 4
        and said["Gid"].split() == [str(who.gid)] * 4
        and {int(each) for each in said["Groups"].split()} <= groups
        and all(int(said[each], 16) == 0 for each in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
        and said["NoNewPrivs"] == "1"
    )
    if not wanted:
        raise PermissionError("something is left of who this process was")
    ways_back: tuple[Callable[[], None], ...] = (
        lambda: os.setresuid(0, 0, 0),
        lambda: os.setresgid(0, 0, 0),
        lambda: os.setgroups([0]),
    )
    for back in ways_back:
        try:
            back()
        except PermissionError:
            continue
        raise PermissionError("this process could become root again")


def status() -> dict[str, str]:
    """What the kernel says of this process (``/proc/self/status``)."""
    with open("/proc/self/status", "rb") as file:
        lines = file.read(65_536).decode(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def can_become_others() -> bool:
    """Whether this process has what it takes; without CAP_KILL it could not end one that hangs as its user."""
    held = int(status()["CapEff"], 16)
    return all(held >> each & 1 for each in NEEDED)
