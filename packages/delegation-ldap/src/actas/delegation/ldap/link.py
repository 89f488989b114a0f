"""One connection on which requests go out together and answers come back, within bounds of time and size.

It sends and reads by itself: ldap3 waits for one answer at a time, and for as many bytes as a server sends.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Sequence

from actas.core.errors import DelegationTimeout
from actas.delegation.ldap import messages
from actas.delegation.ldap.failures import AnswerTooLarge, ConnectionLost, UnexpectedAnswer
from actas.delegation.ldap.messages import Answer, Malformed, Request

_CHUNK = 64 * 1024
_GOODBYE = messages.request(messages.unbind(), ())


class Link:
    """A connection that is let in as somebody. One thread at a time uses it; :meth:`abort` may come from any."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._next = messages.FIRST_NUMBER
        self.opened = time.monotonic()
        self.good_until = float("inf")
        """On :func:`time.monotonic`'s clock: when what it was let in by runs out."""
        self.broken = False

    def ask(self, requests: Sequence[Request], deadline: float, most_bytes: int) -> list[Answer]:
        """Send all ``requests`` at once and read all their answers.

        Args:
            deadline: on :func:`time.monotonic`'s clock.

        Raises:
            DelegationTimeout, ConnectionLost, AnswerTooLarge, UnexpectedAnswer: the connection must not be used again.
        """
        first, self._next = self._next, self._next + len(requests)  # never again: a late answer is nobody else's
        answers = {first + index: Answer() for index in range(len(requests))}
        self.broken = True  # until all has come back
        self._send(b"".join([request.numbered(first + index) for index, request in enumerate(requests)]), deadline)
        self._read(answers, deadline, most_bytes)
        self.broken = False
        return list(answers.values())

    def _send(self, data: bytes, deadline: float) -> None:
        try:
            self._socket.settimeout(_left(deadline))
            self._socket.sendall(data)
        except TimeoutError:
            raise DelegationTimeout(detail="the directory took no request in time") from None
        except (OSError, ValueError) as error:
            raise ConnectionLost(detail=f"sending: {type(error).__name__}") from None

    def _read(self, answers: dict[int, Answer], deadline: float, most_bytes: int) -> None:
        buffer, seen = bytearray(), 0
        while not all(answer.done for answer in answers.values()):
            chunk = self._receive(deadline)
            seen += len(chunk)
            if seen > most_bytes:
                raise AnswerTooLarge(detail=f"more than {most_bytes} bytes")
            buffer += chunk
            try:
                _take_all(buffer, answers)
            except Malformed as error:
                raise UnexpectedAnswer(detail=str(error)) from None
        if buffer:
            raise UnexpectedAnswer(detail="more than was asked for")

    def _receive(self, deadline: float) -> bytes:
        try:
            self._socket.settimeout(_left(deadline))
            chunk = self._socket.recv(_CHUNK)
        except TimeoutError:
            raise DelegationTimeout(detail="the directory did not answer in time") from None
        except (OSError, ValueError) as error:
            raise ConnectionLost(detail=f"receiving: {type(error).__name__}") from None
        if not chunk:
            raise ConnectionLost(detail="the server closed the connection")
        return chunk

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against using it again: what comes unasked is a goodbye."""
        if self.broken or time.monotonic() >= self.good_until:
            return False
        try:
            if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                return False
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return not poll.poll(0)
        except (OSError, ValueError):
            return False

    def abort(self) -> None:
        """Let whoever reads or sends on it fail at once. The server gives up what it does for it."""
        self.broken = True
        with contextlib.suppress(OSError, ValueError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # not TLS's own, which would change what is in use

    def close(self) -> None:
        """Say goodbye where that needs no waiting, and close. May be called twice."""
        with contextlib.suppress(OSError, ValueError):
            if not self.broken:
                self.broken = True
                self._socket.settimeout(0)
                self._socket.sendall(_GOODBYE.numbered(self._next))
        with contextlib.suppress(OSError):
            self._socket.close()


def _take_all(buffer: bytearray, answers: dict[int, Answer]) -> None:
    at = 0
    while (size := messages.size_of(bytes(buffer[at : at + 8]))) is not None and len(buffer) - at >= size:
        messages.take(bytes(buffer[at : at + size]), answers)
        at += size
    del buffer[:at]


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise DelegationTimeout(detail="the deadline passed")
    return left
