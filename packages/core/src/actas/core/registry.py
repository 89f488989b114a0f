"""The modules that are in use, by the name the configuration gives them."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping

from actas.core.errors import ActasError, ConfigurationError, UnknownAction, places, under
from actas.core.models import Action, Health
from actas.core.protocols import CredentialSource, DelegationModule, TicketGranter

logger = logging.getLogger(__name__)

HEALTH_TIMEOUT = 5.0
"""Seconds that one module may take to say how it is."""

DESTROY_TIMEOUT = 10.0
"""Seconds that one module may take to release what it holds."""

_UNTOLD = Health(healthy=False, message="the health check failed")


class DelegationRegistry:
    """Holds the modules and starts, asks and stops them together.

    It does not delegate: that is :class:`actas.core.pipeline.Pipeline`'s alone, so that no call
    goes round authorisation and audit.
    """

    def __init__(self) -> None:
        self._modules: dict[str, DelegationModule] = {}
        self._actions: dict[str, dict[str, Action]] = {}
        self._credentials: dict[str, CredentialSource] = {}
        self._granters: dict[str, TicketGranter] = {}

    def register(
        self,
        name: str,
        module: DelegationModule,
        *,
        credentials: CredentialSource | None = None,
        providers: frozenset[str] | None = None,
        granter: TicketGranter | None = None,
    ) -> None:
        """Add ``module`` as ``name``.

        Args:
            credentials: where each call's credential comes from; without it the module gets none.
            providers: the providers whose users may use it; everybody's where None.
            granter: who lends it its users' tickets; without it the module gets none.

        Raises:
            ConfigurationError: the name is taken, or the module is not one.
        """
        # A Protocol check at run time costs a class nothing and tells a plug-in's author what is missing.
        if not isinstance(module, DelegationModule):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"delegation.modules.{name}: {type(module).__name__} is no DelegationModule")
        if name in self._modules:
            raise ConfigurationError(f"delegation.modules.{name}: this name is registered already")
        actions: dict[str, Action] = {}
        for action in module.actions:
            if action.name in actions:
                raise ConfigurationError(f"delegation.modules.{name}: the action {action.name} is declared twice")
            actions[action.name] = action.only_for(providers)
        self._modules[name] = module
        self._actions[name] = actions
        if credentials is not None:
            self._credentials[name] = credentials
        if granter is not None:
            self._granters[name] = granter

    def get(self, name: str) -> DelegationModule:
        """The module called ``name``. Raises UnknownAction."""
        try:
            return self._modules[name]
        except KeyError:
            raise UnknownAction(detail=f"no module {name!r}") from None

    def action(self, name: str, action: str) -> Action:
        """One action of the module ``name``. Raises UnknownAction."""
        try:
            return self._actions[name][action]
        except KeyError:
            raise UnknownAction(detail=f"no action {action!r} of a module {name!r}") from None

    def credentials(self, name: str) -> CredentialSource | None:
        """Where the credentials of the module ``name`` come from; None where it uses none."""
        return self._credentials.get(name)

    def granter(self, name: str) -> TicketGranter | None:
        """Who lends the module ``name`` its users' tickets; None where nobody does."""
        return self._granters.get(name)

    def names(self) -> list[str]:
        """The modules' names, in the order of registration."""
        return list(self._modules)

    def items(self) -> Iterator[tuple[str, DelegationModule]]:
        """Names and modules, in the order of registration."""
        return iter(self._modules.items())

    async def initialize_all(self) -> None:
        """Initialise every module; where one fails, destroy those that were started and raise its error."""
        for name, module in self._modules.items():
            try:
                await module.initialize()
            except ActasError as error:
                await self.destroy_all()
                raise under(f"delegation.modules.{name}", error) from error
            except BaseException:
                await self.destroy_all()
                raise

    async def health_check_all(self, names: Iterable[str] | None = None) -> Mapping[str, Health]:
        """Ask ``names``, or all, at once; a module that hangs or raises is unhealthy, and harms no other."""
        chosen = list(self._modules if names is None else names)
        answers = await asyncio.gather(*(self._health(name, self.get(name)) for name in chosen))
        return dict(zip(chosen, answers, strict=True))

    async def _health(self, name: str, module: DelegationModule) -> Health:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT):
                health = await module.health_check()
        except TimeoutError:
            return Health(healthy=False, message=f"no answer within {HEALTH_TIMEOUT:g} s")
        except (Exception, asyncio.CancelledError) as error:
            # A plug-in's defect must not take the other answers with it.
            logger.error("health check of %s raised %s", name, places(error))
            return _UNTOLD
        return health if isinstance(health, Health) else _UNTOLD  # pyright: ignore[reportUnnecessaryIsInstance] -- foreign code

    async def destroy_all(self) -> None:
        """Destroy every module, the last registered first. One that fails or hangs is logged, the others go on."""
        for name, module in reversed(self._modules.items()):
            try:
                async with asyncio.timeout(DESTROY_TIMEOUT):
                    await module.destroy()
            except Exception as error:  # the others must be released all the same
                logger.error("destroying %s raised %s", name, places(error))
