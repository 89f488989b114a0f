"""What stands in a real directory's place or way: a relay that can be slow, and a server that does as a test says."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

SEQUENCE, SET, INTEGER, OCTETS, ENUMERATED = 0x30, 0x31, 0x02, 0x04, 0x0A


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = (len(content).bit_length() + 7) // 8
    head = bytes([len(content)]) if len(content) < 128 else bytes([0x80 | size]) + len(content).to_bytes(size)
    return bytes([tag]) + head + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1))


def text(value: str, tag: int = OCTETS) -> bytes:
    return tlv(tag, value.encode())


def elements(data: bytes) -> list[tuple[int, bytes]]:
    """A reader of BER that is nobody else's: tags and contents."""
    found: list[tuple[int, bytes]] = []
    while data:
        size = data[1] & 0x7F if data[1] & 0x80 else 0
        length = int.from_bytes(data[2 : 2 + size]) if size else data[1]
        found.append((data[0], data[2 + size : 2 + size + length]))
        assert len(found[-1][1]) == length
        data = data[2 + size + length :]
    return found


def whole(data: bytes) -> int | None:
    if len(data) < 6:
        return None
    size = data[1] & 0x7F if data[1] & 0x80 else 0
    length = 2 + size + (int.from_bytes(data[2 : 2 + size]) if size else data[1])
    return length if len(data) >= length else None


class Listening:
    """Takes connections on the loopback, each in a thread."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self.url = f"ldap://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Meanwhile nobody listens, and nobody is connected."""
        port = self._socket.getsockname()[1]
        self._close()
        yield
        self._listen(port)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = listening.accept()
                self._open.append(taken)
                threading.Thread(target=self._one, args=(taken,), daemon=True).start()

    def _one(self, taken: socket.socket) -> None:
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError, ValueError, AssertionError), taken:
            self.serve(taken)

    def serve(self, taken: socket.socket) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
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
    """Lets everybody in, says of everybody that he is who he asks to be, and answers the rest as ``says`` does.

    Each connection takes ``lives`` packets, and ends with the next.
    """

    def __init__(self, says: Said, *, sees: Callable[[str], str] = lambda asked: asked, lives: int = 10**9) -> None:
        self._says, self._sees, self._lives = says, sees, lives
        self.bound = 0
        self.pages: list[int] = []
        """The sizes of the pages that were asked for."""
        super().__init__()

    def serve(self, taken: socket.socket) -> None:
        buffer, left = b"", self._lives
        while (chunk := taken.recv(65536)) and left:
            left -= 1
            buffer += chunk
            while size := whole(buffer):
                for answer in self._answer(buffer[:size]):
                    taken.sendall(answer)
                buffer = buffer[size:]

    def _answer(self, data: bytes) -> Iterator[bytes]:
        ((_, content),) = elements(data)
        (_, its_number), (tag, body), *controls = elements(content)
        its = int.from_bytes(its_number)
        self.pages += pages_in(controls)
        if tag == 0x60:
            self.bound += 1
            yield message(its, result(0x61))
        elif tag == 0x42:
            return
        elif tag == 0x77 and b"1.3.6.1.4.1.4203.1.11.3" in body:
            yield message(its, result(0x78, 0, text(self._sees(asked_for(controls)), 0x8B)))
        else:
            yield from self._says(its, tag, body)


def pages_in(controls: list[tuple[int, bytes]]) -> Iterator[int]:
    for _, listed in controls:
        for _, each in elements(listed):
            parts = [content for _, content in elements(each)]
            if parts[0] == b"1.2.840.113556.1.4.319":
                yield int.from_bytes(elements(elements(parts[-1])[0][1])[0][1])


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
