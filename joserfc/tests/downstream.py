"""EDIT 10: the system that the tests run against, dead and slow where they need that, and whom they try."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from actas.testing.conformance import ModuleKit
from actas.testing.module_kit import user

from joserfc.module import Joserfc
from joserfc.settings import JoserfcSettings
from joserfc.system import Answer, System

__all__ = ["kit", "table"]


class Moody(System):
    """The system of the tests: it can be away, and takes long for the note ``epic``."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away

    async def ping(self) -> None:
        if self.away:
            raise ConnectionRefusedError

    async def list(self, user: str) -> Answer:
        await self.ping()
        return await super().list(user)

    async def read(self, user: str, name: str) -> Answer:
        await self.ping()
        await asyncio.sleep(10 if name == "epic" else 0)
        return await super().read(user, name)

    @contextmanager
    def outage(self) -> Generator[None]:
        """Nobody answers meanwhile."""
        self.away = True
        yield
        self.away = False


@pytest.fixture
def table() -> dict[str, object]:
    """What an operator writes under ``[delegation.modules.joserfc]``."""
    return {"longest": 500}


@pytest.fixture
def kit() -> ModuleKit:
    """How the conformance suite makes the module, and what it tries with it."""
    system = Moody()
    return ModuleKit(
        make=lambda: Joserfc(JoserfcSettings(), system),
        make_dead=lambda: Joserfc(JoserfcSettings(), Moody(away=True)),
        outage=system.outage,
        alice=user("alice", "joserfc:read"),
        bob=user("bob", "joserfc:read"),
        parameters={"list-notes": {}, "read-note": {"name": "welcome"}},
        slow=("read-note", {"name": "epic"}),
        denied=("read-note", {"name": "bobs-plan"}),
        settings=JoserfcSettings,
        plugin="joserfc.plugin",
    )
