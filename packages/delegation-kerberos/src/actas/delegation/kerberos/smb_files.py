"""What is asked of a file server: a folder's entries, a part of a file, facts. Blocking: for threads."""

import base64
from collections.abc import Iterator
from typing import Any, Final

from actas.core.errors import InvalidParameters
from actas.delegation.kerberos.smb_actions import Encoding
from actas.delegation.kerberos.smb_client import UserConnection
from actas.delegation.kerberos.smb_entries import Entry, entries, in_utc
from actas.delegation.kerberos.smb_failures import FileUnsuitable
from actas.delegation.kerberos.smb_library import (
    CreateContextRequest,
    CreateOptions,
    EndOfFile,
    FileAccess,
    FileAttributes,
    FileInformationClass,
    FolderAccess,
    MaximalAccessRequest,
    MaximalAccessResponse,
    NoMoreFiles,
    QueryDirectoryResponse,
)
from actas.delegation.kerberos.smb_paths import Place

_CHUNK: Final = 262_144
_FOLDER_CHUNK: Final = 65_536
_MAXIMAL: Final = (("read", 0x1), ("write", 0x2), ("append", 0x4), ("execute", 0x20), ("delete", 0x10000))
"""Of an access mask (MS-SMB2 section 2.2.13.1); for a folder these are: list, add files, add folders, traverse."""


def list_folder(connection: UserConnection, place: Place, *, hidden: bool, skip: int, most: int) -> dict[str, object]:
    """At most ``most`` entries after the first ``skip``, in the server's order.

    Raises:
        ActasError: the server refused that, or it is no folder.
    """
    access = FolderAccess.FILE_LIST_DIRECTORY | FolderAccess.FILE_READ_ATTRIBUTES
    items: list[dict[str, object]] = []
    more = False
    with connection.opened(place, access, CreateOptions.FILE_DIRECTORY_FILE) as folder:
        for number, entry in enumerate(each for each in _entries(folder) if hidden or not each.hidden):
            if len(items) == most:
                more = True
                break
            if number >= skip:
                items.append(entry.shown())
    next_offset = skip + len(items) if more else None
    return {"item_count": len(items), "items": items, "truncated": more, "next_offset": next_offset}


def read(connection: UserConnection, place: Place, *, offset: int, most: int, encoding: Encoding) -> dict[str, object]:
    """At most ``most`` bytes from ``offset`` on, as ``encoding`` has them.

    Raises:
        ActasError: the server refused that, it is no file, or no text of that encoding.
    """
    access = FileAccess.FILE_READ_DATA | FileAccess.FILE_READ_ATTRIBUTES
    options = CreateOptions.FILE_NON_DIRECTORY_FILE | CreateOptions.FILE_SEQUENTIAL_ONLY
    with connection.opened(place, access, options) as file:
        size = int(file.end_of_file)
        data = _bytes(file, offset, min(most, size - offset))
        contents, length = _text(data, encoding, ends=offset + len(data) >= size)
        more = length > 0 and offset + length < size
        return {
            "size": size,
            "modified": in_utc(file.last_write_time),
            "encoding": encoding,
            "offset": offset,
            "contents": contents,
            "truncated": more,
            "next_offset": offset + length if more else None,
        }


def _bytes(file: Any, offset: int, most: int) -> bytes:
    chunk = min(_CHUNK, int(file.connection.max_read_size))
    parts: list[bytes] = []
    while most > 0:
        try:
            part = bytes(file.read(offset, min(most, chunk)))
        except EndOfFile:  # it has become shorter
            break
        if not part:
            break
        parts.append(part[:most])
        offset, most = offset + len(part), most - len(part)
    return b"".join(parts)


def facts(connection: UserConnection, place: Place) -> dict[str, object]:
    """What a file or folder is, and what the server says that the user may do with it.

    Raises:
        ActasError: the server refused that.
    """
    ask = CreateContextRequest()
    ask["buffer_name"] = MaximalAccessRequest.NAME
    access = FileAccess.FILE_READ_ATTRIBUTES
    with connection.opened(place, access, 0, [ask]) as opened:
        attributes = opened.file_attributes
        folder = _has(attributes, FileAttributes.FILE_ATTRIBUTE_DIRECTORY)
        return {
            "name": place.name,
            "type": "directory" if folder else "file",
            "size": 0 if folder else opened.end_of_file,
            "created": in_utc(opened.creation_time),
            "modified": in_utc(opened.last_write_time),
            "accessed": in_utc(opened.last_access_time),
            "is_read_only": _has(attributes, FileAttributes.FILE_ATTRIBUTE_READONLY),
            "is_hidden": _has(attributes, FileAttributes.FILE_ATTRIBUTE_HIDDEN),
            "permissions": _permissions(opened.answers),
        }


def _text(data: bytes, encoding: Encoding, *, ends: bool) -> tuple[str, int]:
    """``data`` as ``encoding`` has it, and how many bytes of it that is: unless the file ``ends`` there, half a
    character is left over.

    Raises:
        FileUnsuitable, InvalidParameters: that cannot be.
    """
    match encoding:
        case "base64":
            return base64.b64encode(data).decode(), len(data)
        case "hex":
            return data.hex(), len(data)
        case "binary":
            return data.decode("latin-1"), len(data)
        case "ascii" | "utf8":
            pass
    name = "ascii" if encoding == "ascii" else "utf-8"
    try:
        return data.decode(name), len(data)
    except UnicodeDecodeError as error:
        if ends or error.reason != "unexpected end of data":
            raise FileUnsuitable("The file is no text in this encoding. Read it with encoding base64.") from None
        if not error.start:
            raise InvalidParameters("maxBytes: less than one character. Ask for at least 4.") from None
        return data[: error.start].decode(name), error.start


def _entries(folder: Any) -> Iterator[Entry]:
    """All of them, page by page, as long as somebody wants more."""
    tree, connection = folder.tree_connect, folder.connection
    while True:
        query, _ = folder.query_directory(
            "*", FileInformationClass.FILE_ID_BOTH_DIRECTORY_INFORMATION, max_output=_FOLDER_CHUNK, send=False
        )
        try:
            answer = connection.receive(connection.send(query, tree.session.session_id, tree.tree_connect_id))
        except NoMoreFiles:
            return
        page = QueryDirectoryResponse()
        page.unpack(answer["data"].get_value())
        yield from entries(bytes(page["buffer"].get_value()))


def _permissions(answers: list[Any]) -> dict[str, bool] | None:
    """What the user may do, None where the server does not say."""
    for answer in answers:
        if isinstance(answer, MaximalAccessResponse) and not answer["query_status"].get_value():
            mask = answer["maximal_access"].get_value()
            return {name: bool(mask & bit) for name, bit in _MAXIMAL}
    return None


def _has(attributes: int, attribute: int) -> bool:
    return bool(attributes & attribute)
