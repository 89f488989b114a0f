"""What the module can do, and with which parameters. The fields' docstrings are what a model reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from actas.core.models import Action, Effect
from actas.delegation.filesystem.settings import Change, FilesystemSettings

Encoding = Literal["auto", "utf-8", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "base64"]


@dataclass(frozen=True, kw_only=True)
class ListFolder:
    """Parameters of ``list``."""

    path: str = ""
    """The folder: names with / between them, as this tool shows them; your own folder where empty."""
    limit: int = 200
    """How many entries to give, 1 to 1000."""
    after: str | None = None
    """To go on: next of the list before."""


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """Parameters of ``read``."""

    path: str
    """The file: names with / between them, as the list shows them."""
    offset: int = 0
    """The byte to begin at: next_offset of the part before."""
    length: int | None = None
    """How many bytes to read; as many as one call may where it is left out."""
    encoding: Encoding = "auto"
    """How bytes become text. auto: UTF-8 where the file is that, base64 where it is not. base64: bytes, always."""


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """Parameters of ``info``."""

    path: str = ""
    """The file or folder: names with / between them; your own folder where empty."""


@dataclass(frozen=True, kw_only=True)
class SearchFiles:
    """Parameters of ``search``."""

    path: str = ""
    """The folder to search, with all that is in it; your own folder where empty."""
    name: str | None = None
    """Only files and folders with this name; * stands for any characters, ? for one."""
    content: str | None = None
    """Only files that have this text in them, literally."""
    ignore_case: bool = False
    """Whether a and A are the same, in names and contents; in contents for ASCII letters alone."""
    limit: int = 50
    """How many to give, 1 to 200."""


@dataclass(frozen=True, kw_only=True)
class WriteFile:
    """Parameters of ``write``."""

    path: str
    """The file. Its folder must be there."""
    content: str
    """All that is to be in it."""
    encoding: Literal["utf-8", "base64"] = "utf-8"
    """utf-8: content is text. base64: content is bytes in base64."""
    replace: bool = False
    """Whether a file that is there already is replaced. Otherwise it is an error."""


@dataclass(frozen=True, kw_only=True)
class MakeDirectory:
    """Parameters of ``make-directory``."""

    path: str
    """The new folder. The folder that it is to be in must be there."""


@dataclass(frozen=True, kw_only=True)
class Rename:
    """Parameters of ``rename``."""

    path: str
    """The file or folder."""
    to: str
    """What it is to be called, as a whole path: so it can be moved to another folder too."""
    replace: bool = False
    """Whether a file that is there already is replaced. Otherwise it is an error."""


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Parameters of ``delete``."""

    path: str
    """The file, the link, or the empty folder."""


Parameters = ListFolder | ReadFile | FileInfo | SearchFiles | WriteFile | MakeDirectory | Rename | Delete

_READING: Mapping[str, tuple[type[Parameters], str]] = {
    "list": (ListFolder, "List a folder of yours, in the order of names: files and folders with sizes and times."),
    "read": (ReadFile, "Read a file in your folder, or a part of it: text as it is, other bytes as base64."),
    "info": (FileInfo, "What a file or folder of yours is: its size, time, rights and owner."),
    "search": (
        SearchFiles,
        "Search your folder for files by name or by a text in them; gives the first place in each file.",
    ),
}
_CHANGING: Mapping[Change, tuple[type[Parameters], Effect, str]] = {
    "write": (
        WriteFile,
        Effect.DESTRUCTIVE,
        "Write a whole file in your folder; one that is there already only where you say replace.",
    ),
    "make-directory": (MakeDirectory, Effect.WRITE, "Make a folder in your folder."),
    "rename": (Rename, Effect.DESTRUCTIVE, "Rename or move a file or folder in your folder."),
    "delete": (Delete, Effect.DESTRUCTIVE, "Delete a file, a link or an empty folder in your folder."),
}


def actions(settings: FilesystemSettings) -> tuple[Action, ...]:
    """Those that read, and those of the others that are configured."""
    made = [
        Action(name=name, description=said, parameters=kind, permission=settings.permission)
        for name, (kind, said) in _READING.items()
    ]
    change = settings.change
    if change is not None:
        made += [
            Action(
                name=name,
                description=said,
                parameters=kind,
                permission=change.permissions.get(name, change.permission),
                effect=effect,
            )
            for name, (kind, effect, said) in _CHANGING.items()
            if name in change.actions
        ]
    return tuple(made)


CHANGES = frozenset(_CHANGING)
"""Actions that change something: one at a time for each folder."""

PARAMETERS: Mapping[str, type[Parameters]] = {
    **{name: kind for name, (kind, _) in _READING.items()},
    **{name: kind for name, (kind, _, _) in _CHANGING.items()},
}
"""By action."""
