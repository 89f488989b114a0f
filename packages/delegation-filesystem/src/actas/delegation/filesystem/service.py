"""``identity = "service"``: files are opened by this process's own account, which the user's folder confines."""

import os
import time
from contextlib import nullcontext

from actas.core.errors import ActasError, ConfigurationError, DownstreamUnavailable
from actas.core.models import DelegationCall, DelegationResult, Receipt
from actas.core.shares import Shares
from actas.delegation.filesystem.bases import Base
from actas.delegation.filesystem.budget import Budget
from actas.delegation.filesystem.kernel import has_proc
from actas.delegation.filesystem.operations import Done, Operation, Rules, carry_out
from actas.delegation.filesystem.principals import Principal
from actas.delegation.filesystem.settings import LimitSettings
from actas.delegation.filesystem.threads import Threads
from actas.delegation.filesystem.ways import Way, best

_HEALTH_SECONDS = 4.0


class Service:
    """Operations in threads.

    The kernel checks the account of this process and knows nothing of the user, so the receipt claims no more than it
    can say: in which folder, by the kernel's own path for what was opened, it was done, and with which account.

    Args:
        shared: whether a folder is several users'. Its places are theirs together, for a disk that hangs is the
            folder's; none of them has more than that many calls in its queue, or the others would find it full.
    """

    def __init__(
        self, base: str, rules: Rules, limits: LimitSettings, way: Way | None = None, *, shared: bool = False
    ) -> None:
        self._path, self._base, self._rules = base, Base(base), rules
        self._way = way or best()
        self._threads = Threads(limits.workers, limits.workers_per_user, "actas-files")
        self._shares = Shares(limits.workers_per_user) if shared else None
        self._asking = Threads(1, 1, "actas-files-health")

    async def initialize(self) -> None:
        """See that folders can be reached.

        Raises:
            ConfigurationError: ``/proc`` is not there.
            DownstreamUnavailable: the base is not.
        """
        if not has_proc():
            raise ConfigurationError("/proc is not mounted: files cannot be opened safely without it")
        if not await self.answers():
            raise DownstreamUnavailable(detail=f"{self._path} cannot be opened as a folder")

    async def do(self, call: DelegationCall, who: Principal, operation: Operation) -> DelegationResult:
        """Carry ``operation`` out in the user's folder."""

        def work(budget: Budget) -> Done:
            return carry_out(operation, self._base, who.folder, self._rules, self._way, budget)

        async with self._shares.one_of(call.session) if self._shares else nullcontext():
            done = await self._threads.run(who.name, work, call.deadline)
        details = {"process_uid": str(os.geteuid()), "way": self._way.name}
        receipt = Receipt(identity=os.fsdecode(done.folder), method="service:folder", details=details)
        return DelegationResult(data=done.data, receipt=receipt)

    async def answers(self) -> bool:
        """Whether the base can be opened, within 4 s. One that hangs is asked by one thread, and by no second."""
        try:
            return await self._asking.run("health", self._reached, time.monotonic() + _HEALTH_SECONDS)
        except (TimeoutError, ActasError):
            return False

    def _reached(self, budget: Budget) -> bool:
        return os.path.isdir(self._path)

    async def close(self) -> None:
        """Stop what is at work. May be called twice."""
        self._threads.close()
        self._asking.close()
        self._base.close()
