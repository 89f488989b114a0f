"""What is wrong with settings, all of it at once."""

import math
import re
from collections.abc import Iterator
from dataclasses import fields

from actas.core.errors import ConfigurationError
from actas.delegation.filesystem.settings import FilesystemSettings

_UMASK = re.compile(r"0?[0-7]{3}")


def check(settings: FilesystemSettings) -> None:
    """Raises ConfigurationError with everything that makes no sense, but for the template."""
    problems = [*_limits(settings), *_changes(settings)]
    if settings.identity == "os_user" and settings.os_user.minimum_uid < 1:
        problems.append("os_user.minimum_uid: is at least 1; nobody becomes root")
    if problems:
        raise ConfigurationError(problems)


def _limits(settings: FilesystemSettings) -> Iterator[str]:
    for table, held in (("limits", settings.limits), ("os_user", settings.os_user)):
        for each in fields(held):
            value = getattr(held, each.name)
            if each.name != "minimum_uid" and not (value > 0 and math.isfinite(value)):
                yield f"{table}.{each.name}: is more than 0"
    if settings.limits.workers_per_user > settings.limits.workers:
        yield "limits.workers_per_user: is at most limits.workers"
    if settings.limits.depth > 100:
        yield "limits.depth: is at most 100"
    if max(settings.limits.read_bytes, settings.limits.write_bytes) > 100_000_000:
        yield "limits.read_bytes, limits.write_bytes: are at most 100000000"


def _changes(settings: FilesystemSettings) -> Iterator[str]:
    change = settings.change
    if change is None:
        return
    if not change.actions:
        yield "change.actions: name one, or leave change out"
    for name in change.permissions:
        if name not in change.actions:
            yield f"change.permissions.{name}: is not among change.actions"
    if not _UMASK.fullmatch(change.umask):
        yield 'change.umask: write it in octal, "0077"'
    if change.quota_bytes is not None and change.quota_bytes < 1:
        yield "change.quota_bytes: is more than 0"
    if change.quota_entries < 1:
        yield "change.quota_entries: is more than 0"
