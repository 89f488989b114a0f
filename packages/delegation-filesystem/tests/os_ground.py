"""Homes of two real users of the operating system, with a gateway that becomes them."""

import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from files_gateway import ALICE, Gateway

from actas.core import Session
from actas.delegation.filesystem.settings import ChangeSettings, FilesystemSettings


def session_of(user: pwd.struct_passwd) -> Session:
    name = user.pw_name
    return replace(ALICE, subject=f"id-of-{name}", username=name, legacy_username=name)


@dataclass
class Homes:
    """``base`` has a home for each, which is the user's own."""

    base: Path
    alice: pwd.struct_passwd
    bob: pwd.struct_passwd

    def home(self, user: pwd.struct_passwd) -> Path:
        return self.base / user.pw_name

    def write(self, user: pwd.struct_passwd, name: str, text: str, mode: int = 0o600, owner: Any = None) -> Path:
        """A file in the home of ``user``, which belongs to ``owner``."""
        made = self.home(user) / name
        made.write_text(text)
        belongs = owner or user
        os.chown(made, belongs.pw_uid, belongs.pw_gid)
        made.chmod(mode)
        return made

    def settings(self, **fields: Any) -> FilesystemSettings:
        made = FilesystemSettings(
            root=f"{self.base}/{{user}}",
            permission="files:read",
            identity="os_user",
            change=ChangeSettings(permission="files:write", durable=False),
        )
        return replace(made, **fields)

    @asynccontextmanager
    async def gateway(self, **fields: Any) -> AsyncGenerator[Gateway]:
        opened = Gateway(self.settings(**fields))
        await opened.module.initialize()
        try:
            yield opened
        finally:
            await opened.module.destroy()


@contextmanager
def homes_of(alice: pwd.struct_passwd, bob: pwd.struct_passwd) -> Iterator[Homes]:
    base = Path(tempfile.mkdtemp(prefix="actas-homes-"))
    try:
        base.chmod(0o755)
        made = Homes(base, alice, bob)
        for user in (alice, bob):
            made.home(user).mkdir(mode=0o750)
            os.chown(made.home(user), user.pw_uid, user.pw_gid)
            made.write(user, "notes.txt", f"notes of {user.pw_name}\n")
        yield made
    finally:
        shutil.rmtree(base)
