"""Acceptance 1 to 23 again, where it can be: with real tokens of an authorization server that is not ours."""

import base64
import json
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from joserfc.jwk import RSAKey

from actas.core import Outcome
from actas.core.roles import RoleMappings
from actas.oauth.settings import ClaimMappings, TokenRules
from actas.testing import tokens
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import DemoUser
from actas.testing.oidc_provider import OidcProvider, Resource

from .conftest import Shopfront, shop_of

pytestmark = pytest.mark.anyio

VERSIONS = ["2025-11-25", "2026-07-28"]
ELSEWHERE = "https://elsewhere.test"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Quicker to make than one that is of use."""
STAFF = RoleMappings(user=["staff"])


async def post(
    shop: Shopfront, token: str, version: str = VERSIONS[1], tool: str | None = "user-info"
) -> httpx2.Response:
    """A call of ``tool``, or a list of the tools where it is None."""
    return await call(shop, {"authorization": f"Bearer {token}"}, version, tool)


async def call(
    shop: Shopfront, credentials: Mapping[str, str], version: str, tool: str | None = "user-info"
) -> httpx2.Response:
    """The same, with any headers for credentials."""
    method = "tools/list" if tool is None else "tools/call"
    params: dict[str, Any] = {} if tool is None else {"name": tool, "arguments": {}}
    headers = {"mcp-protocol-version": version, "accept": "application/json, text/event-stream", **credentials}
    if version == VERSIONS[1]:
        headers |= {"mcp-method": method, **({"mcp-name": tool} if tool else {})}
        reserved = {"protocolVersion": version, "clientCapabilities": {}}
        params["_meta"] = {f"io.modelcontextprotocol/{name}": value for name, value in reserved.items()}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with httpx2.AsyncClient(verify=NO_TLS) as http:
        return await http.post(shop.url, headers=headers, json=body)


async def who(shop: Shopfront, token: str) -> Mapping[str, Any]:
    """Who the server thinks that is."""
    response = await post(shop, token)
    assert response.status_code == 200, response.text
    return dict(response.json()["result"]["structuredContent"])


def part(token: str, index: int) -> dict[str, Any]:
    segment = token.split(".")[index]
    return dict(json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))))


def with_header(token: str, **changed: object) -> str:
    header = tokens.encode_segment({**part(token, 0), **changed}).decode()
    return ".".join([header, *token.split(".")[1:]])


def access(shop: Shopfront, user: str = "alice", *scopes: str) -> str:
    return shop.provider.log_in(user, shop.url, scopes).access_token


BAD: dict[str, Any] = {
    "1 unsigned": lambda shop: tokens.unsigned(part(access(shop), 1)),
    "3 tampered signature": lambda shop: tokens.tampered(access(shop)),
    "3 tampered claims": lambda shop: tokens.with_claims(access(shop), sub="bob", preferred_username="bob"),
    "6 for another service": lambda shop: shop.provider.log_in("alice", ELSEWHERE).access_token,
    "8 an ID token": lambda shop: shop.provider.log_in("alice", shop.url).id_token,
    "9 unknown crit": lambda shop: with_header(access(shop), crit=["x"], x=1),
    "10 unknown kid": lambda shop: with_header(access(shop), kid="nobody"),
    "opaque": lambda shop: shop.provider.log_in("alice", "https://opaque.test").access_token,
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", BAD)
async def test_a_token_that_is_not_for_us_or_was_changed_is_401(shop: Shopfront, kind: str, version: str) -> None:
    shop.provider.resources |= {ELSEWHERE: Resource(), "https://opaque.test": Resource(opaque=True)}
    shop.provider.changed()
    response = await post(shop, BAD[kind](shop), version)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert shop.provider.issuer not in f"{response.headers} {response.text}"
    (event,) = shop.sink.entries()
    assert (event.source, event.outcome, event.code) == ("auth", Outcome.REFUSED, "invalid_token")
    assert (await post(shop, access(shop), version)).status_code == 200


async def test_an_hmac_with_the_provider_s_public_key_is_401() -> None:
    with needed_in_ci(), OidcProvider(algorithm="RS256") as provider:
        async with shop_of(provider) as shop:
            good = access(shop)
            assert (await post(shop, good)).status_code == 200
            async with httpx.AsyncClient() as http:
                (jwk,) = (await http.get(f"{provider.issuer}/jwks")).json()["keys"]
            forged = tokens.hmac_with_public_key(part(good, 1), RSAKey.import_key(jwk), key_id=jwk["kid"])
            assert (await post(shop, forged)).status_code == 401


async def test_a_token_runs_out() -> None:
    with needed_in_ci(), OidcProvider(token_seconds=1) as provider:
        async with shop_of(provider, {"security": TokenRules(clock_tolerance=0)}) as shop:
            token = access(shop)
            assert (await post(shop, token)).status_code == 200
            await anyio.sleep(2)
            assert (await post(shop, token)).status_code == 401


async def test_a_token_of_another_provider_is_401(shop: Shopfront) -> None:
    with OidcProvider(users=shop.provider.users, resources=shop.provider.resources) as other:
        assert (await post(shop, other.log_in("alice", shop.url).access_token)).status_code == 401


async def test_keys_rotate_under_a_running_server(oidc_provider: OidcProvider) -> None:
    async with shop_of(oidc_provider, {"keys_refresh_interval": 0.2}) as shop:
        first, second, *unseen = [access(shop) for _ in range(40)]  # one that was verified is remembered
        assert (await post(shop, first)).status_code == 200
        oidc_provider.rotate()
        assert (await post(shop, access(shop))).status_code == 200
        assert (await post(shop, second)).status_code == 200
        oidc_provider.retire()
        assert (await post(shop, access(shop))).status_code == 200
        for token in unseen:
            if (await post(shop, token)).status_code == 401:
                break
            await anyio.sleep(0.2)
        else:
            pytest.fail("the key that left is still good")


async def test_while_the_provider_is_gone_its_last_keys_keep_working(oidc_provider: OidcProvider) -> None:
    async with shop_of(oidc_provider) as shop:
        seen, unseen = access(shop), access(shop, "bob")
        assert (await post(shop, seen)).status_code == 200
        oidc_provider.stop()
        assert (await post(shop, unseen)).status_code == 200


async def test_two_settings_for_one_issuer_are_chosen_by_audience(provider: OidcProvider) -> None:
    provider.resources[ELSEWHERE] = Resource()
    trusted = {"name": "a"}, {"name": "b", "audience": [ELSEWHERE], "role_mappings": RoleMappings(admin=["staff"])}
    async with shop_of(provider, *trusted) as shop:
        assert (await who(shop, access(shop)))["role"] == "user"
        assert (await who(shop, provider.log_in("alice", ELSEWHERE).access_token))["role"] == "admin"


async def test_the_server_knows_who_it_is_and_what_was_granted(shop: Shopfront) -> None:
    said = await who(shop, access(shop, "bob", "shop.read", "shop.order"))
    assert (said["username"], said["role"], said["scopes"]) == ("bob", "user", ["shop.read"])


@pytest.mark.parametrize("path", ["realm_access.roles", "https://ns.example/roles"])
async def test_roles_are_found_by_path_and_by_url(provider: OidcProvider, path: str) -> None:
    nested: dict[str, object] = {"realm_access": {"roles": ["staff"]}}
    claims = {path: ["staff"]} if path.startswith("https") else nested
    provider.users["carol"] = DemoUser(claims=claims)
    async with shop_of(provider, {"claim_mappings": ClaimMappings(roles=path)}) as shop:
        assert (await who(shop, access(shop, "carol")))["role"] == "user"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("roles", [["stranger"], {"staff": True}, 5])
async def test_roles_that_mean_nothing_here_are_403_and_no_challenge(
    provider: OidcProvider, roles: object, version: str
) -> None:
    provider.users["carol"] = DemoUser(claims={"roles": roles})
    async with shop_of(provider, {"role_mappings": replace(STAFF, reject_unmapped_roles=True)}) as shop:
        response = await post(shop, access(shop, "carol"), version)
    assert response.status_code == 403
    assert "www-authenticate" not in response.headers
    (event,) = shop.sink.entries()
    assert (event.code, event.subject) == ("session_rejected", "carol")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_guest_sees_no_tool_of_the_shop_and_can_call_none(shop: Shopfront, version: str) -> None:
    token = access(shop, "guest", "shop.read", "shop.order")
    listed = (await post(shop, token, version, tool=None)).json()["result"]["tools"]
    assert [tool["name"] for tool in listed if tool["name"].startswith("shop")] == []
    hidden, absent = [await post(shop, token, version, tool=tool) for tool in ("shop-order", "shop-nothing")]
    assert "Unknown tool" in hidden.text
    assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_missing_scope_is_403_that_names_every_scope_needed(shop: Shopfront, version: str) -> None:
    response = await post(shop, access(shop), version, tool="shop-order")
    assert response.status_code == 403
    challenge = response.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge and 'scope="shop.order shop.read"' in challenge
    stepped_up = access(shop, "alice", "shop.read", "shop.order")
    assert "order as alice" in (await post(shop, stepped_up, version, tool="shop-order")).text
