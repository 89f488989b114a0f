"""``identity = "os_user"``: files are opened by a process that is the user, and the kernel's own checks decide."""

import asyncio
import time
from dataclasses import asdict
from typing import cast

from actas.core.errors import ActasError, ConfigurationError, DownstreamUnavailable
from actas.core.models import DelegationCall, DelegationResult, Receipt
from actas.delegation.filesystem.actions import Parameters
from actas.delegation.filesystem.becoming import can_become_others
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.frames import longest
from actas.delegation.filesystem.helpers import Answer, Helpers
from actas.delegation.filesystem.kernel import has_proc
from actas.delegation.filesystem.operations import Operation
from actas.delegation.filesystem.principals import Principal
from actas.delegation.filesystem.settings import FilesystemSettings
from actas.delegation.filesystem.threads import Threads

_START_SECONDS = 8.0
_HEALTH_SECONDS = 4.0
_HOLDS_SECONDS = 5.0

UNABLE = (
    'identity = "os_user": this server cannot become other users. Run it as root, or give it CAP_SETUID, CAP_SETGID '
    "and CAP_KILL (systemd: AmbientCapabilities=CAP_SETUID CAP_SETGID CAP_KILL)"
)


class OsUsers:
    """Requests to helper processes, each waited for in a thread."""

    def __init__(self, base: str, settings: FilesystemSettings) -> None:
        limits, change = settings.limits, settings.change
        greeting: dict[str, object] = {
            "base": base,
            "limits": asdict(limits),
            "change": None if change is None else asdict(change),
            "hard_links": settings.hard_links,
            "minimum_uid": settings.os_user.minimum_uid,
            "memory": settings.os_user.memory_bytes,
            "file_size": limits.write_bytes,
            "umask": 0o077 if change is None else int(change.umask, 8),
        }
        self._idle_seconds = settings.os_user.idle_seconds
        self._helpers = Helpers(
            greeting,
            longest=longest(limits.read_bytes, limits.write_bytes),
            minimum_uid=settings.os_user.minimum_uid,
            most=limits.workers,
            per_user=limits.workers_per_user,
            idle_seconds=self._idle_seconds,
        )
        self._threads = Threads(limits.workers, limits.workers_per_user, "actas-files")
        self._asking = Threads(1, 1, "actas-files-health")
        self._sweeping: asyncio.TimerHandle | None = None
        self._well_until = 0.0
        self._closed = False

    async def initialize(self) -> None:
        """See that processes can become users.

        Raises:
            ConfigurationError: they cannot, or ``/proc`` is not there.
            DownstreamUnavailable: they cannot be started, or the base is not there.
        """
        if not has_proc():
            raise ConfigurationError("/proc is not mounted: files cannot be opened safely without it")
        # Here, and in a process that was started: what this one may do is not always passed on.
        if not can_become_others():
            raise ConfigurationError(UNABLE)
        able, there = await self._probed(_START_SECONDS)
        if not able:
            raise ConfigurationError(UNABLE)
        if not there:
            raise DownstreamUnavailable(detail="the base of all folders cannot be opened as a folder")

    async def do(self, call: DelegationCall, who: Principal, operation: Operation) -> DelegationResult:
        """Have the user's own process carry it out. ``operation`` was made to see that it can be; the process makes its
        own of the same parameters."""
        request: dict[str, object] = {
            "action": call.action.name,
            "parameters": asdict(cast("Parameters", call.parameters)),
            "parts": [each.decode() for each in who.folder],
        }

        def work(budget: Budget) -> Answer:
            return self._helpers.ask(who.name, request, budget)

        try:
            answer = await self._threads.run(who.name, work, call.deadline)
        finally:
            self._sweep_later()
        details = {"uid": str(answer.uid), "gid": str(answer.gid), "folder": answer.folder}
        receipt = Receipt(identity=answer.user, method="os_user:setuid", details=details)
        return DelegationResult(data=answer.data, receipt=receipt)

    def _sweep_later(self) -> None:
        if self._sweeping is None and not self._closed:
            self._sweeping = asyncio.get_running_loop().call_later(self._idle_seconds + 0.1, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        if self._helpers.sweep():  # used since, and maybe never again: whoever is idle now is looked at once more
            self._sweep_later()

    async def answers(self) -> bool:
        """Whether processes can be started, could become users, and reach the base, within 4 s. A process is started to
        find out, so a good answer holds for some seconds."""
        if time.monotonic() < self._well_until:
            return True
        try:
            well = all(await self._probed(_HEALTH_SECONDS))
        except ActasError:
            return False
        if well:
            self._well_until = time.monotonic() + _HOLDS_SECONDS
        return well

    async def _probed(self, seconds: float) -> tuple[bool, bool]:
        return await self._asking.run("health", self._helpers.able, time.monotonic() + seconds)

    async def close(self) -> None:
        """End all processes. May be called twice."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._threads.close()
        self._asking.close()
        await asyncio.to_thread(self._helpers.close)
