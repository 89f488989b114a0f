"""The suite that every delegation module must pass."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from graphql_gateway import ALICE, BOB, PARAMETERS, settings_for
from graphql_service import AUDIENCE, Reply, Service

from actas.delegation.graphql.module import GraphqlDelegation
from actas.delegation.graphql.settings import GraphqlSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.credentials import IssuedCredentials
from actas.testing.idp import IdentityProvider


class TestGraphqlDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, service: Service, provider: IdentityProvider, tmp_path: Path) -> ModuleKit:
        settings = settings_for(service, tmp_path)
        dead = settings_for(service, tmp_path, url="http://127.0.0.1:1/graphql", schema_file=None, operations=None)

        @contextmanager
        def outage() -> Generator[None]:
            service.reply = Reply({"errors": []}, 503)
            try:
                yield
            finally:
                service.reply = None

        return ModuleKit(
            make=lambda: GraphqlDelegation(settings),
            make_dead=lambda: GraphqlDelegation(dead),
            alice=ALICE,
            bob=BOB,
            parameters=PARAMETERS,
            slow=("wait", {"seconds": 1.5}),  # long after the deadline that the suite sets
            outage=outage,
            credentials=IssuedCredentials(provider, AUDIENCE),
            settings=GraphqlSettings,
            plugin="actas.delegation.graphql.plugin",
            heavy_imports=["httpx", "httpx2", "actas.http", "graphql", "strawberry"],
        )
