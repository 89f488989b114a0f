"""What an operator can get wrong about shares."""

import re

from actas.delegation.kerberos.failures import TargetRefused
from actas.delegation.kerberos.settings import KerberosSettings
from actas.delegation.kerberos.smb_failures import PathRefused
from actas.delegation.kerberos.smb_paths import segments
from actas.delegation.kerberos.smb_settings import ShareSettings
from actas.delegation.kerberos.targets import Targets

_SERVER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,251}[A-Za-z0-9])?")
_NO_FILES = frozenset({"ipc$", "print$"})


def problems(settings: KerberosSettings) -> list[str]:
    """Everything that makes no sense, each with its path."""
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    listed, smb = Targets(settings), settings.smb
    for index, share in enumerate(smb.allow):
        found += [f"smb.allow.{index}.{problem}" for problem in _of(share, listed)]
        name = (share.server.casefold(), share.share.casefold())
        if name in seen:
            found.append(f"smb.allow.{index}: this share is listed twice")
        seen.add(name)
    for section, values in (("limits", vars(smb.limits)), ("pool", vars(smb.pool))):
        found += [f"smb.{section}.{name}: must be more than 0" for name, value in values.items() if not value > 0]
    if not smb.permission:
        found.append("smb.permission: missing; nothing is open by itself")
    return found


def target_of(share: ShareSettings) -> str:
    """The service that a ticket is needed for: ``cifs/files.example.com``."""
    return f"cifs/{share.server.lower()}"


def _of(share: ShareSettings, listed: Targets) -> list[str]:
    found: list[str] = []
    if not _SERVER.fullmatch(share.server):
        found.append("server: must be a host name")
    else:
        try:
            listed.found(target_of(share))
        except TargetRefused:
            found.append(f"server: {target_of(share)} is not among targets")
    if not 0 < share.port < 65536:
        found.append("port: must be between 1 and 65535")
    try:
        files = len(segments(share.share)) == 1 and share.share.casefold() not in _NO_FILES
    except PathRefused:
        files = False
    if not files:
        found.append("share: must be the name of a share of files")
    try:
        segments(share.folder)
    except PathRefused as error:
        found.append(f"folder: no path below the share: {error.message}")
    return found
