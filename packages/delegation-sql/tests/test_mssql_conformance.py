"""The suite that every delegation module must pass, for SQL Server's kind, on the peer."""

from dataclasses import replace

import pytest
from mssql_stage import ALICE, BOB

from actas.delegation.sql.mssql.module import MssqlDelegation
from actas.delegation.sql.mssql.settings import MssqlSettings
from actas.testing.conformance import ModuleConformance, ModuleKit


class TestMssqlDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, mssql_settings: MssqlSettings) -> ModuleKit:
        return ModuleKit(
            make=lambda: MssqlDelegation(mssql_settings),
            make_dead=lambda: MssqlDelegation(replace(mssql_settings, port=1)),
            alice=ALICE,
            bob=BOB,
            parameters={
                "query": {"sql": "SELECT body FROM notes"},
                "schema": {},
                "table-details": {"table": "notes"},
                "procedure": {"name": "dbo.close_month"},
            },
            slow=("query", {"sql": "SELECT a FROM slow"}),
            settings=MssqlSettings,
            plugin="actas.delegation.sql.mssql.plugin",
            heavy_imports=["pymssql", "sqlglot"],
        )
