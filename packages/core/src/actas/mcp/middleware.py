"""The door as ASGI middleware around any Starlette or FastAPI application."""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path
from typing import Any

from actas.core import (
    ActasError,
    AuditEvent,
    AuditSink,
    AuditUnavailable,
    AuthorizationError,
    ConfigurationError,
    Outcome,
    ServerBusy,
    TooManyRequests,
)
from actas.core.models import new_id
from actas.core.pipeline import current_request, request_id
from actas.mcp import assembly
from actas.mcp.caller import Exchange, enter
from actas.mcp.challenge import Refusal
from actas.mcp.entrance import with_new_nonce
from actas.mcp.metadata import publish
from actas.mcp.settings import Settings
from actas.mcp.site import Site
from actas.oauth.asgi import ASGIApp, Message, Receive, Scope, Send, respond

_LONGEST_HELD = 65_536
"""Bytes of one piece of an answer that may wait."""


class DoorMiddleware:
    """Lets nobody through to ``app`` without a verified token.

    ::

        app = FastAPI()
        app.add_middleware(DoorMiddleware, configuration="actas.toml", public=["/health"])

    Each request has a session (:func:`actas.mcp.current_session`), a request id and one event in the minutes; a
    route asks for more with :func:`actas.mcp.requires`. The application's lifespan must be run, which a mounted
    application's is not: put it around the outermost one. WebSockets are refused, but on public paths.

    Args:
        app: the application.
        configuration: a file's path, the content of one, or :class:`Settings`. ``mcp.resource`` is the URL by which
            clients reach the application.
        public: paths that need no token, and have no session: exact ones, or ``/static/*`` for all that lie below.
        scopes: what a client should ask for at first; the metadata names them.
        audit_sink: where the minutes go, in place of what the configuration says.

    Raises:
        ConfigurationError: the configuration is wrong, or a public path is none.
    """

    def __init__(
        self,
        app: ASGIApp,
        configuration: Path | str | Mapping[str, object] | Settings,
        *,
        public: Iterable[str] = (),
        scopes: Iterable[str] = (),
        audit_sink: AuditSink | None = None,
    ) -> None:
        self._app = app
        self._public = _PublicPaths(public)
        self._site = Site(assembly.configuration(configuration), audit_sink=audit_sink)
        settings = self._site.settings.mcp
        self._site.furnish(settings.resource_at(settings.port), scopes=sorted(set(scopes)))
        self._opened = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        path = _path_in_application(scope)
        document = self._site.publications.get(path) or self._site.publications.get(scope["path"])
        if scope["type"] == "http" and document is not None:
            await publish(scope, send, document)
        elif self._public.have(path):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._enter(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's lifespan inside ours: keys and modules are there before it, and released after it."""
        last: list[Message] = []

        async def send_but_the_last(message: Message) -> None:
            # Whoever hears it may end the process, and what is not released by then never is.
            if message["type"].startswith("lifespan.shutdown."):
                last.append(message)
            else:
                await send(message)

        async with contextlib.AsyncExitStack() as opened:
            try:
                await opened.enter_async_context(self._open())
            except ActasError as error:
                await receive()
                await send({"type": "lifespan.startup.failed", "message": error.message})
                return
            await self._app(scope, receive, send_but_the_last)
        for message in last:
            await send(message)

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncGenerator[None]:
        async with self._site.opened():
            self._opened = True
            try:
                yield
            finally:
                self._opened = False

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._opened:
            raise RuntimeError("the door is shut: the lifespan of the application that it is around was not run")
        context = request_id.set(new_id())
        try:
            await self._within_limits(scope, receive, send)
        except AuditUnavailable as error:
            await _refuse(send, self._site.entrance.challenges.unavailable(error))
        except (TooManyRequests, ServerBusy) as error:
            await _refuse(send, self._site.entrance.challenges.too_much(error))
        finally:
            request_id.reset(context)

    async def _within_limits(self, scope: Scope, receive: Receive, send: Send) -> None:
        site = self._site
        await site.limits.arrive()
        try:
            session = await site.entrance.identify(scope)
            if isinstance(session, Refusal):
                await _refuse(send, session)
                return
            caller = await site.limits.admit(session)
            try:
                await site.context.audit.ready()
                exchange = enter(scope, session, site.entrance.challenges, site.context.pipeline)
                await self._serve(scope, receive, with_new_nonce(scope, send), exchange)
            finally:
                site.limits.release(caller)
        finally:
            site.limits.leave()

    async def _serve(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        reply = _Reply(scope, send, exchange)
        try:
            await self._app(scope, receive, reply)
        except Exception as error:
            if not reply.refusable(error):
                await reply.finish(failed=True)
                raise
        await reply.finish()


class _Reply:
    """An ASGI ``send``: the application's answer, or the door's in its place; recorded before it goes out.

    An answer of 500 waits until the application has returned: Starlette answers an exception so before it lets the
    exception through, and the exception may be one that the door answers.
    """

    def __init__(self, scope: Scope, send: Send, exchange: Exchange) -> None:
        self._scope = scope
        self._send = send
        self._exchange = exchange
        self._held: list[Message] = []
        self._begun = False
        self._replaced = False

    async def __call__(self, message: Message) -> None:
        if self._replaced:
            return
        if self._begun:
            await self._send(message)
            return
        self._held.append(message)
        if self._exchange.refusal is not None:
            await self._replace()
        elif self._held[0].get("status") != 500 or len(message.get("body", b"")) > _LONGEST_HELD:
            await self._begin()

    def refusable(self, error: Exception) -> bool:
        """Whether the door answers ``error``, which the application let through, and still can."""
        exchange = self._exchange
        if self._begun or not isinstance(error, ActasError):
            return False
        if exchange.refusal is None and not exchange.refuse(error) and isinstance(error, AuthorizationError):
            exchange.refusal, exchange.error = exchange.challenges.rejected(error), error
        return exchange.refusal is not None

    async def finish(self, *, failed: bool = False) -> None:
        """The application has returned, or ``failed``: what waits goes out."""
        if self._begun:
            return
        if self._exchange.refusal is not None:
            await self._replace()
        elif self._held:
            await self._begin()
        elif failed:
            await self._record(500)

    async def _begin(self) -> None:
        try:
            await self._record(self._held[0]["status"])
        except AuditUnavailable as error:  # what cannot be recorded is not answered
            self._exchange.refuse(error)
            await self._replace()
            return
        self._begun = True
        held, self._held = self._held, []
        for message in held:
            await self._send(message)

    async def _replace(self) -> None:
        refusal = self._exchange.refusal
        if refusal is None or self._replaced:
            return
        self._begun = self._replaced = True
        self._held.clear()
        try:
            if not isinstance(self._exchange.error, AuditUnavailable):
                await self._record(refusal.status)
        except AuditUnavailable as error:
            refusal = self._exchange.challenges.unavailable(error)
        await _refuse(self._send, refusal)

    async def _record(self, status: int) -> None:
        """Write the event of this request. Raises AuditUnavailable."""
        exchange, error = self._exchange, self._exchange.error
        await exchange.pipeline.audit.record(
            AuditEvent.of(
                exchange.session,
                source="http",
                action=self._scope["method"],
                outcome=error.outcome if error else _outcome(status),
                request_id=current_request(),
                tool=_route(self._scope),
                code=error.code if error else f"http_{status}" if status >= 400 else None,
                reason=error.detail if error else None,
            )
        )


class _PublicPaths:
    def __init__(self, paths: Iterable[str]) -> None:
        self._exact: set[str] = set()
        self._below: list[str] = []
        for path in paths:
            plain = path.removesuffix("/*")
            if not path.startswith("/") or "*" in plain or not plain:
                raise ConfigurationError(f"public: {path!r} is no path like /health and no pattern like /static/*")
            if plain == path:
                self._exact.add(path)
            else:
                self._below.append(f"{plain}/")

    def have(self, path: str) -> bool:
        """Whether ``path`` needs no token. What leads upwards again, or would if somebody decoded it once more, lies
        below nothing."""
        if path in self._exact:
            return True
        steps = {step.partition(";")[0] for step in path.replace("\\", "/").split("/")}
        plain = "%" not in path and steps.isdisjoint((".", ".."))
        return plain and any(path.startswith(below) for below in self._below)


def _path_in_application(scope: Scope) -> str:
    """The path without what the application is mounted under."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _route(scope: Scope) -> str | None:
    """The route, as it was declared: a path may hold a parameter's value, which the minutes do not keep."""
    endpoint: Any = scope.get("endpoint")  # Any: whatever the application routes to
    declared = getattr(scope.get("route"), "path", None) or getattr(endpoint, "__name__", None)
    return None if declared is None else str(declared)


def _outcome(status: int) -> Outcome:
    return Outcome.SUCCESS if status < 400 else Outcome.REFUSED if status < 500 else Outcome.FAILED


async def _refuse(send: Send, refusal: Refusal) -> None:
    await respond(send, refusal.status, refusal.headers, refusal.body)
