"""What this distribution does where nothing else is installed: ``tools/run_alone.py`` runs it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"you": "%s"}' % self.headers["Authorization"].encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def stage() -> Iterator[dict[str, object]]:
    """A service that says which token it was shown."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {"url": f"http://127.0.0.1:{server.server_port}", "expected": ["alice", {"you": "Bearer for-alice"}]}
    finally:
        server.shutdown()
        server.server_close()


async def act(place: Mapping[str, str]) -> list[object]:
    """One request as alice."""
    from actas.core import Audit, Credential, DelegationRegistry, MemorySink, Pipeline, Secret, Session
    from actas.core.discovery import load
    from actas.delegation.rest.settings import OperationSettings, RestSettings

    class Exchanged:
        async def obtain(self, session: Session) -> Credential:
            return Credential(token=Secret(f"for-{session.subject}"), subject=session.subject, expires_at=4e9)

        async def discard(self, session: Session, refused: Credential) -> None: ...

        def plan(self, session: Session) -> Mapping[str, object]:
            return {}

    me = {"me": OperationSettings(path="/me", description="Who am I?")}
    settings = RestSettings(base_url=place["url"], permission="use", operations=me)
    module = load(["rest"]).module_kind("rest").create("crm", settings)
    registry = DelegationRegistry()
    registry.register("crm", module, credentials=Exchanged())
    pipeline = Pipeline(registry, Audit(MemorySink()), validator=lambda action, parameters: parameters)
    session = Session(
        issuer="https://idp.example",
        subject="alice",
        username="alice",
        provider="main",
        permissions=frozenset({"use"}),
    )
    await registry.initialize_all()
    try:
        result = await pipeline.delegate(session, "crm", "me", {})
    finally:
        await registry.destroy_all()
    assert isinstance(result.data, dict)
    return [result.receipt.identity, result.data["body"]]
