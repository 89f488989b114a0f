"""Answers: one message or a list of them, within bounds; and such as cannot be used."""

import asyncio

import grpc
import pytest
from grpc_gateway import Gateway, gateway_to
from grpc_protos import message
from grpc_service import SECRETS, Seen, Service

from actas.core import ActasError, DelegationTimeout
from actas.delegation.grpc.failures import AnswerTooLarge, UnexpectedAnswer
from actas.delegation.grpc.settings import LimitSettings, MethodSettings

pytestmark = pytest.mark.anyio

ORDERS = "shop.v1.Orders"


async def test_a_large_answer_within_the_limits_is_whole(gateway: Gateway, service: Service) -> None:
    everything = message("Everything")
    made = everything(
        numbers=range(2_000), by_name={"a": 1}, by_number={1: everything()}, more=[everything()], maybe=1, text="x"
    )
    service.behaviours[f"{ORDERS}/Echo"] = lambda *_: made
    answer = await gateway.response("echo")
    assert len(answer["numbers"]) == 2_000 and answer["byName"] == {"a": "1"} and answer["text"] == "x"


async def test_a_stream_comes_as_one_list_and_says_where_it_was_cut(service: Service) -> None:
    limits = LimitSettings(seconds=60, items=3, response_bytes=10_000)
    async with gateway_to(service, limits=limits) as gateway:
        whole = await gateway.call("watch-orders", count=3)
        assert [order["orderId"] for order in whole["responses"]] == ["0", "1", "2"] and not whole["truncated"]
        cut = await asyncio.wait_for(gateway.call("watch-orders", count=100_000_000), 20)
        assert len(cut["responses"]) == 3 and cut["truncated"]
        assert await asyncio.to_thread(service.seen[-1].cancelled.wait, 5), "nobody reads on"
        large = await gateway.call("watch-orders", count=3, bytes=4_000)
        assert len(large["responses"]) == 2 and large["truncated"]


async def test_a_methods_own_number_of_messages_wins(service: Service) -> None:
    async with gateway_to(service, methods={f"{ORDERS}/WatchOrders": MethodSettings(items=1)}) as gateway:
        assert len((await gateway.call("watch-orders", count=2))["responses"]) == 1


async def test_a_stream_that_breaks_in_the_middle_is_no_answer(gateway: Gateway, service: Service) -> None:
    def breaks(seen: Seen, context: grpc.ServicerContext) -> object:
        yield message("Order")(order_id=1)
        context.abort(grpc.StatusCode.INTERNAL, SECRETS)

    service.behaviours[f"{ORDERS}/WatchOrders"] = breaks
    with pytest.raises(ActasError) as caught:
        await gateway.call("watch-orders")
    assert caught.value.code == "grpc_service_failed"


async def test_a_stream_that_drips_ends_at_the_deadline(service: Service) -> None:
    async with gateway_to(service, limits=LimitSettings(seconds=0.6)) as gateway:
        with pytest.raises(DelegationTimeout):
            await gateway.call("watch-orders", count=1000, pause=0.2)
        assert await asyncio.to_thread(service.seen[0].cancelled.wait, 5)


async def test_an_answer_that_is_too_large_is_refused(service: Service) -> None:
    async with gateway_to(service, limits=LimitSettings(response_bytes=10_000)) as gateway:
        service.behaviours[f"{ORDERS}/PlaceOrder"] = lambda *_: message("Order")(blob=b"x" * 20_000)
        with pytest.raises(ActasError) as caught:
            await gateway.call("place-order")
        assert caught.value.code == "grpc_busy", "the library says RESOURCE_EXHAUSTED, as a service would"


async def test_a_small_answer_with_too_many_values_is_refused(service: Service) -> None:
    async with gateway_to(service, limits=LimitSettings(response_bytes=8_000_000)) as gateway:
        everything = message("Everything")
        for many in (
            everything(numbers=[1] * 200_000),
            everything(more=[everything()] * 5_000),
            everything(by_name={str(n): 1 for n in range(99_990)}),
            everything(by_number={n: everything() for n in range(2_000)}),
            everything(inner=everything(words=[""] * 99_990)),
        ):
            service.behaviours[f"{ORDERS}/Echo"] = lambda *_, many=many: many
            with pytest.raises(AnswerTooLarge):
                await gateway.call("echo")


@pytest.mark.parametrize(
    "raw", [b"\xff", b"\x0a\xff", b"\x72\x02\xff\xfe", b"\xea\x01\x09\x08" + b"\xff" * 8 + b"\x7f"]
)
async def test_an_answer_that_is_not_the_message_is_refused(gateway: Gateway, service: Service, raw: bytes) -> None:
    service.behaviours[f"{ORDERS}/Echo"] = lambda *_: raw
    with pytest.raises(UnexpectedAnswer):
        await gateway.call("echo")
