"""What an orchestrator asks: is it alive, should it get requests? Open to all, and says nothing else.

A dead downstream makes nobody unready: the other modules go on, and ``health-check`` tells who may know.
"""

from collections.abc import Callable

from actas.mcp.settings import PROBES
from actas.oauth.asgi import ASGIApp, Receive, Scope, Send, respond

_LIVE, _READY = PROBES


class Probes:
    """Answers the two paths of :data:`~actas.mcp.settings.PROBES` in front of ``app``, and leaves the rest to it.

    Args:
        app: the server.
        ready: whether new requests should come here.
    """

    def __init__(self, app: ASGIApp, ready: Callable[[], bool]) -> None:
        self._app = app
        self._ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or scope["path"] not in PROBES:
            await self._app(scope, receive, send)
            return
        good = scope["path"] == _LIVE or self._ready()
        body = b"ok\n" if good else b"stopping\n"
        headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, [(b"allow", b"GET, HEAD")], b"")
        else:
            headers.append((b"content-length", b"%d" % len(body)))
            await respond(send, 200 if good else 503, headers, body if scope["method"] == "GET" else b"")
