"""What an operator sets for files on SMB shares. Plain dataclasses: no client is imported here."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ShareSettings:
    """One share that files may be read from."""

    server: str
    """The file server's host name, as its principal has it: `cifs/` and this name must be among the `targets`. Callers
    write it in their paths."""
    share: str
    """The share's name."""
    folder: str = ""
    """A folder of the share, `reports/2026`; paths outside of it are refused. Empty: the whole share."""
    port: int = 445
    """The server's TCP port."""


@dataclass(frozen=True, kw_only=True)
class ShareLimitSettings:
    """Bounds for one call."""

    bytes: int = 10_485_760
    """Most bytes of a file that one call returns."""
    entries: int = 1000
    """Most entries of a folder that one call returns."""
    seconds: float = 30.0
    """Longest time for one call."""


@dataclass(frozen=True, kw_only=True)
class SharePoolSettings:
    """Bounds for the connections to file servers. Each belongs to one user."""

    total: int = 32
    """Connections at once, of all users: each has a thread of its own."""
    per_user: int = 2
    """Connections at once, of one user."""
    waiting: int = 64
    """Calls that may wait for a connection, of all users."""
    wait_seconds: float = 5.0
    """Longest wait for a connection."""
    idle_seconds: float = 60.0
    """How long a connection is kept that nobody uses."""
    lifetime_seconds: float = 600.0
    """How long a connection is used at most: so long may somebody who was disabled go on. Never longer than the
    ticket lasts."""


@dataclass(frozen=True, kw_only=True)
class SmbSettings:
    """Files on SMB shares, read as the user. Needs `pip install "actas[smb]"`."""

    allow: list[ShareSettings] = field(default_factory=list[ShareSettings])
    """The shares. What is not listed here is reached by no path. None: there are no tools for files."""
    permission: str = "kerberos:files"
    """Who lacks it does not see the tools. What each may read, the file server's own permissions decide."""
    identity: Literal["server", "ticket"] = "server"
    """Whose word the receipt is. `server`: the file server is asked who the user is (`LsarGetUserName`), and a call
    whose answer is another name is refused. `ticket`: for servers that have no such service; the name in the ticket
    is all there is."""
    limits: ShareLimitSettings = field(default_factory=ShareLimitSettings)
    """Bounds for one call."""
    pool: SharePoolSettings = field(default_factory=SharePoolSettings)
    """Bounds for the connections."""
