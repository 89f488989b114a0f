"""Running a PostgreSQL server's programs: as whom, from where, and cleaning up after killed test runs."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

PREFIX = "actas-postgres-"
"""How the temporary folders' names begin."""
OWNER = "owner"
"""The file in each that holds the process id of who made it."""
_COMMAND_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_account() -> pwd.struct_passwd | None:
    """Whom the server runs as: PostgreSQL refuses root. None: as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def reachable(binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> Path:
    """``binaries``, or a copy in ``folder`` where ``account`` cannot get at them, as below root's home."""
    with contextlib.suppress(RuntimeError, PermissionError):
        run_as(account, [str(binaries / "postgres"), "--version"])
        return binaries
    package = binaries.parent.parent
    copy = folder / "server" / package.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall" / part, copy / "pginstall" / part, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
    for path in (folder / "server").rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
    (folder / "server").chmod(0o755)
    folder.chmod(0o711)
    return copy / "pginstall" / "bin"


def run_as(account: pwd.struct_passwd | None, command: list[str], more: Mapping[str, str] | None = None) -> None:
    # runuser, not subprocess's `user`: that needs a fork that is unsafe once threads run
    prefix = [] if account is None else ["runuser", "-u", account.pw_name, "--"]
    checked([*prefix, *command], input="", env={**environment(), **(more or {})})


def environment() -> dict[str, str]:
    """Nothing of ours: neither PG… variables nor a locale."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def checked(command: list[str], *, input: str, env: dict[str, str]) -> str:
    with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open for as long as the server runs
        done = subprocess.run(  # noqa: S603 -- fixed programs, no shell
            command,
            input=input,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd="/",
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        output.seek(0)
        printed = output.read()
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {printed}")
    return printed


def sweep() -> None:
    """Remove what killed processes of ours left in the temporary folder."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            owner = int((folder / OWNER).read_text())
            if folder.stat().st_uid == os.getuid() and not _alive(owner):
                remove(folder)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove(folder: Path) -> None:
    pid_file = folder / "data" / "postmaster.pid"
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = int(pid_file.read_text().split()[0])
        with contextlib.suppress(RuntimeError):  # it is gone already
            run_as(server_account(), ["kill", "-QUIT", str(pid)])  # PostgreSQL's immediate shutdown
        for _ in range(200):
            if not pid_file.exists() or not _alive(pid):
                break
            time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)
