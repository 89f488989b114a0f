"""The file server's own word on whose session this is: LsarGetUserName (MS-LSAT section 3.1.4.2), over its pipe.

One request of one interface of DCE/RPC (C706) is all that is needed, so it is written and read here; a whole
library would be more to trust.
"""

import struct
import uuid
from typing import Any

from actas.core.errors import DownstreamUnavailable
from actas.delegation.kerberos.smb_library import (
    ControlCode,
    ControlFlags,
    ControlRequest,
    ControlResponse,
    CreateDisposition,
    FileAccess,
    ImpersonationLevel,
    Open,
    ShareAccess,
    TreeConnect,
)

_LSARPC = uuid.UUID("12345778-1234-abcd-ef00-0123456789ab").bytes_le + struct.pack("<HH", 0, 0)
_NDR = uuid.UUID("8a885d04-1ceb-11c9-9fe8-08002b104860").bytes_le + struct.pack("<I", 2)
_BIND, _BIND_ACK, _REQUEST, _RESPONSE = 11, 12, 0, 2
_GET_USER_NAME = 45
_HEADER = struct.Struct("<BBBBIHHI")
_WHOLE = 3
"""First and last fragment at once."""
_LITTLE_ENDIAN = 0x10
_MOST_BYTES = 4280


def account(session: Any, server: str) -> tuple[str, str]:  # Any: smbprotocol's session
    """The domain and the name of the account that ``server`` carries out this session's requests as.

    Raises:
        DownstreamUnavailable: it does not say.
        Failure: it has no such pipe, or the connection broke.
    """
    tree = TreeConnect(session, rf"\\{server}\IPC$")
    tree.connect()
    pipe = Open(tree, "lsarpc")
    access = FileAccess.FILE_READ_DATA | FileAccess.FILE_WRITE_DATA
    sharing = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE
    pipe.create(ImpersonationLevel.Impersonation, access, 0, sharing, CreateDisposition.FILE_OPEN, 0)
    try:
        context = struct.pack("<HBB", 0, 1, 0) + _LSARPC + _NDR
        bind = struct.pack("<HHIBBH", _MOST_BYTES, _MOST_BYTES, 0, 1, 0, 0) + context
        _expect(_BIND_ACK, _exchange(pipe, _pdu(_BIND, 1, bind)))
        # No system name; where the names go: a pointer to nothing yet, and a pointer to such a pointer.
        nothing_yet = struct.pack("<IIII", 0, 0, 0x20000, 0)
        request = struct.pack("<IHH", len(nothing_yet), 0, _GET_USER_NAME) + nothing_yet
        return names(_expect(_RESPONSE, _exchange(pipe, _pdu(_REQUEST, 2, request))))
    finally:
        pipe.close()
        tree.disconnect()


def names(response: bytes) -> tuple[str, str]:
    """The domain and the name in the body of a response.

    Raises:
        DownstreamUnavailable: it is an error, or makes no sense.
    """
    try:
        reader = _Reader(response[8:])  # after the hint, the context and the count of cancels
        name = reader.string() if reader.integer() else ""
        domain = reader.string() if reader.integer() and reader.integer() else ""
        status = reader.integer()
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise DownstreamUnavailable(detail="the file server's word on the user makes no sense") from error
    if status or not name:
        raise DownstreamUnavailable(detail=f"the file server does not say who the user is ({status:#010x})")
    return domain, name


class _Reader:
    """NDR (C706 chapter 14), as far as it occurs here: little-endian, four-byte integers, counted strings."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def integer(self) -> int:
        (value,) = struct.unpack_from("<I", self._data, self._at)
        self._at += 4
        return int(value)

    def string(self) -> str:
        """An RPC_UNICODE_STRING, with its characters behind it."""
        length, _, pointer = struct.unpack_from("<HHI", self._data, self._at)
        self._at += 8
        if not pointer:
            return ""
        _, offset, count = struct.unpack_from("<III", self._data, self._at)
        self._at += 12
        raw = self._data[self._at : self._at + 2 * count]
        if offset or len(raw) != 2 * count or length > len(raw):
            raise ValueError("a string is not as long as it says")
        self._at += (2 * count + 3) // 4 * 4
        return raw[:length].decode("utf-16-le")


def _pdu(kind: int, call: int, body: bytes) -> bytes:
    return _HEADER.pack(5, 0, kind, _WHOLE, _LITTLE_ENDIAN, _HEADER.size + len(body), 0, call) + body


def _expect(kind: int, pdu: bytes) -> bytes:
    """The body of an unfragmented ``pdu`` of this kind."""
    if len(pdu) < _HEADER.size or pdu[2] != kind or pdu[3] & _WHOLE != _WHOLE or pdu[4] != _LITTLE_ENDIAN:
        raise DownstreamUnavailable(detail="the file server has no lsarpc that answers")
    return pdu[_HEADER.size :]


def _exchange(pipe: Any, data: bytes) -> bytes:
    """Write to the pipe and read from it, in one request (MS-SMB2 section 2.2.31, FSCTL_PIPE_TRANSCEIVE)."""
    request = ControlRequest()
    request["ctl_code"] = ControlCode.FSCTL_PIPE_TRANSCEIVE
    request["file_id"] = pipe.file_id
    request["flags"] = ControlFlags.SMB2_0_IOCTL_IS_FSCTL
    request["buffer"] = data
    request["max_output_response"] = _MOST_BYTES
    tree, connection = pipe.tree_connect, pipe.connection
    sent = connection.send(request, tree.session.session_id, tree.tree_connect_id)
    response = ControlResponse()
    response.unpack(connection.receive(sent)["data"].get_value())
    return bytes(response["buffer"].get_value())
