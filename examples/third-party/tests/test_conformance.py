"""The rules that every module must keep, from actas itself."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actas.core import Session
from actas.testing.conformance import ModuleConformance, ModuleKit
from notes_for_actas.module import Notes
from notes_for_actas.settings import NotesSettings


class TestNotes(ModuleConformance):
    @pytest.fixture
    def kit(self, folder: Path, alice: Session, bob: Session) -> ModuleKit:
        @contextmanager
        def outage() -> Generator[None]:
            """Somebody unmounts the disk."""
            away = folder.rename(folder.with_name("away"))
            yield
            away.rename(folder)

        return ModuleKit(
            make=lambda: Notes(NotesSettings(folder=str(folder), most_notes=10_000)),
            alice=alice,
            bob=bob,
            parameters={"list": {"containing": "a"}, "add": {"text": "buy milk"}, "delete": {"number": 1}},
            settings=NotesSettings,
            plugin="notes_for_actas.plugin",
            heavy_imports=["sqlite3"],
            make_dead=lambda: Notes(NotesSettings(folder=str(folder / "gone"))),
            outage=outage,
        )
