"""What can be done with files on shares, and with which parameters. The fields' docstrings are what a model reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from actas.core.models import Action
from actas.delegation.kerberos.smb_settings import ShareSettings, SmbSettings

Encoding = Literal["utf8", "ascii", "base64", "hex", "binary"]


@dataclass(frozen=True, kw_only=True)
class ListDirectory:
    """Parameters of ``list-directory``."""

    path: str
    """The folder: //server/share/folder."""
    includeHidden: bool = False  # as the system before this one called it
    """Also what is hidden, or begins with a dot."""
    limit: int = 200
    """How many entries to return."""
    offset: int = 0
    """How many to skip: next_offset of the answer before."""


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """Parameters of ``read-file``."""

    path: str
    """The file: //server/share/folder/file.txt."""
    encoding: Encoding = "utf8"
    """How the bytes are to be returned; base64 for what is no text. binary: each byte as the character with its
    number."""
    maxBytes: int = 1_048_576  # likewise
    """How many bytes to read at most."""
    offset: int = 0
    """How many bytes to skip: next_offset of the answer before."""


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """Parameters of ``file-info``."""

    path: str
    """The file or folder: //server/share/folder/file.txt."""


def actions(settings: SmbSettings) -> tuple[Action, ...]:
    """The three actions."""
    where = f" Shares: {_names(settings.allow)}."
    permission, timeout = settings.permission, settings.limits.seconds
    return (
        Action(
            name="list-directory",
            description=f"List a folder of a file share as yourself.{where}",
            parameters=ListDirectory,
            permission=permission,
            timeout=timeout,
        ),
        Action(
            name="read-file",
            description=f"Read a file, or a part of it, from a file share as yourself.{where}",
            parameters=ReadFile,
            permission=permission,
            timeout=timeout,
        ),
        Action(
            name="file-info",
            description=f"Size, times and your permissions of a file or folder on a file share.{where}",
            parameters=FileInfo,
            permission=permission,
            timeout=timeout,
        ),
    )


def _names(shares: Sequence[ShareSettings]) -> str:
    return ", ".join("/".join([f"//{each.server}/{each.share}", *filter(None, [each.folder])]) for each in shares)
