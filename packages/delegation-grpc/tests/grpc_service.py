"""A gRPC service on a real socket. It verifies each token by the provider's published keys, and answers per user."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_protos import message, shop
from grpc_reflection.v1alpha import reflection
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from actas.testing.idp import IdentityProvider

AUDIENCE = "https://orders.example"
SECRETS = 'Traceback (most recent call last):\n  File "/srv/app.py", line 7\npassword=hunter2'


@dataclass
class Seen:
    """One call, as it arrived."""

    method: str
    metadata: list[tuple[str, str]]
    subject: str | None
    remaining: float | None
    """Seconds that the client left us."""
    request: Any = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    """Messages of a stream."""

    def value(self, name: str) -> str | None:
        """The one value of that metadata."""
        values = [value for key, value in self.metadata if key == name]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None


Behaviour = Callable[[Seen, grpc.ServicerContext], Any]


class Service:
    """Serves between ``__enter__`` and ``__exit__``; ``behaviours`` has what to do, by method, instead of the usual."""

    def __init__(
        self,
        provider: IdentityProvider,
        *,
        port: int = 0,
        credentials: grpc.ServerCredentials | None = None,
        with_health: bool = True,
        reflects: bool = False,
        threads: int = 60,
        options: Sequence[tuple[str, object]] = (),
        compression: grpc.Compression | None = None,
        interceptors: Sequence[grpc.ServerInterceptor] = (),
    ) -> None:
        self.seen: list[Seen] = []
        self.behaviours: dict[str, Behaviour] = {}
        self.refused: set[str] = set()
        """Tokens that are not taken (revoked, say)."""
        self.provider = provider
        self._keys: KeySet | None = None
        self._credentials, self._with_health, self._reflects, self._threads = (
            credentials,
            with_health,
            reflects,
            threads,
        )
        self._options, self._compression, self._interceptors = options, compression, interceptors
        self.health = health.HealthServicer()
        self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        self._server, self.port = self._made(port)
        self.target = f"127.0.0.1:{self.port}"

    def _made(self, port: int) -> tuple[grpc.Server, int]:
        server = grpc.server(
            _workers(self._threads),
            options=[("grpc.so_reuseport", 0), *self._options],
            compression=self._compression,
            interceptors=self._interceptors,
        )
        server.add_generic_rpc_handlers((_Handlers(self),))
        if self._with_health:
            health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        if self._reflects:
            reflection.enable_server_reflection(
                ["shop.v1.Orders", "shop.v1.Admin", reflection.SERVICE_NAME], server, pool=shop().pool
            )
        address = f"127.0.0.1:{port}"
        if self._credentials is None:
            return server, server.add_insecure_port(address)
        return server, server.add_secure_port(address, self._credentials)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Inside, nobody listens on its port."""
        self._server.stop(0).wait()
        yield
        self._server, _ = self._made(self.port)
        self._server.start()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()

    def calls(self, method: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method]

    def begin(self, method: str, context: grpc.ServicerContext) -> Seen:
        metadata = [(each.key, each.value) for each in context.invocation_metadata()]
        values = [value for key, value in metadata if key == "authorization"]
        scheme, _, token = (values[0] if len(values) == 1 else "").partition(" ")
        subject = self._subject(token) if scheme == "Bearer" else None
        seen = Seen(method, metadata, subject, context.time_remaining())
        self.seen.append(seen)
        if not context.add_callback(seen.cancelled.set):
            seen.cancelled.set()
        if subject is None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, SECRETS)
        return seen

    def _subject(self, token: str) -> str | None:
        """Whom the token is about: signed by the provider, for this service, and not at its end."""
        if token in self.refused:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(token, self._published(), algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return None
        good = claims["aud"] == AUDIENCE and claims["iss"] == self.provider.issuer and claims["exp"] > time.time()
        return claims["sub"] if good and "cnf" not in claims else None

    def _published(self) -> KeySet:
        if self._keys is None:
            with urllib.request.urlopen(f"{self.provider.origin}{self.provider.jwks_path}") as answer:
                self._keys = KeySet.import_key_set(json.load(answer))
        return self._keys


def _workers(threads: int) -> ThreadPoolExecutor:
    """All threads at once: one that comes later would look as if the module had left it behind."""
    executor = ThreadPoolExecutor(threads)
    all_there = threading.Barrier(threads + 1)
    for _ in range(threads):
        executor.submit(all_there.wait)
    all_there.wait()
    return executor


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, service: Service) -> None:
        self._service = service

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = handler_call_details.method.removeprefix("/")
        known = shop().method(method)
        if known is None:
            return None
        request = message(known.input_type.full_name)

        def unary(asked: Any, context: grpc.ServicerContext) -> Any:
            seen = self._service.begin(method, context)
            seen.request = asked
            behaviour = self._service.behaviours.get(method)
            return behaviour(seen, context) if behaviour else _USUAL[known.name](seen)

        def stream(asked: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            seen = self._service.begin(method, context)
            seen.request = asked
            for each in (self._service.behaviours.get(method) or _watch)(seen, context):
                seen.sent += 1
                yield each

        if known.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, request.FromString, _serialized)
        return grpc.unary_unary_rpc_method_handler(unary, request.FromString, _serialized)


def _serialized(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _watch(seen: Seen, context: grpc.ServicerContext) -> Iterator[Any]:
    for number in range(seen.request.count):
        time.sleep(seen.request.pause)
        yield message("Order")(order_id=number, buyer=seen.subject, blob=b"x" * seen.request.bytes)


def _wait(seen: Seen) -> Any:
    seen.cancelled.wait(seen.request.seconds)
    return message("google.protobuf.Empty")()


def _order(seen: Seen) -> Any:
    return message("Order")(order_id=seen.request.order_id, item="desk", buyer=seen.subject)


_USUAL: dict[str, Callable[[Seen], Any]] = {
    "GetOrder": _order,
    "PutOrder": _order,
    "PlaceOrder": _order,
    "WhoAmI": lambda seen: message("Me")(
        subject=seen.subject, metadata={key: value for key, value in seen.metadata if key != "authorization"}
    ),
    "Wait": _wait,
    "Echo": lambda seen: seen.request,
    "Wipe": lambda seen: message("google.protobuf.Empty")(),
}


def failing(code: grpc.StatusCode, times: int = 10_000) -> Behaviour:
    """Fails the first ``times`` calls with ``code``, and with words that nobody should see."""
    left = [times]

    def behave(seen: Seen, context: grpc.ServicerContext) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            context.set_trailing_metadata((("x-secret", "hunter2"), ("grpc-status-details-bin", b"hunter2")))
            context.abort(code, SECRETS)
        return _order(seen)

    return behave
