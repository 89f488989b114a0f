"""Exchanged tokens that several processes share in a real Redis, and what happens when it is not there."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from actas.core import Secret, Session
from actas.core.models import Credential
from actas.http import HttpClient
from actas.oauth import Authenticator
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.denylist import Revocation
from actas.oauth.exchange.exchanger import Exchanger
from actas.oauth.exchange.grants import ExchangeUnavailable
from actas.oauth.exchange.settings import CacheSettings, ExchangeSettings
from actas.oauth.exchange.shared import SharedEntries
from actas.oauth.exchange.vault import Vault
from actas.oauth.shared_store import SharedStore
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import IdentityProvider
from actas.testing.idp_clients import DemoClient
from actas.testing.redis import RedisServer

from ..conftest import Clock

pytestmark = pytest.mark.anyio

SECRETS = [b"a secret of at least thirty-two bytes"]
SETTINGS = ExchangeSettings(
    idp="demo",
    client=ClientCredentials(id="gateway", secret=Secret("s")),
    audience=["https://api.example"],
    timeout_seconds=2,
    cache=CacheSettings(enabled=True, ttl_seconds=60, leeway_seconds=10),
)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with needed_in_ci(), RedisServer() as server:
        yield server


@pytest.fixture
def provider(idp: IdentityProvider) -> Iterator[IdentityProvider]:
    idp.exchanges.clients.add(DemoClient("gateway", secret="s"))
    idp.exchanges.asked.clear()
    yield idp
    idp.exchanges.asked.clear()
    idp.exchanges.error = None


@pytest.fixture
async def store(redis: RedisServer) -> AsyncIterator[SharedStore]:
    store = SharedStore(redis.url, {})
    await store.client.flushall()
    yield store
    await store.aclose()


@pytest.fixture
async def session(provider: IdentityProvider, authenticator: Authenticator) -> Session:
    return await authenticator.authenticate(provider.issue("alice", claims={"sid": "the-sid", "jti": "the-jti"}))


def replica(
    provider: IdentityProvider,
    http: HttpClient,
    clock: Clock,
    store: SharedStore,
    secrets: list[bytes] = SECRETS,
) -> Exchanger:
    """One process's exchanger: with a vault of its own, and the same secrets as all."""
    return Exchanger(
        SETTINGS, provider.trusted(), http=http, vault=Vault(secrets), shared=SharedEntries(store), clock=clock
    )


async def test_a_second_process_finds_what_the_first_one_exchanged(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    first = await replica(provider, http, clock, store).obtain(session)
    second = await replica(provider, http, clock, store).obtain(session)
    assert first == second and len(provider.exchanges.asked) == 1


async def test_fifty_first_calls_over_three_processes_are_one_exchange(
    provider: IdentityProvider, redis: RedisServer, store: SharedStore
) -> None:
    """Real processes. All of them hold alice's token and ask at the same moment."""
    provider.clock = __import__("time").time
    token = provider.issue("alice")
    provider.delay = 0.3
    script = os.path.join(os.path.dirname(__file__), "replica.py")
    told = {"redis": redis.url, "issuer": provider.issuer, "token": token, "calls": 17}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, script, json.dumps(told), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        await process.stdin.drain()
    answers = [await process.communicate() for process in processes]
    provider.delay = 0.0
    digests = {line for out, _ in answers for line in out.split()}
    assert len(digests) == 1, "all got the same token"
    assert sum(len(out.split()) for out, _ in answers) == 51
    assert [form["subject_token"] for form in provider.exchanges.asked].count(token) == 1


async def test_what_lies_in_the_store_says_nothing_and_ends_by_itself(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    credential = await replica(provider, http, clock, store).obtain(session)
    keys = await store.client.keys("*")
    (key,) = keys
    assert 0 < await store.client.pttl(key) <= 60_000
    dumped = repr(key) + repr(await store.client.get(key))
    assert session.token is not None
    for text in (credential.token.reveal(), session.token.reveal(), "alice", "the-sid", "the-jti", "gateway", "api.ex"):
        assert text not in dumped


async def test_with_another_secret_or_another_token_nothing_is_found(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    await replica(provider, http, clock, store).obtain(session)
    await replica(provider, http, clock, store, [b"another secret of thirty-two bytes, or more"]).obtain(session)
    assert len(provider.exchanges.asked) == 2


async def test_a_changed_entry_is_not_believed(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    await replica(provider, http, clock, store).obtain(session)
    (key,) = await store.client.keys("*")
    entry = await store.client.get(key)
    for forged in (b"", b"x", entry[:-1] + bytes([entry[-1] ^ 1]), bytes([entry[0] ^ 1]) + entry[1:], entry + entry):
        await store.client.set(key, forged)
        assert (await replica(provider, http, clock, store).obtain(session)).subject == "alice"
    assert len(provider.exchanges.asked) == 6


async def test_a_rotated_secret_still_opens_what_the_old_one_sealed(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    secrets = [b"the newest secret of thirty-two bytes or more", b"between the two, of thirty-two bytes", *SECRETS]
    sealed = await replica(provider, http, clock, store).obtain(session)
    rotated = replica(provider, http, clock, store, secrets)
    assert (await rotated.obtain(session)).token == sealed.token
    assert len(provider.exchanges.asked) == 1
    clock.now += 50  # nearly due: exchanged ahead, and sealed with the newest
    assert (await rotated.obtain(session)).token == sealed.token
    async with asyncio.timeout(5):
        while (await rotated.obtain(session)).token == sealed.token:  # noqa: ASYNC110 -- goes on in the background
            await asyncio.sleep(0.01)
    newest = replica(provider, http, clock, store, secrets[:1])
    assert (await newest.obtain(session)).token == (await rotated.obtain(session)).token
    assert len(provider.exchanges.asked) == 2


def _purpose(exchanger: Exchanger) -> bytes:
    assert exchanger._cache is not None
    return exchanger._cache._purpose


async def test_a_refused_token_is_forgotten_by_all(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    one = replica(provider, http, clock, store)
    credential = await one.obtain(session)
    await one.discard(session, credential)
    assert await store.client.keys("*") == []
    assert (await replica(provider, http, clock, store).obtain(session)).token != credential.token


async def test_a_refused_token_that_this_process_has_pushed_out_is_not_found_again(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    one = replica(provider, http, clock, store)
    credential = await one.obtain(session)
    assert one._cache is not None
    one._cache._vault.clear()
    await one.discard(session, credential)
    assert (await one.obtain(session)).token != credential.token


async def test_a_late_refusal_leaves_what_another_process_got_in_its_place(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    one, other = replica(provider, http, clock, store), replica(provider, http, clock, store)
    refused = await one.obtain(session)
    assert (await other.obtain(session)).token == refused.token
    await one.discard(session, refused)
    better = await one.obtain(session)
    await other.discard(session, refused)
    assert (await other.obtain(session)).token == better.token
    assert len(provider.exchanges.asked) == 2


async def test_what_another_process_got_is_not_kept_where_it_was_revoked_on_the_way(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    other = replica(provider, http, clock, store)
    assert other._cache is not None
    vault = other._cache._vault
    name = vault.labels(_purpose(other), session)[0].name
    async with SharedEntries(store).leading(name, 5.0):
        waiting = asyncio.create_task(other.obtain(session))
        async with asyncio.timeout(5):
            while not vault._awaited:  # noqa: ASYNC110 -- nothing to wait for but this
                await asyncio.sleep(0)
        vault.forget([Revocation(claim="sub", value="alice")])
        alone = Vault(SECRETS)
        (label,) = alone.labels(_purpose(other), session)
        credential = Credential(token=Secret("theirs"), subject="alice", expires_at=clock.now + 300)
        entry = alone.put(label, session, credential, clock.now, clock.now + 60)
        assert entry is not None
        await SharedEntries(store).put(name, entry, 60)
    assert (await waiting).token == credential.token
    assert len(vault) == 0


async def test_a_token_too_short_to_keep_is_not_shared(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    provider.exchanges.lifetime = 5.0
    try:
        assert (await replica(provider, http, clock, store).obtain(session)).subject == "alice"
    finally:
        provider.exchanges.lifetime = 300.0
    assert await store.client.keys("*") == []


async def test_a_leader_that_fails_leaves_the_lead_to_others(
    provider: IdentityProvider, http: HttpClient, clock: Clock, store: SharedStore, session: Session
) -> None:
    provider.exchanges.error = (503, "temporarily_unavailable")
    with pytest.raises(ExchangeUnavailable):
        await replica(provider, http, clock, store).obtain(session)
    provider.exchanges.error = None
    assert await store.client.keys("*") == []
    assert (await replica(provider, http, clock, store).obtain(session)).subject == "alice"


async def test_a_leader_that_died_is_waited_for_and_then_not(
    store: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = SharedEntries(store)
    async with entries.leading(b"n" * 16, 30.0) as entry:
        assert entry is None
        async with entries.leading(b"n" * 16, 0.2) as given_up:
            assert given_up is None, "after its patience it goes on by itself"


@pytest.mark.parametrize("way", ["kill", "freeze"])
async def test_without_the_store_each_process_goes_on_by_itself_within_time(
    provider: IdentityProvider, http: HttpClient, clock: Clock, authenticator: Authenticator, way: str
) -> None:
    with needed_in_ci(), RedisServer() as server:
        store = SharedStore(server.url, {})
        one = replica(provider, http, clock, store)
        await one.obtain(await authenticator.authenticate(provider.issue("alice")))
        getattr(server, way)()
        bob = await authenticator.authenticate(provider.issue("bob"))
        async with asyncio.timeout(5):
            assert (await one.obtain(bob)).subject == "bob"
            assert (await one.obtain(bob)).subject == "bob"
        assert len(provider.exchanges.asked) == 2
        await store.aclose()
        if way == "freeze":
            server.thaw()


async def test_a_secured_store_is_used_by_tls_and_acl(
    provider: IdentityProvider, http: HttpClient, clock: Clock, session: Session
) -> None:
    with needed_in_ci(), RedisServer(secured=True) as server:
        store = SharedStore(server.url, {"ssl_ca_certs": str(server.ca_file)})
        first = await replica(provider, http, clock, store).obtain(session)
        assert await replica(provider, http, clock, store).obtain(session) == first
        assert len(provider.exchanges.asked) == 1
        await store.aclose()


def test_sharing_needs_secrets() -> None:
    from actas.oauth.exchange.settings import VaultSettings

    with pytest.raises(ValueError, match="secrets are needed"):
        VaultSettings(shared=True)
    settings: Any = VaultSettings(shared=True, secrets=[Secret("x" * 32)])
    assert settings.shared
