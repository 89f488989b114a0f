"""The commands as a shell sees them: output, errors and exit codes of real processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from actas.testing.idp import DemoUser, IdentityProvider

AUDIENCE = "https://mcp.example/mcp"


def actas(*arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "actas.cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
    )


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    users = {"alice": DemoUser(roles=["employee"], scopes=["tools"]), "mallory": DemoUser(roles=["nobody"])}
    with IdentityProvider(users=users, audience=AUDIENCE) as running:
        yield running


@pytest.fixture
def config(provider: IdentityProvider, tmp_path: Path) -> Path:
    path = tmp_path / "actas.toml"
    path.write_text(f"""
[mcp]
port = 0
resource = "{AUDIENCE}"

[[auth.trusted_idps]]
name = "test"
issuer = "{provider.issuer}"
audience = "{AUDIENCE}"
role_mappings = {{ user = ["employee"], reject_unmapped_roles = true }}

[auth.permissions]
user = ["sql:read"]

[auth.audit]
path = "{tmp_path / "audit.jsonl"}"
""")
    return path


def test_a_good_configuration_is_told_to_be_good(config: Path) -> None:
    done = actas("check", str(config))
    assert done.returncode == 0
    assert "is good" in done.stdout
    assert "Traceback" not in done.stderr


def test_checking_contacts_nobody(config: Path, provider: IdentityProvider) -> None:
    provider.requests.clear()
    assert actas("check", str(config)).returncode == 0
    assert not provider.requests


def test_a_live_check_asks_the_identity_providers(config: Path, provider: IdentityProvider) -> None:
    assert "1 usable key\n" in actas("check", "--live", str(config)).stdout
    with provider.outage():
        done = actas("check", "--live", str(config))
    assert done.returncode == 1
    assert "auth.trusted_idps: test: its keys cannot be fetched: " in done.stderr


def test_every_problem_is_told_at_once_each_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('{"mcp": {"prot": 1, "toolTimeout": "soon"}, "auth": {"trustedIDPs": [{"name": "x"}]}}')
    done = actas("check", str(path))
    assert done.returncode == 1
    assert "mcp.prot: unknown key; did you mean port?" in done.stderr
    assert "mcp.tool_timeout:" in done.stderr
    assert "auth.trusted_idps[0].issuer: is required" in done.stderr
    assert "Traceback" not in done.stderr


def test_problems_can_be_had_as_json(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[auth]\n")
    done = actas("check", "--json", str(path))
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert answer["problems"] == ["auth.trusted_idps: is required (line 1)"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.toml", None, "cannot be read"),
        ("broken.toml", "[mcp\n", "not well-formed TOML"),
        ("broken.json", '{"mcp": ', "not well-formed JSON"),
        ("odd.yaml", "mcp: 1", "must end with .toml or .json"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, name: str, content: str | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    done = actas("check", str(tmp_path / name))
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_does_not_start_with_a_bad_configuration(tmp_path: Path) -> None:
    done = actas("run", str(tmp_path / "missing.toml"))
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_whoami_says_who_a_token_is_here(config: Path, provider: IdentityProvider) -> None:
    done = actas("whoami", str(config), "--token", "-", "--json", stdin=provider.issue("alice") + "\n")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["session"]["subject"] == "alice"
    assert answer["session"]["role"] == "user"
    assert answer["session"]["permissions"] == ["sql:read"]
    assert answer["tools"] == ["user-info", "health-check"]


def test_whoami_for_a_person_is_a_tree(config: Path, provider: IdentityProvider) -> None:
    done = actas("whoami", str(config), ACTAS_TOKEN=provider.issue("alice"))
    assert done.returncode == 0
    assert "subject: alice" in done.stdout


def test_whoami_tells_the_operator_why_a_token_is_refused(config: Path, provider: IdentityProvider) -> None:
    expired = provider.issue("alice", expires_in=-3600)
    done = actas("whoami", str(config), "--token", expired)
    assert done.returncode == 1
    assert "expired" in done.stderr
    assert expired not in done.stdout + done.stderr


def test_whoami_tells_why_a_known_user_is_admitted_to_nothing(config: Path, provider: IdentityProvider) -> None:
    done = actas("whoami", str(config), "--json", "--token", provider.issue("mallory"))
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert "mapped" in answer["rejected"]
    assert answer["session"]["permissions"] == []


def test_output_into_a_pipe_has_no_colours(config: Path) -> None:
    done = actas("check", str(config), NO_COLOR="")
    assert "\x1b[" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["demo", "run", "check", "whoami", "explain", "revoke", "new", "plugins"])
def test_each_command_explains_itself(command: str) -> None:
    done = actas(command, "--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 8


def test_a_wrong_command_line_exits_with_two() -> None:
    assert actas("chekc", "x").returncode == 2


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"actas \d+\.\d+\.\d+\n", actas("--version").stdout)


def test_serving_ends_cleanly_on_sigterm(config: Path) -> None:
    command = [sys.executable, "-m", "actas.cli", "run", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = _announced(process)
        metadata = url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
        with urllib.request.urlopen(metadata, timeout=10) as answer:
            assert json.load(answer)["resource"] == AUDIENCE
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert "Traceback" not in process.stderr.read()


def _announced(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := re.search(r"serving (http://\S+);", process.stderr.readline()):
            return found[1]
    raise AssertionError("it did not say where it serves")


def test_a_token_for_a_server_over_http_is_a_misunderstanding_and_not_ignored(config: Path) -> None:
    done = actas("run", str(config), "--token-file", "token")
    assert done.returncode == 2 and "--stdio" in done.stderr and "Traceback" not in done.stderr
