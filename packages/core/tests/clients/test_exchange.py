"""Tokens that oidc-provider exchanges: what our exchanger asks for, what it is given, and what it takes."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from actas.core import Permissions, Secret, Session
from actas.http import HttpClient
from actas.oauth import Authenticator
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.exchange.exchanger import Exchanger
from actas.oauth.exchange.grants import ExchangeRefused
from actas.oauth.exchange.settings import CacheSettings, ExchangeSettings
from actas.oauth.exchange.vault import Vault
from actas.oauth.settings import IntrospectionSettings, TrustedIssuer
from actas.testing.dpop import proved
from actas.testing.oidc_provider import SERVICE, SERVICE_SECRET, OidcProvider, Resource
from actas.testing.tokens import generate_key

from .conftest import SCOPES, USERS

pytestmark = pytest.mark.anyio

HERE, ORDERS, OPAQUE = "https://mcp.test/mcp", "https://orders.test", "https://opaque-orders.test"
CLIENT = ClientCredentials(id=SERVICE, secret=Secret(SERVICE_SECRET))


@pytest.fixture
def shop(provider: OidcProvider) -> OidcProvider:
    provider.users |= USERS
    provider.resources[HERE] = Resource(scopes=SCOPES)
    provider.resources[ORDERS] = Resource(scopes=SCOPES)
    provider.resources[OPAQUE] = Resource(scopes=SCOPES, opaque=True)
    provider.allow_exchange(SERVICE, [HERE], [ORDERS, OPAQUE])
    return provider


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with aclosing(HttpClient()) as client:
        yield client


def exchanger(
    provider: OidcProvider, http: HttpClient, trusted: TrustedIssuer | None = None, **asked: Any
) -> Exchanger:
    settings = replace(ExchangeSettings(idp="oidc-provider", client=CLIENT, resource=[ORDERS]), **asked)
    return Exchanger(settings, trusted or provider.trusted(), http=http, vault=Vault())


async def log_in(provider: OidcProvider, http: HttpClient, user: str = "alice") -> Session:
    token = provider.log_in(user, HERE, SCOPES).access_token
    return await Authenticator([provider.trusted()], Permissions(), http=http).authenticate(token)


async def test_the_callers_token_becomes_one_for_the_service_that_names_us_as_the_actor(
    shop: OidcProvider, http: HttpClient
) -> None:
    session = await log_in(shop, http)
    asking = exchanger(
        shop, http, scope=["shop.read"], expected_actor=SERVICE, cache=CacheSettings(enabled=True),
        required_claims=["client_id"],
    )  # fmt: skip
    credential = await asking.obtain(session)
    assert (credential.subject, credential.token_type) == (session.subject, "Bearer")
    there = Authenticator([shop.trusted(audience=[ORDERS])], Permissions(), http=http)
    seen = await there.verify(credential.token.reveal())
    assert (seen["sub"], seen["scope"], seen["act"]) == (session.subject, "shop.read", {"sub": SERVICE})
    assert await asking.obtain(session) == credential
    assert credential.token != session.token
    assert (await asking.obtain(await log_in(shop, http, "bob"))).subject != credential.subject


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_the_client_proves_itself_either_way_or_is_refused(
    shop: OidcProvider, http: HttpClient, method: Any
) -> None:
    session = await log_in(shop, http)
    good = replace(CLIENT, method=method)
    try:
        assert (await exchanger(shop, http, client=good).obtain(session)).subject == session.subject
    except ExchangeRefused as error:
        assert method == "client_secret_post" and "invalid_client" in str(error.detail), "it takes the registered one"
    with pytest.raises(ExchangeRefused) as caught:
        await exchanger(shop, http, client=replace(good, secret=Secret("wrong"))).obtain(session)
    assert "invalid_client" in (caught.value.detail or "")


async def test_what_the_provider_refuses_is_refused(shop: OidcProvider, http: HttpClient) -> None:
    session = await log_in(shop, http, "bob")
    for asked, code in (
        ({"scope": ["shop.order"]}, "invalid_scope"),
        ({"resource": ["https://elsewhere.test"]}, "invalid_target"),
        ({"client": replace(CLIENT, id="nobody")}, "invalid_client"),
    ):
        with pytest.raises(ExchangeRefused) as caught:
            await exchanger(shop, http, **asked).obtain(session)
        assert code in (caught.value.detail or ""), asked


async def test_what_comes_back_must_be_for_the_service_with_no_scope_that_was_not_asked_for(
    shop: OidcProvider, http: HttpClient
) -> None:
    session = await log_in(shop, http)
    for asked, why in (
        ({"expected_audience": ["https://other.test"]}, "aud"),
        ({"expected_issuer": "https://other.test"}, "another issuer"),
        ({"expected_actor": "somebody"}, "actor"),
        ({"required_claims": ["acr"]}, "lacks acr"),
    ):
        with pytest.raises(ExchangeRefused) as caught:
            await exchanger(shop, http, **asked).obtain(session)
        assert why in (caught.value.detail or ""), asked


async def test_an_opaque_token_is_looked_up(shop: OidcProvider, http: HttpClient) -> None:
    session = await log_in(shop, http)
    with pytest.raises(ExchangeRefused, match="gave you no access"):
        await exchanger(shop, http, resource=[OPAQUE]).obtain(session)
    trusted = shop.trusted(introspection=IntrospectionSettings(client=CLIENT))
    credential = await exchanger(shop, http, trusted, resource=[OPAQUE]).obtain(session)
    assert "." not in credential.token.reveal() and credential.subject == session.subject


@pytest.mark.parametrize("nonce", [False, True])
async def test_a_token_is_bound_to_our_key(shop: OidcProvider, http: HttpClient, nonce: bool) -> None:
    key = generate_key("ES256")
    session = await log_in(shop, http)
    shop.demand_dpop_nonce(nonce)
    try:
        asking = exchanger(shop, http, dpop_key=Secret(json.dumps(key.as_dict(private=True))))
        credential = await asking.obtain(session)
    finally:
        shop.demand_dpop_nonce(False)
    headers = credential.headers("GET", f"{ORDERS}/1")
    assert headers["authorization"].startswith("DPoP ")
    assert proved(headers["dpop"], "GET", credential.token.reveal())["jkt"] == key.thumbprint()
