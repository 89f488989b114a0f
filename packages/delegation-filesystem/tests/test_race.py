"""A hostile process swaps files and folders for links that lead out, a million times, while everything is tried."""

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from files_gateway import SECRET, Ground, Way

from actas.core import ActasError
from actas.delegation.filesystem.actions import (
    Delete,
    FileInfo,
    ListFolder,
    MakeDirectory,
    ReadFile,
    Rename,
    SearchFiles,
    WriteFile,
)
from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.operations import Rules, carry_out
from actas.delegation.filesystem.settings import ChangeSettings, LimitSettings
from actas.testing.fixtures import needed_in_ci
from actas.testing.missing import ServerMissing

SWAPS = 1_000_000
SECONDS = 18.0
OUTSIDE_NAME = "a-name-that-is-seen-outside-alone"

ASKED: dict[str, list[object]] = {
    "read": [ReadFile(path="file"), ReadFile(path="folder/secret.txt"), ReadFile(path="linked")],
    "list": [ListFolder(path="folder"), ListFolder()],
    "info": [FileInfo(path="file"), FileInfo(path="folder/secret.txt"), FileInfo(path="linked")],
    "search": [SearchFiles(content=SECRET[:8]), SearchFiles(name="a-name*"), SearchFiles(path="folder", name="*")],
    "write": [
        WriteFile(path="folder/secret.txt", content="inside", replace=True),
        WriteFile(path="folder/written", content="inside", replace=True),
    ],
    "rename": [Rename(path="folder/written", to="folder/renamed", replace=True)],
    "delete": [Delete(path="folder/renamed")],
    "make-directory": [MakeDirectory(path="folder/made")],
}


@pytest.fixture(scope="module")
def swapper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hostile process, compiled."""
    compiler = shutil.which("cc")
    with needed_in_ci():
        if compiler is None:
            raise ServerMissing("a C compiler is missing: apt-get install --no-install-recommends gcc libc6-dev")
    program = tmp_path_factory.mktemp("swapper") / "swapper"
    source = Path(__file__).with_name("swapper.c")
    subprocess.run([str(compiler), "-O2", "-Wall", "-Werror", "-o", str(program), str(source)], check=True)
    return program


@pytest.fixture
def stage(ground: Ground) -> Ground:
    """What is swapped: the same names inside and outside."""
    inside = ground.alice
    (inside / "file").write_text("inside")
    (inside / "own").write_text("inside")
    (inside / "file-link").symlink_to(ground.outside / "secret.txt")
    (inside / "folder").mkdir()
    (inside / "folder" / "secret.txt").write_text("inside")
    (inside / "folder-link").symlink_to(ground.outside)
    (ground.outside / OUTSIDE_NAME).write_text(SECRET)
    return ground


@contextmanager
def swapping(
    swapper: Path, stage: Ground, seconds: float = SECONDS, every: int = 8, least: int = 1000
) -> Generator[Callable[[], bool]]:
    """While this lasts it goes on, as long as the call answers True; then the number of swaps is printed.

    Fewer than ``least`` would have been no attack to speak of.
    """
    arguments = [stage.alice, stage.outside / "secret.txt", SWAPS, seconds, every]
    with subprocess.Popen(
        [str(swapper), *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield lambda: process.poll() is None
        finally:
            swaps = int(process.communicate()[0])
    print(f"{swaps} swaps")
    assert swaps >= least, "there was hardly a race"


def attempts(base: Base, way: Way) -> Iterator[tuple[str, object]]:
    """Everything once: the action, and what came of it."""
    rules = Rules(LimitSettings(), ChangeSettings(permission="x", durable=False), hard_links=False)
    for action, each in ((action, each) for action, every in ASKED.items() for each in every):
        operation = rules.operation(action, each)
        try:
            yield action, carry_out(operation, base, (b"alice",), rules, way, Budget(time.monotonic() + 20)).data
        except ActasError as error:
            yield action, f"{error.code} {error.message} {error.detail}"


def test_a_million_swaps_get_nothing_out_and_nothing_is_written_outside(
    swapper: Path, stage: Ground, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    base = Base(str(stage.base))
    carried_out: dict[str, int] = dict.fromkeys(ASKED, 0)
    refused: dict[str, int] = dict.fromkeys(ASKED, 0)
    with capsys.disabled(), swapping(swapper, stage) as going_on:
        while going_on():
            for action, answer in attempts(base, way):
                assert SECRET not in str(answer) and OUTSIDE_NAME not in str(answer), (action, answer)
                (refused if isinstance(answer, str) else carried_out)[action] += 1
    assert sorted(each.name for each in stage.outside.iterdir()) == [OUTSIDE_NAME, "secret.txt"]
    assert (stage.outside / "secret.txt").read_text() == (stage.outside / OUTSIDE_NAME).read_text() == SECRET
    assert (stage.outside / "secret.txt").stat().st_nlink == 1
    assert all(carried_out[action] for action in ("read", "list", "info", "search", "write")), "it was all in vain"
    assert refused["read"] and refused["list"] and refused["write"], "it never met a link"


def test_a_second_name_that_comes_and_goes_gives_nothing_away(
    swapper: Path, stage: Ground, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a name is being taken away, the kernel counts it no more before it says that it is gone."""
    base, asked = Base(str(stage.base)), ReadFile(path="linked")
    rules = Rules(LimitSettings(), None, hard_links=False)
    seen: Counter[str] = Counter()
    with capsys.disabled(), swapping(swapper, stage, seconds=6.0, every=1) as going_on:
        while going_on():
            for _ in range(200):
                try:
                    done = carry_out(
                        rules.operation("read", asked), base, (b"alice",), rules, way, Budget(float("inf"))
                    )
                except ActasError as error:
                    seen[error.code] += 1
                else:
                    seen[str(done.data["content"])] += 1
    assert seen[SECRET] == 0, seen
    assert seen["filesystem_not_plain"] and seen["filesystem_not_found"], "it never met the second name"


def test_the_same_attack_gets_at_what_is_judged_by_its_path_and_then_opened(
    swapper: Path, stage: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    """So the attack is one: a reader that judges well, and opens the name once more, gives the secret away."""
    home = os.path.realpath(stage.alice)
    got = False
    with capsys.disabled(), swapping(swapper, stage, least=1) as going_on:
        while going_on() and not got:
            path = stage.alice / "file"
            try:
                if os.path.realpath(path).startswith(home + "/") and not path.is_symlink():
                    got = path.read_text() == SECRET
            except OSError:
                continue
    assert got
