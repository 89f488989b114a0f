"""Unmodified SDK clients: from no token at all to a tool that needs more scopes than they asked for."""

from typing import Any

import pytest

from .conftest import WIRES, Application, Browser, Shopfront, Step

pytestmark = pytest.mark.anyio

LIST: Step = ("listTools", {})
LOOK: Step = ("callTool", {"name": "shop-look", "arguments": {}})

STEPS: dict[str, tuple[Step, set[str], str]] = {
    "declared": (("callTool", {"name": "shop-order", "arguments": {}}), {"shop.read", "shop.order"}, "order as alice"),
    "on its way": (
        ("callTool", {"name": "shop-haggle", "arguments": {}}),
        {"shop.read", "shop.haggle"},
        "haggle as alice",
    ),
}
"""What needs more than was asked for at first: the step, the scopes of the second consent, words in the answer."""


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", STEPS)
async def test_a_client_without_a_token_finds_its_way_and_steps_up_by_itself(
    shop: Shopfront, application: Application, wire: str, kind: str
) -> None:
    step, needed, words = STEPS[kind]
    browser = Browser(shop.provider, "alice")
    listed, looked, stepped = await application(shop.url, browser, wire, [LIST, LOOK, step])
    assert {tool["name"] for tool in listed["tools"]} >= {"shop-look", "shop-order", "shop-haggle"}
    assert said(looked) == "look as alice"
    assert words in said(stepped)
    assert browser.asked == [{"shop.read"}, needed]


def said(result: dict[str, Any]) -> str:
    return str(result["content"][0]["text"])
