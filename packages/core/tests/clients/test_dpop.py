"""Tokens that are bound to a key of their client's (RFC 9449): of oidc-provider, and in the TypeScript SDK's hands."""

from typing import Any

import pytest

from actas.mcp.settings import DpopSettings
from actas.oauth.settings import Binding, TokenRules
from actas.testing.dpop import ProofKey
from actas.testing.oidc_provider import OidcProvider, ProviderRefused

from .conftest import WIRES, Browser, Step, shop_of, typescript
from .test_tokens import VERSIONS, call

pytestmark = pytest.mark.anyio

BOUND: dict[str, Any] = {"security": TokenRules(binding=Binding.DPOP)}


def for_a_token(key: ProofKey, provider: OidcProvider) -> str:
    """A proof for the token endpoint, where there is no token yet."""
    return key.proof("", f"{provider.issuer}/token", claims={"ath": None})


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_bound_token_is_good_with_a_proof_of_its_own_key_only(provider: OidcProvider, version: str) -> None:
    key, other = ProofKey(), ProofKey()
    async with shop_of(provider, BOUND, auth={"dpop": DpopSettings(require_nonce=True)}) as shop:
        proof = for_a_token(key, provider)
        token = provider.log_in("alice", shop.url, ["shop.read"], proof=proof).access_token
        asked = await call(shop, key.headers(token, shop.url), version, tool="shop-look")
        nonce = asked.headers["dpop-nonce"]
        good = key.headers(token, shop.url, nonce=nonce)
        stolen = {"authorization": f"Bearer {token}"}, other.headers(token, shop.url, nonce=nonce)
        statuses = [
            (await call(shop, headers, version, tool="shop-look")).status_code for headers in (good, good, *stolen)
        ]
        assert statuses == [200, 401, 401, 401]


async def test_a_token_that_is_not_bound_is_refused_where_binding_is_demanded(provider: OidcProvider) -> None:
    async with shop_of(provider, BOUND) as shop:
        token = provider.log_in("alice", shop.url).access_token
        assert (await call(shop, {"authorization": f"Bearer {token}"}, VERSIONS[1])).status_code == 401


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("nonce", [False, True])
async def test_the_typescript_client_binds_its_tokens_and_steps_up(
    provider: OidcProvider, wire: str, nonce: bool
) -> None:
    browser = Browser(provider, "alice")
    order: Step = ("callTool", {"name": "shop-order", "arguments": {}})
    async with shop_of(provider, BOUND, auth={"dpop": DpopSettings(require_nonce=nonce)}) as shop:
        _, ordered = await typescript(shop.url, browser, wire, [("listTools", {}), order], dpop=True)
    assert ordered["content"][0]["text"] == "order as alice"
    assert browser.asked == [{"shop.read"}, {"shop.read", "shop.order"}]


async def test_a_proof_is_good_for_the_provider_once() -> None:
    with OidcProvider() as provider:
        async with shop_of(provider) as shop:
            key = ProofKey()
            proof = for_a_token(key, provider)
            provider.log_in("alice", shop.url, proof=proof)
            with pytest.raises(ProviderRefused, match="invalid_grant"):
                provider.log_in("alice", shop.url, proof=proof)
            provider.demand_dpop_nonce()
            with pytest.raises(ProviderRefused, match="use_dpop_nonce"):
                provider.log_in("alice", shop.url, proof=for_a_token(key, provider))
