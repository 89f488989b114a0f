"""The authorization server that is not ours: what it gives, and to whom not."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import DemoUser
from actas.testing.missing import ServerMissing
from actas.testing.oidc_provider import AGENT, REDIRECT_URI, SERVICE, OidcProvider, ProviderRefused, Resource

TOOLS, OPAQUE, BEHIND, ELSEWHERE = (f"https://{name}.test" for name in ("tools", "opaque", "behind", "elsewhere"))


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    users = {"alice": DemoUser(roles=["staff"], scopes=["read", "write"], claims={"legacy": "ALICE"})}
    resources = {
        TOOLS: Resource(scopes=["read", "write", "admin"]),
        OPAQUE: Resource(scopes=["read"], opaque=True),
        BEHIND: Resource(scopes=["read"]),
        ELSEWHERE: Resource(scopes=["read"]),
    }
    exchange = {SERVICE: {"from": [TOOLS, OPAQUE], "to": [BEHIND]}}
    with OidcProvider(users=users, resources=resources, exchange=exchange) as running:
        yield running


def part(token: str, index: int) -> dict[str, object]:
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".")[index] + "==")))


def test_a_token_is_for_one_resource_and_has_no_scope_that_its_user_may_not_have(provider: OidcProvider) -> None:
    grant = provider.log_in("alice", TOOLS, ["read", "admin"])
    assert grant.scopes == {"read"}
    assert part(grant.access_token, 0)["typ"] == "at+jwt"
    claims = part(grant.access_token, 1)
    assert (claims["iss"], claims["aud"], claims["sub"], claims["scope"]) == (provider.issuer, TOOLS, "alice", "read")
    assert (claims["preferred_username"], claims["roles"], claims["legacy"]) == ("alice", ["staff"], "ALICE")


@pytest.mark.parametrize(
    ("user", "resource", "code"), [("mallory", TOOLS, "access_denied"), ("alice", "https://x.test", "invalid_target")]
)
def test_a_stranger_and_a_strange_resource_get_nothing(
    provider: OidcProvider, user: str, resource: str, code: str
) -> None:
    with pytest.raises(ProviderRefused) as refused:
        provider.log_in(user, resource)
    assert refused.value.code == code


def test_without_pkce_there_is_no_code(provider: OidcProvider) -> None:
    query = {"response_type": "code", "client_id": AGENT, "redirect_uri": REDIRECT_URI, "scope": "openid"}
    landed = provider.sign_in(f"{provider.issuer}/auth?{urlencode(query)}", "alice")
    assert "error=invalid_request" in landed


def test_an_opaque_token_is_introspected_refreshed_and_revoked(provider: OidcProvider) -> None:
    grant = provider.log_in("alice", OPAQUE, ["read"], offline=True)
    assert "." not in grant.access_token and grant.refresh_token is not None
    said = provider.introspect(grant.access_token)
    assert (said["active"], said["sub"], said["aud"], said["scope"]) == (True, "alice", OPAQUE, "read")
    assert provider.introspect(provider.refresh(grant.refresh_token).access_token)["active"] is True
    provider.revoke(grant.access_token)
    assert provider.introspect(grant.access_token) == {"active": False}


def test_a_service_gets_a_token_with_no_user_in_it(provider: OidcProvider) -> None:
    claims = part(provider.client_credentials(TOOLS, ["read"]).access_token, 1)
    assert (claims["sub"], claims["client_id"]) == (SERVICE, SERVICE)
    assert "preferred_username" not in claims


def test_a_token_is_exchanged_for_one_of_the_same_user_that_names_the_actor(provider: OidcProvider) -> None:
    for resource in (TOOLS, OPAQUE):
        subject = provider.log_in("alice", resource, ["read"]).access_token
        claims = part(provider.exchange(subject, BEHIND).access_token, 1)
        assert (claims["sub"], claims["aud"], claims["scope"]) == ("alice", BEHIND, "read")
        assert claims["act"] == {"sub": SERVICE}


@pytest.mark.parametrize(
    ("subject", "resource", "scopes", "code"),
    [
        ("rubbish.rubbish.rubbish", BEHIND, [], "invalid_grant"),
        (TOOLS, ELSEWHERE, [], "invalid_target"),
        (ELSEWHERE, BEHIND, [], "invalid_grant"),
        (TOOLS, BEHIND, ["write"], "invalid_scope"),
    ],
)
def test_an_exchange_that_the_policy_does_not_allow_is_refused(
    provider: OidcProvider, subject: str, resource: str, scopes: list[str], code: str
) -> None:
    token = provider.log_in("alice", subject, ["read"]).access_token if subject.startswith("https") else subject
    with pytest.raises(ProviderRefused) as refused:
        provider.exchange(token, resource, scopes)
    assert refused.value.code == code


def test_keys_come_and_go(provider: OidcProvider) -> None:
    def published() -> list[str]:
        return [key["kid"] for key in httpx.get(f"{provider.issuer}/jwks").json()["keys"]]

    (old,) = published()
    new = provider.rotate()
    assert published() == [new, old]
    assert part(provider.log_in("alice", TOOLS).access_token, 0)["kid"] == new
    provider.retire()
    assert published() == [new]


def test_it_answers_to_the_loopback_s_names_only(provider: OidcProvider) -> None:
    assert httpx.get(f"{provider.issuer}/jwks", headers={"host": "evil.example"}).status_code == 421


def test_a_provider_that_cannot_start_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended, or did not answer: .*unsupported"):
        OidcProvider(algorithm="HS256").start()


def test_it_is_gone_when_it_was_stopped(provider: OidcProvider) -> None:
    other = OidcProvider().start()
    port = urlsplit(other.issuer).port
    other.stop()
    other.stop()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port or 0)):
        pass
    with pytest.raises(RuntimeError, match="not running"):
        other.rotate()


def test_it_does_not_outlive_a_killed_test_run(tmp_path: Path) -> None:
    run = "import os; from actas.testing.oidc_provider import OidcProvider as P; print(P().start().issuer, flush=True)"
    command = [sys.executable, "-c", f"{run}; os._exit(1)"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    port = urlsplit(killed.stdout.strip()).port
    assert port
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    pytest.fail("it still listens")


def test_what_is_missing_fails_in_ci_and_skips_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ServerMissing), needed_in_ci():
        raise ServerMissing("no npm")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no npm"), needed_in_ci():
        raise ServerMissing("no npm")
