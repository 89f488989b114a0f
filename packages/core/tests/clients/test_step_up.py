"""Unmodified SDK clients: from no token at all to a tool that needs more scopes than they asked for."""

import json
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from .conftest import WIRES, Application, Browser, ClientFailed, Shopfront, Step

pytestmark = pytest.mark.anyio

LIST: Step = ("listTools", {})
LOOK: Step = ("callTool", {"name": "shop-look", "arguments": {}})
ORDER: Step = ("callTool", {"name": "shop-order", "arguments": {}})

STEPS: dict[str, tuple[Step, set[str], str]] = {
    "a tool": (ORDER, {"shop.read", "shop.order"}, "order as alice"),
    "a resource": (("readResource", {"uri": "shop://order"}), {"shop.read", "shop.order"}, "order as alice"),
    "a prompt": (("getPrompt", {"name": "order-prompt"}), {"shop.read", "shop.order"}, "order as alice"),
    "a tool on its way": (
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
    assert words in json.dumps(stepped)
    assert browser.asked == [{"shop.read"}, needed]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_user_who_may_not_have_the_scope_is_not_asked_without_end(
    shop: Shopfront, application: Application, wire: str
) -> None:
    browser = Browser(shop.provider, "bob")
    with pytest.raises((MCPError, ClientFailed, ExceptionGroup)):
        await application(shop.url, browser, wire, [LIST, LOOK, ORDER])
    assert browser.asked[:2] == [{"shop.read"}, {"shop.read", "shop.order"}]
    assert len(browser.asked) <= 3


def said(result: dict[str, Any]) -> str:
    return str(result["content"][0]["text"])
