"""All that is used of smbprotocol. It ships no types, so what each thing is to us is said here, once."""

from typing import Any

from smbprotocol import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs] -- it ships none
    connection,
    create_contexts,
    exceptions,
    file_info,
    ioctl,
    session,
    tree,
)
from smbprotocol import open as opening  # pyright: ignore[reportMissingTypeStubs] -- likewise
from spnego import KerberosCCache as _KerberosCCache

# Any: classes whose members are found out at run time.
BaseConnection: Any = connection.Connection
Commands: Any = connection.Commands
SigningAlgorithms: Any = connection.SigningAlgorithms
Dialects: Any = connection.Dialects
Session: Any = session.Session
KerberosCCache: Any = _KerberosCCache
TreeConnect: Any = tree.TreeConnect
Open: Any = opening.Open
CreateDisposition: Any = opening.CreateDisposition
CreateOptions: Any = opening.CreateOptions
FileAccess: Any = opening.FilePipePrinterAccessMask
FolderAccess: Any = opening.DirectoryAccessMask
ImpersonationLevel: Any = opening.ImpersonationLevel
ShareAccess: Any = opening.ShareAccess
QueryDirectoryResponse: Any = opening.SMB2QueryDirectoryResponse
FileAttributes: Any = file_info.FileAttributes
FileInformationClass: Any = file_info.FileInformationClass
CreateContextRequest: Any = create_contexts.SMB2CreateContextRequest
MaximalAccessRequest: Any = create_contexts.SMB2CreateQueryMaximalAccessRequest
MaximalAccessResponse: Any = create_contexts.SMB2CreateQueryMaximalAccessResponse
ControlCode: Any = ioctl.CtlCode
ControlFlags: Any = ioctl.IOCTLFlags
ControlRequest: Any = ioctl.SMB2IOCTLRequest
ControlResponse: Any = ioctl.SMB2IOCTLResponse

AuthenticationFailed: type[Exception] = exceptions.SMBAuthenticationError
ConnectionEnded: type[Exception] = exceptions.SMBConnectionClosed
Failure: type[Exception] = exceptions.SMBException
"""What all the others are."""
StatusReturned: type[Exception] = exceptions.SMBResponseException
"""The server refused a request: see :func:`status_of`."""
EndOfFile: type[Exception] = exceptions.EndOfFile
NoMoreFiles: type[Exception] = exceptions.NoMoreFiles


def status_of(error: Exception) -> int:
    """The NTSTATUS with which the server answered."""
    known: Any = error  # Any: a StatusReturned
    return int(known.status)
