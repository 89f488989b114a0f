"""The door: an ASGI application that lets nobody through without a verified token.

::

    /.well-known/oauth-protected-resource/…   metadata (RFC 9728), open to all
    the MCP path                              token ─▶ Session ─▶ the MCP endpoint
    anything else                             404
"""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from actas.core import ActasError, AuditUnavailable, ServerBusy, TooManyRequests
from actas.core.models import new_id
from actas.core.pipeline import request_id
from actas.mcp.challenge import Refusal
from actas.mcp.entrance import with_new_nonce
from actas.mcp.inflight import CutOff
from actas.mcp.metadata import publish
from actas.mcp.site import Site
from actas.oauth.asgi import Message, Receive, Scope, Send, respond

logger = logging.getLogger(__name__)


class Door:
    """Authenticates every request to ``path`` and hands it with its Session to the site's endpoint.

    Args:
        path: the path of the MCP endpoint.
        current: the site that serves now. A request stays with the one that it came to.
        lifespan: entered when the server starts, left when it stops.
    """

    def __init__(
        self, *, path: str, current: Callable[[], Site], lifespan: Callable[[], AbstractAsyncContextManager[object]]
    ) -> None:
        self._path = path
        self._current = current
        self.lifespan = lifespan

    @property
    def well_known(self) -> tuple[str, ...]:
        """The paths under ``/.well-known`` that are answered here: for a host that mounts this at a path of its own,
        and has to route these, which begin at its root (RFC 9728 section 3.1), as well."""
        return tuple(self._current().publications)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            site = self._current()
            path, inside = _paths(scope)
            document = site.publications.get(path) or site.publications.get(inside)
            if inside == self._path:
                await self._serve(site, scope, receive, send)
            elif document is not None:
                await publish(scope, send, document)
            else:
                await respond(send, 404, [(b"content-type", b"text/plain")], b"Not found\n")
        elif scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, site: Site, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def noting(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await site.in_flight.run(self._enter(site, scope, receive, noting))
        except CutOff:
            if not answered:
                refusal = site.entrance.challenges.cut_off()
                await respond(send, refusal.status, refusal.headers, refusal.body)

    async def _enter(self, site: Site, scope: Scope, receive: Receive, send: Send) -> None:
        context = request_id.set(new_id())
        send = site.cors.readable(scope, send)
        try:
            refusal = site.cors.answer(scope) or await self._within_limits(site, scope, receive, send)
        except AuditUnavailable as error:
            refusal = site.entrance.challenges.unavailable(error)
        except (TooManyRequests, ServerBusy) as error:
            refusal = site.entrance.challenges.too_much(error)
        finally:
            request_id.reset(context)
        if refusal is not None:
            await respond(send, refusal.status, refusal.headers, refusal.body)

    async def _within_limits(self, site: Site, scope: Scope, receive: Receive, send: Send) -> Refusal | None:
        """Serve, or say what to answer instead. Whatever happens, what was taken up is free again afterwards."""
        await site.limits.arrive()
        try:
            session = await site.entrance.identify(scope)
            if isinstance(session, Refusal):
                return session
            caller = await site.limits.admit(session)
            try:
                await site.endpoint(scope, receive, with_new_nonce(scope, send), session)
            finally:
                site.limits.release(caller)
        finally:
            site.limits.leave()
        return None

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        started = False
        try:
            async with self.lifespan():
                started = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            if not started:
                await send({"type": "lifespan.startup.failed", "message": _told(error)})
                return
            logger.exception("the shutdown raised")
            await send({"type": "lifespan.shutdown.failed", "message": type(error).__name__})
            return
        await send({"type": "lifespan.shutdown.complete"})


def _told(error: Exception) -> str:
    """What the host may print: the text of a foreign exception may hold anything."""
    return error.message if isinstance(error, ActasError) else type(error).__name__


def _paths(scope: Scope) -> tuple[str, str]:
    """The path as the host has it, and as it is below where this is mounted (ASGI: the first begins with the mount)."""
    path, mounted = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path, path[len(mounted) :] if mounted and path.startswith(f"{mounted}/") else path
