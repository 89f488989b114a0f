"""How the embedded identity provider hears and answers: plain HTTP, from threads, on the loopback."""

import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"
_MAX_FORM_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. Header names are in lower case."""

    method: str
    path: str
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    certificate: str | None = None
    """SHA-256 of the client's certificate, in hexadecimal, where it came by TLS with one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Server(ThreadingHTTPServer):
    """Threads that end with the process, and room for many clients that come at once."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up; a fault of our own is printed."""
        if not isinstance(sys.exc_info()[1], ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # the library's own names for both


def handler_for(answer: Callable[[Request], Answer]) -> type[BaseHTTPRequestHandler]:
    """A handler that gives each request to ``answer``; strangers and large forms are turned away before."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two packets
        timeout = 10

        def do_GET(self) -> None:
            self._respond("GET", {})

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > _MAX_FORM_BYTES:
                self.close_connection = True
                self._send(Answer(413, b'{"error":"invalid_request"}'))
                return
            fields = parse_qs(self.rfile.read(int(length)).decode("latin-1"))
            self._respond("POST", {name: values[0] for name, values in fields.items()})

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: requests are counted instead."""

        def _respond(self, method: str, form: Mapping[str, str]) -> None:
            if self.headers.get("host", "").partition(":")[0] not in (HOST, "localhost"):
                self._send(Answer(421, b'{"error":"misdirected_request"}'))
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            connection = self.connection
            shown = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
            certificate = None if shown is None else sha256(shown).hexdigest()
            self._send(answer(Request(method, urlsplit(self.path).path, form, headers, certificate)))

        def _send(self, given: Answer) -> None:
            self.send_response(given.status)
            self.send_header("content-type", given.content_type)
            self.send_header("content-length", str(len(given.body)))
            self.send_header("cache-control", "no-store")
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(given.body)

    return Handler
