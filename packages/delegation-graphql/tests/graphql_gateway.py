"""The module in a real pipeline, with tokens that the provider signed."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphql_schema import SDL
from graphql_service import AUDIENCE, Service

from actas.core import Audit, DelegationRegistry, MemorySink, Pipeline, Secret, Session
from actas.delegation.graphql.module import GraphqlDelegation
from actas.delegation.graphql.settings import GraphqlSettings, LimitSettings
from actas.mcp.schema import validate_parameters
from actas.testing.credentials import IssuedCredentials

ALICE = Session(
    issuer="https://idp.example",
    subject="alice",
    username="alice",
    provider="test",
    role="user",
    permissions=frozenset({"graphql:read", "graphql:write"}),
    token=Secret("the-callers-own"),
)
BOB = replace(ALICE, subject="bob", username="bob")

OPERATIONS = {
    "my-orders": "query MyOrders($first: Int = 5, $filter: Filter) {\n"
    "orders(first: $first, filter: $filter) { ...O } }\n"
    "fragment O on Order { id item buyer { name } }",
    "place-order": '"Order one thing."\nmutation PlaceOrder("What it is." $item: String!) '
    "{ addOrder(item: $item) { id } }",
    "wait": "query Wait($seconds: Float!) { slow(seconds: $seconds) }",
}


def on_file(folder: Path, operations: Mapping[str, str] = OPERATIONS, sdl: str = SDL) -> dict[str, str]:
    """Settings that name the schema and the operations, written to ``folder``."""
    (folder / "operations").mkdir(exist_ok=True)
    for name, text in operations.items():
        (folder / "operations" / f"{name}.graphql").write_text(text)
    (folder / "shop.graphql").write_text(sdl)
    return {"schema_file": str(folder / "shop.graphql"), "operations": str(folder / "operations")}


def settings_for(service: Service, folder: Path, **fields: Any) -> GraphqlSettings:
    made = GraphqlSettings(url=service.url, free_documents=True, limits=LimitSettings(seconds=3), **on_file(folder))
    return replace(made, **fields)


class Gateway:
    """Ask with :meth:`call`; ``sink`` has the minutes."""

    def __init__(self, service: Service, settings: GraphqlSettings) -> None:
        self.module = GraphqlDelegation(settings)
        self.source = IssuedCredentials(service.provider, AUDIENCE)
        self.sink = MemorySink()
        registry = DelegationRegistry()
        registry.register("shop", self.module, credentials=self.source)
        self.pipeline = Pipeline(registry, Audit(self.sink), validator=validate_parameters)

    async def call(self, action: str, session: Session = ALICE, **parameters: object) -> dict[str, Any]:
        result = await self.pipeline.delegate(session, "shop", action, parameters)
        assert result.receipt.identity == session.subject
        assert isinstance(result.data, dict)
        return result.data

    async def query(self, document: str, session: Session = ALICE, **variables: object) -> dict[str, Any]:
        return await self.call("query", session, document=document, variables=variables)

    async def mutate(self, document: str, session: Session = ALICE, **variables: object) -> dict[str, Any]:
        return await self.call("mutate", session, document=document, variables=variables)


@asynccontextmanager
async def gateway_to(service: Service, folder: Path, **fields: Any) -> AsyncGenerator[Gateway]:
    opened = Gateway(service, settings_for(service, folder, **fields))
    await opened.module.initialize()
    try:
        yield opened
    finally:
        await opened.module.destroy()


PARAMETERS: Mapping[str, Mapping[str, object]] = {
    "query": {"document": "{ me { name } }"},
    "mutate": {"document": 'mutation { addOrder(item: "x") { id } }'},
    "schema": {},
    "my-orders": {},
    "place-order": {"item": "x"},
    "wait": {"seconds": 0},
    "health": {},
}
"""Harmless ones for each action."""
