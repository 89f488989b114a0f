"""What this distribution does where nothing else is installed: ``tools/run_alone.py`` runs it."""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Service(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"data": {"me": "%s"}}' % self.headers["Authorization"].encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def stage() -> Iterator[dict[str, object]]:
    """A service that says which token it was shown, and the schema that it has."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder, "schema.graphql")
        schema.write_text("type Query { me: String }")
        url = f"http://127.0.0.1:{server.server_port}/graphql"
        try:
            yield {"url": url, "schema": str(schema), "expected": ["alice", {"me": "Bearer for-alice"}]}
        finally:
            server.shutdown()
            server.server_close()


async def act(place: Mapping[str, str]) -> list[object]:
    """One query as alice."""
    from actas.core import Audit, Credential, DelegationRegistry, MemorySink, Pipeline, Secret, Session
    from actas.core.discovery import load
    from actas.delegation.graphql.settings import GraphqlSettings

    class Exchanged:
        async def obtain(self, session: Session) -> Credential:
            return Credential(token=Secret(f"for-{session.subject}"), subject=session.subject, expires_at=4e9)

        async def discard(self, session: Session, refused: Credential) -> None: ...

        def plan(self, session: Session) -> Mapping[str, object]:
            return {}

    settings = GraphqlSettings(url=place["url"], schema_file=place["schema"], free_documents=True)
    module = load(["graphql"]).module_kind("graphql").create("shop", settings)
    registry = DelegationRegistry()
    registry.register("shop", module, credentials=Exchanged())
    session = Session(
        issuer="https://idp.example",
        subject="alice",
        username="alice",
        provider="main",
        permissions=frozenset({"graphql:read"}),
    )
    await registry.initialize_all()
    try:
        query = {"document": "{ me }"}
        result = await Pipeline(registry, Audit(MemorySink())).delegate(session, "shop", "query", query)
    finally:
        await registry.destroy_all()
    assert isinstance(result.data, dict)
    return [result.receipt.identity, result.data["data"]]
