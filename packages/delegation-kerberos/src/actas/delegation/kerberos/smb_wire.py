"""smbprotocol's connection to one file server, held to what it promises: SMB 3, and nothing that is not encrypted.

What smbprotocol 1.17 leaves open is closed here: it takes answers that are neither encrypted nor signed on an
encrypted session, does not check the signature of the last answer to a login, resolves links by itself, and lets a
server announce messages of any size.
"""

import logging
import socket
import threading
import uuid
from contextlib import suppress
from typing import Any

from actas.delegation.kerberos.smb_library import (
    BaseConnection,
    Commands,
    ConnectionEnded,
    Dialects,
    Failure,
    SigningAlgorithms,
)

_MOST_BYTES_OF_A_MESSAGE = 9 * 1024 * 1024
"""A read may answer with 8 MiB, Samba's and Windows's most; we ask for less."""
_SIGNING = (SigningAlgorithms.AES_GMAC, SigningAlgorithms.AES_CMAC)
"""Without HMAC-SHA256 it offers SMB 3 alone."""

for _name in ("smbprotocol", "spnego"):
    # They log tickets and the contents of files at DEBUG, paths at INFO, and each broken connection with its frames.
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Transport:
    """TCP, in the place of smbprotocol's own, which cannot use a socket that has a number above 1023."""

    def __init__(self, server: str, port: int, timeout: float) -> None:
        self._address = (server, port)
        self._seconds = timeout
        self._socket: socket.socket | None = None
        self._receiver: int | None = None
        self._closed = False
        self.connected = False

    def connect(self) -> None:
        """Raises OSError."""
        made = socket.create_connection(self._address, timeout=self._seconds)
        made.settimeout(None)  # who waits too long closes it: see close()
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self.connected = made, True
        if self._closed:
            made.close()
            raise ConnectionEnded("it was closed while it was opened")

    def close(self) -> None:
        """End it, from any thread: whoever sends or receives is woken. The thread that receives gives back the socket,
        for only then is it sure that it uses it no more."""
        self._closed, self.connected = True, False
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            if threading.get_ident() == self._receiver:
                self._socket.close()

    def send(self, message: Any) -> None:  # Any: bytes, or a structure of smbprotocol's
        """One message, with its length before it (MS-SMB2 section 2.1)."""
        packed: bytes = message if isinstance(message, bytes) else message.pack()
        if self._socket is None:
            raise ConnectionEnded("not connected")
        try:
            self._socket.sendall(len(packed).to_bytes(4, "big") + packed)
        except OSError as error:
            raise ConnectionEnded("the connection ended") from error

    def recv(self, timeout: float) -> bytes:
        """One message; empty at the end of the connection. ``timeout`` is not heeded: see :meth:`connect`."""
        self._receiver = threading.get_ident()
        head = self._exactly(4)
        if not head:
            return b""
        length = int.from_bytes(head, "big")
        if not 0 < length <= _MOST_BYTES_OF_A_MESSAGE:
            raise Failure("the server announces a message that is too large, or none")
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        """So many bytes, or none where the connection ended before."""
        if self._socket is None:
            return b""
        parts: list[bytes] = []
        while length:
            try:
                part = self._socket.recv(min(length, 1 << 20))
            except OSError:
                part = b""
            if not part:
                self.connected = False
                self._socket.close()
                return b""
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


class SealedConnection(BaseConnection):  # type: ignore[misc]  # its base is untyped
    """A connection on which only the answers to negotiation and login may be in the clear.

    Args:
        server: its host name.
        port: its TCP port.
    """

    def __init__(self, server: str, port: int) -> None:
        # Here and below by its name and not by super(), of which type checkers know nothing: it has no types.
        self._transport: Transport | None = None
        self._ended = False
        self._login: Any = None  # Any: a header of smbprotocol's
        BaseConnection.__init__(self, uuid.uuid4(), server, port, require_signing=True)

    def open(self, seconds: float) -> None:
        """Connect and negotiate.

        Raises:
            OSError, Failure: the server is not there, or has no SMB 3 with encryption.
        """
        self.connect(timeout=seconds, preferred_signing_algos=list(_SIGNING))
        if self.dialect < Dialects.SMB_3_0_0 or not self.supports_encryption:
            raise Failure("the server has no SMB 3 with encryption")

    def end(self) -> None:
        """Close it, from any thread and at any time. Never blocks."""
        self._ended = True
        if self._transport is not None:
            self._transport.close()

    @property
    def usable(self) -> bool:
        """Whether it is open."""
        return self._transport is not None and self._transport.connected

    def verify_login(self, session_id: int) -> None:
        """See that the server signed its last answer to the login, with the key that only the service can know.

        Raises:
            Failure: it did not.
        """
        if self._login is None:
            raise Failure("the login was not answered")
        BaseConnection.verify_signature(self, self._login, session_id, force=True)

    @property
    def transport(self) -> Transport | None:
        """The TCP connection."""
        return self._transport

    @transport.setter
    def transport(self, made: Any) -> None:  # Any: smbprotocol's own
        # connect() makes one of its own kind, just before it uses it; ours goes there instead.
        self._transport = None if made is None else Transport(made.server, made.port, made.timeout)
        if self._ended and self._transport is not None:
            self._transport.close()  # which ends it as soon as it is open

    def verify_signature(self, header: Any, session_id: int, force: bool = False) -> None:
        """Called for each answer that came in the clear: refuse it, unless it answers a negotiation or a login.

        What was asked decides that, not what the answer says it is.
        """
        request = self.outstanding_requests[header["message_id"].get_value()]
        asked = request.message["command"].get_value()
        if asked == Commands.SMB2_SESSION_SETUP:
            self._login = header
        elif asked != Commands.SMB2_NEGOTIATE:
            raise Failure("an answer came in the clear")
        BaseConnection.verify_signature(self, header, session_id, force)

    def receive(
        self, request: Any, wait: bool = True, timeout: float | None = None, resolve_symlinks: bool = True
    ) -> Any:
        """As smbprotocol's, but a link is an error: it does not ask for what the link points to."""
        return BaseConnection.receive(self, request, wait=wait, timeout=timeout, resolve_symlinks=False)
