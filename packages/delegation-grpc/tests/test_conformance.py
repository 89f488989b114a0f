"""The suite that every delegation module must pass."""

import pytest
from grpc_gateway import ALICE, BOB, PARAMETERS, settings_for
from grpc_service import AUDIENCE, Service

from actas.delegation.grpc.module import GrpcDelegation
from actas.delegation.grpc.settings import GrpcSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.credentials import IssuedCredentials
from actas.testing.idp import IdentityProvider


class TestGrpcDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, service: Service, provider: IdentityProvider) -> ModuleKit:
        settings = settings_for(service)
        return ModuleKit(
            make=lambda: GrpcDelegation(settings),
            make_dead=lambda: GrpcDelegation(settings_for(service, targets=["127.0.0.1:1"])),
            alice=ALICE,
            bob=BOB,
            parameters=PARAMETERS,
            slow=("wait", {"seconds": 10}),
            credentials=IssuedCredentials(provider, AUDIENCE),
            settings=GrpcSettings,
            plugin="actas.delegation.grpc.plugin",
            heavy_imports=["grpc", "google.protobuf", "grpc_health", "grpc_reflection"],
        )
