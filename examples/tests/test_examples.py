"""Each example, run as a user runs it: a copy of its folder, its one command, what it prints.

Those that are distributions are built into wheels and put where an installer would put them.
"""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1]
FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "tests")
DISTRIBUTIONS = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))
SECONDS = 120.0
"""In which any of them must end."""

PRINTED = {
    "core-only": """\
alice reads ['buy milk']
bob reads ['call mum']
guest is refused: permission_denied
minutes: alice list success (alice)
minutes: bob list success (bob)
minutes: guest list refused (needs the permission notes:read)
""",
    "own-tool": """\
alice gets [['alice', 'laptop'], ['alice', 'headset']]; PostgreSQL saw alice
bob gets [['bob', 'desk']]; PostgreSQL saw bob
guest is refused: permission_denied
""",
    "third-party": """\
notes-for-actas 0.1.0 is installed
alice reads [{'number': 1, 'text': 'a note of alice'}]; the file says that it is alice's
bob reads [{'number': 1, 'text': 'a note of bob'}]; the file says that it is bob's
""",
    "multi-database": """\
alice sees hr-delegate, hr-schema, hr-table-details, shop-delegate
alice gets [['laptop']] from shop-delegate
alice gets [['alice', 5000], ['bob', 4800]] from hr-delegate
bob sees shop-delegate
bob gets [['desk']] from shop-delegate
minutes: alice called shop-delegate; PostgreSQL saw alice
minutes: alice called hr-delegate; PostgreSQL saw alice
minutes: bob called shop-delegate; PostgreSQL saw bob
""",
    "multi-rest": """\
alice: orders-list-orders answers {'status': 200, 'body': {'user': 'alice', 'through': 'gateway', 'orders': ['laptop']}}
alice: directly 401
bob: orders-list-orders answers {'status': 200, 'body': {'user': 'bob', 'through': 'gateway', 'orders': ['desk']}}
bob: directly 401
minutes: alice orders-list-orders, as alice by token:exchange
minutes: alice tickets-delegate, as alice by token:exchange
minutes: bob orders-list-orders, as bob by token:exchange
minutes: bob tickets-delegate, as bob by token:exchange
""",
    "secrets": """\
alice is known: the opaque token was looked up with a secret
bob is known: the opaque token was looked up with a secret
""",
    "fastapi-app": """\
nobody: GET /health 200 well
alice: GET /orders 200 ['laptop']
alice: POST /orders 200 alice may write
bob: GET /orders 200 ['desk']
""",
    "all-in-one": """\
alice has ordered [['headset', 120], ['laptop', 1890]]
alice reads orders://summary: {'orders': 2, 'total': 2010}
alice asks for parcels: {'status': 200, 'body': ['to Lisbon', 'to Oslo']}
bob sees user-info, health-check, orders-schema, my-orders
bob has ordered [['desk', 640]]
alice's assistant sees user-info, health-check, orders-schema, my-orders
alice's assistant has ordered [['headset', 120], ['laptop', 1890]]
minutes: alice by parcels-delegate: alice (token:exchange)
minutes: bob by my-orders: bob (login:peer)
minutes: assistant for alice by my-orders: alice (login:peer)
""",
}
"""Lines that must be printed, in this order; others may stand between them."""
REFUSED = {
    "multi-rest": "http_request_refused",
    "secrets": "the provider 'vault' failed to look up secret 'vault.partners'",
    "fastapi-app": 'bob: POST /orders 403 Bearer error="insufficient_scope"',
}
"""What else must stand in the output."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of the examples that are distributions, unpacked as an installer does it."""
    house, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    for name in DISTRIBUTIONS:
        source = house / "source" / name
        shutil.copytree(EXAMPLES / name, source)
        run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(house)], source, dict(os.environ))
    for wheel in house.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture
def environment(installed: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}


def run(command: list[str], folder: Path, env: dict[str, str]) -> str:
    """What a command printed that must end well."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def copy(name: str, to: Path) -> Path:
    """The example, elsewhere; on a port that is free."""
    folder = to / name
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("__pycache__", "audit.jsonl", "src"))
    port = str(free_port())
    for path in [*folder.rglob("*.toml"), *folder.rglob("*.py")]:
        path.write_text(re.sub(r"\b8080\b", port, path.read_text()))
    return folder


@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_runs_with_one_command_and_everybody_gets_their_own(
    name: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    printed = run([sys.executable, "-W", "error", "main.py"], copy(name, tmp_path), environment)
    lines = iter(printed.splitlines())
    for expected in PRINTED[name].splitlines():
        assert expected in lines, f"{expected!r} was not printed, or not in its place:\n{printed}"
    assert REFUSED.get(name, "") in printed


def test_the_plug_in_passes_its_own_tests_as_it_is_installed(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = copy("third-party", tmp_path)
    printed = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], folder, environment)
    assert re.search(r"^[4-9]\d passed", printed, re.MULTILINE), printed
    assert "failed" not in printed


def test_the_core_alone_is_all_that_its_example_imports() -> None:
    assert _imported("core-only") <= {"asyncio", "actas.core"}


PUBLIC = re.compile(
    r"actas\.(core(\.hookspecs|\.protocols)?|mcp|oauth\.(authentication|receiving|settings)"
    r"|testing\.(conformance|idp|idp_clients|postgres))"
)
"""What the examples may use: what the documentation shows to users."""


@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_can_be_copied(name: str) -> None:
    """It imports public modules only, is small, and says in its README what it is and how it is run."""
    ours = {module for module in _imported(name) if module.partition(".")[0] == "actas"}
    assert [module for module in ours if not PUBLIC.fullmatch(module)] == []
    sources = [path for path in (EXAMPLES / name).rglob("*.py") if "tests" not in path.parts]
    assert all(len(path.read_text().splitlines()) <= 200 for path in sources)
    readme = (EXAMPLES / name / "README.md").read_text()
    assert "$ python main.py" in readme
    assert f"]({name}/README.md)" in (EXAMPLES / "README.md").read_text()


def _imported(name: str) -> set[str]:
    found: set[str] = set()
    for path in (EXAMPLES / name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    return found


def test_every_example_is_run() -> None:
    assert set(FOLDERS) == set(PRINTED)
