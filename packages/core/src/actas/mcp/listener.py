"""One uvicorn on one socket, in a task of its own, without its claims on the whole process."""

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Generator
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from actas.core import ConfigurationError
from actas.mcp.door import Door

HEAD_BYTES = 65_536
"""Bytes of a request's line and headers, without its token, or of what else comes between two pieces of its body."""
RECEIVE_SECONDS = 60.0
"""Seconds in which a request must have arrived, its body included."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process belongs to whoever runs us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Protocol(HttpToolsProtocol):
    """uvicorn's, with an end to what a stranger can send and to how long he takes; it has neither."""

    def __init__(self, *, longest_head: int, **uvicorns: Any) -> None:  # Any: uvicorn's own business
        super().__init__(**uvicorns)
        self._longest_head = longest_head
        self._head = 0
        self._unheard = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._extensions: dict[str, object] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._extensions = _tls_extension(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unheard += len(data)
        super().data_received(data)
        if self._unheard > self._longest_head and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        self._head = 0
        self._await_request()
        super().on_message_begin()
        cast("Any", self.scope)["extensions"] = self._extensions  # Any: uvicorn's type has no room for it

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
        super().on_message_complete()

    def _count(self, length: int) -> None:
        self._unheard = 0
        self._head += length
        if self._head > self._longest_head:
            raise ValueError("request head too large")  # the parser passes it on, and uvicorn answers 400

    def _await_request(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(RECEIVE_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _tls_extension(transport: asyncio.BaseTransport) -> dict[str, object]:
    """The client's certificate as the ASGI specification's extension ``tls`` has it; nothing where there is none."""
    connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    certificate = None if connection is None else connection.getpeercert(binary_form=True)
    if certificate is None:
        return {}
    return {"tls": {"client_cert_chain": (ssl.DER_cert_to_PEM_cert(certificate),), "client_cert_error": None}}


class Listener:
    """One uvicorn on one socket, in a task of its own.

    ``longest_token``: in bytes; headers may be longer by :data:`HEAD_BYTES`. ``tls``: None speaks plain HTTP.
    """

    def __init__(
        self, listening: socket.socket, app: Door, *, longest_token: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self.port: int = listening.getsockname()[1]
        self._socket = listening
        self._app = app
        config = uvicorn.Config(
            cast("Any", app),  # Any: uvicorn's own ASGI types are narrower than the specification's
            http=cast("Any", partial(_Protocol, longest_head=HEAD_BYTES + longest_token)),  # Any: it wants a class
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=10,
            ssl_context_factory=None if tls is None else lambda config, default: tls,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when it serves. Raises what kept the lifespan from starting."""
        self._task = asyncio.create_task(self._serve())
        try:
            while not self._server.started and not self._task.done():  # noqa: ASYNC110 -- uvicorn has no event for it
                await asyncio.sleep(0.01)
        except BaseException:
            self._task.cancel()
            await asyncio.wait([self._task])
            raise
        if self._task.done():
            self._task.result()

    async def _serve(self) -> None:
        """The lifespan belongs to this task: the SDK's task group must be left where it was entered.

        Not through uvicorn, which would log the error of a failed start and lose it.
        """
        try:
            async with self._app.lifespan():
                await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()

    async def stop(self) -> None:
        """Finish what runs, within uvicorn's deadline."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


async def wait_for_signal() -> None:
    """Return on SIGINT or SIGTERM."""
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled.set)
    try:
        await signalled.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigurationError where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only where it is: without, each answer waits 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except (OSError, ValueError, TypeError) as error:  # a host with a NUL or a label too long is no OSError
        listening.close()
        why = error.strerror if isinstance(error, OSError) else "no such address"
        raise ConfigurationError(
            f"mcp.port: cannot listen on {host}:{port} ({why}). Stop whatever does, or choose another port."
        ) from error
    listening.setblocking(False)
    return listening
