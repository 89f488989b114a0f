"""From claims to a session: names, roles, scopes, actors, the cache and the deny list."""

import logging
from collections.abc import Awaitable, Callable
from functools import reduce
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core.errors import AuthenticationError, LimitExceeded
from actas.core.roles import Permissions, RoleMappings
from actas.oauth import Authenticator, ClaimMappings
from actas.oauth.claims import ClaimPath, scopes_of
from actas.oauth.denylist import DenyList, Revocation
from actas.testing.idp import IdentityProvider
from actas.testing.tokens import tampered

from .conftest import ROLES, Clock

pytestmark = pytest.mark.anyio

Refused = Callable[[Authenticator, str], Awaitable[str]]
Make = Callable[..., Authenticator]


async def test_scope_as_a_string_and_scp_as_a_list_are_the_same(
    authenticator: Authenticator, idp: IdentityProvider
) -> None:
    expected = frozenset({"sql:read", "sql:write"})
    shapes: list[dict[str, object]] = [
        {"scope": "sql:read sql:write"},
        {"scope": ["sql:read", "sql:write"]},
        {"scope": None, "scp": ["sql:write", "sql:read"]},
        {"scope": None, "scp": "sql:write sql:read"},
    ]
    for claims in shapes:
        assert (await authenticator.authenticate(idp.issue(claims=claims))).scopes == expected
    assert (await authenticator.authenticate(idp.issue(claims={"scope": None}))).scopes == frozenset()


@pytest.mark.parametrize("scope", [5, {"a": 1}, ["a", 5], True])
async def test_scopes_of_a_wrong_type_are_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, scope: object
) -> None:
    assert await refused(authenticator, idp.issue(claims={"scope": scope})) == "malformed_claim"


async def test_roles_give_permissions(authenticator: Authenticator, idp: IdentityProvider) -> None:
    session = await authenticator.authenticate(idp.issue(roles=["staff", "audit", "unheard-of"]))
    assert (session.role, session.custom_roles) == ("user", ("auditor",))
    assert session.permissions == {"sql:read", "log:read"}
    guest = await authenticator.authenticate(idp.issue(roles=[]))
    assert (guest.role, guest.permissions, guest.rejected) == ("guest", frozenset(), False)


async def test_claims_are_found_nested_and_under_urls(idp: IdentityProvider, make: Make) -> None:
    url = "https://ns.example/roles"
    for path, claims in (
        ("realm_access.roles", {"realm_access": {"roles": ["staff"]}}),
        (url, {url: ["staff"]}),
        ("realm_access.roles", {"realm_access.roles": "staff"}),
    ):
        mappings = ClaimMappings(roles=path, username="who.name", legacy_username="who.old", scopes="who.may")
        authenticator = make(idp.trusted(claim_mappings=mappings, role_mappings=ROLES))
        who = {"name": "Alice", "old": "ALICE$", "may": ["x"]}
        session = await authenticator.authenticate(idp.issue(claims={**claims, "who": who}))
        assert (session.role, session.username, session.legacy_username) == ("user", "Alice", "ALICE$")
        assert session.scopes == {"x"}


async def test_the_user_id_may_be_another_claim_and_must_be_there(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    authenticator = make(idp.trusted(claim_mappings=ClaimMappings(user_id="oid")))
    assert (await authenticator.authenticate(idp.issue(claims={"oid": "123"}))).subject == "123"
    assert await refused(authenticator, idp.issue()) == "missing_claim"


async def test_names_that_are_absent_or_unfit(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    authenticator = make(idp.trusted(claim_mappings=ClaimMappings(legacy_username="old")))
    session = await authenticator.authenticate(idp.issue(claims={"preferred_username": None}))
    assert (session.username, session.legacy_username) == ("alice", None)
    for old in (5, ["x"], "", "a\x00b", "x" * 300):
        assert (await authenticator.authenticate(idp.issue(claims={"old": old}))).legacy_username is None
    for name in (5, "", "a\nb", ["alice"]):
        assert await refused(authenticator, idp.issue(claims={"preferred_username": name})) == "malformed_claim"


@pytest.mark.parametrize("roles", [5, {"a": 1}, ["staff", 5], True])
async def test_roles_of_a_wrong_type_make_a_rejected_session_and_no_exception(
    authenticator: Authenticator, idp: IdentityProvider, roles: object
) -> None:
    session = await authenticator.authenticate(idp.issue(claims={"roles": roles}))
    assert (session.role, session.rejected, session.permissions) == ("unassigned", True, frozenset())
    assert session.rejection_reason


async def test_unmapped_roles_may_be_rejected(idp: IdentityProvider, make: Make) -> None:
    authenticator = make(idp.trusted(role_mappings=RoleMappings(user=["staff"], reject_unmapped_roles=True)))
    session = await authenticator.authenticate(idp.issue(roles=["other"]))
    assert session.rejected
    assert not (await authenticator.authenticate(idp.issue(roles=["staff"]))).rejected


async def test_claims_cannot_be_changed(authenticator: Authenticator, idp: IdentityProvider) -> None:
    session = await authenticator.authenticate(idp.issue())
    with pytest.raises(TypeError):
        session.claims["sub"] = "bob"  # type: ignore[index] # wrong on purpose


async def test_a_token_is_verified_once_and_served_from_the_cache_while_it_lives(
    authenticator: Authenticator, idp: IdentityProvider, clock: Clock
) -> None:
    token = idp.issue(expires_in=30)
    session = await authenticator.authenticate(token)
    assert authenticator.cached(token.encode()) is session
    assert await authenticator.authenticate(token) is session
    clock.now += 59
    assert authenticator.cached(token.encode()) is session
    clock.now += 1
    assert authenticator.cached(token.encode()) is None


async def test_claims_alone_are_verified_just_as_strictly_and_not_cached(
    authenticator: Authenticator, idp: IdentityProvider
) -> None:
    token = idp.issue("alice")
    assert (await authenticator.verify(token))["sub"] == "alice"
    assert authenticator.cached(token.encode()) is None
    for bad in (tampered(token), idp.issue(expires_in=-61), idp.issue(audience="https://other.example"), "é"):
        with pytest.raises(AuthenticationError):
            await authenticator.verify(bad)


async def test_the_tokens_own_end_cuts_the_time_in_the_cache_short(
    idp: IdentityProvider, make: Make, refused: Refused, clock: Clock
) -> None:
    authenticator = make(idp.trusted(), cache_ttl=300)
    token = idp.issue(expires_in=10)
    await authenticator.authenticate(token)
    clock.now += 69
    assert authenticator.cached(token.encode()) is not None
    clock.now += 1
    assert await refused(authenticator, token) == "expired"


async def test_the_cache_is_bounded_and_may_be_off(idp: IdentityProvider, make: Make) -> None:
    small, off = make(idp.trusted(), cache_size=2), make(idp.trusted(), cache_size=0)
    issued = [idp.issue() for _ in range(3)]
    for token in issued:
        await small.authenticate(token)
        await off.authenticate(token)
    assert [small.cached(token.encode()) is not None for token in issued] == [False, True, True]
    assert all(off.cached(token.encode()) is None for token in issued)


@pytest.mark.parametrize("what", ["jti", "subject", "session"])
async def test_what_is_revoked_is_refused_at_once_cached_or_not(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock, what: str
) -> None:
    token = idp.issue("alice", claims={"jti": "j", "sid": "s"})
    other = idp.issue("bob")
    await authenticator.authenticate(token)
    await authenticator.authenticate(other)
    value = {"jti": "j", "subject": "alice", "session": "s"}[what]
    authenticator.revoke(**{what: value}, until=clock.now + 100)
    assert await refused(authenticator, token) == "revoked"
    assert authenticator.cached(other.encode()) is not None
    clock.now += 100
    assert (await authenticator.authenticate(token)).subject == "alice"


async def test_nothing_of_a_token_is_logged(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), idp.outage():
        token = idp.issue("alice")
        await refused(authenticator, token)
    with caplog.at_level(logging.DEBUG):
        await refused(authenticator, token[:-4])
    ours = " ".join(record.getMessage() for record in caplog.records)
    assert "signing keys" in ours
    assert token not in ours
    assert "alice" not in ours


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b", ""]), children),
    max_leaves=10,
)


@given(
    path=st.text(alphabet="ab.:/", max_size=8),
    claims=st.dictionaries(st.sampled_from(["a", "b", "a.b", ".", ""]), _json),
)
def test_any_path_finds_what_is_there_or_nothing(path: str, claims: dict[str, object]) -> None:
    found = ClaimPath(path).find(claims)
    if claims.get(path) is not None:
        assert found is claims[path]
    elif found is not None:
        assert found is reduce(lambda value, part: value[part], path.split("."), cast(Any, claims))  # Any: JSON


@given(value=_json)
def test_scopes_are_strings_or_refused(value: object) -> None:
    try:
        scopes = scopes_of(value)
    except AuthenticationError as error:
        assert error.reason == "malformed_claim"
    else:
        assert all(scope and not any(mark.isspace() for mark in scope) for scope in scopes)


async def test_a_subject_that_is_mapped_from_another_claim_is_revoked_by_its_own_name(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    authenticator = make(idp.trusted(claim_mappings=ClaimMappings(user_id="oid")))
    token = idp.issue(claims={"oid": "123"})
    await authenticator.authenticate(token)
    authenticator.revoke(subject="123")
    assert await refused(authenticator, token) == "revoked"


def test_a_full_deny_list_forgets_nothing_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actas.oauth.denylist.MAX_DENIED", 2)
    denied = DenyList()
    denied.add(Revocation(claim="jti", value="a", until=10.0), 0.0)
    denied.add(Revocation(claim="jti", value="b", until=100.0), 0.0)
    with pytest.raises(LimitExceeded):
        denied.add(Revocation(claim="jti", value="c", until=100.0), 9.0)
    denied.add(Revocation(claim="jti", value="b", until=50.0), 9.0)
    denied.add(Revocation(claim="jti", value="c", until=100.0), 10.0)


def test_no_permissions_come_by_themselves() -> None:
    assert Permissions().of(["admin", "user", "guest"]) == frozenset()
