"""What an operator can get wrong about shares."""

import re

from actas.delegation.kerberos.smb_failures import PathRefused
from actas.delegation.kerberos.smb_paths import segments
from actas.delegation.kerberos.smb_settings import ShareSettings, SmbSettings

_SERVER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,251}[A-Za-z0-9])?")
_NO_FILES = frozenset({"ipc$", "print$"})


def problems(settings: SmbSettings) -> list[str]:
    """Everything that makes no sense, each with its path below this part of the configuration."""
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for index, share in enumerate(settings.allow):
        found += [f"allow.{index}.{problem}" for problem in _of(share)]
        name = (share.server.casefold(), share.share.casefold())
        if name in seen:
            found.append(f"allow.{index}: this share is listed twice")
        seen.add(name)
    for section, values in (("limits", vars(settings.limits)), ("pool", vars(settings.pool))):
        found += [f"{section}.{name}: must be more than 0" for name, value in values.items() if not value > 0]
    return found


def _of(share: ShareSettings) -> list[str]:
    found: list[str] = []
    if not _SERVER.fullmatch(share.server):
        found.append("server: must be a host name")
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
