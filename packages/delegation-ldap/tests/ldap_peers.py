"""What stands in a real directory's place or way: a relay that can be slow, and a server that does as a test says."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from actas.delegation.ldap.ber import ENUMERATED, OCTETS, SEQUENCE, SET, elements, integer, number, text, tlv, whole


class Listening:
    """Takes connections on the loopback, each in a thread."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"ldap://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self._socket.accept()
                self._open.append(taken)
                threading.Thread(target=self._one, args=(taken,), daemon=True).start()

    def _one(self, taken: socket.socket) -> None:
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError, ValueError), taken:
            self.serve(taken)

    def serve(self, taken: socket.socket) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class SlowRelay(Listening):
    """Passes on what comes, but for requests with ``word`` in them, which nobody answers."""

    def __init__(self, port: int, word: bytes) -> None:
        self._port, self._word = port, word
        super().__init__()

    def serve(self, taken: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as there:
            self._open.append(there)
            threading.Thread(target=_pass_on, args=(there, taken), daemon=True).start()
            while chunk := taken.recv(65536):
                if self._word not in chunk:
                    there.sendall(chunk)
            there.shutdown(socket.SHUT_RDWR)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_RDWR)


Said = Callable[[int, int, bytes], Iterator[bytes]]
"""For one request: number, tag and content give what is sent back."""


class HostileServer(Listening):
    """Lets everybody in, says of everybody that he is who he asks to be, and answers the rest as ``says`` does."""

    def __init__(self, says: Said, *, sees: Callable[[str], str] = lambda asked: asked) -> None:
        self._says, self._sees = says, sees
        super().__init__()

    def serve(self, taken: socket.socket) -> None:
        buffer = b""
        while chunk := taken.recv(65536):
            buffer += chunk
            while (size := whole(buffer, 2**24)) and len(buffer) >= size:
                for answer in self._answer(buffer[:size]):
                    taken.sendall(answer)
                buffer = buffer[size:]

    def _answer(self, data: bytes) -> Iterator[bytes]:
        ((_, content),) = elements(data)
        (_, its_number), (tag, body), *controls = elements(content)
        its = number(its_number)
        if tag == 0x60:
            yield message(its, result(0x61))
        elif tag == 0x42:
            return
        elif tag == 0x77 and b"1.3.6.1.4.1.4203.1.11.3" in body:
            yield message(its, result(0x78, 0, text(self._sees(asked_for(controls)), 0x8B)))
        else:
            yield from self._says(its, tag, body)


def asked_for(controls: list[tuple[int, bytes]]) -> str:
    for _, listed in controls:
        for _, each in elements(listed):
            parts = [content for _, content in elements(each)]
            if parts[0] == b"2.16.840.1.113730.3.4.18":
                return parts[-1].decode()
    return "dn:cn=gateway"


def message(its: int, operation: bytes, controls: bytes = b"") -> bytes:
    return tlv(SEQUENCE, integer(its), operation, tlv(0xA0, controls) if controls else b"")


def result(tag: int, code: int = 0, *more: bytes, diagnostic: str = "") -> bytes:
    return tlv(tag, integer(code, ENUMERATED), text(""), text(diagnostic), *more)


def entry(name: str, **attributes: list[bytes]) -> bytes:
    listed = [
        tlv(SEQUENCE, text(key), tlv(SET, *(tlv(OCTETS, value) for value in values)))
        for key, values in attributes.items()
    ]
    return tlv(0x64, text(name), tlv(SEQUENCE, *listed))


def page(cookie: bytes) -> bytes:
    value = tlv(SEQUENCE, integer(0), tlv(OCTETS, cookie))
    return tlv(SEQUENCE, text("1.2.840.113556.1.4.319"), tlv(OCTETS, value))
