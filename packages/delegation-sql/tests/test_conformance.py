"""The suite that every delegation module must pass, on both servers."""

from dataclasses import replace

import pytest

from actas.core import Session
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import SqlSettings
from actas.testing.conformance import ModuleConformance, ModuleKit

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
    def kit(self, settings: SqlSettings) -> ModuleKit:
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
            settings=SqlSettings,
            plugin="actas.delegation.sql.plugin",
            heavy_imports=["psycopg", "pglast"],
        )
