"""One HTTP connection: uvicorn's, bounded, and let go of without loss."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakSet

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from actas.mcp.places import Places
from actas.mcp.tls import tls_extension

HEAD_BYTES = 65_536
"""Bytes of a request's line and headers, without its token, or of what else comes between two pieces of its body."""
RECEIVE_SECONDS = 60.0
"""Seconds in which a request must have arrived, its body included."""
SEND_SECONDS = 120.0
"""Seconds in which a client must have taken what waits to be sent, once it is more than a few packets."""
KEEP_ALIVE_SECONDS = 75.0
"""Seconds for which a connection is kept between two requests: longer than proxies keep theirs (60 is usual), so that
none sends a request on a connection that is being closed here."""
HANDSHAKE_SECONDS = 20.0
"""Seconds in which a TLS handshake must be done."""
LINGER_SECONDS = 1.0
"""Seconds for which idle connections, and the listening socket, are kept when the server stops: what is on its way on
them is served. Nothing else says that nothing is: HTTP/1.1 has no way to ask a client to send no more."""


class State(ServerState):
    """uvicorn's, and whether the server stops."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping = False
        self.closed = False
        """Whether nobody is let in any more: what answers is being put away."""
        self.coming = WeakSet[Connection]()
        """Accepted, and not among ``connections`` yet."""
        self.doorsteps = set[Doorstep]()
        """Those who shake hands."""
        self.all_gone = asyncio.Event()
        self.all_gone.set()


class Connection(HttpToolsProtocol):
    """uvicorn's, with an end to what a stranger can send and to how long he takes; it has neither."""

    server_state: State

    def __init__(
        self,
        *,
        longest_head: Callable[[], int],
        places: Places,
        **uvicorns: Any,  # Any: uvicorn's own business
    ) -> None:
        super().__init__(**uvicorns)
        self.server_state.coming.add(self)
        self._places = places
        self._longest_head = longest_head()
        self._head = 0
        self._begun = False
        self._unheard = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._extensions: dict[str, object] = {}
        self._early = b""
        self.gone = False
        """Whether it ended before anybody was told that it began."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.server_state.coming.discard(self)
        self.server_state.all_gone.clear()
        self._extensions = tls_extension(transport)
        if not self._places.opened(self) or self.server_state.closed:
            self.abort()
            return
        self._await_request()
        if self.server_state.stopping:
            self.let_go()
        if self._early:
            self.data_received(self._early)
            self._early = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if cast("object", self.transport) is None:  # uvicorn has the attribute before it has one
            self.gone = True
            return
        self._places.closed(self)
        self._stop_waiting()
        self._stop_sending()
        super().connection_lost(exc)
        if not self.connections:
            self.server_state.all_gone.set()

    def abort(self) -> None:
        """Close at once, whatever was still to be sent."""
        self.transport.abort()

    def let_go(self) -> None:
        """Close when what runs is answered; where nothing does, when nothing has come for a while."""
        if self.pipeline:
            self.pipeline[0][0].keep_alive = False  # the newest: those before it are answered first
        elif self._answering():
            self.cycle.keep_alive = False
        elif not self._begun:
            self.loop.call_later(LINGER_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self._begun and not self._answering():
            self.transport.close()

    def _answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete  # None before the first

    def data_received(self, data: bytes) -> None:
        if cast("object", self.transport) is None:
            self._early += data  # in one piece with the end of the handshake
            return
        self._unheard += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unheard > self._longest_head:
            self.send_400_response("Request head too large.")
        elif self._deadline is None and not self._answering():
            self._await_request()  # uvicorn's own timer ends with any byte, also one that begins no request

    def on_message_begin(self) -> None:
        self._head = 0
        self._begun = True
        self._await_request()
        super().on_message_begin()
        cast("Any", self.scope)["extensions"] = self._extensions  # Any: uvicorn's type has no room for it

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._begun = False
        if self.server_state.stopping:
            self.cycle.keep_alive = False

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._unheard = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unheard = 0
        self._stop_waiting()
        if self._answering():
            self._places.served(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._answering():
            self._places.silent(self)
        if self.transport.is_closing():
            self._await_sent()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_sent()

    def resume_writing(self) -> None:
        self._stop_sending()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_sent()

    def _count(self, length: int) -> None:
        self._unheard = 0
        self._head += length
        if self._head > self._longest_head:
            raise ValueError("request head too large")  # the parser passes it on, and uvicorn answers 400

    def _await_request(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(RECEIVE_SECONDS, self.transport.abort)

    def _await_sent(self) -> None:
        """What waits to be sent must be gone in time; closing a connection waits for it too, without end."""
        if self._sending is None:
            self._sending = self.loop.call_later(SEND_SECONDS, self.abort)

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Doorstep(asyncio.Protocol):
    """A connection that has not shaken hands yet. It has its place among all others from its first moment on, and makes
    room for newcomers as they do; asyncio by itself tells nobody of those, and keeps who says nothing for a minute.

    Args:
        inside: what it becomes.
        context: with which the handshake is done.
    """

    def __init__(self, inside: Connection, context: ssl.SSLContext, places: Places) -> None:
        self._inside, self._context, self._places = inside, context, places
        self._transport: asyncio.Transport | None = None
        self._shaking: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._places.opened(self) or self._inside.server_state.closed:
            self.abort()
            return
        self._transport.pause_reading()  # whatever comes is TLS's
        self._inside.server_state.doorsteps.add(self)
        self._shaking = asyncio.get_running_loop().create_task(self._shake_hands(self._transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        if transport.is_closing():
            return
        secured: asyncio.Transport | None = None
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self._inside,
                self._context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except OSError:  # ssl.SSLError and TimeoutError are some: it failed, or he has left
            transport.abort()
        finally:
            self._leave()
        if secured is not None and not self._inside.gone:
            self._inside.connection_made(secured)

    def _leave(self) -> None:
        self._places.closed(self)
        self._inside.server_state.doorsteps.discard(self)
        self._inside.server_state.coming.discard(self._inside)
