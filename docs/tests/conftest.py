"""One identity provider and one PostgreSQL for all pages, and the folders that blocks run in."""

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]

from docs_stage import Place  # noqa: E402 -- found through the path that was just set

from actas.cli.demo_stage import Stage  # noqa: E402


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def stage() -> Generator[Stage]:
    """alice, bob and a guest; their orders."""
    with Stage.built(port=0) as built:
        yield built


@pytest.fixture
def place(stage: Stage, tmp_path: Path) -> Place:
    """A folder with a configuration that works, and an audit file with a few lines."""
    made = Place(stage, tmp_path)
    made.furnish()
    return made


@pytest.fixture
def environment() -> dict[str, str]:
    """What a reader's shell has: this interpreter's programs first, nothing else of ours."""
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join([own, os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8"}
