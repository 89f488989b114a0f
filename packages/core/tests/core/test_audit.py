"""The minutes: real files, several processes, a disk that is full."""

import asyncio
import errno
import io
import json
import logging
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from actas.core import (
    Audit,
    AuditEvent,
    AuditUnavailable,
    ConfigurationError,
    JsonLinesSink,
    MemorySink,
    NullSink,
    OnAuditFailure,
    Outcome,
    Receipt,
)
from actas.core import audit as module
from actas.core.audit import to_json

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def event(action: str = "query", **fields: Any) -> AuditEvent:  # Any: whatever the event has
    given: dict[str, Any] = {"source": "tool", "outcome": Outcome.SUCCESS, "action": action, **fields}  # Any: likewise
    return AuditEvent(**given)


def lines(path: Path) -> list[dict[str, Any]]:  # Any: JSON
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


class SlowSink:
    """Keeps an event after a while, as one across a network does."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.kept: list[AuditEvent] = []
        self.seconds = seconds

    async def write(self, event: AuditEvent) -> None:
        await asyncio.sleep(self.seconds)
        self.kept.append(event)

    async def close(self) -> None: ...


class BrokenSink:
    async def write(self, event: AuditEvent) -> None:
        raise ConnectionError("log.example refused password=hunter2")

    async def close(self) -> None: ...


def test_a_line_has_what_is_set_and_nothing_else() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
    receipt = Receipt(identity="alice", method="login:peer", details={"session_user": "alice"})
    line = json.loads(
        to_json(event(time=when, event_id="e", actors=("agent", "gateway"), receipt=receipt, duration_ms=1.23456))
    )
    assert line == {
        "source": "tool",
        "outcome": "success",
        "action": "query",
        "actors": ["agent", "gateway"],
        "receipt": {"identity": "alice", "method": "login:peer", "details": {"session_user": "alice"}},
        "duration_ms": 1.235,
        "time": "2026-01-02T03:04:05.678+00:00",
        "event_id": "e",
    }


@pytest.mark.parametrize(
    "hostile",
    ['x\n{"outcome":"success"}', "\r\n", "\x00", "\u2028", "\x1b[2J", "\ud800", '"},{"', "\N{GRINNING FACE}", "\x85"],
)
def test_a_hostile_value_stays_inside_its_field_and_its_line(hostile: str) -> None:
    text = to_json(event(action=hostile, reason=hostile, receipt=Receipt(identity=hostile, method="m")))
    assert text.isascii()
    assert len(text.splitlines()) == 1
    line = json.loads(text)
    assert line["action"] == line["reason"] == line["receipt"]["identity"] == hostile


def test_a_value_of_a_megabyte_is_cut_with_a_mark_wherever_it_stands() -> None:
    long = "x" * 1_000_000
    receipt = Receipt(identity=long, method=long, details={long: long, **{str(n): "" for n in range(1000)}})
    text = to_json(event(action=long, actors=(long,) * 1000, receipt=receipt))
    assert len(text) < 500_000
    line = json.loads(text)
    assert len(line["action"]) == len(line["receipt"]["identity"]) == len(line["actors"][0]) == 2000
    assert line["action"].endswith("x…")
    assert len(line["actors"]) == len(line["receipt"]["details"]) == 50


def test_a_receipt_with_values_that_are_no_text_is_recorded_all_the_same() -> None:
    details: Any = {"pid": 7, "raw": b"\xff"}  # Any: a module that does not keep its word
    assert json.loads(to_json(event(receipt=Receipt(identity="a", method="m", details=details))))["receipt"] == {
        "identity": "a",
        "method": "m",
        "details": {"pid": "7", "raw": "b'\\xff'"},
    }


async def test_the_null_sink_keeps_nothing_and_never_fails() -> None:
    sink = NullSink()
    await sink.write(event())
    await sink.close()
    await sink.close()


async def test_the_memory_sink_keeps_the_newest_and_hands_out_what_it_pushes_out() -> None:
    pushed: list[AuditEvent] = []
    sink = MemorySink(2, on_overflow=pushed.append)
    for name in "abc":
        await sink.write(event(name))
    assert [each.action for each in sink.entries()] == ["b", "c"]
    assert [each.action for each in pushed] == ["a"]
    await sink.close()
    assert sink.entries()
    sink.clear()
    assert sink.entries() == []


async def test_the_memory_sink_overflows_without_anybody_to_tell() -> None:
    sink = MemorySink(1)
    await sink.write(event("a"))
    await sink.write(event("b"))
    assert [each.action for each in sink.entries()] == ["b"]


def test_a_memory_sink_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        MemorySink(0)


async def test_entries_are_filtered_by_everything_that_is_given() -> None:
    sink = MemorySink()
    now = datetime.now(UTC)
    await sink.write(event("a", source="auth", subject="alice", time=now - timedelta(hours=1)))
    await sink.write(event("b", outcome=Outcome.REFUSED, subject="alice", time=now))
    await sink.write(event("c", subject="bob", time=now))

    def found(**filters: Any) -> str:  # Any: whatever can be filtered by
        return "".join(each.action for each in sink.entries(**filters))

    assert found() == "abc"
    assert found(source="auth") == "a"
    assert found(outcome=Outcome.REFUSED) == "b"
    assert found(subject="alice") == "ab"
    assert found(since=now) == "bc"
    assert found(subject="alice", since=now) == "b"


async def test_a_file_is_made_for_its_owner_alone_and_holds_one_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = JsonLinesSink(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await sink.write(event("a"))
    await sink.write(event("b\nb"))
    await sink.close()
    await sink.close()
    assert [line["action"] for line in lines(path)] == ["a", "b\nb"]


async def test_a_file_that_is_there_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for name in "ab":
        sink = JsonLinesSink(path)
        await sink.write(event(name))
        await sink.close()
    assert [line["action"] for line in lines(path)] == ["a", "b"]


async def test_a_write_after_close_opens_the_file_again(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "audit.jsonl")
    await sink.close()
    await sink.write(event("a"))
    await sink.close()
    assert [line["action"] for line in lines(tmp_path / "audit.jsonl")] == ["a"]


async def test_a_rotated_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = JsonLinesSink(path)
    await sink.write(event("a"))
    path.rename(tmp_path / "audit.1")
    await sink.write(event("b"))
    path.rename(tmp_path / "audit.2")
    path.touch(0o600)
    await sink.write(event("c"))
    path.rename(tmp_path / "audit.3")
    await sink.write(event("d"))
    await sink.close()
    kept = [[line["action"] for line in lines(tmp_path / f"audit.{end}")] for end in ("1", "2", "3", "jsonl")]
    assert kept == [["a"], ["b"], ["c"], ["d"]]


async def test_rotation_leaves_no_descriptor_open(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = JsonLinesSink(path)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        path.rename(tmp_path / f"audit.{number}")
        await sink.write(event())
    assert len(os.listdir("/proc/self/fd")) == before
    await sink.close()


_APPEND = """
import asyncio, pathlib, sys
from actas.core import AuditEvent, JsonLinesSink, Outcome
async def main():
    sink = JsonLinesSink(pathlib.Path(sys.argv[1]))
    action = sys.argv[2] * 1500
    for number in range(300):
        await sink.write(AuditEvent(source="tool", outcome=Outcome.SUCCESS, action=action, tool=str(number)))
asyncio.run(main())
"""


def test_several_processes_append_to_one_file_without_mixing_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", _APPEND, str(path), name]) for name in "abc"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    kept = lines(path)
    assert len(kept) == 900
    for name in "abc":
        own = [line["tool"] for line in kept if line["action"] == name * 1500]
        assert own == [str(number) for number in range(300)]


@pytest.mark.parametrize(
    ("where", "advice"),
    [("missing/audit.jsonl", "Make its folder"), (".", "Name a file in it"), ("file/audit.jsonl", "Make its folder")],
)
def test_a_path_that_cannot_be_opened_stops_the_start_and_says_what_to_do(
    tmp_path: Path, where: str, advice: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=rf"^auth\.audit\.path: .* {advice}"):
        JsonLinesSink(tmp_path / where)


async def test_a_folder_that_goes_away_while_running_refuses_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    sink = JsonLinesSink(folder / "audit.jsonl")
    audit = Audit(sink)
    folder.rename(tmp_path / "gone")
    for _ in range(2):
        with pytest.raises(AuditUnavailable):
            await audit.record(event("lost"))
    folder.mkdir()
    await audit.record(event("kept"))
    await sink.close()
    assert [line["action"] for line in lines(folder / "audit.jsonl")] == ["kept"]


async def test_a_full_disk_refuses_or_alerts_and_is_never_silent(caplog: pytest.LogCaptureFixture) -> None:
    sink = JsonLinesSink(Path("/dev/full"))
    with pytest.raises(OSError) as caught:
        await sink.write(event())
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(AuditUnavailable) as refused:
        await Audit(sink).record(event())
    assert refused.value.detail == "the audit sink failed: OSError"
    caplog.clear()
    for number in (1, 2):
        await Audit(sink, OnAuditFailure.ALERT).record(event())
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * number
    await sink.close()


async def test_half_a_line_costs_only_its_own_event(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = JsonLinesSink(path)
    await sink.write(event("first"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so a file at its limit takes what fits and then refuses, as a disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        with pytest.raises(OSError, match="only 20 of"):
            await sink.write(event("torn"))
        with pytest.raises(OSError):
            await sink.write(event("lost"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await sink.write(event("second"))
    await sink.write(event("third"))
    await sink.close()
    whole: list[str] = []
    for line in path.read_text().splitlines():
        try:
            whole.append(json.loads(line)["action"])
        except ValueError:
            assert len(line) == 20
    assert whole == ["first", "second", "third"]


async def test_a_stream_gets_one_line_an_event_and_is_left_open() -> None:
    stream = io.StringIO()
    sink = JsonLinesSink(stream=stream)
    await sink.write(event("a"))
    await sink.close()
    await sink.write(event("b"))
    assert [json.loads(line)["action"] for line in stream.getvalue().splitlines()] == ["a", "b"]


async def test_without_path_and_stream_the_minutes_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    await JsonLinesSink().write(event("a"))
    captured = capsys.readouterr()
    assert json.loads(captured.err)["action"] == "a"
    assert captured.out == ""


async def test_a_closed_stream_refuses() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(AuditUnavailable):
        await Audit(JsonLinesSink(stream=stream)).record(event())


async def test_a_sink_that_breaks_tells_its_type_and_none_of_its_text(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AuditUnavailable) as caught:
        await Audit(BrokenSink()).record(event())
    await Audit(BrokenSink(), OnAuditFailure.ALERT).record(event())
    assert caught.value.__suppress_context__
    assert "ConnectionError" in str(caught.value.detail)
    assert caplog.text.count("ConnectionError") == 2
    assert "hunter2" not in caplog.text + str(caught.value) + str(caught.value.detail)


async def test_a_sink_that_hangs_is_a_sink_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WRITE_TIMEOUT", 0.05)
    with anyio.fail_after(5):
        with pytest.raises(AuditUnavailable) as caught:
            await Audit(SlowSink(3600)).record(event())
    assert caught.value.detail == "the audit sink failed: TimeoutError"


async def _cancel_a_task(record: Callable[[], Any]) -> None:
    task = asyncio.ensure_future(record())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _cancel_a_scope(record: Callable[[], Any]) -> None:
    with anyio.move_on_after(0.01) as scope:
        await record()
    assert scope.cancelled_caught


@pytest.mark.parametrize("cancel", [_cancel_a_task, _cancel_a_scope])
async def test_an_event_is_kept_once_though_its_caller_is_cancelled_meanwhile(cancel: Callable[..., Any]) -> None:
    sink = SlowSink()
    audit = Audit(sink)
    await cancel(lambda: audit.record(event("a")))
    await asyncio.sleep(0.1)
    assert [each.action for each in sink.kept] == ["a"]


async def test_events_that_are_being_written_are_held_no_longer_than_that() -> None:
    audit = Audit(SlowSink(0))
    await asyncio.gather(*(audit.record(event()) for _ in range(10)))
    await asyncio.sleep(0)
    assert not audit._pending  # pyright: ignore[reportPrivateUsage] -- a leak cannot be seen from outside
