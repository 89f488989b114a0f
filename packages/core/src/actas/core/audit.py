"""Keeping the minutes: one event a line, nothing in it that could be misused.

Sinks here: :class:`NullSink` (none), :class:`MemorySink` (the last few, to look at),
:class:`JsonLinesSink` (a file or stream). Others come as plug-ins.
"""

import asyncio
import json
import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TextIO, cast

from actas.core.errors import AuditUnavailable, ConfigurationError
from actas.core.events import AuditEvent, Outcome
from actas.core.models import Receipt
from actas.core.protocols import AuditSink

logger = logging.getLogger(__name__)

_LONGEST = 2_000
"""Characters of one text: an attacker chooses some of them, such as a tool's name."""
_MOST = 50
"""Items of one list or mapping."""
_WRITE_TIMEOUT = 5.0
"""Seconds in which a sink has to keep an event."""
_FIELDS = tuple(each.name for each in fields(AuditEvent))
_encoded = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


class OnAuditFailure(StrEnum):
    """What to do with a call that cannot be recorded."""

    REFUSE = "refuse"
    """Withhold its result, and refuse all further calls before they do anything, until events can be written again."""
    ALERT = "alert"
    """Carry it out, and log an error each time."""


def to_json(event: AuditEvent) -> str:
    """One line of JSON without its line end; fields that are not set are left out."""
    line: dict[str, object] = {}
    for name in _FIELDS:
        value = getattr(event, name)
        if value is None or value in ("", ()):
            continue
        line[name] = _plain(value)
    return _encoded(line)


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat(timespec="milliseconds")
        case Receipt():
            details = {_text(key): _text(text) for key, text in islice(value.details.items(), _MOST)}
            return {"identity": _text(value.identity), "method": _text(value.method), "details": details}
        case tuple():
            return [_text(item) for item in cast("tuple[object, ...]", value[:_MOST])]
        case bool():
            return value
        case float():
            return round(value, 3)
        case int():
            return value
        case _:
            return _text(value)


def _text(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


class NullSink:
    """Keeps nothing: the null object where no audit is configured."""

    async def write(self, event: AuditEvent) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""


class MemorySink:
    """Keeps the newest ``capacity`` events in memory.

    Args:
        capacity: how many.
        on_overflow: called with each event that is pushed out.
    """

    def __init__(self, capacity: int = 1000, on_overflow: Callable[[AuditEvent], None] | None = None) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._events: deque[AuditEvent] = deque()
        self._capacity = capacity
        self._on_overflow = on_overflow

    async def write(self, event: AuditEvent) -> None:
        """Keep ``event``; push the oldest out when full."""
        self._events.append(event)
        if len(self._events) > self._capacity:
            oldest = self._events.popleft()
            if self._on_overflow is not None:
                self._on_overflow(oldest)

    async def close(self) -> None:
        """Nothing: the entries stay readable."""

    def entries(
        self,
        *,
        source: str | None = None,
        outcome: Outcome | None = None,
        subject: str | None = None,
        since: datetime | None = None,
    ) -> list[AuditEvent]:
        """The events, oldest first, that match everything given."""
        return [
            event
            for event in self._events
            if (source is None or event.source == source)
            and (outcome is None or event.outcome == outcome)
            and (subject is None or event.subject == subject)
            and (since is None or event.time >= since)
        ]

    def clear(self) -> None:
        """Forget all of them."""
        self._events.clear()


class JsonLinesSink:
    """Appends one JSON object a line to a file (made with mode 0600) or to a stream.

    A line is written with a single ``write(2)`` on a descriptor opened for appending, so several
    processes may share the file and a rotated one is noticed: the path is opened anew when it no
    longer names the open file.
    """

    def __init__(self, path: Path | None = None, *, stream: TextIO | None = None) -> None:
        self._path = path
        self._stream = stream if stream is not None else sys.stderr
        self._descriptor: int | None = None
        self._torn = False
        if path is not None:
            try:
                self._descriptor = self._open(path)
            except OSError as error:
                advice = (
                    "Name a file in it."
                    if isinstance(error, IsADirectoryError)
                    else "Make its folder, or give this user the right to write there."
                )
                raise ConfigurationError(
                    f"auth.audit.path: {path} cannot be opened for appending ({error.strerror}). {advice}"
                ) from error

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    async def write(self, event: AuditEvent) -> None:
        """Append ``event``. Raises OSError where the file system refuses, also for a part of the line."""
        line = to_json(event) + "\n"
        if self._path is None:
            self._stream.write(line)
            self._stream.flush()
            return
        # What follows half a line starts on a line of its own, or both would be lost.
        data = (b"\n" if self._torn else b"") + line.encode()
        written = os.write(self._current(self._path), data)
        self._torn = written != len(data)
        if self._torn:
            raise OSError(f"only {written} of {len(data)} bytes could be written")

    def _current(self, path: Path) -> int:
        descriptor = self._descriptor
        if descriptor is not None:
            opened = os.fstat(descriptor)
            try:
                named = path.stat()
            except FileNotFoundError:
                named = None
            if named is not None and (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev):
                return descriptor
            os.close(descriptor)
            self._descriptor = None
        self._descriptor = self._open(path)
        return self._descriptor

    async def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_NEVER_SUSPENDED = (NullSink, MemorySink, JsonLinesSink)
"""Nothing can interrupt these, nor can they hang: they are spared the task and timer that others need (20 µs)."""


@dataclass(slots=True)
class Audit:
    """A ``sink``, and what to do when it fails: ``on_failure``. The pipeline and the door write through this."""

    sink: AuditSink
    on_failure: OnAuditFailure = OnAuditFailure.REFUSE
    _pending: set[asyncio.Task[None]] = field(
        default_factory=set[asyncio.Task[None]], init=False, repr=False, compare=False
    )
    _failed: bool = field(default=False, init=False, repr=False, compare=False)

    async def ready(self) -> None:
        """Return where the next event can be expected to be kept; to be asked before anything is done.

        After a failure the sink is tried again, with an event that says that it works again.

        Raises:
            AuditUnavailable: it still fails, and the policy is to refuse.
        """
        if self._failed:
            await self.record(AuditEvent(source="audit", outcome=Outcome.SUCCESS, action="resume"))

    async def record(self, event: AuditEvent) -> None:
        """Write ``event``, once and to the end, even where the caller is cancelled meanwhile.

        Raises:
            AuditUnavailable: the sink failed or took more than 5 s, and the policy is to refuse.
        """
        if type(self.sink) in _NEVER_SUSPENDED:
            await self._write(event)
            return
        writing = asyncio.ensure_future(self._write(event))
        self._pending.add(writing)
        writing.add_done_callback(self._pending.discard)
        await asyncio.shield(writing)

    async def _write(self, event: AuditEvent) -> None:
        try:
            if type(self.sink) in _NEVER_SUSPENDED:
                await self.sink.write(event)
            else:
                async with asyncio.timeout(_WRITE_TIMEOUT):
                    await self.sink.write(event)
        except Exception as error:  # a sink is foreign code: whatever it raises, the minutes are not kept
            self._failed = True
            logger.error("audit event %s could not be written: %s", event.event_id, type(error).__name__)
            if self.on_failure is OnAuditFailure.REFUSE:
                raise AuditUnavailable(detail=f"the audit sink failed: {type(error).__name__}") from None
        else:
            self._failed = False
