"""What an operator may write."""

from dataclasses import dataclass, field
from typing import Literal

Identity = Literal["service", "os_user"]
Change = Literal["write", "make-directory", "rename", "delete"]
Name = Literal["legacy_username", "username", "subject"]


@dataclass(frozen=True, kw_only=True)
class ChangeSettings:
    """What may be changed, and how."""

    permission: str
    """Who lacks it does not see the tools that change anything."""
    actions: list[Change] = field(default_factory=lambda: ["write", "make-directory", "rename", "delete"])
    """The tools that there are."""
    permissions: dict[Change, str] = field(default_factory=dict[Change, str])
    """Permissions of single tools: `{ delete = "files:delete" }`."""
    umask: str = "0077"
    """Which rights new files and folders do not get, in octal."""
    durable: bool = True
    """Whether an answer waits until the disk has it (fsync). Without it a power cut may lose what was acknowledged."""
    quota_bytes: int | None = None
    """Size of all files in a user's folder together that no write goes beyond. Counted anew for each change, so this is
    for folders of some thousand files; the file system's own quotas are exact and cost nothing."""
    quota_entries: int = 10_000
    """Files and folders in a user's folder that no change goes beyond, where `quota_bytes` is set."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What one call may take."""

    read_bytes: int = 1_000_000
    """Bytes of a file that one call reads. The next call goes on."""
    write_bytes: int = 1_000_000
    """Bytes that one call writes."""
    entries: int = 250_000
    """Entries that one list, search or count looks at."""
    depth: int = 32
    """Names in a path."""
    search_bytes: int = 100_000_000
    """Bytes that one search reads."""
    search_seconds: float = 10.0
    """Time of one search; what was found by then is given."""
    workers: int = 16
    """Calls at once: threads, or with `identity = "os_user"` processes."""
    workers_per_user: int = 2
    """Calls of one user at once. The user's others wait, so that a disk that hangs under one folder stops one user."""


@dataclass(frozen=True, kw_only=True)
class OsUserSettings:
    """Processes that become users of the operating system."""

    minimum_uid: int = 1000
    """Users with smaller numbers (root, and those that run services) are refused."""
    idle_seconds: float = 60.0
    """A process that has nothing to do for so long ends."""
    memory_bytes: int = 536_870_912
    """Memory of one process (address space)."""


@dataclass(frozen=True, kw_only=True)
class FilesystemSettings:
    """A folder for each user or group. Whatever is asked for lies in it: no link is followed, no device opened."""

    root: str
    """The folder, as a template: `/srv/files/{user}`, `/srv/groups/{group}`, `/srv/{group}/{user}`. What stands before
    the first placeholder is yours, and links in it are followed. A name between two / has one of them at most."""
    permission: str
    """Who lacks it does not see the tools that read."""
    principal: Name = "legacy_username"
    """What of the session `{user}` is: ASCII letters, digits and `_ . @ -`, 64 at most. With `identity = "os_user"` it
    is the name of the operating system's user."""
    groups: list[str] = field(default_factory=list[str])
    """Groups that have a folder: `{group}` is the first of them that the session has. Who has none is refused."""
    group_claim: str | None = None
    """Claim with the session's groups, a text or a list of texts. None: its role and its custom roles."""
    identity: Identity = "service"
    """As whom files are opened. `service`: as this server's own account, which the folder confines. `os_user`: as the
    operating system's user, in a process of that user's own, so that the kernel's permissions decide; the server must
    be root or have CAP_SETUID, CAP_SETGID and CAP_KILL."""
    hard_links: bool = False
    """Whether files with several names are opened. With `service` another name may lie in somebody else's folder: who
    can make such a link on this machine could read through it what the server's account can."""
    change: ChangeSettings | None = None
    """What may be changed. None: nothing."""
    os_user: OsUserSettings = field(default_factory=OsUserSettings)
    """Processes for `identity = "os_user"`."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """Bounds of one call."""
