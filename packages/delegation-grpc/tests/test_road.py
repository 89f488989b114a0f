"""The whole road: a signed token, an exchange at a real provider, gRPC, an unmodified client, both wires."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc_elsewhere import open_elsewhere
from grpc_gateway import until
from grpc_protos import message, shop, shop_file
from grpc_service import AUDIENCE, SECRETS, Service, failing
from mcp.shared.exceptions import MCPError

from actas.core import ConfigurationError, Outcome
from actas.core.roles import Permissions
from actas.delegation.grpc.receiving import ReceivingInterceptor, acting_user
from actas.mcp import MCPOAuthServer, attendance
from actas.oauth import Authenticator
from actas.oauth.settings import KnownActor
from actas.testing.idp import IdentityProvider
from actas.testing.road import (
    WIRES,
    Road,
    configuration,
    exchange,
    exchanging,  # noqa: F401 -- a fixture that is used by being here
    running,
)
from actas.testing.tokens import generate_key

pytestmark = pytest.mark.anyio

ORDERS = "shop.v1.Orders"


def configured(provider: IdentityProvider, target: str, **fields: Any) -> dict[str, Any]:
    orders = {
        "kind": "grpc",
        "targets": [target],
        "plaintext": True,
        "permission": "orders:use",
        "descriptors": str(shop_file()),
        "allow": [f"{ORDERS}/*"],
        "exclude": [f"{ORDERS}/Upload", f"{ORDERS}/Chat"],
        "identity_metadata": {"x-user": "username"},
        "token_exchange": exchange(AUDIENCE),
        **fields,
    }
    return configuration(provider, {"orders": orders}, permissions={"user": ["orders:use"]}, roles={"user": ["staff"]})


@pytest.fixture(params=WIRES)
async def road(request: pytest.FixtureRequest, provider: IdentityProvider, service: Service) -> AsyncGenerator[Road]:
    async with running(configured(provider, service.target), provider, request.param) as opened:
        yield opened


async def test_two_users_call_the_same_tool_and_the_service_sees_each_of_them(road: Road, service: Service) -> None:
    for user in ("alice", "bob", "alice"):
        answer = await road.call("orders-get-order", user, orderId="7")
        assert answer["response"]["buyer"] == user
    assert [seen.subject for seen in service.seen] == ["alice", "bob", "alice"]
    assert [seen.value("x-user") for seen in service.seen] == ["alice", "bob", "alice"]


async def test_tools_come_from_the_descriptors_with_hints_and_schemas(road: Road) -> None:
    async with road.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools if tool.name.startswith("orders-")}
    assert set(tools) == {
        "orders-get-order", "orders-put-order", "orders-place-order", "orders-watch-orders", "orders-who-am-i",
        "orders-wait", "orders-echo", "orders-health",
    }  # fmt: skip
    hints = {name: tool.annotations for name, tool in tools.items() if tool.annotations}
    assert hints["orders-get-order"].read_only_hint and hints["orders-place-order"].destructive_hint
    assert not hints["orders-put-order"].read_only_hint and not hints["orders-put-order"].destructive_hint
    assert tools["orders-get-order"].description == "Get one of your orders."
    properties = tools["orders-get-order"].input_schema["properties"]
    assert properties["orderId"]["description"] == "Its number." and len(properties["orderId"]["anyOf"]) == 2


async def test_a_guest_sees_none_of_them(road: Road, service: Service) -> None:
    async with road.client("guest") as client:
        assert not [tool for tool in (await client.list_tools()).tools if tool.name.startswith("orders-")]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("orders-get-order", {})
    assert service.seen == []


async def test_the_minutes_prove_whom_the_service_saw(road: Road, service: Service) -> None:
    await road.call("orders-get-order", orderId="7")
    (event,) = [event for event in road.minutes.entries(outcome=Outcome.SUCCESS) if event.source == "delegation:orders"]
    assert event.receipt is not None and event.receipt.details == {"token_subject": "alice", "status": "OK"}
    assert (event.subject, event.tool, event.action) == ("alice", "orders-get-order", "get-order")
    assert service.seen[0].value("x-request-id") == event.request_id, "both logs can be read side by side"


async def test_a_token_that_the_service_refuses_is_exchanged_anew_once(
    road: Road, service: Service, provider: IdentityProvider
) -> None:
    async with road.client() as client:
        await client.call_tool("orders-who-am-i", {})
        first = service.seen[-1].value("authorization") or ""
        service.refused.add(first.removeprefix("Bearer "))
        result = await client.call_tool("orders-who-am-i", {})
    assert not result.is_error and len(provider.exchanges.asked) == 2
    assert service.seen[-1].value("authorization") != first


async def test_without_an_exchanged_token_nothing_reaches_the_service(
    road: Road, service: Service, provider: IdentityProvider
) -> None:
    for claims in ({"sub": "bob"}, {"aud": "https://another.example"}):
        provider.exchanges.claims = claims
        assert await road.call("orders-who-am-i") == "exchange_refused"
    assert service.seen == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("orders-echo", {"@type": "type.googleapis.com/shop.v1.Me"}),
        ("orders-echo", {"text": "a", "number": "1"}),
        ("orders-who-am-i", {"authorization": "Bearer stolen"}),
        ("orders-who-am-i", {"x-user": "bob"}),
        ("orders-echo", {"a_int32": 1}),
        ("orders-echo", {"aInt64": "9" * 5_000}),
    ],
)
async def test_an_attack_is_refused_and_in_the_minutes(
    road: Road, service: Service, tool: str, arguments: dict[str, Any]
) -> None:
    assert await road.call(tool, **arguments) == "invalid_parameters"
    assert service.seen == []
    (event,) = [event for event in road.minutes.entries(outcome=Outcome.REFUSED) if event.tool == tool]
    assert (event.code, event.subject) == ("invalid_parameters", "alice")


async def test_a_stack_trace_of_the_service_reaches_nobody_and_no_token_is_in_anything(
    road: Road, service: Service, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    service.behaviours[f"{ORDERS}/PlaceOrder"] = failing(grpc.StatusCode.INTERNAL)
    async with road.client() as client:
        result = await client.call_tool("orders-place-order", {})
    error = (result.structured_content or {})["error"]
    assert error["code"] == "grpc_service_failed" and "INTERNAL" in error["message"]
    assert service.seen[-1].value("x-request-id") == error["requestId"]
    everything = f"{result!r} {caplog.text} {road.minutes.entries()!r} {capfd.readouterr()}"
    exchanged = (service.seen[-1].value("authorization") or "").removeprefix("Bearer ")
    assert "hunter2" not in everything and SECRETS[:9] not in everything
    assert exchanged.count(".") == 2 and exchanged.rsplit(".", 1)[1] not in everything


async def test_a_client_that_takes_a_call_back_ends_it_at_the_service(road: Road, service: Service) -> None:
    async with road.client() as client:
        call = asyncio.ensure_future(client.call_tool("orders-wait", {"seconds": 20}))
        await until(lambda: service.seen)
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(service.seen[0].cancelled.wait, 10)


async def test_who_waits_for_a_stream_hears_how_far_it_has_come(
    road: Road, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_BEAT", "BEAT_SECONDS"):
        monkeypatch.setattr(attendance, name, 0.1)
    heard: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async with road.client() as client:
        result = await client.call_tool("orders-watch-orders", {"count": 10, "pause": 0.1}, progress_callback=hear)
    assert len((result.structured_content or {})["responses"]) == 10
    assert [beat for beat, _ in heard] == sorted(beat for beat, _ in heard) and len(heard) >= 3
    assert any("messages so far." in (said or "") for _, said in heard)


async def test_another_calls_progress_is_nobody_elses(
    road: Road, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_BEAT", "BEAT_SECONDS"):
        monkeypatch.setattr(attendance, name, 0.1)
    heard: list[str | None] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async def waiting() -> None:
        async with road.client("bob") as client:
            await client.call_tool("orders-wait", {"seconds": 1}, progress_callback=hear)

    await asyncio.gather(waiting(), road.call("orders-watch-orders", count=8, pause=0.1))
    assert heard and not any("messages" in (said or "") for said in heard)


async def test_a_service_that_is_down_takes_nobody_with_it_and_is_used_again_when_it_is_back(
    provider: IdentityProvider, service: Service
) -> None:
    with Service(provider) as gone:
        pass
    written = configured(provider, service.target)
    modules = written["delegation"]["modules"]
    modules["shop"] = {**modules["orders"], "targets": [gone.target]}
    reflected = {key: value for key, value in modules["shop"].items() if key not in ("descriptors", "exclude")}
    modules["late"] = {**reflected, "reflection": {}, "allow": [f"{ORDERS}/WhoAmI"]}
    async with running(written, provider) as opened:
        for tool in ("shop-who-am-i", "late-who-am-i"):
            assert await opened.call(tool) == "downstream_unavailable"
        assert (await opened.call("orders-who-am-i"))["response"]["subject"] == "alice"
        async with opened.client() as client:
            health = (await client.call_tool("health-check", {})).structured_content or {}
        told = {name: each["healthy"] for name, each in health["modules"].items()}
        assert told == {"orders": True, "shop": False, "late": False}
        with Service(provider, port=gone.port, reflects=True):
            for tool in ("shop-who-am-i", "late-who-am-i"):
                await _answers(opened, tool)
            async with opened.client() as client:
                told = (await client.call_tool("late-describe", {"tool": "who-am-i"})).structured_content or {}
            assert told["method"] == f"{ORDERS}/WhoAmI"


async def _answers(opened: Road, tool: str) -> None:
    for _ in range(100):
        answer = await opened.call(tool)
        if isinstance(answer, dict):
            assert answer["response"]["subject"] == "alice"
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{tool} does not come back")


def test_a_configuration_that_binds_tokens_to_a_key_is_refused_with_what_to_change(provider: IdentityProvider) -> None:
    written = configured(provider, "127.0.0.1:1")
    key = json.dumps(generate_key("ES256").as_dict(private=True))
    written["delegation"]["modules"]["orders"]["token_exchange"]["dpop_key"] = key
    with pytest.raises(ConfigurationError, match=r"orders\.token_exchange\.dpop_key: .* no way to prove a key"):
        MCPOAuthServer(written)


def test_a_module_without_an_exchange_does_not_start(provider: IdentityProvider) -> None:
    written = configured(provider, "127.0.0.1:1")
    del written["delegation"]["modules"]["orders"]["token_exchange"]
    with pytest.raises(ConfigurationError, match="token_exchange is required"):
        MCPOAuthServer(written)


@asynccontextmanager
async def own_service(provider: IdentityProvider) -> AsyncGenerator[str]:
    """A service that verifies with our interceptor."""

    async def who_am_i(request: Any, context: Any) -> Any:
        user = acting_user()
        return message("Me")(subject=user.subject, metadata={"through": user.actors[0].subject})

    method = shop().method(f"{ORDERS}/WhoAmI")
    assert method is not None
    handler = grpc.unary_unary_rpc_method_handler(
        who_am_i, GetMessageClass(method.input_type).FromString, lambda answer: answer.SerializeToString()
    )
    issuer = provider.trusted(audience=[AUDIENCE], actors=[KnownActor(subject="gateway")])
    interceptor = ReceivingInterceptor(Authenticator([issuer], Permissions()))
    server = grpc.aio.server(interceptors=[interceptor])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(ORDERS, {"WhoAmI": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
        await interceptor.aclose()


async def test_the_whole_road_to_a_service_that_checks_with_our_interceptor(provider: IdentityProvider) -> None:
    async with (
        open_elsewhere(own_service(provider)) as target,
        running(configured(provider, target), provider) as opened,
    ):
        for user in ("alice", "bob"):
            answer = await opened.call("orders-who-am-i", user)
            assert answer["response"] == {"subject": user, "metadata": {"through": "gateway"}}
        assert await opened.call("orders-get-order") == "grpc_unimplemented"
        async with grpc.aio.insecure_channel(target) as channel:
            ask = channel.unary_unary(f"/{ORDERS}/WhoAmI")
            for metadata in ((), (("authorization", f"Bearer {provider.issue('alice')}"),)):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await ask(b"", metadata=metadata)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, "it is for the gateway"
