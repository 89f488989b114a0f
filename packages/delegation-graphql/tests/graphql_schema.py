"""The schema of the shop that the tests ask: built with Strawberry, answering each user with what is theirs."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import strawberry
from strawberry.permission import BasePermission
from strawberry.types import Info

STACK = 'Traceback (most recent call last):\n  File "/srv/app.py", line 7\npassword=hunter2'


@dataclass
class Row:
    id: int
    owner: str
    item: str


@dataclass
class Shop:
    """What is in the shop; changed by mutations."""

    rows: list[Row] = field(
        default_factory=lambda: [Row(1, "alice", "laptop"), Row(2, "bob", "desk"), Row(3, "alice", "lamp")]
    )


class OnlyNotBob(BasePermission):
    message = "bob may not"
    error_extensions = {"code": "FORBIDDEN"}  # noqa: RUF012 -- as Strawberry declares it

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:
        return info.context["user"] != "bob"


@strawberry.enum
class State(Enum):
    OPEN = "open"
    SHIPPED = "shipped"


@strawberry.input
class Filter:
    """Which orders."""

    item: str | None = None
    state: State | None = None
    first: int | None = None
    any_of: list["Filter"] | None = None


@strawberry.type
class User:
    name: str

    @strawberry.field
    def orders(self, info: Info, first: int = 10) -> list["Order"]:
        return [_order(row) for row in _rows(info)][:first]


@strawberry.type
class Order:
    id: strawberry.ID
    item: str
    state: State

    @strawberry.field
    def buyer(self, info: Info) -> User:
        return User(name=info.context["user"])

    @strawberry.field
    def notes(self) -> list[str]:
        return ["fragile"]

    @strawberry.field
    def margin(self, info: Info) -> float | None:
        raise RuntimeError(STACK)


@strawberry.type
class Connection:
    total: int
    nodes: list[Order]


@strawberry.type
class Query:
    @strawberry.field(description="Who you are.")
    def me(self, info: Info) -> User:
        return User(name=info.context["user"])

    @strawberry.field(description="Your orders.")
    def orders(self, info: Info, first: int = 10, filter: Filter | None = None) -> list[Order]:
        return [_order(row) for row in _rows(info)][:first]

    @strawberry.field
    def page(self, info: Info, first: int) -> Connection:
        rows = _rows(info)
        return Connection(total=len(rows), nodes=[_order(row) for row in rows[:first]])

    @strawberry.field
    def order(self, info: Info, id: strawberry.ID) -> Order | None:
        return next((_order(row) for row in _rows(info) if str(row.id) == id), None)

    @strawberry.field(permission_classes=[OnlyNotBob])
    def ledger(self) -> str:
        return "all is well"

    @strawberry.field
    def broken(self) -> str:
        raise RuntimeError(STACK)

    @strawberry.field
    async def slow(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"


@strawberry.type
class Mutation:
    @strawberry.mutation(description="Order something.")
    def add_order(self, info: Info, item: str, quantity: int = 1) -> Order:
        row = Row(len(info.context["shop"].rows) + 1, info.context["user"], item)
        info.context["shop"].rows.append(row)
        return _order(row)

    @strawberry.mutation
    def delete_orders(self, info: Info) -> int:
        shop: Shop = info.context["shop"]
        before = len(shop.rows)
        shop.rows = [row for row in shop.rows if row.owner != info.context["user"]]
        return before - len(shop.rows)

    @strawberry.mutation
    def fail(self) -> str:
        raise RuntimeError(STACK)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self) -> AsyncGenerator[int]:
        yield 1


SCHEMA = strawberry.Schema(Query, Mutation, Subscription)
SDL = SCHEMA.as_str()


def _rows(info: Info) -> list[Row]:
    return [row for row in info.context["shop"].rows if row.owner == info.context["user"]]


def _order(row: Row) -> Order:
    return Order(id=strawberry.ID(str(row.id)), item=row.item, state=State.OPEN)
