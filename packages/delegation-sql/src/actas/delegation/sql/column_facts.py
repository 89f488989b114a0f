"""What the catalogue says about the columns of results: names of types that are not PostgreSQL's own, and NOT NULL.

Asked as the user, after the result is there, and remembered for a minute; an answer that does not come is done without.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from actas.core.errors import ActasError
from actas.delegation.sql.json_values import array_of, read_as_array
from actas.delegation.sql.results import Column, Page, fitted

_SECONDS = 60.0
_MOST_FACTS = 4096
_PATIENCE_SECONDS = 0.5

Ask = Callable[[dict[str, list[int]]], Awaitable[Page]]
"""Runs ``catalog.COLUMN_FACTS`` with these parameters."""


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    array: int | None
    """The array type to read it as; None where it is none."""


class ColumnFacts:
    """Remembers, for one database."""

    def __init__(self) -> None:
        self._types: dict[int, _Type] = {}
        self._not_null: dict[tuple[int, int], bool | None] = {}
        self._until = 0.0

    def forget(self) -> None:
        """Tables or types may have changed."""
        self._types.clear()
        self._not_null.clear()

    async def described(
        self, page: Page, ask: Ask, *, nullable: bool, most_bytes: int, seconds: float
    ) -> tuple[Page, list[dict[str, object]]]:
        """The page, with lists for arrays of types that nobody knew before, and its columns as callers see them.

        Args:
            page: what a statement gave.
            ask: asks the database.
            nullable: whether what holds for a table's column holds for the result's too.
            most_bytes: of the page's rows as JSON.
            seconds: that the call has left: half of them may be used, so that what is there gets through.
        """
        await self._learn(page.columns, ask, nullable=nullable, seconds=min(_PATIENCE_SECONDS, seconds / 2))
        described: list[dict[str, object]] = []
        longer = False
        for index, column in enumerate(page.columns):
            known = self._types.get(column.oid)
            if known is not None and known.array is not None:
                read_as_array(page.rows, index, known.array)
                longer = True
            name = column.type_name or (known.name if known else f"oid {column.oid}")
            not_null = self._not_null.get((column.table, column.number)) if nullable else None
            shown: dict[str, object] = {"name": column.name, "type": name}
            described.append(shown if not_null is None else {**shown, "nullable": not not_null})
        return fitted(page, most_bytes) if longer else page, described

    async def _learn(self, columns: Sequence[Column], ask: Ask, *, nullable: bool, seconds: float) -> None:
        now = time.monotonic()
        if now > self._until or len(self._types) + len(self._not_null) > _MOST_FACTS:
            self.forget()
            self._until = now + _SECONDS
        types = {column.oid for column in columns if column.type_name is None} - self._types.keys()
        origins = {(column.table, column.number) for column in columns if column.table and nullable}
        origins -= self._not_null.keys()
        if not types and not origins:
            return
        wanted = {
            "types": sorted(types),
            "tables": [table for table, _ in origins],
            "numbers": [number for _, number in origins],
        }
        try:
            async with asyncio.timeout(seconds):
                facts = (await ask(wanted)).rows
        except (ActasError, TimeoutError):
            return
        for about, oid, number, name, base, flag in facts:
            if about == "type":
                self._types[int(str(oid))] = _Type(str(name), array_of(int(str(base))) if flag else None)
            else:
                self._not_null[int(str(oid)), int(str(number))] = flag if isinstance(flag, bool) else None
