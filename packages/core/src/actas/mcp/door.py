"""The door: an ASGI application that lets nobody through without a verified token.

::

    /.well-known/oauth-protected-resource/…   metadata (RFC 9728), open to all
    the MCP path                              token ─▶ Session ─▶ the MCP endpoint
    anything else                             404
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

import orjson

from actas.core import ActasError, AuditUnavailable, Session
from actas.core.models import new_id
from actas.core.pipeline import request_id
from actas.mcp.asgi import Receive, Scope, Send, respond
from actas.mcp.challenge import Refusal
from actas.mcp.entrance import Entrance
from actas.mcp.metadata import send_metadata

logger = logging.getLogger(__name__)

Endpoint = Callable[[Scope, Receive, Send, Session], Awaitable[None]]
"""The MCP endpoint behind the door; gets the caller besides."""


class Door:
    """Authenticates every request to ``path`` and hands it with its Session to ``endpoint``.

    Args:
        path: the path of the MCP endpoint.
        entrance: identifies the caller.
        metadata: the RFC 9728 document.
        metadata_path: its path.
        endpoint: gets what is let in.
        lifespan: entered when the server starts, left when it stops.
    """

    def __init__(
        self,
        *,
        path: str,
        entrance: Entrance,
        metadata: Mapping[str, object],
        metadata_path: str,
        endpoint: Endpoint,
        lifespan: Callable[[], AbstractAsyncContextManager[object]],
    ) -> None:
        self._path = path
        self._entrance = entrance
        self._metadata = orjson.dumps(metadata)
        self._metadata_path = metadata_path
        self._endpoint = endpoint
        self.lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            if scope["path"] == self._path:
                await self._enter(scope, receive, send)
            elif scope["path"] == self._metadata_path:
                await send_metadata(scope, send, self._metadata)
            else:
                await respond(send, 404, [(b"content-type", b"text/plain")], b"Not found\n")
        elif scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = request_id.set(new_id())
        try:
            session = await self._entrance.identify(scope)
            if isinstance(session, Refusal):
                await respond(send, session.status, session.headers, session.body)
            else:
                await self._endpoint(scope, receive, send, session)
        except AuditUnavailable as error:
            refusal = self._entrance.challenges.unavailable(error)
            await respond(send, refusal.status, refusal.headers, refusal.body)
        finally:
            request_id.reset(context)

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
