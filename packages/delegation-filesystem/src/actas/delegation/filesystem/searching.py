"""The action ``search``: names by a pattern, contents by a literal text; bounded in entries, bytes and time."""

import os
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from actas.core.errors import ActasError, DelegationTimeout, InvalidParameters
from actas.delegation.filesystem.actions import SearchFiles
from actas.delegation.filesystem.facts import brief
from actas.delegation.filesystem.globs import fits
from actas.delegation.filesystem.listing import Names
from actas.delegation.filesystem.names import joined, parts, shown
from actas.delegation.filesystem.roots import Root
from actas.delegation.filesystem.settings import LimitSettings

_MOST = 200
_LONGEST_PATTERN = 255
_LONGEST_TEXT = 1000
_PIECE = 262_144
_EXCERPT = 200
"""Bytes of a line that are given, around what was found."""


class _Enough(Exception):
    """The search ends here; its argument says why."""


@dataclass(slots=True)
class _Bounds:
    """What is left of what one search may take."""

    entries: int
    bytes: int
    until: float
    skipped: int = 0
    """Files and folders that could not be looked into."""
    cut: bool = False
    """Folders had more entries than were left."""

    def tick(self) -> None:
        """Raises _Enough where the time is over."""
        if time.monotonic() > self.until:
            raise _Enough("time")

    def take(self, wanted: int) -> int:
        """So many bytes may be read."""
        self.tick()
        if not self.bytes:
            raise _Enough("bytes")
        given = min(wanted, self.bytes)
        self.bytes -= given
        return given

    @contextmanager
    def passing_over(self) -> Generator[None]:
        """What cannot be looked into is counted."""
        try:
            yield
        except DelegationTimeout:
            raise
        except (ActasError, OSError):
            self.skipped += 1


_Looked = tuple[tuple[bytes, ...], os.stat_result | None]
"""Something by its path, and what it is; None where that cannot be seen."""


class Search:
    """Goes through folders in the order of names; what cannot be looked into is counted and passed over."""

    def __init__(self, asked: SearchFiles, limits: LimitSettings) -> None:
        if not 1 <= asked.limit <= _MOST:
            raise InvalidParameters(f"limit: is a number from 1 to {_MOST}.")
        if not asked.name and not asked.content:
            raise InvalidParameters("name, content: give one of them.")
        if len(asked.name or "") > _LONGEST_PATTERN or len(asked.content or "") > _LONGEST_TEXT:
            raise InvalidParameters("name, content: is too long.")
        self._ignore_case = asked.ignore_case
        self._pattern = asked.name and (asked.name.casefold() if asked.ignore_case else asked.name)
        try:
            self._text = (asked.content or "").encode()
        except UnicodeEncodeError:
            raise InvalidParameters("content: has half a character.") from None
        if asked.ignore_case:
            self._text = self._text.lower()
        self._parts = parts(asked.path, deepest=limits.depth)
        self._limit = asked.limit
        self._limits = limits

    def __call__(self, root: Root) -> dict[str, object]:
        bounds = _Bounds(
            self._limits.entries, self._limits.search_bytes, time.monotonic() + self._limits.search_seconds
        )
        found: list[dict[str, object]] = []
        cut = None
        try:
            for names, facts in self._below(root, self._parts, bounds):
                match = self._match(root, names, facts, bounds)
                if match is not None:
                    if len(found) == self._limit:
                        raise _Enough("limit")
                    found.append(match)
            cut = "entries" if bounds.cut else None
        except _Enough as why:
            cut = str(why)
        return {"path": joined(self._parts), "found": found, "skipped": bounds.skipped, "truncated": cut}

    def _below(self, root: Root, folder: tuple[bytes, ...], bounds: _Bounds) -> Iterator[_Looked]:
        """Everything in ``folder``, each folder before what is in it."""
        with root.opened(folder) as held:
            listed = Names(held, root.budget, bounds.entries)
            names = sorted(listed)
        bounds.entries -= len(names)  # now: while a folder within is gone through, they all wait in memory
        bounds.cut = bounds.cut or listed.cut
        for name in names:
            bounds.tick()
            inside = (*folder, name)
            facts = _seen(root, inside, bounds)
            yield inside, facts
            if facts is not None and stat.S_ISDIR(facts.st_mode) and len(inside) < self._limits.depth:
                with bounds.passing_over():
                    yield from self._below(root, inside, bounds)

    def _match(
        self, root: Root, names: tuple[bytes, ...], facts: os.stat_result | None, bounds: _Bounds
    ) -> dict[str, object] | None:
        """What is told of it where it fits."""
        if facts is None:
            return None
        if self._pattern:
            name = shown(names[-1])
            if not fits(self._pattern, name.casefold() if self._ignore_case else name):
                return None
        told: dict[str, object] = {"path": joined(names), **brief(facts)}
        if not self._text:
            return told
        if not stat.S_ISREG(facts.st_mode):
            return None
        with bounds.passing_over():
            held, _ = root.file(names)
            try:
                place = self._place(held, bounds, root)
                return None if place is None else told | _line(held, *place, len(self._text))
            finally:
                os.close(held)
        return None

    def _place(self, fd: int, bounds: _Bounds, root: Root) -> tuple[int, int] | None:
        """Where the text begins, and how many lines there are before it."""
        kept, at, lines = b"", 0, 0
        while True:
            root.budget.check()
            given = bounds.take(_PIECE)
            piece = os.pread(fd, given, at + len(kept))
            bounds.bytes += given - len(piece)  # or many small files would cost as much as large ones
            if not piece:
                return None
            window = kept + piece
            found = (window.lower() if self._ignore_case else window).find(self._text)
            if found >= 0:
                return at + found, lines + window.count(b"\n", 0, found)
            kept = window[max(0, len(window) - len(self._text) + 1) :] if len(self._text) > 1 else b""
            gone = len(window) - len(kept)
            lines += window.count(b"\n", 0, gone)
            at += gone


def _seen(root: Root, names: tuple[bytes, ...], bounds: _Bounds) -> os.stat_result | None:
    """What it is; None where that cannot be seen."""
    with bounds.passing_over():
        fd, facts = root.look(names)
        os.close(fd)
        return facts
    return None


def _line(fd: int, at: int, lines: int, length: int) -> dict[str, object]:
    """Where it was found, and the line as far as it is near."""
    start = max(0, at - _EXCERPT // 2)
    around = os.pread(fd, at - start + length + _EXCERPT // 2, start)
    here = at - start
    before = around[:here].rpartition(b"\n")[2]
    found, rest = around[here : here + length], around[here + length :]
    after = found if b"\n" in found else found + rest.partition(b"\n")[0]
    return {
        "line": lines + 1,
        "offset": at,
        "excerpt": (before + after).decode(errors="replace").strip("\ufffd\r"),
    }
