"""The TypeScript SDK's client hears that a call goes on, and takes one back."""

import asyncio

import pytest

from actas.core import Outcome
from actas.mcp import attendance

from .conftest import WIRES, Browser, Shopfront, typescript

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("wire", WIRES)
async def test_the_typescript_client_hears_of_progress_and_its_giving_up_cancels(
    shop: Shopfront, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "FIRST_BEAT", 0.2)
    monkeypatch.setattr(attendance, "BEAT_SECONDS", 0.2)
    call = {"name": "shop-wait", "arguments": {}}
    look = ("callTool", {"name": "shop-look", "arguments": {}})
    steps = [look, ("callTool", call, {"seconds": 30}), ("callTool", call, {"seconds": 1}), look]
    _, waited, given_up, after = await typescript(shop.url, Browser(shop.provider, "alice"), wire, steps)
    assert waited["content"][0]["text"] == "wait as alice"
    elapsed = [word["progress"] for word in waited["heard"]]
    assert len(elapsed) >= 2
    assert elapsed == sorted(elapsed)
    assert given_up["given_up"] is True
    assert after["content"][0]["text"] == "look as alice"
    async with asyncio.timeout(5):
        while not shop.sink.entries(outcome=Outcome.CANCELLED):  # noqa: ASYNC110 -- the sink tells nobody
            await asyncio.sleep(0.02)
