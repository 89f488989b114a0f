"""Where keys come from, how long they live, and what a stranger or an outage can do to them. Real HTTP throughout."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import anyio
import pytest

from actas.core.errors import AuthenticationError
from actas.oauth import Authenticator
from actas.testing.idp import IdentityProvider
from actas.testing.tokens import generate_key

from .conftest import Clock

pytestmark = pytest.mark.anyio

Refused = Callable[[Authenticator, str], Awaitable[str]]
Make = Callable[..., Authenticator]


async def test_an_unknown_key_causes_one_fetch_and_a_thousand_cause_no_thousand(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock
) -> None:
    assert await refused(authenticator, idp.issue(headers={"kid": "unknown"})) == "unknown_key"
    assert idp.requests[idp.jwks_path] == 1
    assert await refused(authenticator, idp.issue(headers={"kid": "unknown"})) == "unknown_key"
    assert idp.requests[idp.jwks_path] == 2

    async def attack(number: int) -> None:
        assert (
            await refused(authenticator, idp.issue(headers={"kid": f"unknown-{number}"}, algorithm="ES256"))
            == "unknown_key"
        )

    async with anyio.create_task_group() as group:
        for number in range(1000):
            group.start_soon(attack, number)
    assert idp.requests[idp.jwks_path] == 2
    clock.now += 31
    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(attack, number)
    assert idp.requests[idp.jwks_path] == 3


async def test_the_first_tokens_share_one_fetch(authenticator: Authenticator, idp: IdentityProvider) -> None:
    idp.delay = 0.1
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(authenticator.authenticate, idp.issue())
    assert idp.requests[idp.jwks_path] == 1


async def test_fetching_does_not_hold_up_the_event_loop(authenticator: Authenticator, idp: IdentityProvider) -> None:
    idp.delay = 0.3
    ticks = 0
    async with anyio.create_task_group() as group:
        group.start_soon(authenticator.authenticate, idp.issue())
        for _ in range(10):
            await anyio.sleep(0.01)
            ticks += 1
        assert idp.requests[idp.jwks_path] == 0
    assert ticks == 10


async def test_old_and_new_keys_pass_until_the_old_one_leaves(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock
) -> None:
    before = idp.issue()
    old = idp.key().key_id
    await authenticator.authenticate(before)
    idp.rotate()
    await authenticator.authenticate(idp.issue())
    await authenticator.authenticate(before)
    idp.retire(old)
    assert authenticator.cached(before.encode()) is not None
    clock.now += 301
    after = idp.issue()
    await authenticator.authenticate(after)
    clock.now += 31
    assert await refused(authenticator, before) == "unknown_key"
    assert authenticator.cached(after.encode()) is not None


async def test_what_was_verified_with_a_key_that_left_is_not_served_from_the_cache(
    idp: IdentityProvider, make: Make, refused: Refused, clock: Clock
) -> None:
    authenticator = make(idp.trusted(), cache_ttl=10_000)
    before = idp.issue()
    await authenticator.authenticate(before)
    idp.retire(idp.key().key_id)
    idp.rotate()
    await authenticator.authenticate(idp.issue())
    assert authenticator.cached(before.encode()) is None
    assert await refused(authenticator, before) == "unknown_key"


async def test_a_key_replaced_under_its_own_kid_leaves_too(idp: IdentityProvider, make: Make, clock: Clock) -> None:
    authenticator = make(idp.trusted(), cache_ttl=10_000)
    before = idp.issue()
    await authenticator.authenticate(before)
    other = generate_key("RS256")
    idp.answers[idp.jwks_path] = json.dumps(
        {"keys": [{**other.as_dict(private=False), "kid": idp.key().key_id}]}
    ).encode()
    clock.now += 301
    await authenticator.authenticate(idp.issue(key=other))
    assert authenticator.cached(before.encode()) is None


async def test_a_key_without_a_name_serves_tokens_that_name_none(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    nameless = {name: value for name, value in idp.key().public().items() if name != "kid"}
    idp.answers[idp.jwks_path] = json.dumps({"keys": [nameless]}).encode()
    authenticator = make(idp.trusted())
    await authenticator.authenticate(idp.issue(headers={"kid": None}))
    assert await refused(authenticator, idp.issue()) == "unknown_key"


async def test_a_new_key_does_not_empty_the_cache(authenticator: Authenticator, idp: IdentityProvider) -> None:
    before = idp.issue()
    await authenticator.authenticate(before)
    idp.rotate()
    await authenticator.authenticate(idp.issue())
    assert authenticator.cached(before.encode()) is not None


async def test_the_last_good_keys_serve_through_an_outage_but_not_for_ever(
    idp: IdentityProvider, make: Make, refused: Refused, clock: Clock
) -> None:
    authenticator = make(idp.trusted(keys_max_age=3600.0), cache_size=0)
    await authenticator.authenticate(idp.issue())
    with idp.outage():
        clock.now += 3599
        await authenticator.authenticate(idp.issue())
        clock.now += 1
        assert await refused(authenticator, idp.issue()) == "keys_unavailable"
    clock.now += 60
    await authenticator.authenticate(idp.issue())


async def test_an_outage_is_not_hammered_and_its_end_is_noticed(
    idp: IdentityProvider, make: Make, refused: Refused, clock: Clock
) -> None:
    authenticator = make(idp.trusted(jwks_uri=idp.origin + idp.jwks_path))
    with idp.outage():
        for _ in range(50):
            assert await refused(authenticator, idp.issue()) == "keys_unavailable"
        assert idp.requests[idp.jwks_path] == 1
        for _ in range(600):
            clock.now += 1
            assert await refused(authenticator, idp.issue()) == "keys_unavailable"
        assert 20 <= idp.requests[idp.jwks_path] <= 30
    clock.now += 30
    await authenticator.authenticate(idp.issue())


@pytest.mark.parametrize(
    "rubbish", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[],"keys":[]}', b"\xff", b"[" * 500_000, b"<html>"]
)
async def test_rubbish_instead_of_keys_changes_nothing(
    authenticator: Authenticator, idp: IdentityProvider, clock: Clock, rubbish: bytes
) -> None:
    await authenticator.authenticate(idp.issue())
    idp.answers[idp.jwks_path] = rubbish
    clock.now += 301
    await authenticator.authenticate(idp.issue())


async def test_a_provider_without_a_usable_key_is_reported(authenticator: Authenticator, idp: IdentityProvider) -> None:
    idp.answers[idp.jwks_path] = b'{"keys":[5, {"kty":"oct","k":"AAAA"}]}'
    (report,) = await authenticator.check()
    assert (report.reachable, report.keys) == (False, 0)
    assert "no signing key" in str(report.problem)


async def test_an_empty_set_is_believed(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock
) -> None:
    token = idp.issue()
    await authenticator.authenticate(token)
    idp.answers[idp.jwks_path] = b'{"keys":[]}'
    clock.now += 301
    assert await refused(authenticator, token) == "unknown_key"


async def test_a_clock_set_back_does_not_make_keys_or_cached_tokens_live_longer(
    authenticator: Authenticator, idp: IdentityProvider, clock: Clock
) -> None:
    token = idp.issue()
    await authenticator.authenticate(token)
    clock.now -= 30
    assert authenticator.cached(token.encode()) is None
    await authenticator.authenticate(token)
    assert idp.requests[idp.jwks_path] == 2


async def test_an_unreachable_provider_does_not_stop_the_start_or_the_other_provider(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    gone = idp.trusted("gone", issuer="http://127.0.0.1:1", audience=["https://gone.example"])
    authenticator = make(gone, idp.trusted())
    await authenticator.start()
    await authenticator.authenticate(idp.issue())
    token = idp.issue(claims={"iss": "http://127.0.0.1:1", "aud": "https://gone.example"})
    assert await refused(authenticator, token) == "keys_unavailable"
    reports = await authenticator.check()
    assert [(report.name, report.reachable, report.keys) for report in reports] == [
        ("gone", False, 0),
        ("demo", True, 4),
    ]
    assert reports[0].problem


async def test_a_slow_provider_holds_up_one_caller_and_not_the_others(
    idp: IdentityProvider, make: Make, clock: Clock
) -> None:
    authenticator = make(idp.trusted(keys_refresh_interval=300))
    await authenticator.authenticate(idp.issue())
    clock.now += 301
    idp.delay = 1.0
    tokens = [idp.issue() for _ in range(5)]
    first = asyncio.ensure_future(authenticator.authenticate(tokens.pop()))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(0.5):
        for token in tokens:
            await authenticator.authenticate(token)
    assert not first.done()
    await first


async def test_a_caller_who_hangs_up_does_not_spoil_the_fetch_for_the_others(
    authenticator: Authenticator, idp: IdentityProvider
) -> None:
    idp.delay = 0.2
    async with anyio.create_task_group() as group:
        group.start_soon(_later, authenticator, idp.issue())
        with anyio.move_on_after(0.05):
            await authenticator.authenticate(idp.issue())
    assert idp.requests[idp.jwks_path] == 1


async def _later(authenticator: Authenticator, token: str) -> None:
    await anyio.sleep(0.02)
    await authenticator.authenticate(token)


async def test_an_unknown_reason_never_reaches_the_caller(authenticator: Authenticator, idp: IdentityProvider) -> None:
    token = idp.issue(claims={"aud": "https://secret-name.example"})
    with pytest.raises(AuthenticationError) as caught:
        await authenticator.authenticate(token)
    shown = f"{caught.value} {caught.value.message} {caught.value.detail} {caught.value!r}"
    for private in (token, "secret-name", idp.issuer, idp.audience):
        assert private not in shown


async def test_a_token_that_ends_while_its_key_is_fetched_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, clock: Clock
) -> None:
    idp.delay = 0.2
    token = idp.issue(expires_in=10)

    async def turn_the_clock() -> None:
        await anyio.sleep(0.1)
        clock.now += 70

    async with anyio.create_task_group() as group:
        group.start_soon(turn_the_clock)
        assert await refused(authenticator, token) == "expired"
