"""Descriptors by reflection: from services that tell the truth, that lie, and that talk without end."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_gateway import ALICE, gateway_to
from grpc_protos import shop_file
from grpc_reflection.v1alpha.reflection_pb2 import (
    ErrorResponse,
    FileDescriptorResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from grpc_service import Service

from actas.core import ActasError, ConfigurationError, DownstreamUnavailable, InvalidParameters, Secret
from actas.delegation.grpc.module import GrpcDelegation
from actas.delegation.grpc.settings import GrpcSettings, ReflectionSettings
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio

ORDERS = "shop.v1.Orders"
ALLOWED = [f"{ORDERS}/GetOrder", f"{ORDERS}/WatchOrders", f"{ORDERS}/Echo"]
BY_REFLECTION: dict[str, Any] = {
    "descriptors": None, "reflection": ReflectionSettings(), "allow": ALLOWED, "exclude": [],
}  # fmt: skip


@pytest.fixture
def reflecting(provider: IdentityProvider) -> Iterator[Service]:
    with Service(provider, reflects=True) as running:
        yield running


async def test_tools_are_those_of_the_list_and_no_more_than_the_service_has(reflecting: Service) -> None:
    async with gateway_to(reflecting, **BY_REFLECTION) as gateway:
        names = [action.name for action in gateway.module.actions]
        assert names == ["get-order", "watch-orders", "echo", "describe", "health"]
        assert (await gateway.response("get-order", orderId="7"))["buyer"] == "alice"
        assert len((await gateway.call("watch-orders", count=2))["responses"]) == 2
        told = await gateway.call("describe", tool="get-order")
        assert told["method"] == f"{ORDERS}/GetOrder" and not told["streams"]
        assert set(told["parameters"]["properties"]) == {"orderId"}
        for tool in ("wipe", "health", "shop.v1.Admin/Wipe"):
            with pytest.raises(InvalidParameters):
                await gateway.call("describe", tool=tool)
        for wrong in ({"order_id": 1}, {"x": 1}, {"orderId": []}):
            with pytest.raises(InvalidParameters):
                await gateway.call("get-order", **wrong)


async def test_what_a_service_tells_is_read_beside_the_event_loop(
    reflecting: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actas.delegation.grpc import module, reflection

    readers: list[int] = []

    def beside(real: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*given: Any) -> Any:
            readers.append(threading.get_ident())
            return real(*given)

        return reading

    monkeypatch.setattr(reflection, "made", beside(reflection.made))
    monkeypatch.setattr(module, "signed", beside(module.signed))
    async with gateway_to(reflecting, **BY_REFLECTION):
        assert len(readers) == 2 and threading.get_ident() not in readers


async def test_what_is_reflected_says_nothing_of_what_may_be_repeated(reflecting: Service) -> None:
    from grpc_service import failing

    reflecting.behaviours[f"{ORDERS}/GetOrder"] = failing(grpc.StatusCode.UNAVAILABLE)
    async with gateway_to(reflecting, **BY_REFLECTION) as gateway:
        with pytest.raises(ActasError):
            await gateway.call("get-order")
    assert len(reflecting.seen) == 1


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (f"{ORDERS}/Nothing", "no such method"),
        ("shop.v1.Nobody/GetOrder", "does not tell"),
        (f"{ORDERS}/Upload", "stream"),
        ("shop.v1.Admin/Anything", "Any"),
    ],
)
async def test_a_method_that_cannot_be_called_stops_the_start(reflecting: Service, method: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        async with gateway_to(reflecting, **{**BY_REFLECTION, "allow": [method]}):
            raise AssertionError("it started")


async def test_a_service_without_reflection_stops_the_start(service: Service) -> None:
    with pytest.raises(ConfigurationError, match="does not have it"):
        async with gateway_to(service, **BY_REFLECTION):
            raise AssertionError("it started")


async def test_a_service_that_is_away_is_asked_again_later(provider: IdentityProvider) -> None:
    with Service(provider, reflects=True) as gone:
        pass
    module = GrpcDelegation(
        GrpcSettings(
            targets=[gone.target],
            plaintext=True,
            permission="p",
            allow=ALLOWED,
            reflection=ReflectionSettings(seconds=2),
        )
    )
    try:
        with pytest.raises(DownstreamUnavailable):
            await module.initialize()
        with Service(provider, reflects=True, port=gone.port):
            for _ in range(50):
                try:
                    await module.initialize()
                    break
                except DownstreamUnavailable:
                    await asyncio.sleep(0.1)
            await module.initialize()  # it is known already
            assert (await module.health_check()).healthy
    finally:
        await module.destroy()


async def test_before_the_descriptors_are_known_nothing_can_be_called(reflecting: Service) -> None:
    from grpc_gateway import Gateway, settings_for

    gateway = Gateway(reflecting, settings_for(reflecting, **BY_REFLECTION))
    try:
        for action, parameters in (("get-order", {}), ("describe", {"tool": "echo"})):
            with pytest.raises(DownstreamUnavailable):
                await gateway.call(action, ALICE, **parameters)
    finally:
        await gateway.module.destroy()


# Services that tell something else

Told = Callable[[ServerReflectionRequest], "ServerReflectionResponse | bytes | None"]


@contextmanager
def telling(answer: Told, version: str = "grpc.reflection.v1", metadata: list[Any] | None = None) -> Iterator[str]:
    """The address of a service that has reflection alone, and answers with what ``answer`` gives; None ends it."""

    def converse(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[bytes]:
        if metadata is not None:
            metadata.append(dict(context.invocation_metadata()))
        for request in requests:
            told = answer(request)
            if told is None:
                return
            yield told if isinstance(told, bytes) else told.SerializeToString()

    handler = grpc.stream_stream_rpc_method_handler(converse, ServerReflectionRequest.FromString, bytes)
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(f"{version}.ServerReflection", {"ServerReflectionInfo": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


FILES = {file.name: file for file in FileDescriptorSet.FromString(shop_file().read_bytes()).file}


def of(*files: FileDescriptorProto | bytes) -> ServerReflectionResponse:
    raw = [file if isinstance(file, bytes) else file.SerializeToString() for file in files]
    return ServerReflectionResponse(file_descriptor_response=FileDescriptorResponse(file_descriptor_proto=raw))


def honest(request: ServerReflectionRequest) -> ServerReflectionResponse:
    if request.HasField("file_containing_symbol"):
        return of(FILES["shop.proto"])
    return of(FILES[request.file_by_filename])


async def reflect(target: str, **fields: Any) -> GrpcDelegation:
    module = GrpcDelegation(
        GrpcSettings(
            targets=[target], plaintext=True, permission="p", allow=ALLOWED, reflection=ReflectionSettings(**fields)
        )
    )
    try:
        await module.initialize()
    finally:
        await module.destroy()
    return module


@pytest.mark.parametrize("version", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def test_both_versions_are_understood_and_only_what_is_configured_is_sent(version: str) -> None:
    seen: list[dict[str, str]] = []
    with telling(honest, version, seen) as target:
        await reflect(target, metadata={"authorization": Secret("Bearer of-the-gateway")})
    assert len(seen) == 2, "the file with the service, and the one that it imports: not those of the library"
    for metadata in seen:
        assert metadata["authorization"] == "Bearer of-the-gateway"
        assert set(metadata) <= {"authorization", "user-agent", "grpc-accept-encoding"}


def lying_twice(request: ServerReflectionRequest) -> ServerReflectionResponse:
    other = FileDescriptorProto()
    other.CopyFrom(FILES["shop.proto"])
    other.service[0].method[0].input_type = ".shop.v1.Order"
    return of(FILES["shop.proto"], other) if request.HasField("file_containing_symbol") else honest(request)


def same_name_elsewhere(request: ServerReflectionRequest) -> ServerReflectionResponse:
    other = FileDescriptorProto()
    other.CopyFrom(FILES["shop.proto"])
    other.name = "other.proto"
    return of(FILES["shop.proto"], other) if request.HasField("file_containing_symbol") else honest(request)


def claiming(request: ServerReflectionRequest) -> ServerReflectionResponse:
    made = FileDescriptorProto(name=request.file_by_filename, package="google.protobuf")
    return honest(request) if request.HasField("file_containing_symbol") else of(made)


def endless(request: ServerReflectionRequest) -> ServerReflectionResponse:
    name = request.file_by_filename or "0"
    return of(FileDescriptorProto(name=name, dependency=[f"{name}0"]))


def another(request: ServerReflectionRequest) -> ServerReflectionResponse:
    return honest(request) if request.HasField("file_containing_symbol") else of(FILES["shop.proto"])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lying_twice, "twice, and not the same"),
        (same_name_elsewhere, "a name is there twice"),
        (claiming, "claims the package"),
        (endless, "too much"),
        (another, "does not tell about"),
        (lambda request: None, "ended the conversation"),
        (lambda request: b"\xff\xff", "no descriptor"),
        (lambda request: of(b"\xff\xff"), "no descriptor"),
        (lambda request: of(), "no such method"),
        (
            lambda request: ServerReflectionResponse(
                error_response=ErrorResponse(error_code=5, error_message="password=hunter2")
            ),
            "does not tell about",
        ),
    ],
    ids=["a file twice", "a message twice", "a package of google's", "endless", "another file", "ends", "no answer",
         "no file", "nothing", "an error"],
)  # fmt: skip
async def test_what_is_no_answer_stops_the_start_and_says_why(answer: Told, why: str) -> None:
    with telling(answer) as target, pytest.raises(ConfigurationError, match=why) as caught:
        await reflect(target, files=50)
    assert "hunter2" not in f"{caught.value} {caught.value.detail}"


async def test_an_error_of_the_service_stops_the_start_without_its_words() -> None:
    def failing(request: ServerReflectionRequest) -> None:
        raise RuntimeError("password=hunter2")

    with telling(failing) as target, pytest.raises(ConfigurationError, match="UNKNOWN") as caught:
        await reflect(target)
    assert "hunter2" not in f"{caught.value} {caught.value.detail}"


async def test_a_service_that_takes_its_time_is_left_in_time() -> None:
    def slow(request: ServerReflectionRequest) -> None:
        time.sleep(1)

    with telling(slow) as target, pytest.raises(DownstreamUnavailable):
        await asyncio.wait_for(reflect(target, seconds=0.3), 5)


async def test_all_questions_together_have_one_time() -> None:
    def slow(request: ServerReflectionRequest) -> ServerReflectionResponse:
        time.sleep(0.2)
        return endless(request)

    with telling(slow) as target, pytest.raises(DownstreamUnavailable):
        await asyncio.wait_for(reflect(target, seconds=0.7), 5)
