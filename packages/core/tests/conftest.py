"""What several folders of tests need: the event loop, and distributions that are really installed."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "core" / "plugins"

Installer = Callable[..., Path]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of all dummy distributions, and of a second version of one; wheels come here too."""
    root = tmp_path_factory.mktemp("dummies")
    shutil.copytree(SOURCES, root, dirs_exist_ok=True)
    newer = Path(shutil.copytree(root / "dummy-greet", root / "dummy-greet-2"))
    project = newer / "pyproject.toml"
    text = project.read_text().replace('version = "1.0"', 'version = "2.0"')
    project.write_text(text.replace('"dummy_greet"', '"dummy_greet:elsewhere"'))
    return root


@pytest.fixture
def install(house: Path, tmp_path: Path) -> Installer:
    """Installs distributions into one folder; gives that folder."""

    def into(*distributions: str, folder: str = "site") -> Path:
        wheels = [str(_wheel(house, distribution)) for distribution in distributions]
        site = tmp_path / folder
        # Copies, not links: a test that damages its files must not damage the cache.
        options = ("--no-deps", "--offline", "--link-mode", "copy", "--target", str(site))
        _run("uv", "pip", "install", *options, *wheels)
        return site

    return into


def _wheel(house: Path, distribution: str) -> Path:
    target = house / "wheels" / distribution
    if not target.exists():
        _run("hatchling", "build", "-t", "wheel", "-d", str(target), cwd=house / distribution)
    (wheel,) = target.glob("*.whl")
    return wheel


def _run(module: str, *arguments: str, cwd: Path | None = None) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
