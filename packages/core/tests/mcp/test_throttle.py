"""Failed authentications, and the addresses they come from."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core import MemorySink, Outcome, TooManyRequests
from actas.mcp import MCPOAuthServer
from actas.mcp.rates import Rate
from actas.mcp.settings import LimitSettings, ProxySettings
from actas.mcp.throttle import Throttle, network_of
from actas.testing.idp import IdentityProvider

from .conftest import ROLES, WIRES, Limited, Stage, Toy, refused, settings_for

pytestmark = pytest.mark.anyio


@WIRES
async def test_after_so_many_failures_an_address_has_unknown_tokens_refused_unseen(
    limited: Limited, version: str
) -> None:
    stage = await limited(failed_authentications_per_address="3/hour")
    known = stage.token("alice")
    assert not refused(await stage.post(known, version=version))
    for number in range(3):
        assert (await stage.post(f"x.y.{number}", version=version)).status_code == 401
    stage.idp.down = True
    for token in ("x.y.z", stage.token("bob")):
        assert refused(await stage.post(token, version=version))
    assert not refused(await stage.post(known, version=version)), "known to be good"
    assert [each.username for each in stage.sink.entries(source="auth", outcome=Outcome.SUCCESS)] == ["alice"]


async def test_a_token_that_was_good_is_looked_at_even_when_it_is_no_longer_remembered(
    idp: IdentityProvider, sink: MemorySink, toy: Toy
) -> None:
    made = settings_for(idp.trusted(role_mappings=ROLES))
    settings = replace(
        made,
        auth=replace(made.auth, token_cache_seconds=0),
        limits=LimitSettings(failed_authentications_per_address="1/hour"),
    )
    server = MCPOAuthServer(settings, audit_sink=sink)
    await server.start()
    try:
        async with httpx2.AsyncClient() as http:
            stage = Stage(server, idp, sink, toy, http)
            alice = stage.token("alice")
            assert not refused(await stage.post(alice))
            await stage.post("x.y.z")
            assert refused(await stage.post("x.y.z"))
            assert not refused(await stage.post(alice))
            idp.keys[:] = [idp.keys[0]]
    finally:
        await server.stop()


async def test_requests_without_a_token_are_how_every_client_begins_and_are_not_throttled(limited: Limited) -> None:
    stage = await limited(failed_authentications_per_address="1/hour")
    for _ in range(10):
        assert (await stage.post(None)).status_code == 401
    assert not refused(await stage.post(stage.token()))


async def test_no_header_says_where_a_request_comes_from(limited: Limited) -> None:
    stage = await limited(failed_authentications_per_address="2/hour")
    for number in range(6):
        spoofed = f"203.0.113.{number}"
        headers = {"x-forwarded-for": spoofed, "forwarded": f"for={spoofed}", "x-real-ip": spoofed}
        answer = await stage.post("x.y.z", headers=headers)
        assert answer.status_code == (401 if number < 2 else 429)
    assert {each.address for each in stage.sink.entries(source="auth")} == {"127.0.0.1"}


async def test_behind_a_trusted_proxy_the_callers_address_counts(limited: Limited) -> None:
    proxies = ProxySettings(trusted=["127.0.0.1"])
    stage = await limited(failed_authentications_per_address="1/hour", mcp={"proxies": proxies})
    attacker, alice = {"x-forwarded-for": "203.0.113.1"}, {"x-forwarded-for": "203.0.113.2"}
    answers = [await stage.post("x.y.z", headers=attacker) for _ in range(3)]
    assert [each.status_code for each in answers] == [401, 429, 429]
    assert refused(await stage.post(stage.token(), headers=attacker))
    assert not refused(await stage.post(stage.token(), headers=alice))
    assert {each.address for each in stage.sink.entries(outcome=Outcome.REFUSED)} == {"203.0.113.1"}


def test_a_token_that_failed_is_good_no_longer() -> None:
    throttle = Throttle(Rate(1, 60), at_once=9)
    look(throttle, "192.0.2.2", b"token")
    throttle.failed("192.0.2.1", b"other")
    look(throttle, "192.0.2.1", b"token")
    throttle.failed("192.0.2.1", b"token")
    with pytest.raises(TooManyRequests):
        look(throttle, "192.0.2.1", b"token")
    look(throttle, "192.0.2.2", b"token")


async def test_unknown_tokens_leave_places_to_those_who_are_known(limited: Limited) -> None:
    stage = await limited(concurrent=4)
    alice = stage.token()
    assert not refused(await stage.post(alice))
    with ExitStack() as looked_at:  # as while a provider is slow to say what a token is
        for number in range(2):
            looked_at.enter_context(stage.server._sites.current.limits.throttle.looking_at("192.0.2.1", b"%d" % number))
        unknown = await stage.post(stage.token("bob"))
        assert (unknown.status_code, unknown.json()["error"]) == (503, "server_busy")
        assert not refused(await stage.post(alice))
    assert not refused(await stage.post(stage.token("bob")))
    assert [each.code for each in stage.sink.entries(outcome=Outcome.REFUSED)] == ["server_busy"]


def look(throttle: Throttle, address: str, token: bytes) -> None:
    """A token that turns out to be good."""
    with throttle.looking_at(address, token):
        pass


def test_a_flood_of_addresses_and_tokens_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actas.mcp.throttle._MOST_GOOD", 100)
    throttle = Throttle(Rate(1, 3600), at_once=9)
    for number in range(70_000):
        throttle.failed(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1")
        look(throttle, "192.0.2.1", b"%d" % number)
    assert len(throttle._failures or ()) == 65_536
    assert len(throttle._good) == 100
    with pytest.raises(TooManyRequests):
        look(throttle, "2001:db8:1:1000::2", b"x")


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_a_subscribers_whole_64_is_one_address(address: Any, host: int) -> None:
    neighbour = type(address)((int(address) >> 64 << 64) | host)
    if address.ipv4_mapped is None and neighbour.ipv4_mapped is None:
        assert network_of(str(address)) == network_of(str(neighbour))
        assert network_of(f"{address}%eth0") == network_of(str(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_itself_also_inside_of_ipv6(address: Any) -> None:
    assert network_of(str(address)) == network_of(f"::ffff:{address}") == str(address)


@given(st.text(min_size=60))
def test_whatever_is_no_address_is_short(text: str) -> None:
    assert len(network_of(text)) <= 64
