"""What can go wrong with files on shares. Of the file server, its status by number and no word."""

from actas.core.errors import (
    ActasError,
    CredentialRejected,
    DelegationError,
    DelegationRefused,
    DelegationTimeout,
    DownstreamUnavailable,
    LimitExceeded,
)
from actas.core.events import Outcome


class PathRefused(DelegationRefused):
    """The path is none that may be asked for: badly formed, or on no share of the list. Nothing was sent."""

    code = "kerberos_path_refused"
    default_message = "There is no such share here. Use one that the tool's description names."


class FileRefused(DelegationRefused):
    """The file server refused by its own rules: the user has no right to this."""

    code = "kerberos_file_refused"
    default_message = "The file server refused: you have no right to this file or folder."


class FileNotFound(DelegationRefused):
    """The file server has no such file or folder, or not for this user."""

    code = "kerberos_file_not_found"
    default_message = "There is no such file or folder. List the folder above it."


class FileUnsuitable(DelegationError):
    """It is there, but not what was asked for: a folder, a link, no text."""

    code = "kerberos_file_unsuitable"
    outcome = Outcome.REFUSED
    default_message = "This is there, but not of the kind that was asked for. Ask for its facts first."


class FileFailed(DelegationError):
    """The file server failed the request."""

    code = "kerberos_file_failed"
    default_message = "The file server could not do this. Try something else."


class SharesBusy(LimitExceeded):
    """All connections to file servers are in use."""

    code = "kerberos_shares_busy"
    default_message = "Too many files are being read. Try again in a moment."


_NO_SUCH = FileNotFound.default_message
_STATUS: dict[int, tuple[type[DelegationError], str]] = {
    0xC0000022: (FileRefused, FileRefused.default_message),  # ACCESS_DENIED
    0xC00000CA: (FileRefused, FileRefused.default_message),  # NETWORK_ACCESS_DENIED
    0xC0000061: (FileRefused, FileRefused.default_message),  # PRIVILEGE_NOT_HELD
    0xC0000034: (FileNotFound, _NO_SUCH),  # OBJECT_NAME_NOT_FOUND
    0xC000003A: (FileNotFound, _NO_SUCH),  # OBJECT_PATH_NOT_FOUND
    0xC0000225: (FileNotFound, _NO_SUCH),  # NOT_FOUND
    0xC000000F: (FileNotFound, _NO_SUCH),  # NO_SUCH_FILE
    0xC0000033: (FileNotFound, _NO_SUCH),  # OBJECT_NAME_INVALID
    0xC0000039: (FileNotFound, _NO_SUCH),  # OBJECT_PATH_INVALID
    0xC000003B: (FileNotFound, _NO_SUCH),  # OBJECT_PATH_SYNTAX_BAD
    0xC0000056: (FileNotFound, _NO_SUCH),  # DELETE_PENDING
    0xC00000CC: (FileNotFound, "The file server has no such share, or not for you."),  # BAD_NETWORK_NAME
    0xC00000BA: (FileUnsuitable, "This is a folder. List it instead."),  # FILE_IS_A_DIRECTORY
    0xC0000103: (FileUnsuitable, "This is a file, no folder. Read it instead."),  # NOT_A_DIRECTORY
    0xC0000043: (FileUnsuitable, "Somebody else has locked the file. Try again later."),  # SHARING_VIOLATION
    0xC0000054: (FileUnsuitable, "Somebody else has locked the file. Try again later."),  # FILE_LOCK_CONFLICT
    0x8000002D: (FileUnsuitable, "This is a link, and links are not followed."),  # STOPPED_ON_SYMLINK
    0xC0000257: (FileUnsuitable, "This is on another server, and is not followed there."),  # PATH_NOT_COVERED
}
_NOT_LET_IN = "The file server does not let you in under your own name. Ask its administrator for an account."
_SESSION_LOST = frozenset({0xC0000203, 0xC000035C, 0xC00000C9})
"""USER_SESSION_DELETED, NETWORK_SESSION_EXPIRED, NETWORK_NAME_DELETED."""


def from_status(status: int) -> DelegationError:
    """The error for an NTSTATUS (MS-ERREF section 2.3) that answered a request about a file."""
    detail = f"the file server answered {status:#010x}"
    if status in _SESSION_LOST:
        return DownstreamUnavailable(detail=detail)
    kind, message = _STATUS.get(status, (FileFailed, FileFailed.default_message))
    return kind(message, detail=detail)


def from_login(status: int) -> DelegationError:
    """The error for an NTSTATUS that answered the ticket: the user is not let in."""
    return CredentialRejected(
        _NOT_LET_IN,
        detail=f"the file server answered the ticket with {status:#010x}",
    )


def no_context(error: Exception) -> CredentialRejected:
    """The error for a ticket with which no context came about. Of what GSS-API says, its two numbers."""
    cause = getattr(error.__cause__, "base_error", None)
    numbers = f"{getattr(cause, 'maj_code', None)}, {getattr(cause, 'min_code', None)}"
    return CredentialRejected(_NOT_LET_IN, detail=f"no context with the file server: GSS-API says {numbers}")


def lost(error: BaseException) -> ActasError:
    """The error for a connection that broke, or whose other end made no sense."""
    if isinstance(error, ActasError):
        return error
    return DownstreamUnavailable(detail=f"the connection to the file server: {type(error).__name__}")


def late() -> DelegationTimeout:
    """The error for a file server that did not answer in time; the connection was closed."""
    return DelegationTimeout(detail="the file server did not answer in time; the connection was closed")
