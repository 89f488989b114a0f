"""Exchanged tokens that are bound to a key of ours (RFC 9449), at a service that checks the proofs."""

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rest_service import Reply, Service
from test_road import configured

from actas.testing.dpop import proved
from actas.testing.idp import IdentityProvider
from actas.testing.road import Road, exchanging, running  # noqa: F401 -- a fixture that is used by being here
from actas.testing.tokens import generate_key

pytestmark = pytest.mark.anyio


def bound(provider: IdentityProvider, service: Service, folder: Path) -> AbstractAsyncContextManager[Road]:
    written: dict[str, Any] = configured(provider, service, folder / "crm.json")
    key = generate_key("ES256").as_dict(private=True)
    written["delegation"]["modules"]["crm"]["token_exchange"]["dpop_key"] = json.dumps(key)
    return running(written, provider)


async def test_each_request_has_a_proof_of_its_own(
    provider: IdentityProvider, service: Service, tmp_path: Path
) -> None:
    async with bound(provider, service, tmp_path) as opened:
        for _ in range(2):
            assert (await opened.call("crm-get-customer-by-id", id=7))["body"]["subject"] == "alice"
        assert (await opened.call("crm-list-customers", limit=5))["body"]["subject"] == "alice"
        assert (await opened.call("crm-add-customer", body={"name": "x"}))["body"]["subject"] == "alice"
    assert len(service.proofs) == 4
    scheme, _, token = (service.seen[0].header("authorization") or "").partition(" ")
    assert scheme == "DPoP" and proved(service.seen[0].header("dpop") or "", "GET", token)


async def test_a_bound_token_that_is_stolen_at_the_service_is_worth_nothing(
    provider: IdentityProvider, service: Service, tmp_path: Path
) -> None:
    async with bound(provider, service, tmp_path) as opened:
        await opened.call("crm-get-customer-by-id", id=7)
    stolen = dict(service.seen[0].headers)
    token = stolen["authorization"].partition(" ")[2]
    async with httpx2.AsyncClient(trust_env=False) as thief:
        for headers in (
            {"authorization": f"Bearer {token}"},
            {"authorization": f"DPoP {token}"},
            {"authorization": f"DPoP {token}", "dpop": stolen["dpop"]},
        ):
            assert (await thief.get(f"{service.base}/customers/7", headers=headers)).status_code == 401


async def test_a_nonce_that_the_service_asks_for_is_given_at_once_and_from_then_on(
    provider: IdentityProvider, service: Service, tmp_path: Path
) -> None:
    service.nonce = "first"
    async with bound(provider, service, tmp_path) as opened:
        assert (await opened.call("crm-add-customer", body={"name": "x"}))["body"]["subject"] == "alice"
        assert [seen.subject for seen in service.seen] == [None, "alice"]
        await opened.call("crm-get-customer-by-id", id=7)
        service.nonce = "second"
        await opened.call("crm-get-customer-by-id", id=7)
    assert [seen.subject for seen in service.seen] == [None, "alice", "alice", None, "alice"]
    assert len(provider.exchanges.asked) == 3, "once for each of the caller's tokens: they were good all the time"


@pytest.mark.parametrize(
    ("nonce", "times"), [("x", 3), ("x" * 10_000, 2), ('a" b', 2), ("", 2)], ids=["good", "long", "odd", "empty"]
)
async def test_a_service_that_asks_for_nonces_without_end_is_asked_a_few_times(
    provider: IdentityProvider, service: Service, tmp_path: Path, nonce: str, times: int
) -> None:
    challenge = {"www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": nonce}
    service.replies["/v1/customers/7"] = Reply({}, 401, challenge)
    async with bound(provider, service, tmp_path) as opened:
        assert await opened.call("crm-get-customer-by-id", id=7) == "credential_rejected"
    assert len(service.seen) == times
    proofs = [proved(seen.header("dpop") or "", "GET", _token(seen)) for seen in service.seen]
    assert [proof.get("nonce") for proof in proofs] == ([None, "x", "x"] if times == 3 else [None, None])


def _token(seen: Any) -> str:
    return (seen.header("authorization") or "").partition(" ")[2]


async def test_a_retry_has_another_proof(provider: IdentityProvider, service: Service, tmp_path: Path) -> None:
    service.replies["/v1/customers/7"] = lambda seen: Reply({}, 503 if len(service.seen) == 1 else 200)
    async with bound(provider, service, tmp_path) as opened:
        assert (await opened.call("crm-get-customer-by-id", id=7))["status"] == 200
    first, again = (seen.header("dpop") for seen in service.seen)
    assert first != again
