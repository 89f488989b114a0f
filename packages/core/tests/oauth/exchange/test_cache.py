"""One exchange for all who wait, one ahead of need, none kept of a failure."""

import asyncio
from collections.abc import Callable

import pytest

from actas.core.errors import DownstreamUnavailable
from actas.core.models import Credential
from actas.core.secret import Secret
from actas.oauth.denylist import Revocation
from actas.oauth.exchange.cache import CredentialCache
from actas.oauth.exchange.vault import Vault

from ..conftest import Clock
from .test_vault import session

pytestmark = pytest.mark.anyio


class Provider:
    """Counts what it is asked; ``gate`` holds its answers back."""

    def __init__(self, clock: Clock, lifetime: float = 300) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.down = False

    async def __call__(self) -> Credential:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.down:
            raise DownstreamUnavailable
        return Credential(
            token=Secret(f"exchanged-{number}"), subject="alice", expires_at=self.clock.now + self.lifetime
        )


@pytest.fixture
def provider(clock: Clock) -> Provider:
    return Provider(clock)


@pytest.fixture
def cache(clock: Clock) -> CredentialCache:
    return CredentialCache(Vault(), b"p" * 32, ttl=60, leeway=10, clock=clock)


def token(credential: Credential) -> str:
    return credential.token.reveal()


async def settle(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- any condition, no event to wait for
            await asyncio.sleep(0)


async def test_the_second_call_is_answered_from_the_cache(cache: CredentialCache, provider: Provider) -> None:
    assert token(await cache.obtain(session(), provider)) == "exchanged-1"
    assert token(await cache.obtain(session(), provider)) == "exchanged-1"
    assert provider.asked == 1


async def test_fifty_first_calls_are_one_exchange(cache: CredentialCache, provider: Provider) -> None:
    provider.gate.clear()
    calls = [asyncio.create_task(cache.obtain(session(), provider)) for _ in range(50)]
    await settle(lambda: provider.asked == 1)
    provider.gate.set()
    assert {token(each) for each in await asyncio.gather(*calls)} == {"exchanged-1"}
    assert provider.asked == 1


async def test_two_users_do_not_share_one(cache: CredentialCache, provider: Provider) -> None:
    first, second = await asyncio.gather(
        cache.obtain(session(), provider), cache.obtain(session("bob", "bobs-token"), provider)
    )
    assert token(first) != token(second) and provider.asked == 2


async def test_a_caller_who_leaves_does_not_end_the_exchange_for_the_others(
    cache: CredentialCache, provider: Provider
) -> None:
    provider.gate.clear()
    leaves = asyncio.create_task(cache.obtain(session(), provider))
    await settle(lambda: provider.asked == 1)
    stays = asyncio.create_task(cache.obtain(session(), provider))
    await asyncio.sleep(0)
    leaves.cancel()
    provider.gate.set()
    assert token(await stays) == "exchanged-1"
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert provider.asked == 1


async def test_a_failure_reaches_all_who_wait_and_nothing_of_it_is_kept(
    cache: CredentialCache, provider: Provider
) -> None:
    provider.down = True
    failures = await asyncio.gather(*(cache.obtain(session(), provider) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(failure, DownstreamUnavailable) for failure in failures)
    assert provider.asked == 1
    provider.down = False
    assert token(await cache.obtain(session(), provider)) == "exchanged-2"


async def test_the_tokens_own_end_wins_over_the_ttl(cache: CredentialCache, clock: Clock, provider: Provider) -> None:
    provider.lifetime = 30
    await cache.obtain(session(), provider)
    clock.now += 21
    assert token(await cache.obtain(session(), provider)) == "exchanged-2"


async def test_the_ttl_wins_over_a_longer_token(cache: CredentialCache, clock: Clock, provider: Provider) -> None:
    await cache.obtain(session(), provider)
    clock.now += 60
    assert token(await cache.obtain(session(), provider)) == "exchanged-2"


async def test_a_token_too_short_to_keep_is_used_once(cache: CredentialCache, provider: Provider) -> None:
    provider.lifetime = 10
    assert token(await cache.obtain(session(), provider)) == "exchanged-1"
    assert token(await cache.obtain(session(), provider)) == "exchanged-2"


async def test_what_is_in_use_is_exchanged_ahead_of_need_once(
    cache: CredentialCache, clock: Clock, provider: Provider
) -> None:
    await cache.obtain(session(), provider)
    clock.now += 50
    provider.gate.clear()
    for _ in range(10):
        assert token(await cache.obtain(session(), provider)) == "exchanged-1"
    await settle(lambda: provider.asked == 2)
    provider.gate.set()
    await settle(lambda: not cache._flights)
    assert token(await cache.obtain(session(), provider)) == "exchanged-2"
    assert provider.asked == 2


async def test_a_failed_exchange_ahead_of_need_costs_nobody_anything_and_is_tried_again_later(
    cache: CredentialCache, clock: Clock, provider: Provider
) -> None:
    await cache.obtain(session(), provider)
    clock.now += 50
    provider.down = True
    assert token(await cache.obtain(session(), provider)) == "exchanged-1"
    await settle(lambda: provider.asked == 2 and not cache._flights)
    for _ in range(5):
        assert token(await cache.obtain(session(), provider)) == "exchanged-1"
    assert provider.asked == 2
    clock.now += 9
    assert token(await cache.obtain(session(), provider)) == "exchanged-1"
    await settle(lambda: provider.asked == 3 and not cache._flights)
    clock.now += 1
    with pytest.raises(DownstreamUnavailable):
        await cache.obtain(session(), provider)


async def test_a_refused_credential_is_dropped_but_not_its_successor(
    cache: CredentialCache, provider: Provider
) -> None:
    first = await cache.obtain(session(), provider)
    await cache.discard(session(), first)
    second = await cache.obtain(session(), provider)
    assert token(second) == "exchanged-2"
    await cache.discard(session(), first)
    assert token(await cache.obtain(session(), provider)) == "exchanged-2"


async def test_a_credential_refused_while_its_successor_fails_is_not_kept_again(
    cache: CredentialCache, clock: Clock, provider: Provider
) -> None:
    first = await cache.obtain(session(), provider)
    clock.now += 50
    provider.gate.clear()
    await cache.obtain(session(), provider)
    await settle(lambda: provider.asked == 2)
    await cache.discard(session(), first)
    provider.down = True
    provider.gate.set()
    await settle(lambda: not cache._flights)
    provider.down = False
    assert token(await cache.obtain(session(), provider)) == "exchanged-3"


async def test_what_arrives_after_its_session_was_revoked_is_not_kept(clock: Clock, provider: Provider) -> None:
    vault = Vault()
    cache = CredentialCache(vault, b"p" * 32, ttl=60, leeway=10, clock=clock)
    for asked, revoked, kept in ((1, "alice", 0), (2, "bob", 1)):
        provider.gate.clear()
        waiting = asyncio.create_task(cache.obtain(session(), provider))
        await settle(lambda expected=asked: provider.asked == expected)
        vault.forget([Revocation(claim="sub", value=revoked)])
        provider.gate.set()
        await waiting
        assert len(vault) == kept
    assert not vault._awaited


async def test_no_exchange_outlives_the_cache(cache: CredentialCache, provider: Provider) -> None:
    provider.gate.clear()
    waiting = asyncio.create_task(cache.obtain(session(), provider))
    await settle(lambda: provider.asked == 1)
    await cache.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not cache._flights
