"""A session from a file: the provider's own mappings make it, and nothing in the file can break more than itself."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actas.cli.session_file import SessionDescription, read_session
from actas.core import AuthenticationError, ConfigurationError, Permissions, RoleMappings, Session
from actas.mcp import AuthSettings
from actas.oauth.sessions import SessionFactory
from actas.oauth.settings import ClaimMappings, KnownActor, TrustedIssuer

KEYCLOAK = TrustedIssuer(
    name="keycloak",
    issuer="https://login.example/realms/acme",
    audience=["https://mcp.example/mcp"],
    claim_mappings=ClaimMappings(roles="realm_access.roles", legacy_username="preferred_username"),
    role_mappings=RoleMappings(user=["employee"], custom={"auditor": ["audit"]}),
    actors=[KnownActor(subject="agent", permissions=["sql:read"], roles=["user"])],
)
AUTH0 = TrustedIssuer(
    name="auth0",
    issuer="https://acme.auth0.example/",
    audience=["https://mcp.example/mcp"],
    claim_mappings=ClaimMappings(roles="https://acme.example/roles", user_id="sub", scopes="permissions.all"),
    role_mappings=RoleMappings(admin=["boss"], reject_unmapped_roles=True),
    accept_applications=True,
)
PERMISSIONS = Permissions(admin=["sql:write"], user=["sql:read", "sql:list"], custom={"auditor": ["sql:audit"]})
BOTH = AuthSettings(trusted_idps=[KEYCLOAK, AUTH0], permissions=PERMISSIONS)


def read(folder: Path, auth: AuthSettings = BOTH, **described: Any) -> Session:
    path = folder / "session.json"
    path.write_text(json.dumps(described))
    return read_session(path, auth)


def problems(folder: Path, auth: AuthSettings = BOTH, **described: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, auth, **described)
    return [problem.removeprefix(f"{folder / 'session.json'}: ") for problem in caught.value.problems]


def test_roles_become_what_the_providers_mappings_make_of_them(tmp_path: Path) -> None:
    session = read(
        tmp_path,
        provider="keycloak",
        subject="8a3f",
        username="alice",
        roles=["employee", "audit"],
        scopes=["read", "write"],
        client_id="desktop",
        claims={"department": "sales", "realm_access": {"other": 1}},
    )
    assert (session.role, session.custom_roles) == ("user", ("auditor",))
    assert session.permissions == {"sql:read", "sql:list", "sql:audit"}
    assert session.scopes == {"read", "write"}
    assert (session.subject, session.username, session.legacy_username) == ("8a3f", "alice", "alice")
    assert (session.provider, session.issuer, session.client_id) == ("keycloak", KEYCLOAK.issuer, "desktop")
    assert session.claims["department"] == "sales"
    assert session.claims["realm_access"] == {"other": 1, "roles": ["employee", "audit"]}
    assert session.expires_at == math.inf


def test_claims_by_url_and_mapped_scopes_find_their_place(tmp_path: Path) -> None:
    session = read(tmp_path, provider="auth0", subject="a", roles=["boss"], scopes=["x"])
    assert (session.role, session.scopes) == ("admin", {"x"})
    assert session.claims["https://acme.example/roles"] == ["boss"]
    assert session.claims["permissions"] == {"all": "x"}


def test_whoever_acts_limits_as_in_a_token(tmp_path: Path) -> None:
    described: dict[str, Any] = {"provider": "keycloak", "subject": "a", "roles": ["employee", "audit"]}
    session = read(tmp_path, **described, actors=["agent", "earlier"])
    assert [actor.subject for actor in session.actors] == ["agent", "earlier"]
    assert session.permissions == {"sql:read"}
    assert read(tmp_path, **described, actors=["stranger"]).rejected


def test_an_application_is_one_and_may_be_rejected(tmp_path: Path) -> None:
    assert read(tmp_path, provider="auth0", subject="app", client_id="app", roles=["boss"]).application
    assert read(tmp_path, provider="keycloak", subject="app", client_id="app", roles=["employee"]).rejected
    assert read(tmp_path, provider="auth0", subject="a", roles=["nothing"]).rejected


def test_the_one_provider_that_there_is_needs_no_name(tmp_path: Path) -> None:
    one = AuthSettings(trusted_idps=[KEYCLOAK])
    assert read(tmp_path, one, subject="a").provider == "keycloak"
    assert problems(tmp_path, subject="a") == ["provider: is required; there are keycloak, auth0"]
    (told,) = problems(tmp_path, one, subject="a", provider="keyclaok")
    assert told == "provider: is none of the trusted identity providers; there are keycloak"


@pytest.mark.parametrize(
    ("described", "told"),
    [
        ({"claims": {"realm_access": {"roles": []}}, "roles": ["x"]}, "roles: claims has realm_access.roles already"),
        ({"claims": {"realm_access": 5}, "roles": ["x"]}, "roles: there is no room for realm_access.roles in claims"),
        ({"claims": {"sub": "b"}}, "subject: claims has sub already: say it once"),
        ({"claims": {"act": {"sub": "b"}}, "actors": ["c"]}, "actors: claims has act already: say it once"),
    ],
)
def test_what_is_said_twice_is_refused(tmp_path: Path, described: dict[str, Any], told: str) -> None:
    (problem,) = problems(tmp_path, provider="keycloak", subject="a", **described)
    assert problem.startswith(told)


@pytest.mark.parametrize(
    "line",
    ["when = 2026-01-01", "when = 09:00:00", "when = 2026-01-01T00:00:00Z", "n = nan", "n = [inf]", "n = {m = -inf}"],
)
def test_what_no_token_can_hold_is_refused_with_its_path(tmp_path: Path, line: str) -> None:
    path = tmp_path / "session.toml"
    path.write_text(f'provider = "keycloak"\nsubject = "a"\n[claims]\n{line}\n')
    with pytest.raises(ConfigurationError) as caught:
        read_session(path, BOTH)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: claims.") and "is nothing that a token can hold" in problem


def test_claims_may_be_nested_but_not_without_end(tmp_path: Path) -> None:
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    (told,) = problems(tmp_path, provider="keycloak", subject="a", claims={"x": deep})
    assert "nested more than 32 deep" in told


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
NAMES = st.sampled_from([each for each in SessionDescription.__dataclass_fields__]) | st.text(max_size=8)
SAFE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SAFE
@given(described=st.dictionaries(NAMES, JSON, max_size=6))
def test_any_file_is_a_session_or_refused_with_its_name(tmp_path: Path, described: dict[str, Any]) -> None:
    try:
        session = read(tmp_path, **{"subject": "a", "provider": "keycloak", **described})
    except AuthenticationError:
        return
    except ConfigurationError as error:
        assert error.problems and all(str(tmp_path) in problem for problem in error.problems)
        return
    assert session.provider in ("keycloak", "auth0")
    assert session.permissions <= {"sql:read", "sql:list", "sql:audit", "sql:write"}


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=10)


@SAFE
@given(
    subject=TEXT,
    roles=st.lists(st.sampled_from(["employee", "audit", "boss", "x"]), max_size=4),
    scopes=st.lists(TEXT, max_size=4),
)
def test_a_file_comes_to_what_a_token_with_these_claims_comes_to(
    tmp_path: Path, subject: str, roles: list[str], scopes: list[str]
) -> None:
    session = read(tmp_path, provider="keycloak", subject=subject, roles=roles, scopes=scopes)
    claims: dict[str, object] = {"sub": subject, "realm_access": {"roles": roles}, "scope": " ".join(scopes)}
    token = SessionFactory(KEYCLOAK, PERMISSIONS).make("x.y.z", claims, math.inf)
    for name in ("subject", "username", "role", "custom_roles", "permissions", "scopes", "rejected", "application"):
        assert getattr(session, name) == getattr(token, name), name
