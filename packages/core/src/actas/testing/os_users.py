"""Users of the operating system, made for a test and taken away behind it. Takes root."""

import os
import pwd
import secrets
import shutil
import subprocess
from types import TracebackType
from typing import Self

from actas.testing.missing import ServerMissing


class OsUsers:
    """Users that nobody can log in as, and groups; their names are new.

    Raises:
        ServerMissing: this process is not root, or ``useradd`` is not installed.
    """

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise ServerMissing("users of the operating system can be made by root alone: run the tests as root")
        if shutil.which("useradd") is None:
            raise ServerMissing("useradd is missing: apt-get install --no-install-recommends passwd")
        self._users: list[str] = []
        self._groups: list[str] = []

    def user(self, hint: str, *, groups: tuple[str, ...] = (), system: bool = False) -> pwd.struct_passwd:
        """A new user, in a group of its own and in ``groups``, without a home."""
        name = _new(hint)
        more = (["--groups", ",".join(groups)] if groups else []) + (["--system"] if system else [])
        _run("useradd", "--no-create-home", "--user-group", "--shell", "/usr/sbin/nologin", *more, name)
        self._users.append(name)
        return pwd.getpwnam(name)

    def group(self, hint: str) -> str:
        """A new group's name."""
        name = _new(hint)
        _run("groupadd", name)
        self._groups.append(name)
        return name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._users:
            _run("userdel", "--force", name)
        for name in self._groups:
            _run("groupdel", name)


def _new(hint: str) -> str:
    return f"{hint}-{secrets.token_hex(4)}"


def _run(program: str, *arguments: str) -> None:
    subprocess.run([program, *arguments], check=True, capture_output=True)  # noqa: S603 -- fixed programs, no shell
