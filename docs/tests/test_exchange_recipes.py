"""The recipes for token exchange: each takes its provider's answers for what they are, and no others.

No provider can be reached from here. The shapes of the tokens are those that the providers document; requests, client
authentication and signatures are real, by an identity provider of our own in their place.
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from docs_blocks import blocks

from actas.core import ActasError, CredentialSource, MemorySink, Session
from actas.mcp import MCPOAuthServer
from actas.testing.idp import IdentityProvider
from actas.testing.idp_clients import DemoClient
from actas.testing.tokens import generate_key

pytestmark = pytest.mark.anyio

PAGE = "docs/how-to/exchange-tokens.md"
RESOURCE = "https://mcp.example.com/mcp"
UUID = "0f6a1c2e-5f0e-4b7e-9a51-7d1c3f3a2b10"
GONE: dict[str, object] = {"client_id": None, "preferred_username": None, "roles": None, "scope": None, "act": None}
KEY = generate_key("RS256")


@dataclass(frozen=True)
class Shape:
    """What a provider's tokens look like: ``None`` takes out what ours would have."""

    caller: dict[str, object]
    exchanged: dict[str, object]
    somebody_else: dict[str, object]
    """What another user's exchanged token has instead."""
    asked: dict[str, str]
    """What must be in the form."""
    typ: str | None = "JWT"
    answer: dict[str, object] = field(default_factory=dict[str, object])


SHAPES = {
    "keycloak": Shape(
        caller={**GONE, "sub": UUID, "azp": "mcp-client", "realm_access": {"roles": ["employee"]}, "typ": "Bearer"},
        exchanged={**GONE, "sub": UUID, "aud": "orders", "azp": "mcp-gateway", "scope": "profile email"},
        somebody_else={"sub": "another"},
        asked={"audience": "orders", "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"},
        answer={"refresh_expires_in": 0, "not-before-policy": 0, "scope": "profile email", "session_state": UUID},
    ),
    "entra-id": Shape(
        caller={**GONE, "aud": "66666666-7777-8888-9999-000000000000", "sub": "pairwise-1", "oid": UUID, "scp": "tools",
                "roles": ["Employee"], "ver": "2.0"},
        exchanged={**GONE, "aud": "11112222-bbbb-3333-cccc-4444dddd5555", "sub": "pairwise-2", "oid": UUID,
                   "scp": "orders.read", "azp": "66666666-7777-8888-9999-000000000000", "ver": "2.0"},
        somebody_else={"oid": "another"},
        asked={"requested_token_use": "on_behalf_of", "scope": "api://11112222-bbbb-3333-cccc-4444dddd5555/.default"},
        answer={"scope": "api://11112222-bbbb-3333-cccc-4444dddd5555/orders.read", "ext_expires_in": 3599},
    ),
    "okta": Shape(
        caller={**GONE, "sub": "alice@acme.example", "uid": "00u1", "cid": "0oa1", "scp": ["tools"]},
        exchanged={**GONE, "sub": "alice@acme.example", "uid": "00u1", "cid": "0oagateway", "scp": ["orders.read"],
                   "aud": "https://orders.example.com"},
        somebody_else={"uid": "00u2"},
        asked={"audience": "https://orders.example.com", "scope": "orders.read"},
        typ=None,
    ),
    "auth0": Shape(
        caller={**GONE, "sub": "auth0|1", "client_id": "caller", "https://acme.example/login": "alice"},
        exchanged={**GONE, "sub": "auth0|1", "azp": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja", "scope": "read:orders",
                   "aud": ["https://orders.example.com"]},
        somebody_else={"sub": "auth0|2"},
        asked={"audience": "https://orders.example.com", "scope": "read:orders"},
        typ="at+jwt",
    ),
    "identity-assertion": Shape(
        caller={},
        exchanged={"aud": "https://crm.example.net", "iss": "https://auth.example.net", "scope": None},
        somebody_else={"sub": "another"},
        asked={"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"},
        typ="at+jwt",
    ),
    "jwt-bearer": Shape(
        caller={},
        exchanged={"aud": "https://crm.example.net", "iss": "https://auth.example.net", "scope": None},
        somebody_else={"sub": "another"},
        asked={"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"},
        typ="at+jwt",
    ),
}  # fmt: skip


@pytest.fixture
def idp(monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityProvider]:
    monkeypatch.setenv("GATEWAY_SECRET", "the-gateways")
    monkeypatch.setenv("CRM_SECRET", "the-gateways")
    monkeypatch.setenv("GATEWAY_KEY", json.dumps(KEY.as_dict(private=True)))
    with IdentityProvider(audience=RESOURCE) as provider:
        yield provider


def test_every_recipe_is_tested() -> None:
    assert {block.title for block in blocks(PAGE) if block.title} == set(SHAPES)


@pytest.mark.parametrize("recipe", SHAPES)
async def test_a_recipe_gets_the_users_token_and_no_other(recipe: str, idp: IdentityProvider) -> None:
    shape = SHAPES[recipe]
    (block,) = [each for each in blocks(PAGE) if each.title == recipe]
    written: dict[str, Any] = tomllib.loads(block.text)
    (issuer,) = written["auth"]["trusted_idps"]
    (name, module), *_ = written["delegation"]["modules"].items()
    exchange = module["token_exchange"]
    issuer["jwks_uri"] = f"{idp.origin}{idp.jwks_path}"
    exchange["token_endpoint"] = idp.token_endpoint
    for client in (exchange["client"], exchange.get("identity_assertion", {}).get("client")):
        if client is not None:
            key = KEY if "private_key" in client else None
            secret = None if key else "the-gateways"
            idp.exchanges.clients.add(DemoClient(client["id"], secret=secret, key=key))
            if key is not None:
                client["audience"] = idp.issuer
    if "identity_assertion" in exchange:
        exchange["identity_assertion"]["token_endpoint"] = idp.token_endpoint
    server = MCPOAuthServer(written, audit_sink=MemorySink())
    try:
        token = idp.issue("x", claims={"iss": issuer["issuer"], **shape.caller}, headers={"typ": shape.typ})
        session = await server.core_context.authenticator.authenticate(token)
        source = server.core_context.registry.credentials(name)
        assert source is not None and not session.rejected
        idp.exchanges.headers = {"typ": shape.typ}
        good = {"iss": issuer["issuer"], **shape.exchanged}
        idp.exchanges.claims, idp.exchanges.answer = good, dict(shape.answer)
        credential = await source.obtain(session)
        assert credential.subject == good.get("sub", session.subject)
        assert shape.asked.items() <= idp.exchanges.asked[-1].items()
        for wrong in (shape.somebody_else, {"aud": RESOURCE}, {"iss": "https://elsewhere.example"}):
            await source.discard(session, credential)
            idp.exchanges.claims = {**good, **wrong}
            assert await _refused(source, session) == "exchange_refused", wrong
    finally:
        await server.release()


async def _refused(source: CredentialSource, session: Session) -> str:
    with pytest.raises(ActasError) as caught:
        await source.obtain(session)
    return caught.value.code
