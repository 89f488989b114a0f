"""The action ``read``: a part of a file, as text that is never cut inside of a character, or as base64."""

import base64
import codecs
import os

from actas.core.errors import InvalidParameters
from actas.delegation.filesystem.actions import ReadFile
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.failures import NotText
from actas.delegation.filesystem.names import parts
from actas.delegation.filesystem.roots import Root
from actas.delegation.filesystem.settings import LimitSettings

_FARTHEST = 2**62
_PIECE = 4_194_304
"""Bytes after which the time is looked at."""
_LONGEST_CHARACTER = 4
"""Bytes, in each encoding here."""


def part(fd: int, offset: int, length: int, size: int, budget: Budget) -> bytes:
    """At most ``length`` bytes from ``offset``; fewer only where the file ends.

    Args:
        size: the file's, as far as is known: memory is taken for no more, unless it has grown.
    """
    first = min(length, _PIECE, max(0, size - offset) + 1)
    data = os.pread(fd, first, offset)
    if len(data) < first or first == length:
        return data
    pieces, taken = [data], len(data)
    while taken < length:
        budget.check()
        piece = os.pread(fd, min(length - taken, _PIECE), offset + taken)
        if not piece:
            break
        pieces.append(piece)
        taken += len(piece)
    return b"".join(pieces)


class Read:
    """What is checked when it is made needs no file."""

    def __init__(self, asked: ReadFile, limits: LimitSettings) -> None:
        if not 0 <= asked.offset <= _FARTHEST:
            raise InvalidParameters("offset: is a number from 0 on.")
        if asked.length is not None and asked.length < 1:
            raise InvalidParameters("length: is a number from 1 on.")
        if asked.encoding.startswith("utf-16") and asked.offset % 2:
            raise InvalidParameters("offset: is even in UTF-16.")
        self._parts = parts(asked.path, deepest=limits.depth)
        self._path = asked.path  # there is one spelling
        self._offset = asked.offset
        self._length = min(asked.length or limits.read_bytes, limits.read_bytes)
        self._encoding = asked.encoding

    def __call__(self, root: Root) -> dict[str, object]:
        fd, found = root.file(self._parts)
        try:
            # A few bytes more, so that the last character that fits, or a first one that does not, can be whole.
            wanted = self._length + (0 if self._encoding == "base64" else _LONGEST_CHARACTER - 1)
            data = part(fd, self._offset, wanted, found.st_size, root.budget)
            encoding, text, used = self._text(fd, data)
        finally:
            os.close(fd)
        after, end = self._offset + used, self._offset + len(data)
        # Where it grew or shrank since it was looked at, what was read of it counts.
        size = end if 0 < len(data) < wanted else max(found.st_size, end if data else 0)
        return {
            "path": self._path,
            "size": size,
            "offset": self._offset,
            "length": used,
            "next_offset": after if after < size and used else None,
            "encoding": encoding,
            "content": text,
        }

    def _text(self, fd: int, data: bytes) -> tuple[str, str, int]:
        """The encoding, the text, and how many of the bytes are in it."""
        if self._encoding == "base64":
            return _base64(data)
        if self._encoding != "auto":
            return _decoded(data, self._length, self._encoding)
        if b"\0" in data:
            return _base64(data[: self._length])
        if self._offset and data and 0x80 <= data[0] < 0xC0:
            self._refuse_inside(fd)
        try:
            return _decoded(data, self._length, "utf-8")
        except NotText:
            return _base64(data[: self._length])

    def _refuse_inside(self, fd: int) -> None:
        """Raises InvalidParameters where ``offset`` is inside of a character of UTF-8."""
        before = min(self._offset, _LONGEST_CHARACTER - 1)
        around = os.pread(fd, before + _LONGEST_CHARACTER - 1, self._offset - before)
        for back in range(1, before + 1):
            start = before - back
            for end in range(before + 1, min(start + _LONGEST_CHARACTER, len(around)) + 1):
                if _is_one_character(around[start:end]):
                    raise InvalidParameters(
                        f"offset: is inside of a character. Begin at {self._offset - back}, or ask for base64."
                    )


def _is_one_character(data: bytes) -> bool:
    try:
        return len(data.decode()) == 1
    except UnicodeDecodeError:
        return False


def _base64(data: bytes) -> tuple[str, str, int]:
    return "base64", base64.b64encode(data).decode(), len(data)


def _decoded(data: bytes, length: int, encoding: str) -> tuple[str, str, int]:
    """As many whole characters as ``length`` bytes have; one, where the first takes more. At the end of a file, half a
    character is no text."""
    try:
        if len(data) <= length:
            return encoding, data.decode(encoding), len(data)
        made = codecs.getincrementaldecoder(encoding)()
        text = made.decode(data[:length])
        used = length - len(made.getstate()[0])
        while not used:
            text, length = made.decode(data[length : length + 1], length + 1 == len(data)), length + 1
            used = length - len(made.getstate()[0])
    except UnicodeDecodeError as error:
        raise NotText(detail=f"no {encoding}: {error.reason}") from None
    return encoding, text, used
