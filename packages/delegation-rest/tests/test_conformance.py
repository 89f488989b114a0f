"""The suite that every delegation module must pass."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest
from rest_gateway import ALICE, BOB, OPERATIONS, parameters_for, settings_for
from rest_service import AUDIENCE, STACK, Reply, Seen, Service

from actas.delegation.rest.module import RestDelegation
from actas.delegation.rest.settings import RestSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.credentials import IssuedCredentials
from actas.testing.idp import IdentityProvider


class TestRestDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, service: Service, provider: IdentityProvider) -> ModuleKit:
        def slowly(seen: object) -> Reply:
            import time

            time.sleep(1.5)  # long after the deadline that the suite sets
            return Reply({})

        def for_bob(seen: Seen) -> Reply:
            return Reply({"secret": "bob's"}) if seen.subject == "bob" else Reply({"error": STACK}, 403)

        @contextmanager
        def outage() -> Generator[None]:
            service.away = True
            try:
                yield
            finally:
                service.away = False

        service.replies["/v1/status/598"] = slowly
        service.replies["/v1/status/299"] = for_bob
        settings = settings_for(service)
        return ModuleKit(
            make=lambda: RestDelegation(settings),
            make_dead=lambda: RestDelegation(
                settings_for(service, base_url="http://127.0.0.1:1/v1", limits=settings.limits)
            ),
            alice=ALICE,
            bob=BOB,
            parameters={name: parameters_for(name) for name in [*OPERATIONS, "request", "health"]},
            slow=("get-status", {"status": "598"}),
            outage=outage,
            denied=("get-status", {"status": "299"}),
            credentials=IssuedCredentials(provider, AUDIENCE),
            settings=RestSettings,
            plugin="actas.delegation.rest.plugin",
            heavy_imports=["httpx", "httpx2", "actas.http"],
        )
