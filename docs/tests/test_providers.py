"""The pages about identity providers: each configuration takes that provider's tokens for what they are.

No provider can be reached from here. The shapes of the tokens (headers, names of claims) are those that the
providers document; the signatures are real, by an identity provider of our own in their place.
"""

import tomllib
from dataclasses import dataclass, field
from typing import Any

import pytest
from docs_blocks import ROOT, blocks

from actas.core import AuthenticationError, MemorySink, Session
from actas.mcp import MCPOAuthServer
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio

PAGES = "docs/how-to/providers"
RESOURCE = "https://mcp.example.com/mcp"
UUID = "0f6a1c2e-5f0e-4b7e-9a51-7d1c3f3a2b10"


@dataclass(frozen=True)
class Shape:
    """What a provider's tokens look like: ``None`` takes out what ours would have."""

    header: dict[str, object]
    user: dict[str, object]
    application: dict[str, object]
    subject: str
    username: str
    legacy_username: str | None
    role: str = "user"
    scopes: set[str] = field(default_factory=set[str])


NOTHING: dict[str, object] = {"client_id": None, "preferred_username": None, "roles": None, "scope": None}
SHAPES = {
    "keycloak": Shape(
        header={"typ": "JWT"},
        user={
            **NOTHING,
            "sub": UUID,
            "typ": "Bearer",
            "azp": "mcp-client",
            "sid": UUID,
            "acr": "1",
            "realm_access": {"roles": ["offline_access", "employee"]},
            "scope": "openid profile email",
            "preferred_username": "alice",
        },
        application={
            **NOTHING,
            "sub": UUID,
            "typ": "Bearer",
            "azp": "batch",
            "client_id": "batch",
            "realm_access": {"roles": ["employee"]},
            "scope": "profile email",
            "preferred_username": "service-account-batch",
        },
        subject=UUID,
        username="alice",
        legacy_username="alice",
        scopes={"openid", "profile", "email"},
    ),
    "entra-id": Shape(
        header={"typ": "JWT"},
        user={
            **NOTHING,
            "aud": "66666666-7777-8888-9999-000000000000",
            "sub": "pairwise-AbC",
            "oid": UUID,
            "azp": "11111111-aaaa-bbbb-cccc-000000000000",
            "azpacr": "0",
            "scp": "tools",
            "roles": ["Employee"],
            "idtyp": "user",
            "preferred_username": "alice@acme.example",
            "ver": "2.0",
            "uti": "x",
            "rh": "x",
        },
        application={
            **NOTHING,
            "aud": "66666666-7777-8888-9999-000000000000",
            "sub": UUID,
            "oid": UUID,
            "azp": "11111111-aaaa-bbbb-cccc-000000000000",
            "azpacr": "1",
            "roles": ["Employee"],
            "idtyp": "app",
            "ver": "2.0",
        },
        subject=UUID,
        username="alice@acme.example",
        legacy_username="alice@acme.example",
        scopes={"tools"},
    ),
    "auth0": Shape(
        header={"typ": "at+jwt"},
        user={
            **NOTHING,
            "aud": [RESOURCE, "https://acme.eu.auth0.com/userinfo"],
            "sub": "auth0|6553da60a54af58e29493993",
            "client_id": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
            "scope": "openid profile",
            "https://acme.example/roles": ["employee"],
            "https://acme.example/login": "alice",
        },
        application={
            **NOTHING,
            "sub": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja@clients",
            "client_id": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
            "https://acme.example/roles": ["employee"],
        },
        subject="auth0|6553da60a54af58e29493993",
        username="alice",
        legacy_username="alice",
        scopes={"openid", "profile"},
    ),
    "okta": Shape(
        header={"typ": None},
        user={
            **NOTHING,
            "ver": 1,
            "jti": "AT.x",
            "cid": "0oa1",
            "uid": "00u1abcd",
            "sub": "alice@acme.example",
            "scp": ["openid", "tools"],
            "auth_time": 1,
            "roles": ["mcp-employee"],
            "login": "alice",
        },
        application={
            **NOTHING,
            "ver": 1,
            "jti": "AT.x",
            "cid": "0oa2",
            "sub": "0oa2",
            "scp": ["tools"],
        },
        subject="00u1abcd",
        username="alice@acme.example",
        legacy_username="alice",
        scopes={"openid", "tools"},
    ),
    "cognito": Shape(
        header={"typ": None},
        user={
            **NOTHING,
            "sub": UUID,
            "cognito:groups": ["employee"],
            "version": 2,
            "client_id": "xxxxxxxxxxxxexample",
            "origin_jti": "x",
            "event_id": "x",
            "token_use": "access",
            "scope": "openid https://mcp.example.com/mcp/tools",
            "auth_time": 1,
            "username": "alice",
        },
        application={
            **NOTHING,
            "sub": "xxxxxxxxxxxxexample",
            "client_id": "xxxxxxxxxxxxexample",
            "version": 2,
            "token_use": "access",
            "scope": "https://mcp.example.com/mcp/tools",
            "auth_time": 1,
        },
        subject=UUID,
        username="alice",
        legacy_username="alice",
        scopes={"openid", "https://mcp.example.com/mcp/tools"},
    ),
}


@pytest.fixture(scope="module")
def idp() -> Any:  # Any: a generator, as pytest has them
    with IdentityProvider(audience=RESOURCE) as provider:
        yield provider


async def session_of(page: str, idp: IdentityProvider, header: dict[str, object], claims: dict[str, object]) -> Session:
    """Who such a token is, with the page's configuration; ``idp`` stands in the provider's place."""
    (block,) = [each for each in blocks(f"{PAGES}/{page}.md") if each.language == "toml"]
    written = tomllib.loads(block.text)
    (issuer,) = written["auth"]["trusted_idps"]
    issuer["jwks_uri"] = f"{idp.origin}{idp.jwks_path}"
    token = idp.issue("x", claims={**claims, "iss": issuer["issuer"]}, headers=header)
    server = MCPOAuthServer(written, audit_sink=MemorySink())
    try:
        return await server.core_context.authenticator.authenticate(token)
    finally:
        await server.release()


@pytest.mark.parametrize("page", SHAPES)
async def test_a_users_token_of_the_provider_is_taken_for_who_he_is(page: str, idp: IdentityProvider) -> None:
    shape = SHAPES[page]
    session = await session_of(page, idp, shape.header, shape.user)
    assert not session.rejected
    assert (session.subject, session.username, session.legacy_username, session.role, set(session.scopes)) == (
        shape.subject, shape.username, shape.legacy_username, shape.role, shape.scopes
    )  # fmt: skip
    assert "sql:read" in session.permissions


@pytest.mark.parametrize("page", SHAPES)
async def test_an_applications_token_of_the_provider_is_admitted_to_nothing(page: str, idp: IdentityProvider) -> None:
    try:
        session = await session_of(page, idp, SHAPES[page].header, SHAPES[page].application)
    except AuthenticationError:
        return
    assert session.rejected


@pytest.mark.parametrize("page", SHAPES)
async def test_an_id_token_of_the_provider_is_refused(page: str, idp: IdentityProvider) -> None:
    shape = SHAPES[page]
    claims = {**shape.user, "aud": "the-client", "nonce": "n", "at_hash": "h", "token_use": "id"}
    with pytest.raises(AuthenticationError):
        await session_of(page, idp, shape.header, claims)


async def test_a_workload_of_google_is_admitted_by_name_and_others_are_not(idp: IdentityProvider) -> None:
    claims = {**NOTHING, "sub": "117", "azp": "117", "email_verified": True}
    named = {**claims, "email": "reports@acme-prod.iam.gserviceaccount.com"}
    session = await session_of("google", idp, {"typ": "JWT"}, named)
    assert (session.application, session.role, session.legacy_username) == (True, "reporter", None)
    stranger = await session_of("google", idp, {"typ": "JWT"}, {**claims, "email": "x@other.iam.gserviceaccount.com"})
    assert stranger.rejected
    with pytest.raises(AuthenticationError):
        await session_of("google", idp, {"typ": "JWT"}, {**named, "at_hash": "a person's"})


def test_each_page_is_in_the_table() -> None:
    table = (ROOT / PAGES / "README.md").read_text()
    pages = {path.name for path in (ROOT / PAGES).glob("*.md")} - {"README.md"}
    assert pages and all(f"]({page})" in table for page in pages)
