"""A peer that speaks TDS 7.4 (MS-TDS): what a SQL Server client sends is recorded, and its identity is kept.

It is no database: see :mod:`.tds_session` for what it knows. Unmodified clients log in to it over TLS, and what they
send can be judged: who a statement ran as, whether a connection went back with somebody's identity, and how it ended.
"""

import select
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from actas.testing import tds_fields, tds_tokens
from actas.testing.pki import CertificateFiles
from actas.testing.tds_batch import Batch
from actas.testing.tds_integrated import IntegratedLogin
from actas.testing.tds_session import Answers, Ran, ResultSet, SqlError, TdsSession, echo

_BATCH, _RPC, _REPLY, _ATTENTION, _TRANSACTION, _LOGIN, _SSPI, _PRELOGIN = 1, 3, 4, 6, 14, 16, 17, 18
_LAST = 0x01
_RESET = 0x18
_PACKET = 4096
_ENCRYPTED, _NOT_SUPPORTED = 1, 2
_INTEGRATED = 0x80


@dataclass(slots=True)
class Seen:
    """One connection, as the peer saw it."""

    login: str | None = None
    initiator: str | None = None
    """The principal whose ticket it was."""
    encrypted: bool = False
    batches: list[str] = field(default_factory=list[str])
    attentions: int = 0
    closed: bool = False
    left_as: str | None = None
    """Whom it still acted as when it was closed; None where it had come back."""


class TdsPeer:
    """Listens on 127.0.0.1 until its ``with`` block ends.

    ``logins``: names and passwords; ``users``: whom they may impersonate; ``certificate`` None: offers no TLS.
    ``integrated``: who may come by ticket.
    """

    def __init__(
        self,
        certificate: CertificateFiles | None,
        *,
        logins: Mapping[str, str],
        users: Iterable[str],
        answers: Answers = echo,
        integrated: IntegratedLogin | None = None,
    ) -> None:
        self.integrated = integrated
        self.logins = dict(logins)
        self.users = frozenset(users)
        self.answers = answers
        self.connections: list[Seen] = []
        self.ran: list[Ran] = []
        self.tls = None if certificate is None else _context(certificate.certificate, certificate.key)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.peer = self
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> "TdsPeer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def batches(self) -> list[str]:
        """All that came as SQL, of all connections."""
        return [batch for seen in self.connections for batch in seen.batches]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    peer: TdsPeer


class _Attention(Exception):
    pass


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server) and isinstance(self.request, socket.socket)  # noqa: S101 -- for types
        self._peer = self.server.peer
        self._socket = self.request
        seen = Seen()
        self._peer.connections.append(seen)
        self._plain = b""
        self._secure: ssl.SSLObject | None = None
        session: TdsSession | None = None
        self._socket.settimeout(60)
        try:
            self._prelogin(seen)
            session = self._login(seen)
            while session is not None:
                self._serve(seen, session)
        except (EOFError, OSError, struct.error):
            pass  # the client went away, or speaks something else
        finally:
            seen.closed = True
            if session is not None and session.stack:
                seen.left_as = session.user

    def _prelogin(self, seen: Seen) -> None:
        kind, _, body = self._receive()
        if kind != _PRELOGIN:
            raise EOFError
        wanted = tds_fields.options(body).get(1, b"\x02")[0]
        context = self._peer.tls
        mode = _NOT_SUPPORTED if context is None else 3 if wanted in (0, 2) else _ENCRYPTED
        options = ((0, b"\x10\x00\x10\x00\x00\x00"), (1, bytes([mode])), (2, b"\x00"), (3, b""), (4, b"\x00"))
        head, data, start = b"", b"", len(options) * 5 + 1
        for option, value in options:
            head += struct.pack(">BHH", option, start + len(data), len(value))
            data += value
        self._send(head + b"\xff" + data)
        if context is not None:
            self._handshake(context)
            seen.encrypted = True

    def _handshake(self, context: ssl.SSLContext) -> None:
        """TLS inside of PRELOGIN packets, then around everything."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        finished = False
        while not finished:
            try:
                secure.do_handshake()
                finished = True
            except ssl.SSLWantReadError:
                pass
            if answer := self._outgoing.read():
                self._send(answer, _PRELOGIN)
            if not finished:
                self._incoming.write(self._receive()[2])
        self._secure = secure

    def _login(self, seen: Seen) -> TdsSession | None:
        kind, _, body = self._receive()
        if kind != _LOGIN:
            raise EOFError
        name, database = (
            tds_fields.text_field(body, 40).decode("utf-16-le"),
            tds_fields.text_field(body, 68).decode("utf-16-le"),
        )
        mixed = bytes(byte ^ 0xA5 for byte in tds_fields.text_field(body, 44))
        password = bytes((byte << 4 & 0xF0) | byte >> 4 for byte in mixed).decode("utf-16-le", "replace")
        seen.login = name
        peer, last = self._peer, b""
        if body[25] & _INTEGRATED and peer.integrated is not None:
            try:
                seen.initiator, last = self._identified(peer.integrated, tds_fields.byte_field(body, 78))
            except ValueError:
                self._refuse(18452, "Login failed. The login is from an untrusted domain.")
                return None
            name = seen.login = peer.integrated.logins.get(seen.initiator, "")
            if not name:
                self._refuse(18456, "Login failed for user.")
                return None
        elif peer.logins.get(name) != password:
            self._refuse(18456, f"Login failed for user '{name}'.")
            return None
        self._send(
            (tds_tokens.sspi(last) if last else b"")
            + tds_tokens.changed(1, database or "master", "master")
            + tds_tokens.message(5701, "Changed database context.", severity=10, error=False)
            + tds_tokens.collation()
            + tds_tokens.changed(2, "us_english")
            + tds_tokens.logged_in()
            + tds_tokens.changed(4, str(_PACKET), str(_PACKET))
            + tds_tokens.done()
        )
        return TdsSession(name, peer.users, peer.answers, peer.ran)

    def _refuse(self, number: int, text: str) -> None:
        self._send(tds_tokens.message(number, text, severity=14) + tds_tokens.done(failed=True))

    def _identified(self, integrated: IntegratedLogin, token: bytes) -> tuple[str, bytes]:
        """The principal, and what is still to be said to it."""
        steps = integrated.accept(token)
        try:
            answer = next(steps)
            while True:
                self._send(tds_tokens.sspi(answer))
                kind, _, said = self._receive()
                if kind != _SSPI:
                    raise EOFError
                answer = steps.send(said)
        except StopIteration as done:
            who: tuple[str, bytes] = done.value
            return who

    def _serve(self, seen: Seen, session: TdsSession) -> None:
        kind, status, body = self._receive()
        if status & _RESET:
            session.stack.clear()
        if kind == _BATCH:
            self._batch(seen, session, tds_fields.after_headers(body).decode("utf-16-le"))
        elif kind == _RPC:
            text = tds_fields.executesql(tds_fields.after_headers(body))
            self._batch(seen, session, text)
        elif kind == _ATTENTION:
            seen.attentions += 1
            self._send(tds_tokens.done(attention=True))
        else:
            self._send(tds_tokens.done())

    def _batch(self, seen: Seen, session: TdsSession, text: str) -> None:
        seen.batches.append(text)
        parts: list[bytes] = []
        try:
            for result in Batch(session, text).run():
                self._wait(result)
                if result.columns:
                    parts += [
                        tds_tokens.table(result.columns, result.rows),
                        tds_tokens.done(more=True, rows=result.count),
                    ]
            parts.append(tds_tokens.done())
        except SqlError as error:
            parts += [
                tds_tokens.message(error.number, str(error), severity=error.severity),
                tds_tokens.done(failed=True),
            ]
        except _Attention:
            seen.attentions += 1
            parts = [tds_tokens.done(attention=True)]
        self._send(b"".join(parts))

    def _wait(self, result: ResultSet) -> None:
        if result.seconds and select.select([self._socket], [], [], result.seconds)[0]:
            if self._receive()[0] == _ATTENTION:
                raise _Attention
            raise EOFError

    def _receive(self) -> tuple[int, int, bytes]:
        """One message: its type, the first packet's status, its content."""
        body, first = b"", None
        while True:
            kind, status, length = struct.unpack(">BBH4x", self._read(8))
            first = status if first is None else first
            body += self._read(length - 8)
            if status & _LAST:
                return kind, first, body

    def _read(self, count: int) -> bytes:
        while len(self._plain) < count:
            if self._secure is None:
                more = self._socket.recv(65536)
            else:
                more = self._decrypted(self._secure)
            if not more:
                raise EOFError
            self._plain += more
        taken, self._plain = self._plain[:count], self._plain[count:]
        return taken

    def _decrypted(self, secure: ssl.SSLObject) -> bytes:
        while True:
            try:
                return secure.read(65536)
            except ssl.SSLWantReadError:
                more = self._socket.recv(65536)
                if not more:
                    return b""
                self._incoming.write(more)

    def _send(self, body: bytes, kind: int = _REPLY) -> None:
        size = _PACKET - 8
        pieces = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
        packets = b"".join(
            struct.pack(">BBHHBB", kind, index == len(pieces) - 1, len(piece) + 8, 0, (index + 1) % 256, 0) + piece
            for index, piece in enumerate(pieces)
        )
        if self._secure is not None:
            self._secure.write(packets)
            packets = self._outgoing.read()
        self._socket.sendall(packets)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # TLS in PRELOGIN packets ends with the handshake
    return context
