"""Several processes that count in one Redis, and what happens when it is not there."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from actas.core import ConfigurationError, MemorySink, Secret
from actas.mcp import MCPOAuthServer
from actas.mcp.rates import Rate
from actas.mcp.settings import SharedSettings
from actas.mcp.shared_windows import SharedWindows
from actas.oauth.shared_store import SharedStore
from actas.testing.idp import IdentityProvider
from actas.testing.postgres import ServerMissing
from actas.testing.redis import RedisServer

from .conftest import WIRES, Limited, refused, settings_for

pytestmark = pytest.mark.anyio


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    yield from _redis()


def _redis(**options: bool) -> Iterator[RedisServer]:
    try:
        server = RedisServer(**options)
    except ServerMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with server:
        yield server


def shared_at(server: RedisServer) -> SharedSettings:
    return SharedSettings(url=Secret(server.url), ca_file=None if server.ca_file is None else str(server.ca_file))


def store_at(server: RedisServer) -> SharedStore:
    settings = shared_at(server)
    return SharedStore(settings.revealed_url(), settings.tls_options())


@WIRES
async def test_processes_that_share_a_store_count_together(limited: Limited, redis: RedisServer, version: str) -> None:
    shared = shared_at(redis)
    rates: Any = {"per_user": "4/hour", "per_tool": {"toy-say": "3/hour"}}
    one = await limited(shared=shared, **rates)
    other = await limited(shared=shared, **rates)
    alice, bob = one.token("alice"), one.token("bob")
    turns = [one, other] * 3
    assert [refused(await stage.post(alice, version=version)) for stage in turns] == [False] * 4 + [True] * 2
    calls = [refused(await each.call(bob, "toy-say", {"text": "x"}, version=version)) for each in turns[:4]]
    assert calls == [False] * 3 + [True]


async def test_the_store_learns_no_names(limited: Limited, redis: RedisServer) -> None:
    stage = await limited(
        shared=shared_at(redis), per_user="4/hour", per_issuer="9/hour", per_tool={"toy-say": "1/hour"}
    )
    await stage.call(stage.token("alice"), "toy-say", {"text": "x"})
    keys = await _keys(redis)
    assert len(keys) == 3
    assert all(key.startswith("actas:limits/per_") for key in keys)
    assert not any(name in key for key in keys for name in ("alice", "say", "127.0.0.1"))


async def _keys(server: RedisServer) -> list[str]:
    from redis.asyncio import Redis

    async with Redis.from_url(server.url, decode_responses=True) as client:
        keys = await client.keys("*")
        assert all([0 < await client.ttl(key) <= 3600 for key in keys])
        return keys


async def test_a_secured_store_is_used_by_tls_and_password(limited: Limited) -> None:
    for server in _redis(secured=True):
        shared = shared_at(server)
        one = await limited(shared=shared, per_user="1/hour")
        other = await limited(shared=shared, per_user="1/hour")
        alice = one.token("alice")
        assert not refused(await one.post(alice))
        assert refused(await other.post(alice))
        distrusted = await limited(shared=SharedSettings(url=Secret(server.url)), per_user="1/hour")
        assert not refused(await distrusted.post(alice)), "its certificate is not trusted: counted here"
        assert refused(await distrusted.post(alice))


@WIRES
@pytest.mark.parametrize("way", ["kill", "freeze"])
async def test_a_store_that_goes_away_is_no_outage_and_is_used_again_when_it_is_back(
    limited: Limited,
    redis: RedisServer,
    way: str,
    version: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("actas.oauth.shared_store.PAUSE_SECONDS", 0.1)
    stage = await limited(shared=shared_at(redis), per_user="3/hour")
    alice, bob = stage.token("alice"), stage.token("bob")
    assert not refused(await stage.post(alice, version=version))
    getattr(redis, way)()
    together = await asyncio.gather(*(stage.post(alice, version=version) for _ in range(10)))
    assert sorted(refused(each) for each in together) == [False] * 3 + [True] * 7, "counted in this process"
    assert "the shared store does not answer" in caplog.text
    redis.thaw() if way == "freeze" else redis.start()
    async with asyncio.timeout(20):
        while "the shared store answers again" not in caplog.text:
            await stage.post(bob, version=version)
            await asyncio.sleep(0.02)
    assert caplog.text.count("the shared store does not answer") == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": Secret("http://x")}, "url must begin with"),
        ({"url": Secret("redis://")}, "where the server is"),
        ({"url": Secret("unix://")}, "where the server is"),
        ({"url": Secret("rediss://h/0?ssl_cert_reqs=none")}, "neither"),
        ({"url": Secret("redis://h"), "ca_file": "x"}, "rediss:// only"),
        ({"ca_file": "x"}, "needs a url"),
    ],
)
def test_a_mistake_in_the_url_is_told_without_the_url(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SharedSettings(**settings)


def test_valkey_is_the_same_as_redis() -> None:
    for scheme in ("valkey", "valkeys"):
        url = SharedSettings(url=Secret(f"{scheme}://user:pw@host:1/2")).revealed_url()
        assert url == f"{scheme.replace('valkey', 'redis')}://user:pw@host:1/2"
    with pytest.raises(ValueError, match="no url"):
        SharedSettings().revealed_url()


async def test_a_password_in_the_url_is_in_no_log(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    stage = await limited(shared=SharedSettings(url=Secret("redis://user:hunter2@127.0.0.1:1/0")), per_user="1/hour")
    await stage.post(stage.token())
    assert "hunter2" not in caplog.text + repr(stage.server.settings)
    assert "the shared store does not answer" in caplog.text


async def test_without_the_packages_a_shared_store_is_a_configuration_error(
    idp: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    settings = replace(settings_for(idp.trusted()), shared=SharedSettings(url=Secret("redis://h")))
    with pytest.raises(ConfigurationError, match=r'pip install "actas\[shared\]"'):
        MCPOAuthServer(settings, audit_sink=MemorySink())


async def test_a_store_that_does_not_answer_is_not_asked_by_every_request(redis: RedisServer) -> None:
    store = store_at(redis)
    windows = SharedWindows(store, "r")
    asked: list[str] = []
    incr = windows._storage.incr

    async def counted(key: str, expiry: int, amount: int = 1) -> int:
        asked.append(key)
        return await incr(key, expiry, amount)

    setattr(windows._storage, "incr", counted)  # noqa: B010 -- passes on
    redis.freeze()
    assert [await windows.hit("a", ("x",), Rate(1, 60)) for _ in range(20)] == [None] * 20
    assert len(asked) == 1
    await store.aclose()
    redis.thaw()


async def test_an_answer_that_comes_too_late_is_never_taken_for_anothers(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.oauth.shared_store.PAUSE_SECONDS", 0.0)
    store = store_at(redis)
    windows = SharedWindows(store, "r")
    for _ in range(50):
        await windows.hit("a", ("much",), Rate(1000, 60))
    redis.freeze()
    late = await asyncio.gather(*(windows.hit("a", ("much",), Rate(1000, 60)) for _ in range(40)))
    assert late == [None] * 40
    redis.thaw()
    async with asyncio.timeout(20):
        while await windows.hit("a", ("probe",), Rate(1, 60)) is None:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.02)
    # All at once, over every connection that something late may still come on; whoever was not answered in time, on a
    # machine that has other things to do, asks again about something else.
    new, asked = list[tuple[int, float]](), itertools.count()
    async with asyncio.timeout(60), contextlib.aclosing(store):
        while len(new) < 100:
            keys = [str(next(asked)) for _ in range(100)]
            answers = await asyncio.gather(*(windows.hit("a", (key,), Rate(9, 60)) for key in keys))
            new += [answer for answer in answers if answer is not None]
    assert set(new) == {(1, 0.0)}
