"""Tokens that say nothing by themselves, services without a user and agents that act for one: of oidc-provider."""

from collections.abc import Mapping
from typing import Any

import pytest

from actas.core import Secret
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.settings import IntrospectionSettings, KnownActor
from actas.testing.oidc_provider import SERVICE, SERVICE_SECRET, OidcProvider

from .conftest import WIRES, Application, Browser, Step, shop_of
from .test_tokens import VERSIONS, access, post, who

pytestmark = pytest.mark.anyio


def looked_up(**fields: Any) -> Mapping[str, Any]:
    """Settings with which opaque tokens are asked about."""
    client = ClientCredentials(id=SERVICE, secret=Secret(SERVICE_SECRET))
    return {"introspection": IntrospectionSettings(client=client, **fields)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("signed", [False, True])
async def test_an_opaque_token_is_looked_up(provider: OidcProvider, version: str, signed: bool) -> None:
    async with shop_of(provider, looked_up(signed_responses=signed), opaque=True) as shop:
        token = access(shop, "bob", "shop.read", "shop.order")
        assert "." not in token
        assert (await post(shop, token, version, tool="shop-look")).status_code == 200
        said = await who(shop, token)
        assert (said["username"], said["role"], said["scopes"]) == ("bob", "user", ["shop.read"])
        refused = await post(shop, token, version, tool="shop-order")
        assert 'scope="shop.order shop.read"' in refused.headers["www-authenticate"]


async def test_a_revoked_opaque_token_is_refused_from_then_on(provider: OidcProvider) -> None:
    async with shop_of(provider, looked_up(cache_seconds=0), opaque=True) as shop:
        token, other = access(shop), access(shop, "bob")
        assert (await post(shop, token)).status_code == 200
        provider.revoke(token)
        assert (await post(shop, token)).status_code == 401
        assert (await post(shop, other)).status_code == 200


async def test_an_opaque_token_for_another_service_is_refused(provider: OidcProvider) -> None:
    async with (
        shop_of(provider, looked_up(), opaque=True) as shop,
        shop_of(provider, looked_up(), opaque=True) as other,
    ):
        assert (await post(shop, access(other))).status_code == 401


@pytest.mark.parametrize("wire", WIRES)
async def test_clients_step_up_with_opaque_tokens_as_with_others(
    provider: OidcProvider, application: Application, wire: str
) -> None:
    browser = Browser(provider, "alice")
    async with shop_of(provider, looked_up(), opaque=True) as shop:
        order: Step = ("callTool", {"name": "shop-order", "arguments": {}})
        _, ordered = await application(shop.url, browser, wire, [("listTools", {}), order])
        assert ordered["content"][0]["text"] == "order as alice"
        assert browser.asked == [{"shop.read"}, {"shop.read", "shop.order"}]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_service_without_a_user_is_admitted_only_where_that_is_set(
    provider: OidcProvider, version: str
) -> None:
    async with shop_of(provider) as shop:
        token = provider.client_credentials(shop.url, ["shop.read"]).access_token
        assert (await post(shop, token, version)).status_code == 403
        assert shop.sink.entries()[-1].code == "session_rejected"
    async with shop_of(provider, {"accept_applications": True}) as shop:
        said = await who(shop, provider.client_credentials(shop.url, ["shop.read"]).access_token)
        assert (said["username"], said["permissions"]) == (SERVICE, [])


async def test_an_agent_that_exchanged_a_token_acts_within_its_own_bounds(provider: OidcProvider) -> None:
    agent = KnownActor(subject=SERVICE, permissions=["shop:use"], scopes=["shop.read"])
    async with shop_of(provider, {"actors": [agent]}) as known, shop_of(provider) as unknown:
        provider.allow_exchange(SERVICE, [known.url, unknown.url], [known.url, unknown.url])
        subject = access(known, "alice", "shop.read", "shop.order")
        token = provider.exchange(subject, known.url).access_token
        assert "look as alice" in (await post(known, token, tool="shop-look")).text
        assert (await post(known, token, tool="shop-order")).status_code == 403
        assert (await post(unknown, provider.exchange(subject, unknown.url).access_token)).status_code == 403
