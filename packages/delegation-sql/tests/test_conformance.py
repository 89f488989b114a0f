"""The suite that every delegation module must pass, on both servers."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from actas.core import Session
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import SqlSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.postgres import PostgresServer

ALICE = Session(
    issuer="https://idp.example",
    subject="u-1",
    username="alice",
    legacy_username="alice",
    provider="test",
    role="user",
    permissions=frozenset({"sql:read"}),
)


class TestSqlDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, server: PostgresServer, settings: SqlSettings) -> ModuleKit:
        @contextmanager
        def outage() -> Generator[None]:
            server.halt()
            try:
                yield
            finally:
                server.start()

        return ModuleKit(
            make=lambda: SqlDelegation(settings),
            make_dead=lambda: SqlDelegation(SqlSettings(host="/nonexistent", database="app")),
            alice=ALICE,
            bob=replace(ALICE, subject="u-2", username="bob", legacy_username="bob"),
            parameters={
                "query": {"sql": "SELECT session_user, body FROM notes"},
                "schema": {},
                "table-details": {"table": "notes"},
            },
            slow=("query", {"sql": "SELECT count(*) FROM generate_series(1, 10000000000)"}),
            outage=outage,
            denied=("query", {"sql": "SELECT secret FROM bobs"}),
            settings=SqlSettings,
            plugin="actas.delegation.sql.plugin",
            heavy_imports=["psycopg", "pglast"],
        )
