"""The file of what is revoked: JSON lines that ``actas revoke`` appends, and servers read as they come.

A line is an object with ``sub``, ``jti`` or ``sid`` (each of them is refused), and may have ``issuer`` and ``until``
(ISO 8601 with a time zone). Other members are notes for people. A line is taken as widely as it can be read: where
``until`` makes no sense it has no end, where ``issuer`` makes none it is for all. A line of which nothing can be read
is logged, by its number, and changes nothing for the others.
"""

import contextlib
import fcntl
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from actas.core.errors import ConfigurationError, LimitExceeded
from actas.oauth.denylist import DeniedClaim, DenyList, Revocation
from actas.oauth.jwt import decode_object

MAX_BYTES = 16 * 1_048_576
"""Of the whole file."""

MAX_LINE_BYTES = 4096

LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""An end from here on is none: calendars know no later one."""

_LOOK_SECONDS = 1.0
_CLAIMS: tuple[DeniedClaim, ...] = ("jti", "sid", "sub")

_log = logging.getLogger(__name__)


class Unreadable(Exception):
    """The file cannot be relied on. Its text says why."""


@dataclass(frozen=True, slots=True)
class _Content:
    entries: list[Revocation]
    signature: tuple[int, ...]


def parse_line(line: bytes) -> list[Revocation]:
    """What a line revokes.

    Raises:
        ValueError: nothing can be read of it.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ValueError("too long")
    try:
        members = decode_object(line)
    except OverflowError:
        raise ValueError("not a flat object") from None
    issuer, until = members.get("issuer"), members.get("until")
    found = [
        Revocation(
            claim=claim,
            value=value,
            issuer=issuer if isinstance(issuer, str) and issuer else None,
            until=_seconds(until),
        )
        for claim in _CLAIMS
        if isinstance(value := members.get(claim), str) and value
    ]
    if not found:
        raise ValueError("it names no jti, sid or sub")
    return found


def _seconds(until: object) -> float:
    try:
        moment = datetime.fromisoformat(until) if isinstance(until, str) else None
    except ValueError:
        moment = None
    seconds = moment.timestamp() if moment is not None and moment.tzinfo is not None else LATEST
    return max(seconds, 0.0) if seconds < LATEST else float("inf")


def format_line(entry: Revocation) -> bytes:
    """The line for ``entry``, with its end."""
    members: dict[str, object] = {entry.claim: entry.value}
    if entry.issuer is not None:
        members["issuer"] = entry.issuer
    if entry.until < LATEST:
        members["until"] = datetime.fromtimestamp(entry.until, UTC).isoformat()
    members["revoked"] = datetime.now(UTC).isoformat(timespec="seconds")
    return orjson.dumps(members) + b"\n"


def append(path: Path, entry: Revocation) -> None:
    """Add ``entry`` to the file, which is made with mode 0600 where there is none.

    Root gives a file that it makes to the owner of the folder: the server would otherwise be kept out.

    Raises:
        ConfigurationError: the file cannot be written, or is full.
    """
    try:
        line = format_line(entry)
    except TypeError:  # orjson's, for half a character
        raise ConfigurationError("an entry must be UTF-8 text") from None
    if len(line) > MAX_LINE_BYTES:
        raise ConfigurationError(f"an entry of more than {MAX_LINE_BYTES} bytes is not read by any server")
    try:
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size + len(line) >= MAX_BYTES:
                raise ConfigurationError(f"{path} is full: take lines that have ended out of it")
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            _write(descriptor, b"\n" + line if torn else line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    folder = path.parent.stat()
    with contextlib.suppress(PermissionError):  # only root may
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) != len(data):
        raise OSError(0, "only a part of the line could be written")


def entries(path: Path) -> list[Revocation]:
    """Everything that can be read in the file, ended or not; nothing where there is no file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return _read(path).entries
    except FileNotFoundError:
        return []
    except Unreadable as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _read(path: Path) -> _Content:
    """Raises FileNotFoundError, or Unreadable."""
    try:
        # O_NONBLOCK: a pipe must not hold anybody up before it is seen to be no file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise Unreadable("this is no regular file")
            if state.st_mode & stat.S_IWOTH:
                raise Unreadable("everybody may write to it: chmod o-w")
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise Unreadable(f"it is larger than {MAX_BYTES} bytes")
    return _Content(list(_lines(content)), _signature(state))


def _lines(content: bytes) -> Iterable[Revocation]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            try:
                yield from parse_line(line.strip())
            except ValueError as error:
                _log.error("line %d of the file of revocations is left out: %s", number, type(error).__name__)


def _signature(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


class RevocationFile:
    """The deny list that the file holds, kept current by a thread of its own between :meth:`start` and :meth:`close`.

    Nothing here is ever waited for on the way of a request.

    Args:
        path: the file.
        clock: seconds since the epoch.
        tell: is told what is revoked newly, in that thread; nothing in particular where nobody is let in any more.

    Raises:
        ConfigurationError: the file cannot be read, or its folder is not there. There need be no file yet.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float], tell: Callable[[list[Revocation]], object] = lambda _: None
    ) -> None:
        self._path = path
        self._tell = tell
        self._clock = clock
        self._signature: tuple[int, ...] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.denied: DenyList | None = DenyList()
        """None while it is not known what is revoked: nobody may be let in."""
        if not path.parent.is_dir():
            raise ConfigurationError(f"auth.revocation.path: the folder {path.parent} is not there")
        try:
            with contextlib.suppress(FileNotFoundError):
                self._load()
        except (Unreadable, LimitExceeded) as error:
            raise ConfigurationError(f"auth.revocation.path: {path}: {error}") from error

    def start(self) -> None:
        """Begin to look for changes. Once is enough."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="actas-revocations", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Look no more. May be called twice."""
        self._stop.set()

    def look(self) -> None:
        """Read the file where it has changed. Never raises."""
        try:
            if _signature(os.stat(self._path)) != self._signature:
                self._load()
        except FileNotFoundError:
            if self._signature is not None:
                self._give_up("it is gone; empty it instead of deleting it")
        except Exception as error:  # whatever it is, it is not known what is revoked
            self._give_up(str(error) if isinstance(error, Unreadable) else type(error).__name__)

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            self.look()

    def _load(self) -> None:
        content = _read(self._path)
        now = self._clock()
        before, denied = self.denied or DenyList(), DenyList((e for e in content.entries if e.until > now), now)
        self.denied = denied
        self._signature = content.signature
        if new := denied.beyond(before):
            self._tell(new)

    def _give_up(self, why: str) -> None:
        if self.denied is not None:
            _log.error("the file of revocations cannot be relied on, nobody is let in: %s", why)
            self.denied = None
            self._tell([])
        self._signature = ()
