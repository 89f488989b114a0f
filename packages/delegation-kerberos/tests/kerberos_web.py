"""A web service that takes ``Negotiate`` and nothing else; its acceptor is a real one. It can be told to misbehave."""

import json
import select
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gssapi


@dataclass
class Seen:
    """One request that arrived, and whom the acceptor saw."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    user: str
    connection: int


@dataclass
class Reply:
    """What is answered; ``challenge`` makes the ``WWW-Authenticate`` from the acceptor's own token."""

    status: int = 200
    body: bytes | None = None
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    challenge: Callable[[bytes], list[str]] = lambda token: [f"Negotiate {b64encode(token).decode()}"]
    refuse: bool = False
    """401, whoever comes."""


class WebService:
    """Answers ``{"user": …, "path": …}``: whom the acceptor saw. Use it as a context manager."""

    def __init__(self, keytab: Path) -> None:
        self.keytab = keytab
        self.reply = Reply()
        self.seen: list[Seen] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                outer._answer(self)

            do_POST = do_GET

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 200

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.base = f"http://localhost:{self._server.server_address[1]}"

    def _answer(self, request: Any) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", "0")))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Negotiate" or self.reply.refuse:
            return self._send(request, 401, b"", "text/plain", [("WWW-Authenticate", "Negotiate")])
        own = b""
        try:
            acceptor = gssapi.SecurityContext(
                creds=gssapi.Credentials(usage="accept", store={"keytab": str(self.keytab)}), usage="accept"
            )
            own = acceptor.step(b64decode(token)) or b""
            user = str(acceptor.initiator_name) if acceptor.complete else ""  # an error that was kept comes here
        except gssapi.raw.GSSError as error:
            sent = b64encode(error.token or own).decode()
            return self._send(request, 401, b"", "text/plain", [("WWW-Authenticate", f"Negotiate {sent}".strip())])
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.command, request.path, headers, body, user, id(request.connection)))
        if request.path.startswith("/slow/"):
            gone, _, _ = select.select([request.connection], [], [], float(request.path.removeprefix("/slow/")))
            if gone:  # whoever asked has left
                request.close_connection = True
                return None
        reply = self.reply
        if request.path.endswith("/of-bob") and not user.startswith("bob@"):
            reply = Reply(status=403)
        said = json.dumps({"user": user, "path": request.path}).encode() if reply.body is None else reply.body
        challenges = [("WWW-Authenticate", value) for value in reply.challenge(own)]
        self._send(request, reply.status, said, reply.content_type, [*reply.headers.items(), *challenges])

    def _send(self, request: Any, status: int, body: bytes, kind: str, headers: list[tuple[str, str]]) -> None:
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
