"""Files on SMB shares as the user: what the Kerberos module does besides, where its settings list shares.

The order of a call: judge the path; get the user's ticket for that server; a session of the user's own there, whose
identity the server itself has said; one thing read.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from actas.core.errors import InvalidParameters, UnknownAction
from actas.core.models import Action, DelegationCall, DelegationResult, Receipt
from actas.core.tickets import Tickets
from actas.delegation.kerberos.principals import Principal
from actas.delegation.kerberos.services import receipt
from actas.delegation.kerberos.smb_actions import FileInfo, ListDirectory, ReadFile, actions
from actas.delegation.kerberos.smb_checks import target_of
from actas.delegation.kerberos.smb_client import UserConnection
from actas.delegation.kerberos.smb_files import facts, list_folder, read
from actas.delegation.kerberos.smb_paths import Place, locate
from actas.delegation.kerberos.smb_pool import Owner, SharePool
from actas.delegation.kerberos.smb_settings import SmbSettings

Work = Callable[[UserConnection], dict[str, object]]
_MOST_ENTRIES_SKIPPED = 100_000
_LARGEST_FILE = 2**63 - 1


class FileShares:
    """The shares of one module: a :class:`~.services.Service`.

    Settings with :func:`~.smb_checks.problems` make no sense; they are looked for first.
    """

    def __init__(self, settings: SmbSettings) -> None:
        self._settings = settings
        self._pool = SharePool(settings.pool)
        self._actions = actions(settings)

    @property
    def actions(self) -> Sequence[Action]:
        """``list-directory``, ``read-file`` and ``file-info``."""
        return self._actions

    async def delegate(self, call: DelegationCall, principal: Principal, tickets: Tickets) -> DelegationResult:
        """Carry out one of :attr:`actions` as ``principal``.

        Raises:
            PathRefused, InvalidParameters: before anything was sent.
            CredentialRejected: the file server did not take the ticket.
            IdentityMismatch: it took it for somebody else's.
            ActasError: whatever else went wrong, or was refused.
        """
        match call.parameters:
            case ListDirectory(path=path) as asked:
                place, work = self._list(path, asked)
            case ReadFile(path=path) as asked:
                place, work = self._read(path, asked)
            case FileInfo(path=path):
                place = locate(path, self._settings.allow)
                work = partial(facts, place=place)
            case _:
                raise UnknownAction
        # Also where a connection is kept: who is given no ticket any more has no use of it either.
        ticket = await tickets.obtain(target_of(place.share))
        ask = self._settings.identity == "server"

        def log_in(connection: UserConnection) -> None:
            connection.log_in(ticket, ask=ask, seconds=max(0.1, call.remaining(time.monotonic())))

        owner = Owner(ticket.principal, place.share.server.lower(), place.share.port)
        found, connection = await self._pool.run(owner, log_in, work, call.deadline)
        account = {"account": connection.account} if connection.account else {}
        return _result(place, found, receipt(principal, ticket, "kerberos:smb", **account))

    async def destroy(self) -> None:
        """Close all connections. May be called twice."""
        await self._pool.close()

    def _list(self, path: str, asked: ListDirectory) -> tuple[Place, Work]:
        _between("limit", asked.limit, 1, self._settings.limits.entries)
        _between("offset", asked.offset, 0, _MOST_ENTRIES_SKIPPED)
        place = locate(path, self._settings.allow)
        work = partial(list_folder, place=place, hidden=asked.includeHidden, skip=asked.offset, most=asked.limit)
        return place, work

    def _read(self, path: str, asked: ReadFile) -> tuple[Place, Work]:
        _between("maxBytes", asked.maxBytes, 1, self._settings.limits.bytes)
        _between("offset", asked.offset, 0, _LARGEST_FILE - asked.maxBytes)
        place = locate(path, self._settings.allow)
        work = partial(read, place=place, offset=asked.offset, most=asked.maxBytes, encoding=asked.encoding)
        return place, work


def _result(place: Place, found: dict[str, object], proof: Receipt) -> DelegationResult:
    where: dict[str, object] = {"path": place.path, "server": place.share.server, "share": place.share.share}
    return DelegationResult(data={**where, **found, "authenticated_as": proof.identity}, receipt=proof)


def _between(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidParameters(f"{name}: must be {least} to {most}.")
