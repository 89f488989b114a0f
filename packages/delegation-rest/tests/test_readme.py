"""The README's configurations, in a real server: with a provider that exchanges and a service that verifies."""

import json
import re
import tomllib
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from rest_service import AUDIENCE, Reply, Service

from actas.core.errors import ActasError
from actas.delegation.rest import failures
from actas.testing.idp import IdentityProvider
from actas.testing.road import MCP, Road, exchanging, running  # noqa: F401 -- a fixture that is used by being here

pytestmark = pytest.mark.anyio

README = (Path(__file__).parents[1] / "README.md").read_text()
DOCUMENTED, CHOSEN, WRITTEN = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}


def operation(name: str, tag: str, **more: Any) -> dict[str, Any]:
    return {"operationId": name, "summary": f"Do {name}", "tags": [tag], **more}


DOCUMENT = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://elsewhere.example"}],
    "paths": {
        "/customers": {
            "get": operation("listCustomers", "customers"),
            "post": operation("addCustomer", "customers", requestBody={"content": {"application/json": {}}}),
        },
        "/customers/{id}": {
            "parameters": [ID],
            "get": operation("getCustomerById", "customers"),
            "delete": operation("deleteCustomer", "customers"),
        },
        "/orders/{id}": {"parameters": [ID], "get": operation("getOrder", "orders")},
        "/orders/search": {"post": operation("searchOrders", "orders")},
        "/internal": {"get": operation("internal", "internals")},
    },
}


def road(
    block: str, provider: IdentityProvider, service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AbstractAsyncContextManager[Road]:
    monkeypatch.setenv("GATEWAY_SECRET", "s3cret")
    monkeypatch.setenv("CRM_KEY", "the-key")
    document = folder / "crm.json"
    document.write_text(json.dumps(DOCUMENT))
    for theirs, ours in {
        "https://crm.example.com/v1": service.base,
        "https://crm.example.com": AUDIENCE,
        "crm.json": str(document),
    }.items():
        block = block.replace(theirs, ours)
    idp = {"name": "idp", "issuer": provider.issuer, "audience": MCP, "role_mappings": {"user": ["staff"]}}
    written = {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {"trusted_idps": [idp], "permissions": {"user": ["crm:use", "crm:read"]}},
        **tomllib.loads(block),
    }
    return running(written, provider)


async def tools(opened: Road) -> dict[str, Any]:
    async with opened.client() as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools if tool.name.startswith("crm-")}


async def test_three_lines_of_configuration_make_tools_of_a_document(
    provider: IdentityProvider, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = DOCUMENTED.partition("\n\n")[0].splitlines()
    assert [line.partition(" ")[0] for line in module] == [
        "[delegation.modules.crm]", "kind", "base_url", "permission", "openapi",
    ]  # fmt: skip
    async with road(DOCUMENTED, provider, service, tmp_path, monkeypatch) as opened:
        listed = await tools(opened)
        assert set(listed) == {
            "crm-list-customers", "crm-add-customer", "crm-get-customer-by-id", "crm-delete-customer",
            "crm-get-order", "crm-search-orders", "crm-internal", "crm-health",
        }  # fmt: skip
        hints = {
            name: (tool.annotations.read_only_hint, tool.annotations.destructive_hint) for name, tool in listed.items()
        }
        assert hints["crm-get-order"][0] and hints["crm-delete-customer"] == (False, True)
        assert listed["crm-get-customer-by-id"].input_schema["properties"]["id"]["type"] == "integer"
        answer = await opened.call("crm-get-customer-by-id", "bob", id=7)
    assert answer["body"] == {"subject": "bob", "method": "GET", "target": "/v1/customers/7"}


async def test_operations_are_chosen_and_each_has_its_permission(
    provider: IdentityProvider, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.replies["/v1/customers"] = lambda seen: Reply(
        {"data": [seen.target]}, 200, {} if "page" in seen.target else {"link": '<?page=2>; rel="next"'}
    )
    async with road(CHOSEN, provider, service, tmp_path, monkeypatch) as opened:
        listed = await tools(opened)
        assert set(listed) == {
            "crm-list-customers", "crm-get-customer-by-id", "crm-get-order", "crm-search-orders", "crm-health",
        }, "alice lacks crm:write, and nothing else was chosen"  # fmt: skip
        search = listed["crm-search-orders"]
        assert search.annotations.read_only_hint and search.description.startswith("Search orders by text.")
        pages = await opened.call("crm-list-customers")
        assert (await opened.call("crm-health"))["body"] == {"up": True}
    assert pages["items"] == ["/v1/customers", "/v1/customers?page=2"] and pages["truncated"] is False


async def test_operations_that_are_written_by_hand_and_free_requests(
    provider: IdentityProvider, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with road(WRITTEN, provider, service, tmp_path, monkeypatch) as opened:
        assert set(await tools(opened)) == {"crm-get-customer", "crm-delegate", "crm-health"}
        await opened.call("crm-get-customer", id="7", fields="name")
        await opened.call("crm-delegate", method="POST", path="/customers", body={"name": "x"})
        await opened.call("crm-delegate", path="/files/a/b", headers={"Accept-Language": "de"})
        assert await opened.call("crm-delegate", path="/admin") == "http_request_refused"
    one, added, file = service.seen
    assert (one.target, added.method, file.target) == ("/v1/customers/7?fields=name", "POST", "/v1/files/a/b")
    assert {seen.header("x-user") for seen in service.seen} == {"alice"}
    assert {seen.header("x-subscription-key") for seen in service.seen} == {"the-key"}
    assert added.header("idempotency-key") and not one.header("idempotency-key")
    assert file.header("accept-language") == "de"


def test_every_code_of_the_package_is_in_the_table() -> None:
    codes = {
        each.code
        for each in vars(failures).values()
        if isinstance(each, type) and issubclass(each, ActasError) and each.__module__ == failures.__name__
    }
    assert {code for code in codes if f"| `{code}` |" not in README} == set()
