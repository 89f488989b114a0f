"""What the conformance suite cannot know: the files, and whose they are."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from actas.core import ActasError, Audit, ConfigurationError, DelegationRegistry, MemorySink, Pipeline, Session
from notes_for_actas.module import Notes
from notes_for_actas.settings import NotesSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def road(folder: Path) -> AsyncGenerator[Pipeline]:
    """The real pipeline: what it throws away, no caller gets."""
    module = Notes(NotesSettings(folder=str(folder), most_notes=3))
    await module.initialize()
    registry = DelegationRegistry()
    registry.register("notes", module)
    yield Pipeline(registry, Audit(MemorySink()), timeout=1)
    await module.destroy()


async def refused(road: Pipeline, who: Session, action: str, **parameters: object) -> str:
    with pytest.raises(ActasError) as caught:
        await road.delegate(who, "notes", action, parameters)
    return caught.value.code


async def texts(road: Pipeline, who: Session, containing: str = "") -> list[str]:
    data = (await road.delegate(who, "notes", "list", {"containing": containing})).data
    return [note["text"] for note in data["notes"]]


async def test_notes_are_kept_by_user_and_found_by_what_stands_in_them(
    road: Pipeline, alice: Session, bob: Session
) -> None:
    for text in ("buy milk", "call mum"):
        await road.delegate(alice, "notes", "add", {"text": text})
    await road.delegate(bob, "notes", "add", {"text": "a desk"})
    assert await texts(road, alice) == ["call mum", "buy milk"]
    assert await texts(road, alice, containing="milk") == ["buy milk"]
    assert await texts(road, alice, containing="%") == []
    assert await texts(road, bob) == ["a desk"]


async def test_a_number_of_somebody_elses_note_deletes_nothing(road: Pipeline, alice: Session, bob: Session) -> None:
    await road.delegate(bob, "notes", "add", {"text": "a desk"})
    assert (await road.delegate(alice, "notes", "delete", {"number": 1})).data == {"deleted": False}
    assert await texts(road, bob) == ["a desk"]


async def test_a_full_notebook_takes_no_more(road: Pipeline, alice: Session) -> None:
    for text in "abc":
        await road.delegate(alice, "notes", "add", {"text": text})
    assert await refused(road, alice, "add", text="d") == "notes_full"
    assert await texts(road, alice) == ["c", "b", "a"]


async def test_a_file_that_says_that_it_is_somebody_elses_is_not_written_to(
    road: Pipeline, alice: Session, bob: Session, folder: Path
) -> None:
    await road.delegate(bob, "notes", "add", {"text": "a desk"})
    os.rename(folder / "bob.db", folder / "alice.db")
    assert await refused(road, alice, "add", text="mine") == "notes_unreadable"
    with sqlite3.connect(folder / "alice.db") as file:
        assert file.execute("SELECT text FROM note").fetchall() == [("a desk",)]
    file.close()


async def test_a_link_in_the_folder_leads_nowhere(road: Pipeline, alice: Session, folder: Path, tmp_path: Path) -> None:
    (folder / "alice.db").symlink_to(tmp_path / "elsewhere.db")
    assert await refused(road, alice, "add", text="x") == "downstream_unavailable"
    assert not (tmp_path / "elsewhere.db").exists()


async def test_a_file_that_is_no_database_is_refused_without_a_word_of_it(
    road: Pipeline, alice: Session, folder: Path
) -> None:
    (folder / "alice.db").write_text("secret " * 1000)
    assert await refused(road, alice, "list") == "notes_unreadable"


async def test_a_file_that_somebody_holds_locked_costs_no_more_than_the_deadline(
    road: Pipeline, alice: Session, bob: Session, folder: Path
) -> None:
    await road.delegate(alice, "notes", "add", {"text": "x"})
    holder = sqlite3.connect(folder / "alice.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    assert await refused(road, alice, "list") == "timeout"
    assert time.monotonic() - started < 10
    assert await texts(road, bob) == []
    holder.execute("ROLLBACK")
    holder.close()
    assert await texts(road, alice) == ["x"]


def test_a_folder_that_others_may_write_to_stops_the_start(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="written by others"):
        asyncio.run(Notes(NotesSettings(folder=str(folder))).initialize())
