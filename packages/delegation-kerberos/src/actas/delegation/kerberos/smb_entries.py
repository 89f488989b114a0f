"""The entries of a folder, as a file server writes them (MS-FSCC section 2.4.22, FileIdBothDirectoryInformation).

smbprotocol has this too; it takes a hundred times as long, which a folder with a hundred thousand files would let
everybody wait for, and it follows whatever offsets a server gives.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from actas.core.errors import DownstreamUnavailable

_ENTRY = struct.Struct("<IIqqqqqqIIIBx24s2xq")
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_HIDDEN, _DIRECTORY, _REPARSE_POINT = 0x2, 0x10, 0x400
_LINKS = (0xA000000C, 0xA0000003)
"""Reparse tags of symbolic links and mount points (MS-FSCC section 2.1.2.1)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link in a folder."""

    name: str
    size: int
    modified: str | None
    attributes: int
    tag: int
    """What kind of reparse point it is, where it is one."""

    @property
    def hidden(self) -> bool:
        """Whether it is marked so, or named so as Unix has it."""
        return bool(self.attributes & _HIDDEN) or self.name.startswith(".")

    @property
    def kind(self) -> str:
        """``file``, ``directory`` or ``link``."""
        if self.attributes & _REPARSE_POINT and self.tag in _LINKS:
            return "link"
        return "directory" if self.attributes & _DIRECTORY else "file"

    def shown(self) -> dict[str, object]:
        """As a caller gets it."""
        return {
            "name": self.name,
            "type": self.kind,
            "size": self.size if self.kind == "file" else 0,
            "modified": self.modified,
            "hidden": self.hidden,
        }


def entries(page: bytes) -> Iterator[Entry]:
    """The entries of one answer, without ``.`` and ``..``.

    Raises:
        DownstreamUnavailable: it makes no sense.
    """
    at = 0
    while page:
        if at + _ENTRY.size > len(page):
            raise DownstreamUnavailable(detail="the file server's list of a folder makes no sense")
        following, _, _, _, written, _, size, _, attributes, length, tag, *_ = _ENTRY.unpack_from(page, at)
        begin = at + _ENTRY.size
        raw = page[begin : begin + length]
        if len(raw) != length or size < 0 or (following and following < _ENTRY.size + length):
            raise DownstreamUnavailable(detail="the file server's list of a folder makes no sense")
        name = raw.decode("utf-16-le", errors="replace")
        if name not in (".", ".."):
            yield Entry(name, size, from_filetime(written), attributes, tag)
        if not following:
            return
        at += following


def from_filetime(ticks: int) -> str | None:
    """ISO 8601 in UTC, from tenths of microseconds since 1601; None where the server does not say."""
    try:
        return in_utc(_EPOCH + timedelta(microseconds=ticks // 10))
    except OverflowError:
        return None


def in_utc(time: datetime) -> str | None:
    """ISO 8601 in UTC; None for the zero of SMB's times, with which a server says nothing."""
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return None if aware <= _EPOCH else aware.isoformat(timespec="milliseconds").replace("+00:00", "Z")
