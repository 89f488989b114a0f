"""A module whose downstream may be away when the server starts: the others go on, and it comes when it can."""

import asyncio
import logging
from collections.abc import Sequence

from actas.core.errors import ConfigurationError, DownstreamUnavailable, places
from actas.core.models import Action, DelegationCall, DelegationResult, Health, Session
from actas.core.protocols import DelegationModule, TicketGranter
from actas.core.tickets import Ticket

logger = logging.getLogger(__name__)

START_TIMEOUT = 10.0
"""Seconds in which a module must start; one that takes longer counts as one whose downstream does not answer."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two attempts: the pause doubles from the one to the other."""


class Latecomer:
    """Stands for ``module``: the same, but that starting does not fail where the downstream does not answer.

    Until it does, calls are refused and health says so; the start is tried again in the background. A
    configuration that is wrong is another matter: it stops the start, and is what an operator must see.

    Raises:
        ConfigurationError: ``module`` is not one.
    """

    def __init__(self, name: str, module: DelegationModule) -> None:
        if not isinstance(module, DelegationModule):  # pyright: ignore[reportUnnecessaryIsInstance] -- foreign code
            raise ConfigurationError(f"delegation.modules.{name}: {type(module).__name__} is no DelegationModule")
        self.module = module
        self._name = name
        self._coming: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Whether it can be called."""
        return self._coming is None or self._coming.done()

    @property
    def actions(self) -> Sequence[Action]:
        """The module's."""
        return self.module.actions

    async def initialize(self) -> None:
        """Start the module, or begin to try. Raises what the module raises, but for DownstreamUnavailable."""
        if (why := await self._attempt()) is not None:
            logger.warning(
                "the module %s does not start, its downstream does not answer (%s): tried again", self._name, why
            )
            self._coming = asyncio.create_task(self._come())

    async def _attempt(self) -> str | None:
        """Start it once. Why that did not go, for the log; None where it has started."""
        limit = asyncio.timeout(START_TIMEOUT)
        try:
            async with limit:
                await self.module.initialize()
        except DownstreamUnavailable as error:
            return error.detail or error.message
        except TimeoutError:
            if not limit.expired():
                raise
            return f"not within {START_TIMEOUT:g} s"
        return None

    async def _come(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                if await self._attempt() is None:
                    logger.warning("the module %s has started, its downstream answers", self._name)
                    return
            except ConfigurationError as error:
                logger.error("the module %s answers, and is not as configured: %s", self._name, error.message)
            except Exception as error:  # a plug-in's defect: perhaps it gets better, and it harms no other
                logger.error("starting the module %s raised %s", self._name, places(error))

    def principal(self, session: Session) -> str:
        """The module's."""
        return self.module.principal(session)

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """The module's. Raises DownstreamUnavailable before it has started."""
        if not self.started:
            raise DownstreamUnavailable(detail="the module has not started yet")
        return await self.module.delegate(call)

    async def health_check(self) -> Health:
        """The module's, when it has started."""
        if not self.started:
            return Health(healthy=False, message="It did not answer when the server started; it is tried again.")
        return await self.module.health_check()

    async def destroy(self) -> None:
        """Stop trying, and destroy the module."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait([self._coming])
        await self.module.destroy()


class LateGranter(Latecomer):
    """The same for a module that lends others their users' tickets."""

    def __init__(self, name: str, module: DelegationModule) -> None:
        super().__init__(name, module)
        if not isinstance(module, TicketGranter):
            raise ConfigurationError(f"delegation.modules.{name}: {type(module).__name__} is no TicketGranter")
        self._granter: TicketGranter = module

    async def ticket(self, session: Session, target: str, *, deadline: float) -> Ticket:
        """The module's. Raises DownstreamUnavailable before it has started."""
        if not self.started:
            raise DownstreamUnavailable(detail="the module that lends tickets has not started yet")
        return await self._granter.ticket(session, target, deadline=deadline)

    async def discard(self, session: Session, target: str) -> None:
        """The module's."""
        await self._granter.discard(session, target)
