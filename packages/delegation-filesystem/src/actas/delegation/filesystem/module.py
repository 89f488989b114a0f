"""The delegation module: a path that is one, a folder of the user's own, what is done in it, a receipt."""

from collections.abc import Sequence

from actas.core.errors import UnknownAction
from actas.core.models import Action, DelegationCall, DelegationResult, Health, Session
from actas.delegation.filesystem.actions import PARAMETERS, actions
from actas.delegation.filesystem.checks import check
from actas.delegation.filesystem.operations import Rules
from actas.delegation.filesystem.os_users import OsUsers
from actas.delegation.filesystem.principals import Principals
from actas.delegation.filesystem.service import Service
from actas.delegation.filesystem.settings import FilesystemSettings
from actas.delegation.filesystem.ways import Way


class FilesystemDelegation:
    """One tree of folders, of which each user or group has one.

    Args:
        settings: what the operator wrote.
        way: how folders are gone through; the best that the kernel offers where None.

    Raises:
        ConfigurationError: the settings make no sense.
    """

    def __init__(self, settings: FilesystemSettings, way: Way | None = None) -> None:
        check(settings)
        self._principals = Principals(settings)
        self._actions = actions(settings)
        self._rules = Rules(settings.limits, settings.change, settings.hard_links)
        base = self._principals.base
        self._hands: Service | OsUsers
        if settings.identity == "os_user":
            self._hands = OsUsers(base, settings)
        else:
            self._hands = Service(base, self._rules, settings.limits, way, shared=self._principals.shared)

    @property
    def actions(self) -> Sequence[Action]:
        """``list``, ``read``, ``info``, ``search``, and what may be changed."""
        return self._actions

    async def initialize(self) -> None:
        """See that the folders can be reached as the settings say.

        Raises:
            ConfigurationError: they never can be: no ``/proc``, or no right to become other users.
            DownstreamUnavailable: they cannot be now.
        """
        await self._hands.initialize()

    def principal(self, session: Session) -> str:
        """The session's folder beneath the base, or the operating system's user."""
        return self._principals.of(session).name

    async def health_check(self) -> Health:
        """Open the base; 4 s at most."""
        if await self._hands.answers():
            return Health(healthy=True)
        return Health(healthy=False, message="The file system does not answer.")

    async def destroy(self) -> None:
        """Stop what is at work, and end all threads and processes."""
        await self._hands.close()

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Carry ``call`` out in the folder of ``principal(call.session)``.

        Raises:
            PathRefused, InvalidParameters, PrincipalUnavailable: nothing was looked at.
            DelegationError: as :mod:`.failures` has it.
        """
        who = self._principals.of(call.session)
        if not isinstance(call.parameters, PARAMETERS.get(call.action.name, ())):
            raise UnknownAction
        operation = self._rules.operation(call.action.name, call.parameters)
        return await self._hands.do(call, who, operation)
