"""Tokens that stand for an application: as the providers that people use write them."""

from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core.models import UNASSIGNED
from actas.oauth import Authenticator, ClaimMappings
from actas.oauth.applications import is_application
from actas.testing.idp import IdentityProvider

from .conftest import ROLES

pytestmark = pytest.mark.anyio

Refused = Callable[[Authenticator, str], Awaitable[str]]
Make = Callable[..., Authenticator]
Claims = dict[str, object]

ENTRA: Claims = {"tid": "t", "oid": "o", "ver": "2.0"}
APPLICATIONS: dict[str, Claims] = {
    "RFC 9068": {"sub": "client-1", "client_id": "client-1"},
    "Entra, idtyp": {**ENTRA, "sub": "o", "azp": "c", "idtyp": "app", "scp": "odd"},
    "Entra, roles": {**ENTRA, "sub": "o", "azp": "c", "roles": ["Orders.Read.All"]},
    "Entra v1, no roles": {**ENTRA, "sub": "o", "appid": "c", "ver": "1.0"},
    "Auth0, gty": {"sub": "AbC@clients", "azp": "AbC", "gty": "client-credentials"},
    "Auth0, mapped sub": {"sub": "x", "gty": "client-credentials"},
    "Auth0, several": {"sub": "x", "gty": ["refresh_token", "client-credentials"]},
    "Auth0, sub": {"sub": "AbC@clients"},
    "UAA": {"sub": "x", "grant_type": "client_credentials"},
    "Keycloak": {"sub": "uuid", "azp": "svc", "preferred_username": "service-account-svc"},
    "Keycloak, introspected": {"sub": "uuid", "client_id": "svc", "username": "service-account-svc"},
    "Okta": {"sub": "0oa1", "cid": "0oa1", "scp": ["api"]},
    "Cognito": {"sub": "1h57kf5cpq17m0eml12EXAMPLE", "client_id": "1h57kf5cpq17m0eml12EXAMPLE", "token_use": "access"},
    "azp alone": {"sub": "svc", "azp": "svc"},
}
USERS: dict[str, Claims] = {
    "RFC 9068": {"sub": "alice", "client_id": "client-1"},
    "Entra": {**ENTRA, "sub": "pairwise", "azp": "c", "scp": "access_as_user", "roles": ["Reader"]},
    "Entra, idtyp": {**ENTRA, "sub": "pairwise", "azp": "c", "idtyp": "user"},
    "Auth0": {"sub": "auth0|123", "azp": "AbC", "gty": "refresh_token"},
    "Auth0, list": {"sub": "auth0|123", "gty": ["authorization_code"]},
    "Keycloak": {"sub": "uuid", "azp": "web", "preferred_username": "alice", "sid": "s"},
    "Okta": {"sub": "alice@example.com", "cid": "0oa1", "uid": "00u1", "scp": ["openid"]},
    "Cognito": {"sub": "uuid", "username": "alice", "client_id": "c", "token_use": "access"},
    "Google": {"sub": "1234", "azp": "x.apps.googleusercontent.com", "email": "a@b.example"},
    "nothing": {"sub": "alice"},
    "no sub": {},
}


@pytest.mark.parametrize("kind", APPLICATIONS)
def test_an_application_is_known_as_one(kind: str) -> None:
    assert is_application(APPLICATIONS[kind])


@pytest.mark.parametrize("kind", USERS)
def test_a_user_is_not_taken_for_an_application(kind: str) -> None:
    assert not is_application(USERS[kind])


@pytest.mark.parametrize("kind", APPLICATIONS)
async def test_an_application_is_admitted_to_nothing_by_default(
    authenticator: Authenticator, idp: IdentityProvider, kind: str
) -> None:
    session = await authenticator.authenticate(idp.issue(claims={**APPLICATIONS[kind], "roles": ["boss"]}))
    assert (session.rejected, session.application, session.role) == (True, True, UNASSIGNED)
    assert (session.permissions, session.scopes, session.legacy_username) == (frozenset(), frozenset(), None)
    assert str(session.rejection_reason).startswith("application: ")


async def test_an_application_that_is_accepted_has_its_roles_and_no_name_downstream(
    idp: IdentityProvider, make: Make
) -> None:
    mappings = ClaimMappings(legacy_username="preferred_username")
    authenticator = make(idp.trusted(claim_mappings=mappings, role_mappings=ROLES, accept_applications=True))
    app = await authenticator.authenticate(
        idp.issue(claims={**APPLICATIONS["Keycloak"], "roles": ["staff"], "scope": "x"})
    )
    assert (app.rejected, app.application, app.legacy_username) == (False, True, None)
    assert (app.role, app.permissions, app.scopes) == ("user", {"sql:read"}, {"x"})
    user = await authenticator.authenticate(idp.issue("alice"))
    assert (user.application, user.legacy_username) == (False, "alice")


async def test_an_application_without_an_accepted_role_is_rejected_for_that(idp: IdentityProvider, make: Make) -> None:
    authenticator = make(idp.trusted(role_mappings=ROLES, accept_applications=True))
    session = await authenticator.authenticate(idp.issue(claims={**APPLICATIONS["Okta"], "roles": [5]}))
    assert session.rejected
    assert "roles claim" in str(session.rejection_reason)


async def test_an_introspected_token_that_nobody_authorised_is_an_application(
    idp: IdentityProvider, make: Make
) -> None:
    for accept in (False, True):
        authenticator = make(idp.trusted(accept_applications=accept, introspection=idp.introspection()))
        session = await authenticator.authenticate(idp.issue_opaque(sub=None, client_id="svc"))
        assert (session.subject, session.application, session.rejected) == ("svc", True, not accept)


async def test_an_application_may_act_for_a_user_and_is_then_an_actor(idp: IdentityProvider, make: Make) -> None:
    session = await make(idp.trusted()).authenticate(idp.issue("alice", claims={"act": {"sub": "demo-client"}}))
    assert (session.application, session.rejected) == (False, True)
    assert "unknown_actor" in str(session.rejection_reason)


_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["app", "user", "x", "x@clients"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=2), children, max_size=2),
    max_leaves=5,
)
_NAMES = ["idtyp", "gty", "grant_type", "sub", "preferred_username", "username", "client_id", "azp", "cid", "appid"]


@given(claims=st.dictionaries(st.sampled_from([*_NAMES, "tid", "oid", "scp"]), _value))
def test_any_claims_are_judged_without_an_exception(claims: Claims) -> None:
    assert is_application(claims) in (True, False)
