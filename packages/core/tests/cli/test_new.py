"""Plug-ins that ``actas new`` makes: each kind is made, built, installed where nothing else is, and run.

One kind alone: ``-k "scaffold and sql"``. Dependencies come from the index, or from where ``UV_FIND_LINKS`` says.
"""

import os
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from actas.cli import new
from actas.cli.kinds import KINDS, KindName
from actas.cli.new import name_problem, rendered, write

CORE = Path(__file__).parents[2]
ISSUER = """
[[auth.trusted_idps]]
name = "acme"
issuer = "https://login.example.com/realms/acme"
audience = "http://127.0.0.1:8080/mcp"

"""
NAMES = {kind: f"acme-{kind}" for kind in KindName}
LONGEST = "w" * 19 + "-" + "w" * 20
"""As long as a name may be; the widest letters make no difference, the number of them does."""


def actas_new(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "actas.cli", "new", *arguments], folder)


def run(command: Sequence[str | Path], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**inherited, "NO_COLOR": "1", "COLUMNS": "200", **env},
    )


def good(done: subprocess.CompletedProcess[str]) -> str:
    """What was printed, where it ended well; a machine without a network is a reason to skip, but not in CI."""
    told = done.stdout + done.stderr
    if done.returncode and re.search(r"dns error|[Nn]etwork|Could not connect", told) and not os.environ.get("CI"):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, f"{done.args}\n{told}"
    return told


# Names, and what is there already


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("AcmeOrders", "such as acme-orders"),
        ("acme_orders", "such as acme-orders"),
        ("acme.orders", "such as acme-orders"),
        ("../evil", "such as evil"),
        ("/tmp/evil", "such as tmp-evil"),
        ("a b", "such as a-b"),
        ("-x", "such as x"),
        ("", "lower-case"),
        ("1st", "a letter first"),
        ("é", "lower-case"),
        ("a" * 41, "40 characters"),
        ("class", "Python's own"),
        ("match", "Python's own"),
        ("email", "standard library"),
        ("sql", "taken, by actas"),
        ("actas", "taken, by actas"),
        ("tests", "taken, by actas"),
        ("build", "taken, by actas"),
        ("example-plugin", "taken, by actas"),
        ("acme\n", "such as acme"),
        ("joserfc", "joserfc is installed"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_one_that_can(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        new.new_plugin(name, KindName.CUSTOM)
    assert why in refused.value.message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x", "acme-orders", "s3", "a1-b2", LONGEST])
def test_an_ordinary_name_is_taken(name: str) -> None:
    assert name_problem(name) is None


def test_a_name_that_another_distribution_claims_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from actas.core.discovery import InstalledPlugin

    other = InstalledPlugin(name="orders", distribution="other-orders", version="1", target="other")
    monkeypatch.setattr(new, "installed", lambda: {"orders": other})
    assert "other-orders is installed" in str(name_problem("orders"))
    monkeypatch.setattr(new, "installed", lambda: {"other-orders": other})
    assert name_problem("other-orders") is None, "its author may make it once more"


def test_what_to_do_next_is_what_its_readme_says(tmp_path: Path) -> None:
    told = [line.strip() for line in good(actas_new(tmp_path, "acme")).splitlines()]
    upgrade, install, test, *_ = [
        line.removeprefix("$ ") for line in (tmp_path / "acme/README.md").read_text().splitlines() if "$ p" in line
    ][1:]
    assert told[1:5] == ["cd acme", upgrade, install, test]


def test_a_wrong_name_ends_with_two_and_plain_words(tmp_path: Path) -> None:
    done = actas_new(tmp_path, "Acme", "--kind", "rest")
    assert done.returncode == 2 and "such as acme" in done.stderr and "Traceback" not in done.stderr
    assert actas_new(tmp_path, "acme", "--kind", "soap").returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_what_is_there_already_is_left_alone(tmp_path: Path, there: str) -> None:
    target = tmp_path / "acme"
    match there:
        case "folder":
            target.mkdir()
        case "file":
            target.write_text("mine")
        case _:
            target.symlink_to(tmp_path / "nowhere")
    done = actas_new(tmp_path, "acme")
    assert done.returncode == 2 and "acme is there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["acme"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_of_what_could_not_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    written: list[Path] = []

    def write_text(path: Path, text: str, **_: object) -> None:
        if len(written) == 3:
            raise error
        path.write_bytes(text.encode())
        written.append(path)

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(type(error)):
        write(rendered("acme", KINDS[KindName.CUSTOM], KindName.CUSTOM), tmp_path / "acme")
    assert len(written) == 3
    assert not list(tmp_path.iterdir())


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "acme"
    write_text = Path.write_text

    def slowly(path: Path, text: str, **options: Any) -> int:  # Any: as Path has them
        target.mkdir()
        return write_text(path, text, **options)

    monkeypatch.setattr(Path, "write_text", slowly)
    with pytest.raises(FileExistsError):
        write({"README.md": ""}, target)
    assert list(tmp_path.iterdir()) == [target] and not list(target.iterdir())


def test_its_permissions_are_those_of_its_authors_files(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write({"README.md": "", "src/a.py": ""}, tmp_path / "acme")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((tmp_path / "acme" / path).stat().st_mode) for path in (".", "src")}
    assert modes == {0o700} and stat.S_IMODE((tmp_path / "acme/README.md").stat().st_mode) == 0o600


def test_a_folder_that_is_gone_is_told_in_plain_words(tmp_path: Path) -> None:
    script = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m actas.cli new acme"
    done = run(["sh", "-c", script], tmp_path)
    assert done.returncode == 2 and "cannot be written" in done.stderr and "Traceback" not in done.stderr


# What is made


@pytest.mark.parametrize("kind", KindName)
def test_nothing_of_the_template_is_left_and_there_are_ten_places_to_change(kind: KindName) -> None:
    texts = rendered("acme", KINDS[kind], kind)
    everything = "\n".join([*texts, *texts.values()])
    assert not re.search(r"(?i)example.?plugin|@\w+@", everything)
    marked = [
        int(number)
        for path, text in texts.items()
        if path != "README.md"
        for number in re.findall(r"EDIT (\d+):", text)
    ]
    assert sorted(marked) == list(range(1, 11))
    listed = [int(number) for number in re.findall(r"^\| (\d+) \|", texts["README.md"], re.MULTILINE)]
    assert listed == list(range(1, 11))
    for path, text in texts.items():
        assert text.endswith("\n") or not text, path
        assert all(line == line.rstrip() for line in text.splitlines()), path
        assert len(text.splitlines()) <= 150, f"{path} is more than an author reads at once"


@pytest.mark.parametrize("kind", KindName)
def test_it_demands_the_actas_that_it_was_made_by(kind: KindName) -> None:
    project = tomllib.loads(rendered("acme", KINDS[kind], kind)["pyproject.toml"])
    assert re.fullmatch(r"actas(\[http\])?~=0\.1\.0", project["project"]["dependencies"][0])
    assert project["project"]["entry-points"]["actas"] == {"acme": "acme.plugin"}


def test_it_is_written_where_one_stands_and_says_what_is_next(tmp_path: Path) -> None:
    told = good(actas_new(tmp_path, "acme-orders"))
    assert "cd acme-orders" in told and "pytest" in told
    assert (tmp_path / "acme-orders/src/acme_orders/py.typed").read_text() == ""


# What it is worth


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This actas, as it would be published."""
    folder = tmp_path_factory.mktemp("house")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    good(run(command, CORE, COVERAGE_PROCESS_CONFIG=""))  # from there our files would be measured under other names
    (built,) = folder.glob("actas-*.whl")
    return built


def environment(folder: Path, *requirements: str | Path) -> Path:
    """A fresh environment with those alone; its Python."""
    python = folder / "bin" / "python"
    good(run([sys.executable, "-m", "uv", "venv", "-q", "-p", sys.executable, folder], folder.parent))
    good(run([sys.executable, "-m", "uv", "pip", "install", "-q", "-p", python, *requirements], folder.parent))
    return python


@pytest.fixture(scope="session")
def maker(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the command line and nothing else."""
    return environment(tmp_path_factory.mktemp("maker") / "env", f"{wheel}[cli]")


@pytest.mark.scaffold
@pytest.mark.parametrize("kind", KindName)
def test_as_made_it_builds_installs_and_passes_its_own_tests(
    kind: KindName, wheel: Path, maker: Path, tmp_path: Path
) -> None:
    good(run([maker.with_name("actas"), "new", NAMES[kind], "--kind", kind], tmp_path))
    project = tmp_path / NAMES[kind]
    good(run([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], project))
    (built,) = (project / "dist").glob("*.whl")
    python = environment(tmp_path / "env", wheel, built, "--group", f"{project / 'pyproject.toml'}:test")
    told = good(run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider"], project))
    if "is missing" in told and not os.environ.get("CI"):
        pytest.skip(told)
    passed = int(re.findall(r"(\d+) passed", told)[-1])
    assert passed >= 45, told
    (written,) = re.findall(r"```toml\n(.*?)```", (project / "README.md").read_text(), re.DOTALL)
    (tmp_path / "actas.toml").write_text(ISSUER + written)
    secrets = {"GATEWAY_SECRET": "s3cret", "GATEWAY_PASSWORD": "s3cret"}
    good(run([python.with_name("actas"), "check", "actas.toml"], tmp_path, **secrets))
    plugins = good(run([python.with_name("actas"), "plugins", "--load", "--json"], tmp_path))
    assert f'"name": "{NAMES[kind]}"' in plugins and '"state": "loads"' in plugins


@pytest.fixture(scope="session")
def checkers(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One environment with what all kinds need for their checks; what is checked is not installed in it."""
    folder = tmp_path_factory.mktemp("checkers")
    groups: list[str | Path] = []
    for kind in KindName:
        write(rendered(f"need-{kind}", KINDS[kind], kind), folder / kind)
        project = tomllib.loads((folder / kind / "pyproject.toml").read_text())["project"]
        groups += ["--group", f"{folder / kind / 'pyproject.toml'}:dev"]
        groups += [each for each in project["dependencies"] if not each.startswith("actas")]
    return environment(folder / "env", f"{wheel}[http]", *groups)


@pytest.mark.scaffold
@pytest.mark.parametrize("kind", KindName)
def test_as_made_it_is_clean_and_typed_by_its_own_rules(kind: KindName, checkers: Path, tmp_path: Path) -> None:
    for name in ("x", LONGEST):
        write(rendered(name, KINDS[kind], kind), tmp_path / name)
        good(run([checkers.with_name("ruff"), "check", "--no-cache"], tmp_path / name))
        good(run([checkers.with_name("ruff"), "format", "--no-cache", "--check"], tmp_path / name))
    source = {"MYPYPATH": "src"}
    cache = checkers.parents[1] / "mypy"
    good(run([checkers.with_name("mypy"), "--cache-dir", cache], tmp_path / "x", **source))
    good(run([checkers.with_name("pyright"), "--pythonpath", checkers], tmp_path / "x"))
