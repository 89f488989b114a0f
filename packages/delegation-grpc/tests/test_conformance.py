"""The suite that every delegation module must pass."""

from typing import Any

import grpc
import pytest
from grpc_gateway import ALICE, BOB, PARAMETERS, settings_for
from grpc_protos import message
from grpc_service import AUDIENCE, SECRETS, Seen, Service

from actas.delegation.grpc.module import GrpcDelegation
from actas.delegation.grpc.settings import GrpcSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.credentials import IssuedCredentials
from actas.testing.idp import IdentityProvider


class TestGrpcDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, service: Service, provider: IdentityProvider) -> ModuleKit:
        def only_bobs(seen: Seen, context: grpc.ServicerContext) -> Any:
            if seen.subject != "bob":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, SECRETS)
            return message("Order")(buyer=seen.subject)

        service.behaviours["shop.v1.Orders/PlaceOrder"] = lambda seen, context: (
            only_bobs(seen, context) if seen.request.item == "bob's" else message("Order")(buyer=seen.subject)
        )
        settings = settings_for(service)
        return ModuleKit(
            make=lambda: GrpcDelegation(settings),
            make_dead=lambda: GrpcDelegation(settings_for(service, targets=["127.0.0.1:1"])),
            alice=ALICE,
            bob=BOB,
            parameters=PARAMETERS,
            slow=("wait", {"seconds": 10}),
            denied=("place-order", {"item": "bob's"}),
            outage=service.outage,
            credentials=IssuedCredentials(provider, AUDIENCE),
            settings=GrpcSettings,
            plugin="actas.delegation.grpc.plugin",
            heavy_imports=["grpc", "google.protobuf", "grpc_health", "grpc_reflection"],
        )
