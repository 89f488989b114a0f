"""For the service behind: nobody gets in without a token that was made for it, and it sees for whom and by whom.

::

    authenticator = Authenticator([issuer], Permissions())
    server = grpc.aio.server(interceptors=[ReceivingInterceptor(authenticator)])

    async def GetOrder(self, request, context):
        user = acting_user()   # subject is the user, actors who acts for the user

What verifies is `actas[oauth]`'s :class:`actas.oauth.Authenticator`. Tokens that are bound to a key are refused: no
proofs are looked at here.
"""

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextvars import ContextVar, copy_context
from typing import Any, Protocol, TypeAlias, cast

import grpc
import grpc.aio

from actas.core.errors import ActasError, AuthenticationError, AuthenticationUnavailable, SessionRejected
from actas.core.models import Session

HEALTH_SERVICE = "grpc.health.v1.Health"
_BEARER = "bearer "
_MOST_SECONDS = 30.0
"""For which a call waits at most for its token to be verified."""

_acting: ContextVar[Session | None] = ContextVar("actas_acting_user", default=None)

# In quotes: only the library's types know that they are generic. Any: a service's own messages.
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Found: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
_Behaviour = Callable[[Any, Any], Any]  # Any: what a service's own functions take and give


class Verifier(Protocol):
    """What verifies tokens; :class:`actas.oauth.Authenticator` is one."""

    async def authenticate(self, token: str) -> Session:
        """The session that ``token`` stands for. Raises AuthenticationError."""
        ...

    async def aclose(self) -> None:
        """Release everything."""
        ...


def acting_user() -> Session:
    """The session of the call that is being served: ``subject`` is the user, ``actors`` who acts for the user.

    Raises:
        PermissionError: there is none: the interceptor is missing, or leaves this service open.
    """
    session = _acting.get()
    if session is None:
        raise PermissionError("no verified token")
    return session


class ReceivingInterceptor(grpc.aio.ServerInterceptor):
    """For servers of :mod:`grpc.aio`: verifies the token of each call before anything of it is read.

    Args:
        verifier: says whose the token is. Who may act is said in its issuer's ``actors``.
        open_services: services that anybody may call; :func:`acting_user` knows nobody there.
    """

    def __init__(self, verifier: Verifier, open_services: Collection[str] = (HEALTH_SERVICE,)) -> None:
        self._verifier = verifier
        self._open = frozenset(open_services)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Found]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Found:
        """The method, with its caller known; or one that refuses."""
        if _service(handler_call_details.method) in self._open:
            return await continuation(handler_call_details)
        try:
            session = await _session(self._verifier, handler_call_details.invocation_metadata)
        except ActasError as error:
            return _refusing(error)
        handler = await continuation(handler_call_details)
        # None is a method that is not there: gRPC answers for it.
        return handler and _changed(handler, lambda behaviour: _acting_as(session, behaviour))

    async def aclose(self) -> None:
        """Close the verifier, when the server has stopped."""
        await self._verifier.aclose()


class ThreadedReceivingInterceptor(grpc.ServerInterceptor):
    """The same for servers of :func:`grpc.server`. Tokens are verified in the server's threads, each call waits for
    its own; the verifier has an event loop in a thread beside them, until :meth:`close`."""

    def __init__(self, verifier: Verifier, open_services: Collection[str] = (HEALTH_SERVICE,)) -> None:
        self._verifier = verifier
        self._open = frozenset(open_services)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="actas-receiving", daemon=True)
        self._thread.start()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], _Found],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Found:
        """The method, which finds out first who calls."""
        handler = continuation(handler_call_details)
        if handler is None or _service(handler_call_details.method) in self._open:
            return handler
        metadata = handler_call_details.invocation_metadata
        return _changed(handler, lambda behaviour: self._asking_first(behaviour, metadata))

    def close(self) -> None:
        """Close the verifier and its thread, when the server has stopped. May be called twice."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._verifier.aclose(), self._loop).result(_MOST_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _asking_first(self, behaviour: _Behaviour, metadata: object) -> _Behaviour:
        def asking(request: Any, context: Any) -> Any:  # Any: as the service's own function has them
            try:
                session = self._verified(metadata)
            except ActasError as error:
                return context.abort(*_status(error))
            return _acting_as(session, behaviour)(request, context)

        return asking

    def _verified(self, metadata: object) -> Session:
        asked = asyncio.run_coroutine_threadsafe(_session(self._verifier, metadata), self._loop)
        try:
            return asked.result(_MOST_SECONDS)
        except TimeoutError:
            asked.cancel()
            raise AuthenticationUnavailable("timeout") from None


def _service(method: str) -> str:
    return method.rpartition("/")[0].lstrip("/")


async def _session(verifier: Verifier, metadata: object) -> Session:
    found = [(str(key), value) for key, value in cast("Iterable[tuple[str, str | bytes]]", metadata or ())]
    values = [value for key, value in found if key == "authorization"]
    if len(values) != 1 or not isinstance(value := values[0], str) or value[: len(_BEARER)].lower() != _BEARER:
        raise AuthenticationError("malformed", detail="not one bearer token in the metadata")
    session = await verifier.authenticate(value[len(_BEARER) :].strip(" "))
    if "cnf" in session.claims or any(key == "dpop" for key, _ in found):
        raise AuthenticationError("malformed", detail="bound to a key, and no proof is looked at here")
    if session.rejected:
        raise SessionRejected(detail=session.rejection_reason)
    return session


def _status(error: ActasError) -> tuple[grpc.StatusCode, str]:
    match error:
        case AuthenticationUnavailable():
            return grpc.StatusCode.UNAVAILABLE, error.message
        case AuthenticationError():
            return grpc.StatusCode.UNAUTHENTICATED, error.message
        case _:
            return grpc.StatusCode.PERMISSION_DENIED, error.message


def _refusing(error: ActasError) -> _Handler:
    code, message = _status(error)

    async def refuse(requests: object, context: Any) -> None:  # Any: the library's context
        await context.abort(code, message)

    # As a stream both ways: it is refused before anything of the request is waited for.
    return grpc.stream_stream_rpc_method_handler(cast("Any", refuse))  # Any: the types know only generators


def _changed(handler: _Handler, change: Callable[[_Behaviour], _Behaviour]) -> _Handler:
    kinds: dict[tuple[bool, bool], tuple[str, Callable[..., _Handler]]] = {
        (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
        (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
        (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
        (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
    }
    kind, make = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]
    return make(change(getattr(handler, kind)), handler.request_deserializer, handler.response_serializer)


def _acting_as(session: Session, behaviour: _Behaviour) -> _Behaviour:
    """``behaviour``, which finds ``session`` wherever it runs: in a task, in a thread, from one message to the next."""
    if inspect.isasyncgenfunction(behaviour):

        async def generating(request: Any, context: Any) -> AsyncIterator[Any]:
            _acting.set(session)
            async for each in behaviour(request, context):
                yield each

        return generating
    if inspect.iscoroutinefunction(behaviour):

        async def awaiting(request: Any, context: Any) -> Any:
            _acting.set(session)
            return await behaviour(request, context)

        return awaiting

    def calling(request: Any, context: Any) -> Any:
        within = copy_context()
        within.run(_acting.set, session)
        answer = within.run(behaviour, request, context)
        return _each(within, answer) if hasattr(answer, "__next__") else answer

    return calling


def _each(within: Any, answers: Iterator[Any]) -> Iterator[Any]:  # Any: a contextvars.Context; messages
    end = object()
    with contextlib.closing(cast("Any", answers)) if hasattr(answers, "close") else contextlib.nullcontext():
        while (answer := within.run(next, answers, end)) is not end:
            yield answer
