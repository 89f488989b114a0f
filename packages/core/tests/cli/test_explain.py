"""``actas explain`` as a shell sees it: what it says, what it never says, and its exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actas.testing.idp import DemoUser, IdentityProvider

from .test_cli import AUDIENCE, actas


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    users = {
        "alice": DemoUser(roles=["employee"], scopes=["tools"], claims={"act": {"sub": "agent"}}),
        "mallory": DemoUser(roles=["nobody"]),
    }
    with IdentityProvider(users=users, audience=AUDIENCE) as running:
        yield running


@pytest.fixture
def config(provider: IdentityProvider, tmp_path: Path) -> Path:
    path = tmp_path / "actas.toml"
    path.write_text(f"""
[mcp]
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


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = tmp_path / "alice.toml"
    path.write_text('subject = "alice"\nroles = ["employee"]\nscopes = ["tools"]\n')
    return path


def test_a_token_is_explained_from_its_claims_on_and_never_printed(config: Path, provider: IdentityProvider) -> None:
    token = provider.issue("alice", claims={"act": None})
    done = actas("explain", str(config), "--token", "-", stdin=token + "\n")
    assert done.returncode == 0, done.stderr
    for line in (
        "alice, by test",
        'the claim roles is ["employee"]',
        "employee means user",
        "because role_mappings.user has employee",
        "sql:read by role user",
        "scopes: tools",
        "user-info: may be called: open to every admitted session",
        "token exchange: none",
        "becomes: there is no module",
    ):
        assert line in done.stdout
    assert token.split(".")[2] not in done.stdout + done.stderr


def test_the_same_comes_as_json(config: Path, provider: IdentityProvider) -> None:
    done = actas("explain", str(config), "--json", ACTAS_TOKEN=provider.issue("alice", claims={"act": None}))
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["accepted"] is True
    assert told["permissions"] == {"sql:read": ["user"]}
    assert told["roles"]["matched"] == {"user": ["employee"]}
    assert told["tools"]["user-info"]["allowed"] is True


def test_a_refused_token_is_explained_with_its_reason(config: Path, provider: IdentityProvider) -> None:
    expired = provider.issue("alice", expires_in=-3600)
    done = actas("explain", str(config), "--token", expired)
    assert done.returncode == 1
    assert done.stderr.startswith("refused: expired")
    assert expired not in done.stdout + done.stderr
    done = actas("explain", str(config), "--json", "--token", expired)
    assert (done.returncode, json.loads(done.stdout)["reason"]) == (1, "expired")


@pytest.mark.parametrize("command", ["explain", "whoami"])
@pytest.mark.parametrize(
    ("line", "other", "told"),
    [
        (
            "audience = ",
            'audience = ["https://a.example/mcp", "https://b.example/mcp"]',
            "wrong_audience\n  test: audience is https://a.example/mcp, https://b.example/mcp\n",
        ),
        ("issuer = ", 'issuer = "https://idp.example"', "untrusted_issuer\n  test: issuer is https://idp.example\n"),
        (
            "role_mappings",
            'security = { token_types = ["secevent+jwt"] }',
            "wrong_type\n  test: security.token_types is secevent+jwt\n",
        ),
    ],
)
def test_what_the_configuration_has_stands_beside_a_refusal_for_having_something_else(
    config: Path, provider: IdentityProvider, command: str, line: str, other: str, told: str
) -> None:
    written = config.read_text().splitlines()
    config.write_text("\n".join(other if each.startswith(line) else each for each in written))
    done = actas(command, str(config), "--token", provider.issue("alice"))
    assert (done.returncode, done.stderr) == (1, f"refused: {told}")


def test_who_is_admitted_to_nothing_is_told_why(config: Path, provider: IdentityProvider) -> None:
    done = actas("explain", str(config), "--token", provider.issue("mallory"))
    assert done.returncode == 1
    assert "because none of the token's roles is mapped" in done.stdout
    assert "user-info: hidden: none of the token's roles is mapped" in done.stdout


@pytest.mark.parametrize(
    ("tool", "code", "told"),
    [("user-info", 0, "may be called"), ("nothing", 1, "there is no tool nothing"), ("health-check", 0, "may be")],
)
def test_with_a_tool_the_exit_code_says_whether_it_may_be_called(
    config: Path, session: Path, tool: str, code: int, told: str
) -> None:
    done = actas("explain", str(config), "--session", str(session), "--tool", tool)
    assert done.returncode == code
    assert told in done.stdout


def test_arguments_are_validated_as_on_a_call(config: Path, session: Path) -> None:
    command = ("explain", str(config), "--session", str(session), "--tool", "health-check", "--arguments")
    assert actas(*command, '{"module": "sql"}').returncode == 0
    done = actas(*command, '{"module": 5}')
    assert done.returncode == 1
    assert "refused: module: should be a valid string" in done.stdout


def test_a_session_needs_no_provider_and_leaves_no_trace(
    config: Path, session: Path, provider: IdentityProvider, tmp_path: Path
) -> None:
    provider.requests.clear()
    done = actas("explain", str(config), "--session", str(session), ACTAS_TOKEN="whatever is in the environment")
    assert done.returncode == 0, done.stderr
    assert not provider.requests
    assert not (tmp_path / "audit.jsonl").exists()


def test_a_session_that_no_token_could_be_is_refused_as_the_token_would_be(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"subject": "a\\u0000b", "roles": ["employee"]}')
    done = actas("explain", str(config), "--session", str(path))
    assert (done.returncode, done.stderr.split(":")[0:2]) == (1, ["refused", " malformed_claim"])


def test_what_is_wrong_with_a_session_is_told_at_once(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('subjcet = "x"\nroles = 5\n')
    done = actas("explain", str(config), "--session", str(path))
    assert done.returncode == 1
    assert "s.toml: subjcet: unknown key; did you mean subject?" in done.stderr
    assert "s.toml: roles: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--token", "x", "--session", "s.toml"),
        ("--token", "x", "--arguments", "{}"),
        ("--token", "x", "--tool", "t", "--arguments", "{"),
        ("--token", "x", "--tool", "t", "--arguments", "[]"),
        ("--token", "x", "--tool", "t", "--arguments", "[" * 100_000),
    ],
)
def test_a_wrong_command_line_exits_with_two(config: Path, arguments: tuple[str, ...]) -> None:
    done = actas("explain", str(config), *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
