"""The module in a real pipeline, with tokens that the provider signed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from grpc_protos import shop_file
from grpc_service import AUDIENCE, Service

from actas.core import Audit, DelegationRegistry, MemorySink, Pipeline, Secret, Session
from actas.delegation.grpc.module import GrpcDelegation
from actas.delegation.grpc.settings import GrpcSettings, LimitSettings
from actas.mcp.schema import validate_parameters
from actas.testing.credentials import IssuedCredentials

ALICE = Session(
    issuer="https://idp.example",
    subject="alice",
    username="alice",
    provider="test",
    role="user",
    permissions=frozenset({"orders:use"}),
    token=Secret("the-callers-own"),
)
BOB = replace(ALICE, subject="bob", username="bob")

PARAMETERS: dict[str, dict[str, object]] = {
    "get-order": {"orderId": "7"},
    "put-order": {"orderId": "7", "item": "desk"},
    "place-order": {"item": "desk"},
    "watch-orders": {"count": 2},
    "who-am-i": {},
    "wait": {"seconds": 0},
    "echo": {"aInt32": 7, "words": ["a", "b"], "struct": {"a": [1, None]}},
    "health": {},
}


def settings_for(service: Service, **fields: Any) -> GrpcSettings:
    made = GrpcSettings(
        targets=[service.target],
        plaintext=True,
        permission="orders:use",
        descriptors=str(shop_file()),
        allow=["shop.v1.Orders/*"],
        exclude=["shop.v1.Orders/Upload", "shop.v1.Orders/Chat"],
        limits=LimitSettings(seconds=3),
    )
    return replace(made, **fields)


class Gateway:
    """Ask with :meth:`call`; ``sink`` has the minutes."""

    def __init__(self, service: Service, settings: GrpcSettings) -> None:
        self.module = GrpcDelegation(settings)
        self.source = IssuedCredentials(service.provider, AUDIENCE)
        self.sink = MemorySink()
        self.service = service
        registry = DelegationRegistry()
        registry.register("orders", self.module, credentials=self.source)
        self.pipeline = Pipeline(registry, Audit(self.sink), validator=validate_parameters)

    async def call(self, action: str, session: Session = ALICE, **parameters: object) -> dict[str, Any]:
        result = await self.pipeline.delegate(session, "orders", action, parameters)
        assert result.receipt.identity == session.subject
        assert isinstance(result.data, dict)
        return result.data

    async def response(self, action: str, session: Session = ALICE, **parameters: object) -> dict[str, Any]:
        """The one message of an answer."""
        answer = await self.call(action, session, **parameters)
        assert set(answer) == {"response"}
        return answer["response"]


@asynccontextmanager
async def gateway_to(service: Service, **fields: Any) -> AsyncGenerator[Gateway]:
    opened = Gateway(service, settings_for(service, **fields))
    try:
        await opened.module.initialize()
        yield opened
    finally:
        await opened.module.destroy()


async def until(ready: Callable[[], object]) -> None:
    """Wait for ``ready``, ten seconds at most."""
    for _ in range(1000):
        if ready():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")
