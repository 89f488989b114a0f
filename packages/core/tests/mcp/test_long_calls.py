"""Calls that take long: their callers hear that they go on, and can take them back. On both wires, on both ways."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from actas.core import Actor, DelegationCall, InsufficientScope, MemorySink, Outcome, Session
from actas.mcp import attendance, handlers
from actas.mcp.running import RunningCalls
from actas.testing.idp import IdentityProvider

from .conftest import HANDSHAKE, MODERN, WIRES, Serve, Stage, Toy, request

pytestmark = pytest.mark.anyio

WAYS = pytest.mark.parametrize("way", ["short", "sdk"])
Token = str | int | None


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (attendance, handlers):
        monkeypatch.setattr(module, "FIRST_BEAT", 0.1)
        monkeypatch.setattr(module, "BEAT_SECONDS", 0.1)


def asked(
    tool: str, version: str, way: str, *, progress: Token = None, request_id: str | int = 1, accept: str | None = None
) -> tuple[dict[str, str], bytes]:
    """A call. What is longer than the short way reads, and means the same, goes the SDK's."""
    params: dict[str, Any] = {"name": tool, "arguments": {}}
    headers, body = request("tools/call", params, version)
    body["id"] = request_id
    if progress is not None:
        body["params"].setdefault("_meta", {})["progressToken"] = progress
    if accept is not None:
        headers["accept"] = accept
    encoded = json.dumps(body).encode()
    return headers, encoded + b" " * (70_000 if way == "sdk" else 0)


@asynccontextmanager
async def calling(stage: Stage, token: str, headers: dict[str, str], body: bytes) -> AsyncIterator[httpx2.Response]:
    """A call whose answer has begun."""
    sent = {**headers, "authorization": f"Bearer {token}", "content-type": "application/json"}
    async with (
        httpx2.AsyncClient(timeout=30) as http,
        http.stream("POST", stage.url, headers=sent, content=body) as response,
    ):
        yield response


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come about")


def outcomes(sink: MemorySink) -> list[Outcome]:
    return [event.outcome for event in sink.entries() if event.source == "delegation:toy"]


@WIRES
@WAYS
async def test_who_gave_a_token_hears_that_the_call_goes_on(
    serve: Serve, toy: Toy, idp: IdentityProvider, version: str, way: str
) -> None:
    async with serve() as stage:
        headers, body = asked("toy-slow", version, way, progress="mine")
        async with calling(stage, idp.issue("alice"), headers, body) as response:
            assert response.headers["content-type"] == "text/event-stream"
            text = ""
            async for part in response.aiter_text():
                text += part
                if len(events(text)) == 2:
                    toy.release.set()
        *told, answer = events(text)
        assert len(told) >= 2
        assert {(each["method"], each["params"]["progressToken"]) for each in told} == {
            ("notifications/progress", "mine")
        }
        assert {each["params"]["message"].partition(" s. ")[2] for each in told} == {"Half of it is done."}
        elapsed = [each["params"]["progress"] for each in told]
        assert elapsed == sorted(set(elapsed))
        assert answer["id"] == 1
        assert answer["result"]["structuredContent"] == {"result": "done"}


@pytest.mark.parametrize("token", [2**70, "two\nlines", ""])
async def test_any_progress_token_is_given_back_as_it_came(
    serve: Serve, toy: Toy, idp: IdentityProvider, token: str | int
) -> None:
    async with serve() as stage:
        headers, body = asked("toy-slow", HANDSHAKE, "sdk", progress=token)
        async with calling(stage, idp.issue("alice"), headers, body) as response:
            text = ""
            async for part in response.aiter_text():
                text += part
                if events(text):
                    toy.release.set()
        told, *_, answer = events(text)
        assert told["params"]["progressToken"] == token
        assert answer["result"]["structuredContent"] == {"result": "done"}


@WIRES
@WAYS
async def test_who_gave_none_and_who_takes_no_events_gets_plain_json(
    serve: Serve, toy: Toy, idp: IdentityProvider, version: str, way: str
) -> None:
    async with serve() as stage:
        for progress, accept in ((None, None), (7, "application/json")):
            toy.release.clear()
            toy.running.clear()
            headers, body = asked("toy-slow", version, way, progress=progress, accept=accept)
            task = asyncio.create_task(stage_post(stage, idp.issue("alice"), headers, body))
            await toy.running.wait()
            await asyncio.sleep(0.3)
            toy.release.set()
            answer = await task
            assert answer.headers["content-type"].startswith("application/json")
            assert answer.json()["result"]["structuredContent"] == {"result": "done"}


async def stage_post(stage: Stage, token: str, headers: dict[str, str], body: bytes) -> httpx2.Response:
    async with calling(stage, token, headers, body) as response:
        await response.aread()
        return response


@WIRES
@WAYS
async def test_what_ends_soon_is_plain_json_and_a_step_up_an_http_403(
    serve: Serve, idp: IdentityProvider, version: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "FIRST_BEAT", 60.0)  # however busy this machine is
    async with serve() as stage:
        for tool, status in (("toy-data", 200), ("toy-write", 403)):
            headers, body = asked(tool, version, way, progress=0)
            answer = await stage_post(stage, idp.issue("alice"), headers, body)
            assert answer.status_code == status
            assert answer.headers["content-type"].startswith("application/json")


@WIRES
@WAYS
async def test_a_step_up_that_comes_when_events_have_gone_out_is_the_last_of_them(
    serve: Serve, toy: Toy, idp: IdentityProvider, version: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(call: DelegationCall) -> object:
        await toy.release.wait()
        raise InsufficientScope(frozenset({"toy.extra"}))

    monkeypatch.setattr(toy, "_data", late)
    async with serve() as stage:
        headers, body = asked("toy-slow", version, way, progress=3)
        async with calling(stage, idp.issue("alice"), headers, body) as response:
            text = ""
            async for part in response.aiter_text():
                text += part
                toy.release.set()
        told, *_, answer = events(text)
        assert (response.status_code, told["method"]) == (200, "notifications/progress")
        assert "insufficient_scope" in json.dumps(answer)
        assert answer["id"] == 1


@WAYS
async def test_closing_the_response_cancels_on_the_wire_of_2026(
    serve: Serve, toy: Toy, idp: IdentityProvider, sink: MemorySink, way: str
) -> None:
    async with serve() as stage:
        for progress in (None, 1):
            toy.running.clear()
            headers, body = asked("toy-slow", MODERN, way, progress=progress)
            task = asyncio.create_task(stage_post(stage, idp.issue("alice"), headers, body))
            await toy.running.wait()
            await asyncio.sleep(0.3)
            task.cancel()
            await eventually(lambda: outcomes(sink)[-1:] == [Outcome.CANCELLED])
            sink.clear()


@WAYS
async def test_on_the_older_wires_a_lost_connection_cancels_nothing(
    serve: Serve, toy: Toy, idp: IdentityProvider, sink: MemorySink, way: str
) -> None:
    async with serve() as stage:
        headers, body = asked("toy-slow", HANDSHAKE, way)
        task = asyncio.create_task(stage_post(stage, idp.issue("alice"), headers, body))
        await toy.running.wait()
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.sleep(0.2)
        assert outcomes(sink) == []
        toy.release.set()
        await eventually(lambda: outcomes(sink) == [Outcome.SUCCESS])


async def cancel(stage: Stage, token: str, request_id: str | int) -> None:
    headers, body = request("notifications/cancelled", {"requestId": request_id}, HANDSHAKE)
    del body["id"]
    answer = await stage_post(stage, token, {**headers}, json.dumps(body).encode())
    assert answer.status_code == 202


@WAYS
@pytest.mark.parametrize("progress", [None, "p"])
async def test_a_notification_cancels_on_the_older_wires_and_nothing_is_answered(
    serve: Serve, toy: Toy, idp: IdentityProvider, sink: MemorySink, way: str, progress: Token
) -> None:
    async with serve() as stage:
        token = idp.issue("alice")
        headers, body = asked("toy-slow", HANDSHAKE, way, progress=progress, request_id=7)
        task = asyncio.create_task(stage_post(stage, token, headers, body))
        await toy.running.wait()
        await asyncio.sleep(0.3)
        await cancel(stage, idp.issue("alice"), 7)  # with a newer token of hers
        answer = await task
        assert outcomes(sink) == [Outcome.CANCELLED]
        assert '"result"' not in answer.text
        assert answer.status_code == (202 if progress is None else 200)
        assert all("method" in event for event in events(answer.text))


async def test_nobody_cancels_a_call_of_anybody_elses_and_only_the_very_one(
    serve: Serve, toy: Toy, idp: IdentityProvider, sink: MemorySink
) -> None:
    async with serve() as stage:
        headers, body = asked("toy-slow", HANDSHAKE, "short", request_id=7)
        task = asyncio.create_task(stage_post(stage, idp.issue("alice"), headers, body))
        await toy.running.wait()
        await cancel(stage, idp.issue("bob"), 7)
        await cancel(stage, idp.issue("alice"), "7")
        await cancel(stage, idp.issue("alice"), 8)
        await asyncio.sleep(0.2)
        assert outcomes(sink) == []
        # Two of one id, from two clients of hers: it could be the wrong one.
        second = asyncio.create_task(stage_post(stage, idp.issue("alice"), headers, body))
        await eventually(lambda: toy.calls == ["slow", "slow"])
        await cancel(stage, idp.issue("alice"), 7)
        await asyncio.sleep(0.2)
        toy.release.set()
        for each in (task, second):
            assert (await each).json()["result"]["structuredContent"] == {"result": "done"}
        await cancel(stage, idp.issue("alice"), 7)  # it is over: nothing happens


def test_another_client_and_whoever_acts_for_the_user_are_somebody_else() -> None:
    mine = Session(issuer="i", subject="alice", username="alice", provider="p", client_id="app")
    others = [
        replace(mine, issuer="j"),
        replace(mine, subject="bob"),
        replace(mine, client_id="other"),
        replace(mine, client_id=None),
        replace(mine, actors=(Actor(subject="agent"),)),
    ]
    calls, taken = RunningCalls(), list[str]()
    with calls.listed(mine, 1, lambda: taken.append("back")):
        for other in others:
            calls.take_back(other, 1)
        assert taken == []
        calls.take_back(replace(mine, session_id="another token of hers"), 1)
        assert taken == ["back"]
    calls.take_back(mine, 1)
    assert taken == ["back"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_unmodified_client_hears_of_progress_and_cancels(
    serve: Serve, toy: Toy, idp: IdentityProvider, sink: MemorySink, mode: Any
) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)
        assert message is not None
        assert message.startswith("Running for")
        if len(heard) == 2:
            toy.release.set()

    async with (
        serve() as stage,
        httpx2.AsyncClient(headers={"authorization": f"Bearer {idp.issue('alice')}"}, timeout=30) as http,
        Client(streamable_http_client(stage.url, http_client=http), mode=mode) as client,
    ):
        done = await client.call_tool("toy-slow", {}, progress_callback=hear)
        assert done.structured_content == {"result": "done"}
        assert len(heard) >= 2
        toy.release.clear()
        toy.running.clear()
        sink.clear()
        task = asyncio.create_task(client.call_tool("toy-slow", {}))
        await toy.running.wait()
        await asyncio.sleep(0.2)
        task.cancel()
        await eventually(lambda: outcomes(sink) == [Outcome.CANCELLED])
        assert not (await client.call_tool("toy-data", {})).is_error
