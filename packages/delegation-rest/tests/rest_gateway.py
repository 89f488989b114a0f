"""The module in a real pipeline, with tokens that the provider signed."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from rest_service import AUDIENCE, Service

from actas.core import Audit, DelegationRegistry, MemorySink, Pipeline, Secret, Session
from actas.delegation.rest.module import RestDelegation
from actas.delegation.rest.settings import (
    HealthSettings,
    LimitSettings,
    OperationSettings,
    RequestSettings,
    RestSettings,
)
from actas.mcp.schema import validate_parameters
from actas.testing.credentials import IssuedCredentials

ALICE = Session(
    issuer="https://idp.example",
    subject="alice",
    username="alice",
    provider="test",
    role="user",
    permissions=frozenset({"crm:use"}),
    token=Secret("the-callers-own"),
)
BOB = replace(ALICE, subject="bob", username="bob")

OPERATIONS = {
    "get-customer": OperationSettings(path="/customers/{id}", description="One customer.", query=["fields"]),
    "add-customer": OperationSettings(path="/customers", description="Add a customer.", method="POST"),
    "put-customer": OperationSettings(path="/customers/{id}", description="Replace a customer.", method="PUT"),
    "get-status": OperationSettings(path="/status/{status}", description="Any status.", query=["page"]),
    "post-status": OperationSettings(path="/status/{status}", description="Any status, by POST.", method="POST"),
}


def settings_for(service: Service, **fields: Any) -> RestSettings:
    made = RestSettings(
        base_url=service.base,
        permission="crm:use",
        operations=OPERATIONS,
        requests=RequestSettings(allow=["GET /customers/{id}", "POST /customers", "GET /files/**"]),
        health=HealthSettings(path="/health"),
        limits=LimitSettings(seconds=3),
    )
    return replace(made, **fields)


class Gateway:
    """Ask with :meth:`call`; ``sink`` has the minutes."""

    def __init__(self, service: Service, settings: RestSettings) -> None:
        self.module = RestDelegation(settings)
        self.source = IssuedCredentials(service.provider, AUDIENCE)
        self.sink = MemorySink()
        self.service = service
        registry = DelegationRegistry()
        registry.register("crm", self.module, credentials=self.source)
        self.pipeline = Pipeline(registry, Audit(self.sink), validator=validate_parameters)

    async def call(self, action: str, session: Session = ALICE, **parameters: object) -> dict[str, Any]:
        result = await self.pipeline.delegate(session, "crm", action, parameters)
        assert result.receipt.identity == session.subject
        assert isinstance(result.data, dict)
        return result.data

    async def send(self, path: str, session: Session = ALICE, **more: object) -> dict[str, Any]:
        return await self.call("request", session, path=path, **more)


@asynccontextmanager
async def gateway_to(service: Service, **fields: Any) -> AsyncGenerator[Gateway]:
    opened = Gateway(service, settings_for(service, **fields))
    try:
        yield opened
    finally:
        await opened.module.destroy()


def parameters_for(action: str) -> Mapping[str, object]:
    """Harmless ones."""
    return {
        "get-customer": {"id": "7"},
        "add-customer": {"body": {"name": "x"}},
        "put-customer": {"id": "7", "body": {"name": "x"}},
        "get-status": {"status": "200"},
        "post-status": {"status": "201", "body": {}},
        "request": {"path": "/customers/7"},
        "health": {},
    }[action]
