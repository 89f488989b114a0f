"""What can go wrong here: errors of our own, and the kernel's, which become them by number. No path is repeated."""

import errno

from actas.core.errors import (
    ActasError,
    DelegationError,
    DelegationRefused,
    DelegationTimeout,
    DownstreamUnavailable,
    InvalidParameters,
    LimitExceeded,
    PrincipalUnavailable,
)


class PathRefused(InvalidParameters):
    """The path is none that may be asked for. Nothing was looked at."""

    code = "filesystem_path_refused"
    default_message = "path: is none that can be asked for. Write names as a list shows them, with / between them."


class NoFolder(PrincipalUnavailable):
    """The user has no folder, or none that this server can open."""

    code = "filesystem_no_folder"
    default_message = "You have no folder here. Ask for one to be made."


class NoAccount(PrincipalUnavailable):
    """The operating system has no such user, or one that nobody may become here."""

    code = "filesystem_no_account"
    default_message = "You have no account on the system behind this tool. Ask for one."


class NotFound(DelegationRefused):
    """There is no such file or folder, or there was one a moment ago."""

    code = "filesystem_not_found"
    default_message = "There is no such file or folder. List the folder that it should be in."


class AccessDenied(DelegationRefused):
    """The kernel does not let this account do that."""

    code = "filesystem_access_denied"
    default_message = "The system does not allow this there."


class NotPlain(DelegationRefused):
    """What is there is no plain file or folder: a link, a device, a socket, a mount, a file with several names."""

    code = "filesystem_not_plain"
    default_message = "There, or on the way there, is a link or another file system, which is not followed."


class WrongKind(DelegationRefused):
    """A file where a folder is needed, or the other way round."""

    code = "filesystem_wrong_kind"
    default_message = "A folder is needed there, and it is a file, or the other way round; or a link, not followed."


class AlreadyExists(DelegationRefused):
    """There is something by that name."""

    code = "filesystem_exists"
    default_message = "There is something by that name already. Choose another one, or say replace."


class NotEmpty(DelegationRefused):
    """The folder is not empty."""

    code = "filesystem_not_empty"
    default_message = "The folder is not empty. Delete what is in it first."


class NotText(DelegationRefused):
    """The bytes are no text in the encoding that was asked for."""

    code = "filesystem_not_text"
    default_message = "This is no text in that encoding. Ask for encoding base64, or for another one."


class StorageFull(LimitExceeded):
    """The file system has no room, or the kernel's quota is used up."""

    code = "filesystem_full"
    default_message = "There is no room for that. Delete something, or ask for more room."


class QuotaExceeded(LimitExceeded):
    """The folder would hold more than is configured."""

    code = "filesystem_quota"
    default_message = "Your folder may not hold that much. Delete something first."


class Busy(LimitExceeded):
    """All workers, or all that one user may have, are taken."""

    code = "filesystem_busy"
    default_message = "Too many files are being worked on. Try again in a moment."


class StorageFailed(DownstreamUnavailable):
    """The file system failed."""

    code = "filesystem_failed"
    default_message = "The file system behind this tool failed. Try again later."


_BY_NUMBER: dict[int, type[DelegationError]] = {
    errno.ENOENT: NotFound,
    errno.ENOTDIR: WrongKind,
    errno.EISDIR: WrongKind,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ELOOP: NotPlain,
    errno.EXDEV: NotPlain,
    errno.ENXIO: NotPlain,
    errno.EEXIST: AlreadyExists,
    errno.ENOTEMPTY: NotEmpty,
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EFBIG: StorageFull,
    errno.EMFILE: Busy,
    errno.ENFILE: Busy,
    errno.EAGAIN: Busy,
    errno.EBUSY: Busy,
    errno.ETXTBSY: Busy,
    errno.ETIMEDOUT: DelegationTimeout,
}
_SAID: dict[int, str] = {
    errno.EINVAL: "The file system does not take this. A folder cannot be moved into itself; some names will not do.",
    errno.ENAMETOOLONG: "A name is too long for this file system.",
}


def from_os(error: OSError) -> DelegationError:
    """Our error for the kernel's. It has the kernel's name for it, and no path."""
    number = error.errno or 0
    detail = errno.errorcode.get(number, f"errno {number}")
    if number in _SAID:
        return DelegationRefused(_SAID[number], detail=detail)
    return _BY_NUMBER.get(number, StorageFailed)(detail=detail)


_OURS: tuple[type[ActasError], ...] = (
    PathRefused,
    NoFolder,
    NoAccount,
    NotFound,
    AccessDenied,
    NotPlain,
    WrongKind,
    AlreadyExists,
    NotEmpty,
    NotText,
    StorageFull,
    QuotaExceeded,
    Busy,
    StorageFailed,
    InvalidParameters,
    DelegationRefused,
    DelegationTimeout,
    LimitExceeded,
)
BY_CODE = {each.code: each for each in _OURS}
"""What may come out of a helper process."""
