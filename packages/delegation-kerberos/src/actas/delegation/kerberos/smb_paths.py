"""Which share, and which file there, a caller's path means; decided before anything is sent.

A path is refused, never repaired: whatever a Windows or a Samba server could read in another way than we do.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from actas.delegation.kerberos.smb_failures import PathRefused
from actas.delegation.kerberos.smb_settings import ShareSettings

_MOST_UNITS = 4096
_MOST_UNITS_OF_A_NAME = 255
_MOST_SEGMENTS = 64
_FORBIDDEN = frozenset('<>:"|?*')
"""``:`` begins a stream of the file (``notes.txt::$DATA``); the others are wildcards (MS-FSCC section 2.1.4.4) or
belong to no name (section 2.1.5.2)."""
_DIGITS = "0123456789¹²³"  # COM¹ is a device too
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{port}{digit}" for port in ("com", "lpt") for digit in _DIGITS}
)
_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Zl", "Zp"})
"""Controls, halves of characters, line ends, and the private ones that servers show forbidden characters as."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder on a share of the list."""

    share: ShareSettings
    inside: str
    """Below the share, with backslashes, as SMB has it; empty for the share itself."""
    path: str
    """As a caller may write it: ``//files.example.com/reports/2026/june.txt``."""

    @property
    def name(self) -> str:
        """The last part; the share's name for the share itself."""
        return self.path.rpartition("/")[2]


def locate(path: str, shares: Sequence[ShareSettings]) -> Place:
    r"""What ``path`` means: ``//server/share/folder/file``, or the same with backslashes.

    Raises:
        PathRefused: it is badly formed, or no share of ``shares``, or outside of a share's folder.
    """
    if len(path) > _MOST_UNITS:
        raise PathRefused("path: it is too long.")
    plain = path.replace("\\", "/")
    if not plain.startswith("//") or plain.startswith("///"):
        raise PathRefused("path: write //server/share/folder/file.")
    server, _, rest = plain[2:].partition("/")
    name, _, inner = rest.partition("/")
    share = next((each for each in shares if _same(each.server, server) and _same(each.share, name)), None)
    if share is None:
        raise PathRefused(detail="the path names no share of the list")
    parts, folder = segments(inner), segments(share.folder)
    if not all(_same(*pair) for pair in zip(folder, parts, strict=False)) or len(parts) < len(folder):
        raise PathRefused(detail="the path is outside of the share's folder")
    parts[: len(folder)] = folder  # as listed: on a server that tells A from a, Reports is another folder than reports
    return Place(share, "\\".join(parts), "/".join([f"//{share.server}/{share.share}", *parts]))


def segments(inner: str) -> list[str]:
    """The parts of a path below a share. One slash at its end is allowed.

    Raises:
        PathRefused: a part is one that may not be in a path, or there are too many.
    """
    if not inner:
        return []
    parts = inner.replace("\\", "/").removesuffix("/").split("/")
    if len(parts) > _MOST_SEGMENTS:
        raise PathRefused("path: it has too many parts.")
    for part in parts:
        _check(part)
    return parts


def _check(part: str) -> None:
    if not part:
        raise PathRefused("path: it has an empty part.")
    if part in (".", ".."):
        raise PathRefused("path: . and .. are not allowed.")
    if any(char in _FORBIDDEN or unicodedata.category(char) in _CATEGORIES for char in part):
        raise PathRefused('path: none of < > : " | ? * and no control character may be in it.')
    if part[-1] in ". ":
        raise PathRefused("path: no part of it may end in a dot or a blank; servers drop those.")
    if part.partition(".")[0].rstrip(" ").casefold() in _DEVICES:
        raise PathRefused("path: a part of it is the name of a device.")
    if len(part.encode("utf-16-le")) // 2 > _MOST_UNITS_OF_A_NAME:
        raise PathRefused("path: a part of it is too long.")


def _same(listed: str, given: str) -> bool:
    """Whether a name that was given means the listed one. It is always the listed one that is sent."""
    return listed.casefold() == given.casefold()
