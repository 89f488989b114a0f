"""The README's configurations and service, in a real server: with a provider that exchanges and a service on TLS."""

import importlib
import re
import tomllib
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_elsewhere import open_elsewhere
from grpc_protos import PROTOS, compiled, shop_file, written
from grpc_service import AUDIENCE, Service

from actas.core.errors import ActasError
from actas.delegation.grpc import failures
from actas.testing.idp import IdentityProvider
from actas.testing.pki import CertificateAuthority
from actas.testing.road import MCP, Road, exchanging, running  # noqa: F401 -- a fixture that is used by being here

pytestmark = pytest.mark.anyio

README = (Path(__file__).parents[1] / "README.md").read_text()
BY_FILE, BY_REFLECTION = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
_, COMMANDS = re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
(SERVICE,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@pytest.fixture
def credentials(authority: CertificateAuthority) -> grpc.ServerCredentials:
    files = authority.issue_server("127.0.0.1")
    return grpc.ssl_server_credentials([(files.key.read_bytes(), files.certificate.read_bytes())])


@pytest.fixture
def secured(provider: IdentityProvider, credentials: grpc.ServerCredentials) -> Iterator[Service]:
    with Service(provider, credentials=credentials, reflects=True) as opened:
        yield opened


def road(
    block: str,
    provider: IdentityProvider,
    target: str,
    authority: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
    descriptors: Path | None = None,
) -> AbstractAsyncContextManager[Road]:
    monkeypatch.setenv("GATEWAY_SECRET", "s3cret")
    for theirs, ours in {
        "orders.example.com:443": target,
        "https://orders.example.com": AUDIENCE,
        '"shop.pb"': f'"{descriptors or shop_file()}"',
        "orders-ca.pem": str(authority.certificate),
    }.items():
        block = block.replace(theirs, ours)
    idp = {"name": "idp", "issuer": provider.issuer, "audience": MCP, "role_mappings": {"user": ["staff"]}}
    configured = {
        "mcp": {"port": 0, "resource": MCP},
        "auth": {"trusted_idps": [idp], "permissions": {"user": ["orders:use", "orders:write"]}},
        **tomllib.loads(block),
    }
    return running(configured, provider)


async def tools(opened: Road) -> dict[str, Any]:
    async with opened.client() as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools if tool.name.startswith("orders-")}


async def test_methods_of_the_file_are_the_tools_that_are_told(
    provider: IdentityProvider, secured: Service, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with road(BY_FILE, provider, secured.target, authority, monkeypatch) as opened:
        listed = await tools(opened)
        assert set(listed) == {"orders-get-order", "orders-watch-orders", "orders-place-order", "orders-health"}
        place = listed["orders-place-order"].annotations
        assert not place.read_only_hint and not place.destructive_hint
        assert (await opened.call("orders-get-order", "bob", orderId="7"))["response"]["buyer"] == "bob"
        stream = await opened.call("orders-watch-orders", count=2)
        assert len(stream["responses"]) == 2 and stream["truncated"] is False
        assert await opened.call("orders-health") == {"status": "SERVING"}


async def test_by_reflection_the_tools_are_those_that_are_named(
    provider: IdentityProvider, secured: Service, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with road(BY_REFLECTION, provider, secured.target, authority, monkeypatch) as opened:
        assert set(await tools(opened)) == {
            "orders-get-order", "orders-watch-orders", "orders-describe", "orders-health",
        }  # fmt: skip
        assert (await opened.call("orders-get-order", orderId="7"))["response"]["buyer"] == "alice"


def test_the_command_makes_the_file(tmp_path: Path) -> None:
    words = COMMANDS.replace("\\\n", " ").split()
    assert words[:4] == ["$", "python", "-m", "grpc_tools.protoc"] and words[-1] == "shop.proto"
    assert {"--include_imports", "--include_source_info"} <= set(words)
    made = compiled(PROTOS, tmp_path / "shop.pb", words[-1])
    assert made.read_bytes() == shop_file().read_bytes()


async def test_the_service_that_is_written_there_sees_for_whom_and_by_whom(
    provider: IdentityProvider,
    authority: CertificateAuthority,
    credentials: grpc.ServerCredentials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = SERVICE.replace("https://login.example.com", provider.issuer).replace("https://orders.example.com", AUDIENCE)
    (tmp_path / "grpc_service_of_the_readme.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with Service(provider) as free:
        pass
    serving = importlib.import_module("grpc_service_of_the_readme").serving
    proto = """syntax = "proto3"; package shop.v1;
        import "google/protobuf/empty.proto"; import "google/protobuf/wrappers.proto";
        service Me { rpc WhoAmI(google.protobuf.Empty) returns (google.protobuf.StringValue); }"""
    descriptors = written(tmp_path, proto)
    block = re.sub(r"allow = .*", 'allow = ["shop.v1.Me/WhoAmI"]', BY_FILE).replace(
        'methods."shop.v1.Orders/PlaceOrder"', 'methods."shop.v1.Me/WhoAmI"'
    )
    async with (
        open_elsewhere(serving(free.target, credentials)),
        road(block, provider, free.target, authority, monkeypatch, descriptors) as opened,
    ):
        for user in ("alice", "bob"):
            assert await opened.call("orders-who-am-i", user) == {"response": f"{user}, through ['gateway']"}


def test_every_code_of_the_package_is_in_the_table() -> None:
    codes = {
        each.code
        for each in vars(failures).values()
        if isinstance(each, type) and issubclass(each, ActasError) and each.__module__ == failures.__name__
    }
    assert {code for code in codes if f"| `{code}` |" not in README} == set()
