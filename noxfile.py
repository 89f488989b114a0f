# /// script
# dependencies = ["nox>=2026.10", "uv>=0.13"]
# ///
"""Everything that CI runs, runnable by hand: ``pip install nox uv && nox``.

One package: ``nox -s "tests(core)"``. Another Python: ``nox -s "tests(core)" --force-python 3.13``.
Some tests: ``nox -s "tests(core)" -- -k secrets``.
"""

import os
import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
TOOLS = ROOT / "tools"
CORE = ROOT / "packages" / "core"
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
PLUGINS = [name for name in PACKAGES if name != "core"]
"""``delegation-sql``, ``policy-cedar``: imported as ``actas.delegation.sql``, an extra by the last part."""
EXTRAS = ",".join(["demo", "mssql", "smb", *(name.partition("-")[2] for name in PLUGINS)])
EVERYTHING = [f"-e{CORE}[{EXTRAS}]", *(f"-e{ROOT / 'packages' / name}" for name in PLUGINS)]
SOURCES = [f"packages/{name}/src" for name in PACKAGES]
EXAMPLES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("examples/*/src"))
"""Those that are distributions, as users publish them."""
GROUPS = [option for name in PACKAGES for option in ("--group", f"{ROOT / 'packages' / name / 'pyproject.toml'}:test")]

DECIDING = (
    *(
        f"packages/core/src/actas/core/{name}.py"
        for name in ("authority", "authorization", "lending", "roles", "pipeline")
    ),
    *(
        f"packages/core/src/actas/http/{name}.py"
        for name in ("paths", "presenting", "query", "retries", "services", "strict_json")
    ),
    "packages/core/src/actas/oauth/*.py",
    *(
        f"packages/core/src/actas/oauth/exchange/{name}.py"
        for name in ("cache", "grants", "prover", "sealing", "store", "vault", "verification")
    ),
    *(
        f"packages/core/src/actas/mcp/{name}.py"
        for name in (
            "caller", "challenge", "entrance", "existing_server", "for_fastmcp", "forwarded", "guard",
            "patterns", "peer", "policy", "policy_guard", "prompt_guard", "requirement", "resource_guard", "ruling",
            "running", "subscriptions", "throttle", "visibility",
        )
    ),
    *(
        f"packages/delegation-sql/src/actas/delegation/sql/{name}.py"
        for name in (
            "cursors", "gate", "grammar", "levels", "placeholders", "principals", "signed_claims", "identities/login",
            "identities/pooled_login", "identities/set_role",
        )
    ),
    *(
        f"packages/delegation-filesystem/src/actas/delegation/filesystem/{name}.py"
        for name in ("checks", "names", "principals", "ways")
    ),
    "packages/delegation-graphql/src/actas/delegation/graphql/*.py",
    "packages/delegation-grpc/src/actas/delegation/grpc/*.py",
    *(
        f"packages/delegation-kerberos/src/actas/delegation/kerberos/{name}.py"
        for name in ("principals", "smb_paths", "targets")
    ),
    *(
        f"packages/delegation-ldap/src/actas/delegation/ldap/{name}.py"
        for name in ("allowlists", "identities", "principals")
    ),
    "packages/delegation-rest/src/actas/delegation/rest/*.py",
    "packages/policy-cedar/src/actas/policy/cedar/*.py",
)  # fmt: skip
"""What decides who may do what, and as whom."""


SIDE_BY_SIDE = {"core": 3, "delegation-sql": 3}
"""Packages whose tests mostly wait for servers and processes of their own, and how many files of them run at a time."""


def root_group(name: str) -> tuple[str, str]:
    """The arguments that install a dependency group of the root."""
    return "--group", f"{ROOT / 'pyproject.toml'}:{name}"


@nox.session
def lint(session: nox.Session) -> None:
    """Style, the namespace, and the one-way imports."""
    session.install(*root_group("lint"), *EVERYTHING)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("python", str(TOOLS / "check_layout.py"))
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Both checkers, strict, over every package at once."""
    session.install(*root_group("types"), *EVERYTHING)
    session.run("mypy", *SOURCES, *EXAMPLES, env={"MYPYPATH": os.pathsep.join(EXAMPLES)})
    session.run("python", str(TOOLS / "run_pyright.py"))


@nox.session
def minimal(session: nox.Session) -> None:
    """Core imports with pluggy and nothing else."""
    session.install("pluggy")
    session.install("--no-deps", str(CORE))
    # -I: neither the checkout nor anybody's PYTHONPATH helps out.
    session.run("python", "-I", str(TOOLS / "import_everything.py"), "actas.core", "--only", "pluggy", "--installed")


@nox.session
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def tests(session: nox.Session, package: str) -> None:
    """One package, alone: core, its own dependencies and those of its tests, nothing else."""
    here = ROOT / "packages" / package
    editable = [f"-e{path}" for path in dict.fromkeys((CORE, here))]
    session.install(*editable, "--group", f"{here / 'pyproject.toml'}:test")
    for old in ROOT.glob(f".coverage.{package}.*"):
        old.unlink()
    data = {"COVERAGE_FILE": str(ROOT / f".coverage.{package}")}
    workers = ["-n", str(SIDE_BY_SIDE[package]), "--dist", "loadfile"] if package in SIDE_BY_SIDE else []
    session.run("coverage", "run", "-m", "pytest", str(here), *workers, *session.posargs, env=data)


@nox.session
def coverage(session: nox.Session) -> None:
    """What the tests sessions before this one reached; fails under the threshold in pyproject.toml.

    What decides access is to be reached whole, each branch of it.
    """
    session.install("coverage>=7.15")
    session.run("coverage", "combine")
    if os.environ.get("CI"):
        session.run("coverage", "html", "--quiet", "--fail-under=0")
    session.run("coverage", "report")
    session.run("coverage", "report", "--fail-under=100", f"--include={','.join(DECIDING)}")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build, check, install with no index, and run against that what could fail because of how it is packed.

    All other tests run in the sessions before this one.
    """
    house = Path(session.create_tmp()).resolve() / "house"
    clean = house.parent / "clean"
    shutil.rmtree(house.parent, ignore_errors=True)
    house.mkdir(parents=True)
    session.install(*root_group("wheels"))
    # nox points uv at this session's Python: hatch would install its build requirements here and then miss them.
    hatch = {"HATCH_DATA_DIR": str(house.parent / "hatch"), "UV_PYTHON": None}
    for package in PACKAGES:
        with session.chdir(ROOT / "packages" / package):
            session.run("hatch", "build", str(house), silent=True, env=hatch)
    session.run("python", str(TOOLS / "check_wheels.py"), str(house))
    ours = [str(next(house.glob(f"{_stem(package)}-[0-9]*.whl"))) for package in PACKAGES]
    pinned = [
        f"{wheel}[{EXTRAS}]" if package == "core" else wheel for package, wheel in zip(PACKAGES, ours, strict=True)
    ]
    building = ("hatchling>=1.29", "editables")  # what an author's own pip installs a new plug-in with
    session.run("pip", "wheel", "-q", "-w", str(house), "--find-links", str(house), *pinned, *GROUPS, *building)
    session.run("python", str(TOOLS / "newcomer.py"), str(house))
    session.run("uv", "venv", "-q", "--clear", "-p", str(Path(session.bin) / "python"), str(clean))
    python = str(clean / "bin" / "python")
    session.run("uv", "pip", "install", "-q", "-p", python, "--no-index", "--find-links", str(house), *pinned, *GROUPS)
    session.run("uv", "pip", "check", "-q", "-p", python)
    with session.chdir(house.parent):
        everything = ["actas.core", "actas.http", "actas.oauth", "actas.mcp", "actas.cli", "actas.testing"]
        everything += [f"actas.{name.replace('-', '.', 1)}" for name in PLUGINS]
        session.run(python, "-I", str(TOOLS / "import_everything.py"), *everything, "--installed", external=True)
        options = ["-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "no:cacheprovider"]
        options += ["-m", "not scaffold"]
        for package in PACKAGES:
            session.run(python, "-m", "pytest", *options, *_about_installing(package), external=True)
        for package in PLUGINS:
            _alone(session, package, house, python)


@nox.session
def docs(session: nox.Session) -> None:
    """Whatever the documentation says is held by the tests in docs/tests."""
    session.install(*root_group("docs"), *EVERYTHING, *GROUPS)
    session.run("pytest", "docs/tests", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Each example runs as its README says, and the plug-in among them passes its own tests as a wheel."""
    session.install(*EVERYTHING, *GROUPS)
    session.run("pytest", "examples/tests", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """The documentation as a site; a link that leads nowhere and a page that is not listed are errors."""
    session.install(*root_group("site"))
    session.run("python", str(TOOLS / "build_site.py"), str(Path(session.create_tmp()).resolve() / "documentation"))


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The benchmarks, each against peers that are measured in the same run. One: ``nox -s bench -- sql``."""
    session.install(*root_group("bench"), *EVERYTHING)
    for name in session.posargs or (
        "token_verification",
        "bound_tokens",
        "mcp_calls",
        "sql_as_user",
        "limits",
        "memory",
        "token_exchange",
        "rest_as_user",
        "grpc_as_user",
        "ldap_as_user",
        "kerberos",
        "confined_files",
    ):
        session.run("python", str(ROOT / "benchmarks" / f"{name}.py"))


def _alone(session: nox.Session, package: str, house: Path, python: str) -> None:
    """``pip install "actas[x]"`` and no more: the package's main action must do. ``python`` sets its downstream up."""
    extra, alone = package.partition("-")[2], house.parent / f"alone-{package}"
    session.run("uv", "venv", "-q", "--clear", "-p", str(Path(session.bin) / "python"), str(alone))
    bare = str(alone / "bin" / "python")
    session.run("uv", "pip", "install", "-q", "-p", bare, "--no-index", "--find-links", str(house), f"actas[{extra}]")
    program = ROOT / "packages" / package / "tests" / "alone.py"
    session.run(python, str(TOOLS / "run_alone.py"), str(program), bare, external=True)


def _about_installing(package: str) -> list[str]:
    """The tests in which a file that was left out of a wheel, or a dependency that nobody declared, would be missed."""
    tests = ROOT / "packages" / package / "tests"
    if package == "core":
        return [str(tests / name) for name in ("core", "cli", "http", "testing")]
    names = ("plugin", "conformance", "road", "readme", "example")
    return sorted(str(path) for name in names for path in tests.glob(f"test_*{name}*.py"))


def _stem(package: str) -> str:
    return "actas" if package == "core" else f"actas_{package.replace('-', '_')}"


if __name__ == "__main__":
    nox.main()
