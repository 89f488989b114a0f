"""Somebody on the way between the gateway and the file server, who may change what the server sends."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

Meddle = Callable[[bytes], bytes]
"""Gets each message of the server's, gives what the gateway is to get; with its four bytes of length."""


class Meddler:
    """Listens on ``port``; use it as a context manager."""

    def __init__(self, port: int, meddle: Meddle) -> None:
        self._upstream, self._meddle = port, meddle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:
                return
            self._sockets += [client, server]
            for source, sink, change in ((client, server, None), (server, client, self._meddle)):
                threading.Thread(target=_pass_on, args=(source, sink, change), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in self._sockets:
            each.close()


def _pass_on(source: socket.socket, sink: socket.socket, change: Meddle | None) -> None:
    try:
        with suppress(OSError, ValueError), source.makefile("rb") as reader:
            while head := reader.read(4):
                message = head + reader.read(int.from_bytes(head, "big"))
                sink.sendall(message if change is None else change(message))
    finally:
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message
