"""Reading the configuration anew: what of it may change, who hears of it, and when to look.

The swap itself is :meth:`actas.mcp.server.MCPOAuthServer.reload`.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from actas.core import Audit, AuditEvent, AuditUnavailable, ConfigurationError, Outcome
from actas.core.secrets import MAX_DEPTH, REFERENCE
from actas.mcp.config_file import MAX_BYTES, read_file
from actas.mcp.settings import SECRETS_DIRECTORY, Settings

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Seconds between two looks at the files. A change counts when two looks find the same: one may see half a file."""

_FIXED = ("host", "port", "path", "resource", "tls")
"""Of ``mcp``: what the sockets and the metadata were made from. The server's certificate is read anew."""


def refuse_what_is_fixed(old: Settings, new: Settings) -> None:
    """Raises ConfigurationError where ``new`` differs in what cannot change while the server runs."""
    changed = [name for name in _FIXED if getattr(old.mcp, name) != getattr(new.mcp, name)]
    if changed:
        raise ConfigurationError([f"mcp.{name}: cannot change while the server runs: restart it" for name in changed])


def succeeded() -> AuditEvent:
    """What the minutes say of a configuration that serves from now on."""
    return AuditEvent(source="configuration", outcome=Outcome.SUCCESS, action="reload")


async def record_refusal(audit: Audit, error: ConfigurationError) -> None:
    """Say in the log and in the minutes that a configuration was refused, and why. Never raises."""
    for problem in error.problems:
        logger.error("not reloaded, the last good configuration serves on: %s", problem)
    reason = "; ".join(error.problems)
    with contextlib.suppress(AuditUnavailable):  # it is in the log, and nobody is served because of it
        await audit.record(
            AuditEvent(source="configuration", outcome=Outcome.REFUSED, action="reload", code=error.code, reason=reason)
        )


class Watch:
    """Calls ``changed`` when the file at ``path``, or a secret file that it names, is another than it was.

    It looks at the content: links that are switched, as Kubernetes does, and clocks that jump do not matter.
    """

    def __init__(self, path: Path, changed: Callable[[], None], *, when: Callable[[], bool]) -> None:
        self._path = path
        self._changed = changed
        self._when = when
        self._content: bytes | None = None
        self._secrets: list[Path] = []
        self._known = self._look()

    async def run(self) -> None:
        """Look, until cancelled."""
        before = self._known
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = await asyncio.to_thread(self._look)
            if now == before and now != self._known and self._when():
                self._known = now
                self._changed()
            before = now

    def _look(self) -> bytes:
        content = _content(self._path)
        if content != self._content or content is None:
            self._content, self._secrets = content, self._secret_files()
        digest = hashlib.sha256(_mark(content))
        for file in self._secrets:
            digest.update(_mark(_content(file)))
        return digest.digest()

    def _secret_files(self) -> list[Path]:
        try:
            written = read_file(self._path)
        except ConfigurationError:
            return []
        folder = written.get("secrets_directory", written.get("secretsDirectory"))
        directory = Path(folder if isinstance(folder, str) else SECRETS_DIRECTORY)
        return [directory / name for name in sorted(set(_references(written, 0)))]


def _references(value: object, depth: int) -> Iterator[str]:
    """The names of all secrets in ``value``."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        name = table.get(REFERENCE)
        if isinstance(name, str):
            yield name
        for item in table.values():
            yield from _references(item, depth + 1)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _references(item, depth + 1)


def _content(file: Path) -> bytes | None:
    try:
        if not file.is_file():
            return None
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        return None


def _mark(content: bytes | None) -> bytes:
    """What tells one content from another, and from none."""
    return b"-" if content is None else b"+" + hashlib.sha256(content).digest()
