"""A hostile model that writes parameters, and a hostile service that writes answers."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc_gateway import ALICE, Gateway, gateway_to
from grpc_protos import message, written
from grpc_service import SECRETS, Seen, Service

from actas.core import ActasError, DelegationCall, InvalidParameters, LimitExceeded
from actas.delegation.grpc.descriptors import from_file
from actas.delegation.grpc.failures import UnexpectedAnswer
from actas.delegation.grpc.messages import Answer, Codec
from actas.delegation.grpc.settings import LimitSettings
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio

ORDERS = "shop.v1.Orders"


def nested(levels: int) -> dict[str, object]:
    made: dict[str, object] = {}
    for _ in range(levels):
        made = {"inner": made}
    return made


def nested_json(levels: int) -> object:
    made: object = None
    for _ in range(levels):
        made = [made]
    return made


HOSTILE: dict[str, dict[str, object]] = {
    "a name that is not there": {"admin": True},
    "the name in the proto file": {"a_int32": 7},
    "one field under both names": {"otherName": "a", "renamed": "b"},
    "an extension": {"[shop.v1.more]": 1},
    "@type": {"@type": "type.googleapis.com/shop.v1.Me"},
    "@type within": {"inner": {"@type": "type.googleapis.com/shop.v1.Me"}},
    "two of a oneof": {"text": "a", "number": "1"},
    "NaN": {"aDouble": float("nan")},
    "infinity": {"aDouble": float("inf")},
    "NaN in any JSON": {"value": {"a": [float("nan")]}},
    "infinity in an object": {"struct": {"a": float("-inf")}},
    "too large a number": {"aInt32": 2**31},
    "a number of 10,000 digits": {"aInt64": "9" * 10_000},
    "a huge integer": {"aInt64": 10**4_000},
    "a fraction": {"aInt32": 1.5},
    "a number that is text": {"aInt64": "1e3x"},
    "an enum that is not there": {"colour": "BLUE"},
    "an enum by a number that is not there": {"colour": 2**40},
    "half a character": {"aString": "\ud800"},
    "a list for an object": {"nested": []},
    "text for an object": {"nested": ""},
    "null in a list": {"numbers": [None]},
    "an object for a list": {"numbers": {}},
    "a list for a map": {"byName": []},
    "a list for a number": {"aInt32": [1]},
    "a map's key that is no number": {"byNumber": {"x": {}}},
    "a map's key that is no truth": {"byTruth": {"maybe": "x"}},
    "a day that is none": {"at": "2026-02-30T00:00:00Z"},
    "a year that is none": {"at": "99999-01-01T00:00:00Z"},
    "too long a time": {"took": "9999999999999s"},
    "a mask that is none": {"mask": "a_b"},
    "what is no base64": {"aBytes": "a"},
    "something in an empty one": {"empty": {"a": 1}},
    "null": {"aInt32": None},
    "an object that is none": {"struct": []},
}


@pytest.mark.parametrize("parameters", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_parameters_are_refused_before_anything_is_sent(
    gateway: Gateway, service: Service, parameters: dict[str, Any]
) -> None:
    (echo,) = [action for action in gateway.module.actions if action.name == "echo"]
    with pytest.raises(InvalidParameters) as caught:
        await gateway.call("echo", **parameters)
    assert "AAAA" not in caught.value.message
    # The module itself takes none of it either: it does not rely on the schema.
    call = DelegationCall(
        session=ALICE,
        action=echo,
        parameters=parameters,
        deadline=time.monotonic() + 3,
        request_id="r",
        credential=await gateway.source.obtain(ALICE),
    )
    with pytest.raises(InvalidParameters):
        await gateway.module.delegate(call)
    assert service.seen == []


@pytest.mark.parametrize(
    "parameters",
    [
        nested(40),
        nested(5_000),
        {"value": nested_json(40)},
        {"value": nested_json(900)},
        {"numbers": [1] * 100_001},
        {"values": [[]] * 100_001},
        {"byName": {str(n): 1 for n in range(100_001)}},
        {"aString": "x" * 1_000_001},
    ],
    ids=["deep", "very deep", "deep JSON", "very deep JSON", "long", "many", "wide", "large"],
)
async def test_too_much_is_refused_before_anything_is_sent(
    gateway: Gateway, service: Service, parameters: dict[str, Any]
) -> None:
    (echo,) = [action for action in gateway.module.actions if action.name == "echo"]
    call = DelegationCall(
        session=ALICE,
        action=echo,
        parameters=parameters,
        deadline=time.monotonic() + 3,
        request_id="r",
        credential=await gateway.source.obtain(ALICE),
    )
    with pytest.raises(LimitExceeded):
        await gateway.module.delegate(call)
    assert service.seen == []


async def test_an_empty_oneof_member_of_a_null_is_a_value_of_its_own(gateway: Gateway) -> None:
    assert "nothing" in await gateway.response("echo", nothing=None)
    assert (await gateway.response("echo", value=None))["value"] is None


async def test_parameters_named_like_metadata_are_fields_or_nothing(service: Service) -> None:
    async with gateway_to(service, identity_metadata={"x-user": "subject"}) as gateway:
        for name in ("authorization", "x-user", "metadata", "grpc-timeout", ":authority"):
            with pytest.raises(InvalidParameters):
                await gateway.call("who-am-i", **{name: "bob"})
        await gateway.call("get-order", orderId="7")
    (seen,) = service.seen
    assert seen.value("x-user") == "alice" and (seen.value("authorization") or "").startswith("Bearer ey")


async def test_a_method_that_is_not_on_the_list_cannot_be_called_by_any_name(
    gateway: Gateway, service: Service
) -> None:
    for name in ("upload", "wipe", "shop.v1.Admin/Wipe", "../Admin/Wipe", "get-order/../wipe"):
        with pytest.raises(ActasError) as caught:
            await gateway.call(name)
        assert caught.value.code == "unknown_action"
    assert service.seen == []


async def test_trailing_metadata_and_initial_metadata_reach_nobody(gateway: Gateway, service: Service) -> None:
    def telling(seen: Seen, context: grpc.ServicerContext) -> Any:
        context.send_initial_metadata((("x-secret", "hunter2"),))
        context.set_trailing_metadata((("x-secret", "hunter2"), ("set-cookie", "hunter2")))
        context.set_details(SECRETS)
        return message("Me")(subject=seen.subject)

    service.behaviours[f"{ORDERS}/WhoAmI"] = telling
    answer = await gateway.call("who-am-i")
    assert "hunter2" not in f"{answer} {gateway.sink.entries()!r}"


async def test_a_service_that_sends_the_token_back_is_not_passed_on(gateway: Gateway, service: Service) -> None:
    def echo(seen: Seen) -> Any:
        return message("Me")(subject=seen.subject, metadata=dict(seen.metadata))

    service.behaviours[f"{ORDERS}/WhoAmI"] = lambda seen, context: echo(seen)
    service.behaviours[f"{ORDERS}/WatchOrders"] = lambda seen, context: iter(
        [message("Order")(item=f"a {seen.value('authorization')} b")]
    )
    for action in ("who-am-i", "watch-orders"):
        with pytest.raises(UnexpectedAnswer) as caught:
            await gateway.call(action)
        assert "token" in (caught.value.detail or "")


async def test_metadata_without_end_is_an_error_and_no_more(gateway: Gateway, service: Service) -> None:
    def flooding(seen: Seen, context: grpc.ServicerContext) -> Any:
        context.send_initial_metadata(tuple((f"x-{number}", "y" * 1000) for number in range(40)))
        return message("Me")()

    service.behaviours[f"{ORDERS}/WhoAmI"] = flooding
    with pytest.raises(ActasError) as caught:
        await gateway.call("who-am-i")
    assert caught.value.code in ("grpc_busy", "grpc_service_failed", "downstream_unavailable")
    await gateway.call("get-order")


@pytest.fixture
def bomb() -> Iterator[str]:
    """The address of a service whose answers are small, and become 300 MB."""
    command = [sys.executable, str(Path(__file__).with_name("grpc_bomb.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def peak() -> int:
    """The most memory that this process had since the last call, in kB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory was used")
async def test_an_answer_that_was_packed_to_be_huge_is_not_unpacked(service: Service, bomb: str) -> None:
    async with gateway_to(service, targets=[bomb], limits=LimitSettings(seconds=30)) as gateway:
        peak()
        before = peak()
        with pytest.raises(ActasError) as caught:
            await gateway.call("place-order")
        assert caught.value.code == "grpc_busy" and peak() - before < 100_000


async def test_an_answer_that_was_packed_is_read(provider: IdentityProvider) -> None:
    with Service(provider, compression=grpc.Compression.Gzip) as packing:
        packing.behaviours[f"{ORDERS}/PlaceOrder"] = lambda *_: message("Order")(blob=bytes(100_000))
        async with gateway_to(packing) as gateway:
            assert len((await gateway.response("place-order"))["blob"]) > 100_000


async def test_a_stream_without_end_costs_a_bounded_part_of_it(service: Service) -> None:
    def endless(seen: Seen, context: grpc.ServicerContext) -> Any:
        while True:
            yield message("Order")(blob=b"x" * 10_000)

    service.behaviours[f"{ORDERS}/WatchOrders"] = endless
    async with gateway_to(service, limits=LimitSettings(items=50)) as gateway:
        answer = await gateway.call("watch-orders")
        assert len(answer["responses"]) == 50 and answer["truncated"]
        assert await asyncio.to_thread(service.seen[0].cancelled.wait, 5)


async def test_an_any_in_an_answer_is_read_where_its_type_is_known_and_else_refused(service: Service) -> None:
    any_message: Any = message("google.protobuf.Any")
    wrap = message("Wrap")
    module = {"allow": ["shop.v1.Orders/*"], "exclude": ["shop.v1.Orders/Upload", "shop.v1.Orders/Chat"]}
    async with gateway_to(service, **module) as gateway:
        read = gateway.module._codec
        known = any_message(type_url="a/shop.v1.Me", value=message("Me")(subject="x").SerializeToString())
        assert read.answer(wrap, "the-token").read(wrap(things=[known]).SerializeToString()) == {
            "things": [{"@type": "a/shop.v1.Me", "subject": "x", "metadata": {}}]
        }
        raw = b""
        for _ in range(500):
            raw = any_message(type_url="a/google.protobuf.Any", value=raw).SerializeToString()
        for hostile in (
            wrap(things=[any_message(type_url="a/nobody.Knows", value=b"")]),
            wrap(things=[any_message(type_url="", value=b"x")]),
            wrap(things=[any_message(type_url="a/shop.v1.Me", value=b"\xff")]),
            wrap(things=[any_message.FromString(raw)]),
        ):
            with pytest.raises(UnexpectedAnswer):
                read.answer(wrap, "the-token").read(hostile.SerializeToString())
        large = any_message(
            type_url="a/shop.v1.Everything", value=message("Everything")(numbers=[1] * 200_000).SerializeToString()
        )
        with pytest.raises(LimitExceeded):
            read.answer(wrap, "the-token").read(wrap(things=[large]).SerializeToString())


def wide(folder: Path, fields: int) -> tuple[Codec, Any, Any]:
    """What reads the answers of a service whose messages have many fields, as one can say of itself by reflection;
    the message, and one with others wrapped in it."""
    numbers = " ".join(f"int32 f{index} = {index + 1};" for index in range(fields))
    text = (
        'syntax = "proto3"; package a; import "google/protobuf/any.proto";'
        f"message Wide {{ repeated Wide more = 20001; {numbers} }}"
        "message Wrap { repeated google.protobuf.Any things = 1; }"
    )
    found = from_file(str(written(folder, text)))
    kinds = [GetMessageClass(found.pool.FindMessageTypeByName(f"a.{name}")) for name in ("Wide", "Wrap")]
    return Codec(found.pool, LimitSettings()), kinds[0], kinds[1]


def test_empty_messages_of_many_fields_are_counted_wrapped_or_not(tmp_path: Path) -> None:
    """In an answer they take two bytes each, or a dozen; as JSON each has all its fields."""
    codec, one, wrap = wide(tmp_path, 2_000)
    read: Any = codec.answer(wrap, "the-token").read(wrap(things=[{"type_url": "a/a.Wide"}] * 3).SerializeToString())
    assert [len(each) for each in read["things"]] == [2_002] * 3
    for kind, hostile in ((wrap, wrap(things=[{"type_url": "/a.Wide"}] * 60)), (one, one(more=[one()] * 60))):
        raw = hostile.SerializeToString()
        assert len(raw) < 1_000
        with pytest.raises(LimitExceeded):
            codec.answer(kind, "the-token").read(raw)
    assert codec.answer(wrap, "the-token").read(wrap(things=[{}]).SerializeToString()) == {"things": [{}]}


async def test_a_large_answer_is_read_beside_the_event_loop(
    gateway: Gateway, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[int] = []
    real = Answer.read

    def read(self: Answer, raw: bytes) -> object:
        readers.append(threading.get_ident())
        return real(self, raw)

    monkeypatch.setattr(Answer, "read", read)
    everything = message("Everything")
    for many in (0, 20_000):
        service.behaviours[f"{ORDERS}/Echo"] = lambda *_, many=many: everything(numbers=[1] * many)
        await gateway.response("echo")
    here = threading.get_ident()
    assert readers[0] == here and readers[1] != here


async def test_nobody_elses_token_is_ever_sent_whatever_happened_before(gateway: Gateway, service: Service) -> None:
    from grpc_gateway import BOB
    from grpc_service import failing

    service.behaviours[f"{ORDERS}/PlaceOrder"] = failing(grpc.StatusCode.INTERNAL)
    for session in (ALICE, BOB) * 5:
        with pytest.raises(ActasError):
            await gateway.call("place-order", session)
        slow = asyncio.ensure_future(gateway.call("wait", session, seconds=5))
        await asyncio.sleep(0.01)
        slow.cancel()
        assert (await gateway.response("who-am-i", session))["subject"] == session.subject
    tokens = {(seen.subject, seen.value("authorization")) for seen in service.seen}
    assert len(tokens) == 2


async def test_an_answer_with_more_levels_than_allowed_is_refused(service: Service) -> None:
    def of(levels: int) -> Any:
        made = message("shop.v1.Everything")()
        here = made
        for _ in range(levels):
            here = here.inner
        here.SetInParent()
        return made

    async with gateway_to(service, limits=LimitSettings(depth=8)) as gateway:
        service.behaviours[f"{ORDERS}/Echo"] = lambda *_: of(6)
        assert await gateway.call("echo")  # eight levels: seven messages, and the lists in the last one
        service.behaviours[f"{ORDERS}/Echo"] = lambda *_: of(7)
        with pytest.raises(ActasError) as caught:
            await gateway.call("echo")
        assert caught.value.code == "grpc_answer_too_large"
