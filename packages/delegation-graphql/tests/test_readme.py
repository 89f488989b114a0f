"""The README's configurations, operations and service: with a provider that exchanges and a service that verifies."""

import importlib
import re
import tomllib
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from graphql_schema import SDL
from graphql_service import AUDIENCE, Service
from graphql_serving import Serving

from actas.core.errors import ActasError
from actas.delegation.graphql import failures
from actas.testing.idp import IdentityProvider
from actas.testing.road import MCP, Road, exchanging, running  # noqa: F401 -- a fixture that is used by being here

pytestmark = pytest.mark.anyio

README = (Path(__file__).parents[1] / "README.md").read_text()
ON_FILE, FREE = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
OPERATIONS = re.findall(r"^```graphql\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
(SERVICE,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def road(
    block: str, provider: IdentityProvider, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AbstractAsyncContextManager[Road]:
    monkeypatch.setenv("GATEWAY_SECRET", "s3cret")
    (folder / "operations").mkdir()
    for number, operation in enumerate(OPERATIONS):
        (folder / "operations" / f"{number}.graphql").write_text(operation)
    (folder / "shop.graphql").write_text(SDL)
    for theirs, ours in {
        "https://shop.example.com/graphql": url,
        "https://shop.example.com": AUDIENCE,
        '"shop.graphql"': f'"{folder / "shop.graphql"}"',
        '"operations"': f'"{folder / "operations"}"',
    }.items():
        block = block.replace(theirs, ours)
    idp = {"name": "idp", "issuer": provider.issuer, "audience": MCP, "role_mappings": {"user": ["staff"]}}
    permissions = {"user": ["graphql:read", "graphql:write", "shop:look", "shop:buy"]}
    written: dict[str, Any] = {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {"trusted_idps": [idp], "permissions": permissions},
        **tomllib.loads(block),
    }
    return running(written, provider)


async def tools(opened: Road) -> dict[str, Any]:
    async with opened.client() as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools if tool.name.startswith("shop-")}


async def test_two_files_are_two_tools(
    provider: IdentityProvider, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with road(ON_FILE, provider, service.url, tmp_path, monkeypatch) as opened:
        listed = await tools(opened)
        assert set(listed) == {"shop-my-orders", "shop-place-order", "shop-health"}
        assert listed["shop-my-orders"].description.startswith("Your orders, the newest first.")
        assert listed["shop-place-order"].input_schema["properties"]["item"]["description"] == "What it is called."
        assert listed["shop-my-orders"].annotations.read_only_hint
        assert listed["shop-place-order"].annotations.destructive_hint
        orders = (await opened.call("shop-my-orders", "bob"))["data"]["orders"]
        assert orders == [{"id": "2", "item": "desk", "state": "OPEN"}]
        assert (await opened.call("shop-place-order", "bob", item="pen"))["data"]["addOrder"]["id"] == "4"


async def test_free_documents_have_the_tools_that_are_told(
    provider: IdentityProvider, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.tells_schema = True
    async with road(FREE, provider, service.url, tmp_path, monkeypatch) as opened:
        assert set(await tools(opened)) == {"shop-delegate", "shop-mutate", "shop-schema", "shop-health"}
        deep = "{ me { orders { buyer { orders { buyer { orders { id } } } } } } }"
        assert await opened.call("shop-delegate", document=deep) == "graphql_document_refused"
        assert await opened.call("shop-delegate", document="{ me { name } }") == {"data": {"me": {"name": "alice"}}}


async def test_the_service_that_is_written_there_sees_for_whom_and_by_whom(
    provider: IdentityProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = SERVICE.replace("https://login.example.com", provider.issuer).replace(
        "https://shop.example.com", AUDIENCE
    )
    (tmp_path / "service_of_the_readme.py").write_text(written)
    monkeypatch.syspath_prepend(tmp_path)
    app = importlib.import_module("service_of_the_readme").app
    (tmp_path / "me.graphql").write_text("type Query { me: String! }")
    with Serving(app) as url:
        block = FREE.replace("free_documents = true", f'free_documents = true\nschema_file = "{tmp_path}/me.graphql"')
        async with road(block, provider, url, tmp_path, monkeypatch) as opened:
            for user in ("alice", "bob"):
                answer = await opened.call("shop-delegate", user, document="{ me }")
                assert answer == {"data": {"me": f"{user}, through ['gateway']"}}


def test_every_code_of_the_package_is_in_the_table() -> None:
    codes = {
        each.code
        for each in vars(failures).values()
        if isinstance(each, type) and issubclass(each, ActasError) and each.__module__ == failures.__name__
    }
    assert {code for code in codes if f"| `{code}` |" not in README} == set()
