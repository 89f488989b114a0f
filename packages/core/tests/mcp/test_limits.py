"""Limits over real HTTP, on both wires: rates, concurrency, and what the minutes say."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from actas.core import Audit, AuditEvent, ConfigurationError, MemorySink, Outcome, TooManyRequests
from actas.core.audit import to_json
from actas.mcp import MCPOAuthServer
from actas.mcp.limits import Limits, caller_of
from actas.mcp.settings import LimitSettings
from actas.mcp.tally import MOST_GROUPS, Tally
from actas.testing.idp import IdentityProvider
from actas.testing.tokens import make_session

from .conftest import HANDSHAKE, ROLES, WIRES, InProcess, Limited, Stage, Toy, refused, settings_for

pytestmark = pytest.mark.anyio


@WIRES
async def test_a_user_beyond_his_rate_is_refused_and_others_are_not(limited: Limited, version: str) -> None:
    stage = await limited(per_user="3/hour")
    alice, bob = stage.token("alice"), stage.token("bob")
    assert [refused(await stage.post(alice, version=version)) for _ in range(5)] == [False] * 3 + [True] * 2
    assert refused(await stage.post(stage.token("alice"), version=version)), "another token of the same user"
    assert not refused(await stage.post(bob, version=version))


@WIRES
async def test_the_users_of_one_issuer_share_its_rate(limited: Limited, version: str) -> None:
    stage = await limited(per_issuer="3/hour")
    users = [stage.token(user) for user in ("alice", "bob", "alice", "bob")]
    assert [refused(await stage.post(user, version=version)) for user in users] == [False] * 3 + [True]


async def test_what_a_user_is_refused_is_not_taken_from_his_issuer(limited: Limited) -> None:
    stage = await limited(per_user="1/hour", per_issuer="2/hour")
    alice = stage.token("alice")
    assert [refused(await stage.post(alice)) for _ in range(4)] == [False, True, True, True]
    assert not refused(await stage.post(stage.token("bob")))


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8"], ids=["short way", "SDK's way"]
)
@WIRES
async def test_a_tool_has_a_rate_for_each_user(limited: Limited, version: str, kind: str) -> None:
    stage = await limited(per_tool={"toy-say": "2/hour"})
    alice, bob = stage.token("alice"), stage.token("bob")

    async def say(token: str) -> bool:
        headers = {"content-type": kind}
        return refused(await stage.call(token, "toy-say", {"text": "x"}, version=version, headers=headers))

    assert [await say(alice) for _ in range(4)] == [False, False, True, True]
    assert not await say(bob)
    assert not refused(await stage.call(alice, "toy-data", version=version)), "another tool"
    assert stage.toy.calls.count("say") == 3
    event = next(each for each in stage.sink.entries(source="limits"))
    assert (event.code, event.tool, event.username, event.action) == ("too_many_requests", "toy-say", "alice", "call")
    assert event.reason == "per_tool: 2 in 3600 s"


@WIRES
async def test_a_limit_is_no_way_to_find_out_about_a_hidden_tool(limited: Limited, version: str) -> None:
    stage = await limited(per_tool={"toy-break": "1/hour"})
    alice = stage.token("alice")
    hidden = [await stage.call(alice, "toy-break", {"text": "x"}, version=version) for _ in range(4)]
    absent = [await stage.call(alice, "toy-nothing", {"text": "x"}, version=version) for _ in range(4)]
    for one, other in zip(hidden, absent, strict=True):
        assert (one.status_code, one.content, dict(one.headers)) == (
            other.status_code,
            other.content,
            dict(other.headers),
        )
    bob = stage.token("bob")
    assert not refused(await stage.call(bob, "toy-break", {"text": "x"}, version=version)), "alice spent nothing"


async def test_a_client_without_a_user_is_counted_as_the_client() -> None:
    user = make_session("a")
    application = replace(user, application=True, client_id="batch")
    assert caller_of(application) == (user.issuer, "", "batch")
    assert caller_of(user) == (user.issuer, user.subject)


async def test_nothing_is_remembered_of_users_who_have_gone() -> None:
    limits = Limits(LimitSettings(per_user="9/second"), Audit(MemorySink()))
    for number in range(2000):
        limits.release(await limits.admit(make_session(f"user{number}")))
    assert limits._serving.of == {}
    limits = Limits(LimitSettings(per_user="1/hour", concurrent_per_user=9), Audit(MemorySink()))
    limits.release(await limits.admit(make_session("a")))
    for _ in range(20):
        with pytest.raises(TooManyRequests) as told:
            await limits.admit(make_session("a"))
        assert told.value.retry_after > 1
    assert limits._serving.of == {}, "neither where they were refused"


@WIRES
async def test_a_change_of_the_configuration_gives_nobody_anything_anew(limited: Limited, version: str) -> None:
    rates: Any = {"per_user": "3/hour", "per_tool": {"toy-slow": "1/hour"}, "concurrent_per_user": 1}
    stage = await limited(failed_authentications_per_address="1/hour", **rates)
    alice, known = stage.token("alice"), stage.token("bob")
    assert not refused(await stage.post(known, version=version))
    assert (await stage.post("x.y.z", version=version)).status_code == 401
    calls = await waiting(stage, version, known)
    await stage.server.reload(replace(stage.server.settings, limits=LimitSettings(
        failed_authentications_per_address="2/hour", **{**rates, "per_user": "4/hour"})))  # fmt: skip
    assert refused(await stage.post(known, version=version)), "one call of his runs still, in the old site"
    stage.toy.release.set()
    await asyncio.gather(*calls)
    assert refused(await stage.call(known, "toy-slow", version=version)), "counted before"
    assert (await stage.post("x.y.z", version=version)).status_code == 401
    assert refused(await stage.post(alice, version=version)), "the address failed once before, and once now"
    assert [refused(await stage.post(known, version=version)) for _ in range(2)] == [False, True]


async def test_a_limit_for_a_tool_that_is_not_there_stops_the_start(limited: Limited) -> None:
    with pytest.raises(ConfigurationError, match=r"limits\.per_tool\.toy-sai: no such tool; did you mean toy-say\?"):
        await limited(per_tool={"toy-sai": "1/hour"})


async def test_a_place_is_free_again_although_counting_was_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(LimitSettings(per_user="9/hour", concurrent_per_user=1), Audit(MemorySink()))

    async def never(self: object, key: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr("actas.mcp.limits._Limit.spend", never)  # a shared store that hangs
        waiting = asyncio.create_task(limits.admit(make_session("a")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    limits.release(await limits.admit(make_session("a")))


async def test_the_first_refusal_is_recorded_and_the_rest_are_counted(limited: Limited) -> None:
    stage = await limited(per_user="1/hour")
    alice = stage.token("alice")
    for _ in range(50):
        await stage.post(alice)
    first = stage.sink.entries(source="limits")
    assert [(each.code, each.username, each.count) for each in first] == [("too_many_requests", "alice", None)]
    assert first[0].request_id
    await stage.server.stop()
    assert [each.count for each in stage.sink.entries(source="limits")] == [None, 48]


async def test_strangers_cannot_fill_the_minutes(limited: Limited) -> None:
    stage = await limited()
    for _ in range(40):
        assert (await stage.post(None)).status_code == 401
        assert (await stage.post("x.y.z")).status_code == 401
    await stage.server.stop()
    events = stage.sink.entries(source="auth")
    for code in ("missing_token", "invalid_token"):
        mine = [each for each in events if each.code == code]
        assert [each.count for each in mine] == [None] * 5 + [35]
        assert {each.address for each in mine} == {"127.0.0.1"}
        assert all(each.reason for each in mine)


async def test_a_flood_from_many_addresses_adds_a_bounded_number_of_lines() -> None:
    sink = MemorySink(100_000)
    now = [0.0]
    tally = Tally(Audit(sink), singly=5, clock=lambda: now[0])
    for number in range(30_000):
        event = AuditEvent(source="auth", outcome=Outcome.REFUSED, action="a", code="c", address=str(number % 10_000))
        await tally.record(event.address, event)
    assert len(sink.entries()) <= MOST_GROUPS * 6
    now[0] = 61
    await tally.record("new", AuditEvent(source="auth", outcome=Outcome.REFUSED, action="a", code="c", address="new"))
    events = sink.entries()
    assert sum(each.count or 1 for each in events) == 30_001, "every one is accounted for"
    (others,) = [each for each in events if each.count and each.address is None]
    assert others.count is not None and others.count > 20_000
    assert json.loads(to_json(others))["count"] == others.count


async def waiting(stage: Stage, version: str, *tokens: str) -> list["asyncio.Task[httpx2.Response]"]:
    """Calls that are being served and wait."""
    calls = [asyncio.create_task(stage.call(token, "toy-slow", version=version)) for token in tokens]
    async with asyncio.timeout(20):
        while stage.toy.calls.count("slow") < len(tokens):  # noqa: ASYNC110 -- they begin one by one
            await asyncio.sleep(0.01)
    return calls


@WIRES
async def test_a_user_at_his_concurrency_is_refused_at_once_and_served_afterwards(
    limited: Limited, version: str
) -> None:
    stage = await limited(concurrent_per_user=2)
    alice = stage.token("alice")
    calls = await waiting(stage, version, alice, alice)
    response = await stage.post(alice, version=version)
    assert refused(response)
    assert response.headers["retry-after"] == "1"
    assert not refused(await stage.post(stage.token("bob"), version=version))
    stage.toy.release.set()
    assert [refused(call) for call in await asyncio.gather(*calls)] == [False, False]
    assert not refused(await stage.post(alice, version=version))


@WIRES
async def test_beyond_the_servers_concurrency_nobody_is_looked_at(limited: Limited, version: str) -> None:
    stage = await limited(concurrent=2)
    calls = await waiting(stage, version, stage.token("alice"), stage.token("bob"))
    for token in (stage.token("guest"), "x.y.z", None):
        response = await stage.post(token, version=version)
        assert (response.status_code, response.json()["error"]) == (503, "server_busy")
        assert response.headers["retry-after"] == "1"
    metadata = await stage.http.get(f"{stage.origin}/.well-known/oauth-protected-resource/mcp")
    assert metadata.status_code == 200
    stage.toy.release.set()
    await asyncio.gather(*calls)
    assert (await stage.post(stage.token("guest"), version=version)).status_code == 200
    codes = [each.code for each in stage.sink.entries()]
    assert codes.count("server_busy") == 3
    assert "invalid_token" not in codes


@WIRES
async def test_a_place_is_free_again_whatever_became_of_the_request(limited: Limited, version: str) -> None:
    stage = await limited(concurrent_per_user=1, concurrent=1, per_tool={"toy-say": "1/hour"})
    alice = stage.token("alice")
    for tool in ("toy-fail", "toy-crash", "toy-wait", "toy-write", "nothing", "toy-say", "toy-say"):
        await stage.call(alice, tool, {"text": "x"} if tool in ("toy-write", "toy-say") else {}, version=version)
    for token in (None, "x.y.z"):
        await stage.post(token, version=version)
    await stage.post(alice, version=version, headers={"host": "evil.example"})
    await stage.http.post(stage.url, headers={"authorization": f"Bearer {alice}"}, content=b"{")
    # One client leaves while its call runs, one in the middle of its body.
    calls = await waiting(stage, version, alice)
    calls[0].cancel()
    stage.toy.release.set()
    host, port = stage.origin.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /mcp HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {alice}\r\ncontent-length: 9\r\n\r\n{{"
    writer.write(head.encode())
    await writer.drain()
    writer.close()
    async with asyncio.timeout(20):
        while (await stage.post(alice, version=version)).status_code != 200:  # noqa: ASYNC110 -- nothing to wait for
            await asyncio.sleep(0.05)


async def test_a_cancelled_request_gives_its_place_back(idp: IdentityProvider, toy: Toy) -> None:
    settings = replace(settings_for(idp.trusted(role_mappings=ROLES)), limits=LimitSettings(concurrent=1))
    server = MCPOAuthServer(settings, audit_sink=MemorySink())
    server.register_delegation_module("toy", toy)
    door = server.asgi_app(port=8080)
    ask = InProcess(door)
    bearer = (b"authorization", f"Bearer {idp.issue('alice')}".encode())
    headers = [bearer, (b"host", b"127.0.0.1:8080"), (b"content-type", b"application/json"), (b"accept", b"*/*"),
               (b"content-length", b"90"), (b"mcp-protocol-version", HANDSHAKE.encode())]  # fmt: skip
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"toy-slow","arguments":{}}}'
    assert len(body) == 90
    async with door.lifespan():
        for _ in range(3):
            toy.running.clear()
            call = asyncio.create_task(ask(body, headers))
            async with asyncio.timeout(20):
                await toy.running.wait()
            assert (await ask(b"", [bearer]))[0] == 503
            call.cancel()
            await asyncio.wait([call])
            assert (await ask(b"", []))[0] == 401
