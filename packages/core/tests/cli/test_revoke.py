"""``actas revoke`` as a shell sees it, and what a server then makes of the file."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actas.cli.main import app
from actas.core import ConfigurationError
from actas.oauth.revocation import entries

from .test_cli import actas

ISSUER = "https://login.example.com"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "actas.toml"
    path.write_text(f"""
[[auth.trustedIdps]]
name = "acme"
issuer = "{ISSUER}"
audience = {{ "$secret" = "NOT_AT_HAND" }}

[auth.revocation]
path = "{tmp_path / "revoked.jsonl"}"

[delegation.modules.unheard_of]
""")
    return path


@pytest.fixture
def revoked(tmp_path: Path) -> Path:
    return tmp_path / "revoked.jsonl"


def test_a_user_is_revoked_though_neither_secrets_nor_plug_ins_are_at_hand(config: Path, revoked: Path) -> None:
    done = actas("revoke", str(config), "--sub", "alice", "--issuer", ISSUER)
    assert (done.returncode, done.stdout) == (0, f"revoked sub alice of {ISSUER}, for good\n")
    (entry,) = entries(revoked)
    assert (entry.claim, entry.value, entry.issuer, entry.until) == ("sub", "alice", ISSUER, float("inf"))
    assert revoked.stat().st_mode & 0o777 == 0o600


def test_an_entry_may_end(config: Path, revoked: Path) -> None:
    assert actas("revoke", str(config), "--jti", "j", "--for", "90m").returncode == 0
    done = actas("revoke", str(config), "--sid", "s", "--until", "2199-01-01T00:00:00+01:00", "--json")
    assert json.loads(done.stdout) == {"sid": "s", "issuer": None, "until": "2198-12-31T23:00:00+00:00"}
    first, second = entries(revoked)
    assert abs(first.until - time.time() - 5400) < 120
    assert second.claim == "sid"


def test_what_is_revoked_can_be_listed(config: Path, revoked: Path) -> None:
    assert "nothing is revoked" in actas("revoke", str(config), "--list").stdout
    assert not revoked.exists()
    revoked.write_text('{"sub":"old","until":"2001-01-01T00:00:00Z"}\nnonsense\n{"sub":"alice"}\n')
    assert actas("revoke", str(config), "--list").stdout == "sub alice of any issuer, for good\n"
    done = actas("revoke", str(config), "--list", "--json")
    assert json.loads(done.stdout) == [{"sub": "alice", "issuer": None, "until": None}]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--sub", ""],
        ["--sub", "a", "--jti", "b"],
        ["--sub", "a", "--for", "1 hour"],
        ["--sub", "a", "--for", "0h"],
        ["--sub", "a", "--for", "9999999d"],
        ["--sub", "a", "--until", "tomorrow"],
        ["--sub", "a", "--until", "2199-01-01T00:00:00"],
        ["--sub", "a", "--until", "2001-01-01T00:00:00Z"],
        ["--sub", "a", "--until", "2199-01-01T00:00:00Z", "--for", "1h"],
        ["--list", "--sub", "a"],
        ["--list", "--for", "1h"],
    ],
)
def test_a_command_line_that_makes_no_sense_changes_nothing(config: Path, revoked: Path, options: list[str]) -> None:
    assert CliRunner().invoke(app, ["revoke", str(config), *options]).exit_code == 2
    assert not revoked.exists()


def test_an_issuer_that_is_not_trusted_is_a_mistake(config: Path, revoked: Path) -> None:
    done = actas("revoke", str(config), "--sub", "alice", "--issuer", ISSUER + "/")
    assert done.returncode == 1
    assert "is not trusted here" in done.stderr
    assert not revoked.exists()


def test_without_a_file_in_the_configuration_nobody_would_heed_it(tmp_path: Path) -> None:
    path = tmp_path / "actas.toml"
    for content, told in (
        ("", "auth.revocation is not configured"),
        ("[auth]\n", "auth.revocation is not configured"),
        ('[auth.revocation]\npath = "here.jsonl"\n', "must be absolute"),
        ("[auth.revocation]\nfile = 1\n", "unknown key"),
        ("[auth]\nrevocation = 5\n", "auth.revocation"),
    ):
        path.write_text(content)
        for options in (["--sub", "alice"], ["--list"]):
            outcome = CliRunner().invoke(app, ["revoke", str(path), *options])
            assert isinstance(outcome.exception, ConfigurationError)
            assert told in str(outcome.exception)


def test_a_file_that_no_server_would_read_is_not_written_to(config: Path, revoked: Path) -> None:
    revoked.write_text("")
    revoked.chmod(0o606)
    done = actas("revoke", str(config), "--sub", "alice")
    assert done.returncode == 1
    assert "everybody may write to it" in done.stderr
    assert revoked.read_text() == ""
