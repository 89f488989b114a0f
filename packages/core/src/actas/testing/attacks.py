"""What the conformance suite tries on a module, and how it watches what the module does."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast, get_args, get_origin

from actas.core import InvalidParameters
from actas.testing.declarations import field_types

T = TypeVar("T")

MARKER = "conformance-7f3a"
"""A parameter's value that no message may repeat."""

HOSTILE_NAMES = {
    "quote and semicolon": 'x"; DROP ROLE postgres; --',
    "empty": "",
    "NUL": "alice\x00bob",
    "newline": "alice\nbob",
    "10 kB": "a" * 10_000,
    "leading space": " alice",
    "trailing space": "alice ",
    "half a character": "al\ud800ice",
}
"""Names that no downstream can be asked for, by what is wrong with them."""

LEAVING_PATHS = [
    "..", ".", "...", "../admin", "..\\admin", "a/b", "/admin", "//host", "\\\\host", "a\\b",
    "%2e%2e", "%2E%2E%2Fadmin", "%252e%252e", "..%2fadmin", "..%5cadmin", "%c0%ae%c0%ae", "%c0%af", "%uff0e%uff0e",
    "%00", "a%00b", "a\x00b", "a\r\nHost: evil", "a\nb", "a\tb", "\x7f", "\x85", "a\u2028b",
    "\uff0e\uff0e", "\u2024\u2024", "\u2025", "\u2026", "a\uff0fb", "a\uff3cb", "a\u2215b", "a\u2044b", "a\u2216b",
    "a\ufe68b", "\uff05\uff12e", ".\u200b.", "\u2060", "..;", "..;x=1", ";x", "", " ", ". .", ".. ", "\u00a0",
    "\ud800", "a" * 1025,
]  # fmt: skip
"""Values for one segment of a path that some server or other would take for more than that, or for none."""

_IDENTITY_KEYS = ("user", "username", "role", "sub", "on_behalf_of", "impersonate", "Authorization", "X-Forwarded-User")


def planted(parameters: object, text: str) -> object:
    """``parameters`` with ``text`` in every place where text fits, and under keys that look like an identity.

    Raises:
        InvalidParameters: they cannot hold it.
    """
    try:
        return _planted(parameters, text)
    except (TypeError, ValueError) as error:
        raise InvalidParameters(detail=type(error).__name__) from None


def _planted(value: object, text: str) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        hints = field_types(type(value))
        changed = {each.name: _for_field(getattr(value, each.name), hints[each.name], text) for each in fields(value)}
        return replace(value, **changed)
    if type(value) is str:
        return text
    if isinstance(value, dict):
        held = cast("dict[object, object]", value)
        return {key: _planted(item, text) for key, item in held.items()} | dict.fromkeys(_IDENTITY_KEYS, text)
    if isinstance(value, list):
        return [_planted(item, text) for item in cast("list[object]", value)]
    return value


def _for_field(value: object, hint: object, text: str) -> object:
    if get_origin(hint) is Literal:
        return value
    return text if value is None and str in get_args(hint) else _planted(value, text)


@dataclass(frozen=True)
class Watched(Generic[T]):
    """What a function gave, and which I/O it did meanwhile."""

    answer: T
    events: frozenset[str]


_IO_EVENTS = ("open", "os.listdir", "os.scandir", "os.system", "socket.", "sqlite3.", "subprocess.", "time.sleep")
_watchers: dict[int, set[str]] = {}
_hooked = threading.Event()


def io_during(work: Callable[[], T]) -> Watched[T]:
    """Run ``work`` and note Python's audit events of files, sockets and processes in this thread.

    The audit hook stays for good, as all of them do, and notes nothing between calls.
    """
    if not _hooked.is_set():
        _hooked.set()
        sys.addaudithook(_note)
    thread = threading.get_ident()
    _watchers[thread] = events = set[str]()
    try:
        answer = work()
    finally:
        del _watchers[thread]
    return Watched(answer, frozenset(events))


def _note(event: str, args: tuple[object, ...]) -> None:
    if _watchers and event.startswith(_IO_EVENTS):
        noted = _watchers.get(threading.get_ident())
        if noted is not None:
            noted.add(event)


@dataclass(frozen=True)
class Resources:
    """What this process holds."""

    tasks: frozenset[asyncio.Task[object]]
    threads: frozenset[threading.Thread]
    descriptors: int | None
    """Open files and sockets; None where the system does not tell."""
    processes: frozenset[int] = frozenset()
    """Children, by their ids, where the system tells."""

    def beyond(self, before: "Resources") -> list[str]:
        """What is held now and was not ``before``, in words."""
        found = [f"the task {task.get_name()}" for task in self.tasks - before.tasks if not task.done()]
        found += [f"the thread {thread.name}" for thread in self.threads - before.threads]
        if self.descriptors is not None and before.descriptors is not None and self.descriptors > before.descriptors:
            found.append(f"{self.descriptors - before.descriptors} descriptors")
        found += [f"the process {number}" for number in sorted(self.processes - before.processes)]
        return found


def resources() -> Resources:
    """What this process holds now; the event loop's own threads for blocking work are not counted."""
    threads = frozenset(thread for thread in threading.enumerate() if not thread.name.startswith(("asyncio_", "AnyIO")))
    listed = "/proc/self/fd"
    descriptors = len(os.listdir(listed)) if os.path.isdir(listed) else None
    return Resources(frozenset(asyncio.all_tasks()), threads, descriptors, frozenset(_children()))


def _children() -> Iterator[int]:
    """Those of each thread of ours; a thread that ended meanwhile has none."""
    for listed in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, listed.read_text().split())
