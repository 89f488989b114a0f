"""Streams of events that end with the token, and with nothing else."""

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from actas.mcp.subscriptions import end_streams, while_admitted
from actas.testing.tokens import make_session

pytestmark = pytest.mark.anyio


async def forever() -> str:
    await asyncio.Event().wait()
    return "never"


async def test_a_stream_ends_when_the_token_does() -> None:
    for seconds in (0.05, -1000.0):
        session = replace(make_session(), expires_at=time.time() + seconds)
        assert await while_admitted(session, forever, "ended") == "ended"


async def test_only_streams_of_denied_sessions_in_this_loop_are_ended() -> None:
    elsewhere = threading.Event()

    async def another_loop() -> str:
        elsewhere.set()
        return await while_admitted(make_session("bob"), asyncio.Event().wait, "ended")

    loop = asyncio.new_event_loop()
    there = loop.create_task(another_loop())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([there])))
    thread.start()
    here = [asyncio.create_task(while_admitted(make_session(user), forever, "ended")) for user in ("alice", "bob")]
    await asyncio.to_thread(elsewhere.wait, 10)
    await asyncio.sleep(0.01)
    for _ in range(2):
        end_streams(lambda session: session.username == "bob")
    await asyncio.wait([here[1]], timeout=10)
    assert [task.done() for task in here] == [False, True] and not there.done()
    end_streams(lambda session: True)
    assert await here[0] == "ended"
    loop.call_soon_threadsafe(there.cancel)
    await asyncio.to_thread(thread.join)
    loop.close()


async def test_a_time_limit_of_the_streams_own_stays_its_own_error() -> None:
    async def own() -> str:
        raise TimeoutError("the server's own")

    with pytest.raises(TimeoutError, match="own"):
        await while_admitted(make_session(), own, "ended")
