"""Services of one's own that verify with our interceptors: of grpc.aio and of threads, each kind of method."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import StringValue
from grpc_elsewhere import open_elsewhere
from grpc_gateway import until
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_service import AUDIENCE

from actas.core import Session
from actas.core.errors import AuthenticationUnavailable
from actas.core.roles import Permissions
from actas.delegation.grpc import receiving
from actas.delegation.grpc.receiving import ReceivingInterceptor, ThreadedReceivingInterceptor, acting_user
from actas.oauth import Authenticator
from actas.oauth.settings import KnownActor
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio


def me() -> StringValue:
    user = acting_user()
    return StringValue(value=f"{user.subject} through {[actor.subject for actor in user.actors]}")


# The same service four times over: in tasks, and in threads


async def unary(request: Any, context: Any) -> StringValue:
    return me()


async def stream(request: Any, context: Any) -> AsyncIterator[StringValue]:
    for _ in range(2):
        await asyncio.sleep(0)
        yield me()


async def collecting(requests: Any, context: Any) -> StringValue:
    async for _ in requests:
        pass
    return me()


async def talking(requests: Any, context: Any) -> AsyncIterator[StringValue]:
    async for _ in requests:
        yield me()


async def writing(request: Any, context: Any) -> None:
    await context.write(me())
    await context.write(me())


def plain_unary(request: Any, context: Any) -> StringValue:
    return me()


def plain_stream(request: Any, context: Any) -> Iterator[StringValue]:
    for _ in range(2):
        yield me()


def plain_list(request: Any, context: Any) -> Iterator[StringValue]:
    return iter([me(), me()])


def plain_collecting(requests: Any, context: Any) -> StringValue:
    for _ in requests:
        pass
    return me()


def plain_talking(requests: Any, context: Any) -> Iterator[StringValue]:
    for _ in requests:
        yield me()


def handlers(**methods: tuple[Any, bool, bool]) -> Any:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    made = {
        name: make[way](behaviour, Empty.FromString, StringValue.SerializeToString)  # type: ignore[index]
        for name, (behaviour, *flags) in methods.items()
        for way in [tuple(flags)]
    }
    return grpc.method_handlers_generic_handler("test.Me", made)


PLAIN = handlers(
    Unary=(plain_unary, False, False),
    Stream=(plain_stream, False, True),
    List=(plain_list, False, True),
    Collect=(plain_collecting, True, False),
    Talk=(plain_talking, True, True),
)
AIO = handlers(
    Unary=(unary, False, False),
    Stream=(stream, False, True),
    List=(writing, False, True),
    Collect=(collecting, True, False),
    Talk=(talking, True, True),
)


def verifier(provider: IdentityProvider) -> Authenticator:
    issuer = provider.trusted(audience=[AUDIENCE], actors=[KnownActor(subject="gateway")])
    return Authenticator([issuer], Permissions())


@asynccontextmanager
async def serving(kind: str, checking: Any, *, handler: Any = None) -> AsyncIterator[grpc.Channel]:
    """A channel to a running server: ``aio``, ``aio with plain functions`` or ``threads``. It is one for threads: that
    of tasks calls it an internal error where it is refused while it writes."""
    if kind == "threads":
        server = threaded(checking, handler or PLAIN)
    else:
        server = open_elsewhere(in_tasks(checking, handler or (AIO if kind == "aio" else PLAIN)))
    async with server as port:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel


@asynccontextmanager
async def threaded(checking: Any, handler: Any) -> AsyncIterator[int]:
    interceptor = ThreadedReceivingInterceptor(checking)
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[interceptor])
    server.add_generic_rpc_handlers((handler,))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        await asyncio.to_thread(server.stop(0).wait)
        await asyncio.to_thread(interceptor.close)
        interceptor.close()


@asynccontextmanager
async def in_tasks(checking: Any, handler: Any) -> AsyncIterator[int]:
    interceptor = ReceivingInterceptor(checking)
    server = grpc.aio.server(ThreadPoolExecutor(4), interceptors=[interceptor])
    server.add_generic_rpc_handlers((handler,))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)
        await interceptor.aclose()


def bearing(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def issued(provider: IdentityProvider, user: str = "alice", **claims: object) -> str:
    acting = {"client_id": "gateway", "act": {"sub": "gateway"}}
    return provider.issue(user, audience=AUDIENCE, claims={**acting, **claims})


async def asked(channel: grpc.Channel, method: str, metadata: Any) -> list[str]:
    """What comes back, of any kind of method, for two messages where it takes many."""
    return await asyncio.to_thread(_asked, channel, method, metadata)


def _asked(channel: grpc.Channel, method: str, metadata: Any) -> list[str]:
    requests = iter([Empty(), Empty()])
    path, reads = f"/test.Me/{method}", {"timeout": 10, "metadata": metadata}
    send, read = Empty.SerializeToString, StringValue.FromString
    match method:
        case "Collect":
            return [channel.stream_unary(path, send, read)(requests, **reads).value]
        case "Talk":
            return [each.value for each in channel.stream_stream(path, send, read)(requests, **reads)]
        case "Stream" | "List":
            return [each.value for each in channel.unary_stream(path, send, read)(Empty(), **reads)]
        case _:
            return [channel.unary_unary(path, send, read)(Empty(), **reads).value]


KINDS = ["aio", "aio with plain functions", "threads"]
METHODS = ["Unary", "Stream", "List", "Collect", "Talk"]


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_method_sees_for_whom_and_by_whom(provider: IdentityProvider, kind: str) -> None:
    async with serving(kind, verifier(provider)) as channel:
        for method in METHODS:
            for user in ("alice", "bob"):
                answers = await asked(channel, method, bearing(issued(provider, user)))
                assert answers == [f"{user} through ['gateway']"] * (1 if method in ("Unary", "Collect") else 2), method


@pytest.mark.parametrize("kind", KINDS)
async def test_many_users_at_once_are_never_mixed_up(provider: IdentityProvider, kind: str) -> None:
    async with serving(kind, verifier(provider)) as channel:

        async def one(name: str) -> None:
            for method in METHODS:
                answers = await asked(channel, method, bearing(issued(provider, name)))
                assert set(answers) == {f"{name} through ['gateway']"}

        await asyncio.gather(*(one(f"user-{number}") for number in range(50)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
async def test_nobody_else_gets_in(provider: IdentityProvider, kind: str, method: str) -> None:
    good = issued(provider)
    head, body, signature = good.split(".")
    refused: dict[str, Any] = {
        "nothing": (),
        "no token": (("authorization", "Bearer "),),
        "another scheme": (("authorization", f"Basic {good}"),),
        "DPoP": (("authorization", f"DPoP {good}"),),
        "two": (*bearing(good), *bearing(good)),
        "bytes": (("authorization-bin", b"Bearer x"),),
        "with a proof": (*bearing(good), ("dpop", "x")),
        "the caller's own": bearing(provider.issue("alice")),
        "tampered with": bearing(f"{head}.{body}.{signature[::-1]}"),
        "unsigned": bearing(f"{head}.{body}."),
        "run out": bearing(issued(provider, exp=int(time.time()) - 1000)),
        "bound to a key": bearing(issued(provider, cnf={"jkt": "x"})),
        "of another gateway": bearing(issued(provider, client_id="stranger", act={"sub": "stranger"})),
    }
    async with serving(kind, verifier(provider)) as channel:
        for what, metadata in refused.items():
            with pytest.raises(grpc.RpcError) as caught:
                await asked(channel, method, metadata)
            wanted = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
            assert caught.value.code() in wanted[: 1 if what != "of another gateway" else 2], what
            assert provider.issuer not in (caught.value.details() or "") and AUDIENCE not in (
                caught.value.details() or ""
            )


@pytest.mark.parametrize("kind", KINDS)
async def test_health_is_told_to_anybody_and_a_method_that_is_not_there_is_not_there(
    provider: IdentityProvider, kind: str
) -> None:
    async with serving(kind, verifier(provider)) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(check, health_pb2.HealthCheckRequest(service="x"), timeout=10)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND, "it was asked"
        with pytest.raises(grpc.RpcError) as caught:
            await asked(channel, "Nothing", bearing(issued(provider)))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


class Slow:
    """Cannot say whose a token is."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.closed = 0

    async def authenticate(self, token: str) -> Session:
        await asyncio.sleep(self.seconds)
        raise AuthenticationUnavailable("keys_unavailable")

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("kind", KINDS)
async def test_where_it_cannot_be_known_who_calls_it_is_said_so(kind: str) -> None:
    verifier = Slow()
    async with serving(kind, verifier) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await asked(channel, "Unary", bearing("x"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert verifier.closed == 1


async def test_a_thread_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_MOST_SECONDS", 0.2)
    async with serving("threads", Slow(60)) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await asked(channel, "Unary", bearing("x"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_rejected_session_is_known_and_may_not(provider: IdentityProvider) -> None:
    class Rejecting(Slow):
        async def authenticate(self, token: str) -> Session:
            return Session(
                issuer="i", subject="alice", username="alice", provider="p", rejected=True, rejection_reason="no role"
            )

    async with serving("aio", Rejecting()) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await asked(channel, "Unary", bearing("x"))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "no role" not in (caught.value.details() or "")


def test_a_service_that_forgot_the_interceptor_knows_nobody() -> None:
    with pytest.raises(PermissionError):
        acting_user()


async def test_a_stream_in_a_thread_that_is_left_early_is_closed(provider: IdentityProvider) -> None:
    closed: list[bool] = []

    def long(request: Any, context: Any) -> Iterator[StringValue]:
        try:
            for _ in range(1_000):
                time.sleep(0.01)
                yield me()
        finally:
            closed.append(True)

    async with serving("threads", verifier(provider), handler=handlers(Stream=(long, False, True))) as channel:
        call = channel.unary_stream("/test.Me/Stream", Empty.SerializeToString, StringValue.FromString)(
            Empty(), metadata=bearing(issued(provider)), timeout=10
        )
        assert (await asyncio.to_thread(next, call)).value.startswith("alice")
        call.cancel()
        await until(lambda: closed)
