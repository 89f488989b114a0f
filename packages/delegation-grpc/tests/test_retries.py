"""What is tried again, what never is, and where calls go: services that count."""

import asyncio
import socket
from collections.abc import Iterator

import grpc
import pytest
from grpc_gateway import Gateway, gateway_to
from grpc_service import Seen, Service, failing

from actas.core import ActasError
from actas.delegation.grpc.settings import LimitSettings, MethodSettings, RetrySettings
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio

ORDERS = "shop.v1.Orders"
QUICK = RetrySettings(first_seconds=0.01, longest_seconds=0.02)


@pytest.mark.parametrize(("action", "method", "times"), [
    ("get-order", "GetOrder", 3),
    ("put-order", "PutOrder", 3),
    ("place-order", "PlaceOrder", 1),
    ("who-am-i", "WhoAmI", 1),
    ("watch-orders", "WatchOrders", 1),
])  # fmt: skip
async def test_only_idempotent_methods_are_tried_again(service: Service, action: str, method: str, times: int) -> None:
    service.behaviours[f"{ORDERS}/{method}"] = failing(grpc.StatusCode.UNAVAILABLE)
    async with gateway_to(service, retries=QUICK) as gateway:
        with pytest.raises(ActasError) as caught:
            await gateway.call(action)
    assert caught.value.code == "downstream_unavailable" and len(service.seen) == times
    attempts = [seen.value("grpc-previous-rpc-attempts") for seen in service.seen]
    assert attempts == [None, "1", "2"][:times]


async def test_an_attempt_that_succeeds_is_the_answer(service: Service) -> None:
    service.behaviours[f"{ORDERS}/GetOrder"] = failing(grpc.StatusCode.UNAVAILABLE, times=2)
    async with gateway_to(service, retries=QUICK) as gateway:
        assert (await gateway.response("get-order"))["item"] == "desk"
    assert [seen.subject for seen in service.seen] == ["alice"] * 3


@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED", "UNKNOWN"])
async def test_what_has_another_status_is_not_tried_again(service: Service, code: str) -> None:
    service.behaviours[f"{ORDERS}/GetOrder"] = failing(grpc.StatusCode[code])
    async with gateway_to(service, retries=QUICK) as gateway:
        with pytest.raises(ActasError):
            await gateway.call("get-order")
    assert len(service.seen) == 1


async def test_the_operator_says_what_is_idempotent(service: Service) -> None:
    for name in ("GetOrder", "PlaceOrder"):
        service.behaviours[f"{ORDERS}/{name}"] = failing(grpc.StatusCode.UNAVAILABLE)
    methods = {
        f"{ORDERS}/GetOrder": MethodSettings(idempotent=False),
        f"{ORDERS}/PlaceOrder": MethodSettings(idempotent=True),
    }
    async with gateway_to(service, retries=RetrySettings(attempts=2, first_seconds=0.01), methods=methods) as gateway:
        for action in ("get-order", "place-order"):
            with pytest.raises(ActasError):
                await gateway.call(action)
    assert [seen.method for seen in service.seen] == [f"{ORDERS}/GetOrder", *[f"{ORDERS}/PlaceOrder"] * 2]


async def test_one_attempt_is_one_attempt(service: Service) -> None:
    service.behaviours[f"{ORDERS}/GetOrder"] = failing(grpc.StatusCode.UNAVAILABLE)
    async with gateway_to(service, retries=RetrySettings(attempts=1)) as gateway:
        with pytest.raises(ActasError):
            await gateway.call("get-order")
    assert len(service.seen) == 1


async def test_all_attempts_share_one_deadline(service: Service) -> None:
    service.behaviours[f"{ORDERS}/GetOrder"] = failing(grpc.StatusCode.UNAVAILABLE)
    slow = RetrySettings(attempts=5, first_seconds=30, longest_seconds=30)
    async with gateway_to(service, retries=slow, limits=LimitSettings(seconds=0.5)) as gateway:
        with pytest.raises(ActasError) as caught:
            await asyncio.wait_for(gateway.call("get-order"), 5)
    assert caught.value.code in ("timeout", "downstream_unavailable")


async def test_a_connection_that_breaks_behind_a_write_repeats_nothing(provider: IdentityProvider) -> None:
    with Service(provider) as service:
        async with gateway_to(service, retries=QUICK) as gateway:

            def dies(seen: Seen, context: grpc.ServicerContext) -> object:
                service._server.stop(0)
                seen.cancelled.wait(5)
                raise AssertionError("nobody hears this")

            service.behaviours[f"{ORDERS}/PlaceOrder"] = dies
            with pytest.raises(ActasError) as caught:
                await gateway.call("place-order")
            assert caught.value.code in ("downstream_unavailable", "grpc_service_failed")
            assert len(service.seen) == 1
            with Service(provider, port=service.port) as again:
                await until_it_answers(gateway)
                assert not again.calls(f"{ORDERS}/PlaceOrder")


async def until_it_answers(gateway: Gateway) -> None:
    for _ in range(100):
        try:
            await gateway.call("who-am-i")
            return
        except ActasError:
            await asyncio.sleep(0.1)
    raise AssertionError("it does not come back")


@pytest.fixture
def another(provider: IdentityProvider) -> Iterator[Service]:
    with Service(provider) as running:
        yield running


async def test_calls_go_to_all_addresses_in_turn_and_to_those_that_are_left(service: Service, another: Service) -> None:
    async with gateway_to(service, targets=[service.target, another.target], retries=QUICK) as gateway:

        async def both() -> bool:
            await gateway.call("who-am-i")
            return bool(service.seen and another.seen)

        for _ in range(200):
            if await both():
                break
        service.seen.clear()
        another.seen.clear()
        for _ in range(10):
            await gateway.call("who-am-i")
        assert len(service.seen) == len(another.seen) == 5, "in turn"
        service._server.stop(0).wait()
        for _ in range(10):
            await gateway.call("get-order")
        assert len(another.calls(f"{ORDERS}/GetOrder")) == 10
        assert (await gateway.module.health_check()).healthy


async def test_a_service_that_is_away_is_told_at_once_and_used_again_when_it_is_back(
    provider: IdentityProvider,
) -> None:
    with Service(provider) as service:
        pass
    async with gateway_to(service) as gateway:
        with pytest.raises(ActasError) as caught:
            await gateway.call("who-am-i")
        assert caught.value.code == "downstream_unavailable"
        assert not (await gateway.module.health_check()).healthy
        with Service(provider, port=service.port):
            await until_it_answers(gateway)
            assert (await gateway.module.health_check()).healthy


async def test_a_host_that_swallows_connections_costs_the_time_of_one_call_at_most(service: Service) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)  # connections are made, and nobody ever answers
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        async with gateway_to(service, targets=[target], limits=LimitSettings(seconds=1)) as gateway:
            with pytest.raises(ActasError) as caught:
                await asyncio.wait_for(gateway.call("who-am-i"), 5)
            assert caught.value.code in ("timeout", "downstream_unavailable")
