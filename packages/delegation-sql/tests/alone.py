"""What this distribution does where nothing else is installed: ``tools/run_alone.py`` runs it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def stage() -> Iterator[dict[str, object]]:
    """A PostgreSQL that knows alice."""
    from actas.testing.postgres import EmbeddedPostgres

    with EmbeddedPostgres() as server:
        server.add_users("alice")
        expected = ["alice", ["alice"]]
        yield {"host": str(server.socket_folder), "database": server.database, "expected": expected}


async def act(place: Mapping[str, str]) -> list[object]:
    """One statement as alice."""
    from actas.core import Audit, DelegationRegistry, MemorySink, Pipeline, Session
    from actas.core.discovery import load
    from actas.delegation.sql.settings import SqlSettings

    settings = SqlSettings(host=place["host"], database=place["database"])
    module = load(["sql"]).module_kind("sql").create("sql", settings)
    registry = DelegationRegistry()
    registry.register("sql", module)
    session = Session(
        issuer="https://idp.example",
        subject="id-of-alice",
        username="alice",
        legacy_username="alice",
        provider="main",
        permissions=frozenset({"sql:read"}),
    )
    await registry.initialize_all()
    try:
        query = {"sql": "SELECT current_user AS who"}
        result = await Pipeline(registry, Audit(MemorySink())).delegate(session, "sql", "query", query)
    finally:
        await registry.destroy_all()
    assert isinstance(result.data, dict)
    return [result.receipt.identity, result.data["rows"][0]]
