"""One uvicorn on one socket, in a task of its own, without its claims on the whole process, stopped without loss."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, cast

import uvicorn

from actas.core import ConfigurationError
from actas.mcp.connection import HEAD_BYTES, KEEP_ALIVE_SECONDS, LINGER_SECONDS, Connection, Doorstep, State
from actas.mcp.places import Places
from actas.oauth.asgi import ASGIApp

_ANSWER_SECONDS = 1.0
"""Seconds in which what was cut off must have been answered."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process belongs to whoever runs us. And with another end.

    Its own closes connections on which a request is on its way, forgets those that nobody has accepted yet, and
    cancels what takes too long without an answer.
    """

    server_state: State

    def __init__(self, config: uvicorn.Config, *, seconds: Callable[[], float], cut_off: Callable[[], None]) -> None:
        super().__init__(config)
        self.server_state = State()
        self._seconds = seconds
        self._cut_off = cut_off
        self._hurried = False
        self._waiting: asyncio.Timeout | None = None
        self._welcoming: list[asyncio.Task[None]] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def hurry(self) -> None:
        """Wait for nothing any more."""
        self._hurried = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, finish what runs and what comes on open connections, each for the last time."""
        deadline = asyncio.get_running_loop().time() + self._seconds()
        state = self.server_state
        for connection in self._connections():
            connection.let_go()
        await self._within(LINGER_SECONDS, state.all_gone.wait())
        await self._accept_the_rest(sockets or [])
        await self._within(LINGER_SECONDS, self._everybody_in())
        state.closed = True
        if not await self._within(deadline - asyncio.get_running_loop().time(), self._nothing_left()):
            self._hurried = False  # what is cut off is answered, also where it must be at once
            self._cut_off()
            await self._within(_ANSWER_SECONDS, self._nothing_left())
        left: list[Connection | Doorstep] = [*self._connections(), *state.doorsteps]
        for each in left:
            each.abort()
        for task in list(state.tasks):
            task.cancel()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=_ANSWER_SECONDS)

    def _connections(self) -> "list[Connection]":
        return cast("list[Connection]", list(self.server_state.connections))

    async def _accept_the_rest(self, sockets: list[socket.socket]) -> None:
        """Close the listening sockets. Whoever is connected already and waits to be accepted comes in before."""
        loop, accepted = asyncio.get_running_loop(), list[socket.socket]()
        for listening in sockets:
            loop.remove_reader(listening)
        await asyncio.sleep(0)  # or the event loop would lose whom it accepted in this turn, once its server is closed
        for listening in sockets:
            listening.listen(0)  # one may wait from now on; others come again in a second, and are refused a connection
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(listening.accept()[0])
        for server in self.servers:
            server.close()
        self._welcoming = [asyncio.create_task(self._welcome(connection)) for connection in accepted]
        await asyncio.sleep(0)  # from here on they are known to be coming

    async def _welcome(self, connection: socket.socket) -> None:
        made = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        factory = partial(made, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # he has left again
            await asyncio.get_running_loop().connect_accepted_socket(cast("Any", factory), connection)  # Any: partial

    async def _everybody_in(self) -> None:
        """Whoever was accepted has a connection: his TLS handshake is done, and the event loop has told of him."""
        while self.server_state.coming:  # noqa: ASYNC110 -- who leaves before the event loop told of him tells nobody
            await asyncio.sleep(0.001)

    async def _nothing_left(self) -> None:
        while self.server_state.connections or self.server_state.tasks:
            await self.server_state.all_gone.wait()
            if self.server_state.tasks:
                await asyncio.wait(list(self.server_state.tasks))

    async def _within(self, seconds: float, waiting: Awaitable[object]) -> bool:
        try:
            async with asyncio.timeout(0 if self._hurried else max(seconds, 0)) as self._waiting:
                await waiting
        except TimeoutError:
            return False
        finally:
            self._waiting = None  # there is nothing to hurry between two waits, nor behind the last one
        return True


class Listener:
    """One uvicorn on one socket, in a task of its own.

    Args:
        listening: where.
        app: what answers.
        lifespan: entered before anything is answered, left when everything is.
        longest_token: in bytes; headers may be longer by :data:`~actas.mcp.connection.HEAD_BYTES`.
        most_connections: that are kept open at a time.
        seconds: that running requests get to finish, when it stops.
        cut_off: ends those that did not; each must answer at once.
        tls: None speaks plain HTTP.
    """

    def __init__(
        self,
        listening: socket.socket,
        app: ASGIApp,
        lifespan: Callable[[], AbstractAsyncContextManager[object]],
        *,
        longest_token: Callable[[], int],
        most_connections: Callable[[], int],
        seconds: Callable[[], float],
        cut_off: Callable[[], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port: int = listening.getsockname()[1]
        self._socket = listening
        self._lifespan = lifespan
        places = Places(most_connections)

        def protocol(**uvicorns: Any) -> asyncio.Protocol:  # Any: uvicorn's own business
            inside = Connection(longest_head=lambda: HEAD_BYTES + longest_token(), places=places, **uvicorns)
            return inside if tls is None else Doorstep(inside, tls, places)

        config = uvicorn.Config(
            cast("Any", app),  # Any: uvicorn's own ASGI types are narrower than the specification's
            http=cast("Any", protocol),  # Any: it wants a class
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_keep_alive=cast("int", KEEP_ALIVE_SECONDS),  # uvicorn hands it to call_later, as it is
        )
        self._server = _Server(config, seconds=seconds, cut_off=cut_off)
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
            async with self._lifespan():
                await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()

    @property
    def stopping(self) -> bool:
        """Whether no new requests should be sent here."""
        return self._server.server_state.stopping

    async def stop(self) -> None:
        """Finish what runs, within its time, and close what is left."""
        self._server.server_state.stopping = True
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    def hurry(self) -> None:
        """Stop at once: what runs is cut off."""
        self._server.hurry()


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
        raise _cannot_listen(host, port, error) from error
    listening.setblocking(False)
    return listening


def _cannot_listen(host: str, port: int, error: Exception) -> ConfigurationError:
    why = error.strerror if isinstance(error, OSError) else "no such address"
    key, advice = "host", "Take an address of this machine, such as 127.0.0.1."
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE and not isinstance(error, socket.gaierror):
        key, advice = "port", "Stop whatever does, or choose another port."
    elif isinstance(error, PermissionError):
        key, advice = "port", "Choose one from 1024 on, or give this user the right to it (CAP_NET_BIND_SERVICE)."
    return ConfigurationError(f"mcp.{key}: cannot listen on {host}:{port} ({why}). {advice}")
