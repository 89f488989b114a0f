"""Streams of events that end with the token, and with nothing else."""

import asyncio
import time
from dataclasses import replace

import pytest

from actas.mcp.subscriptions import while_admitted
from actas.testing.tokens import make_session

pytestmark = pytest.mark.anyio


async def forever() -> str:
    await asyncio.Event().wait()
    return "never"


async def test_a_stream_ends_when_the_token_does() -> None:
    for seconds in (0.05, -1000.0):
        session = replace(make_session(), expires_at=time.time() + seconds)
        assert await while_admitted(session, forever, "ended") == "ended"


async def test_a_time_limit_of_the_streams_own_stays_its_own_error() -> None:
    async def own() -> str:
        raise TimeoutError("the server's own")

    with pytest.raises(TimeoutError, match="own"):
        await while_admitted(make_session(), own, "ended")
