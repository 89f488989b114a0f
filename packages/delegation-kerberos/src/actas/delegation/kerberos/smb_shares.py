"""Files on SMB shares as the user: what the Kerberos module does besides, where its settings list shares.

The order of a call: judge the path; get the user's ticket for that server; a session of the user's own there, whose
identity the server itself has said; one thing read.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from actas.core import Action, DelegationCall, DelegationResult, Receipt, Ticket, TicketGranter
from actas.core.errors import ConfigurationError, CredentialRejected, InvalidParameters, UnknownAction
from actas.delegation.kerberos.smb_actions import FileInfo, ListDirectory, ReadFile, actions
from actas.delegation.kerberos.smb_checks import problems
from actas.delegation.kerberos.smb_client import UserConnection
from actas.delegation.kerberos.smb_files import facts, list_folder, read, shown
from actas.delegation.kerberos.smb_paths import Place, locate
from actas.delegation.kerberos.smb_pool import Owner, SharePool
from actas.delegation.kerberos.smb_settings import SmbSettings

T = TypeVar("T")
_MOST_ENTRIES_SKIPPED = 100_000
_LARGEST_FILE = 2**63 - 1


class FileShares:
    """The shares of one module.

    Args:
        settings: which, and how much of them.
        tickets: where the users' tickets come from: the module itself.

    Raises:
        ConfigurationError: the settings make no sense.
    """

    def __init__(self, settings: SmbSettings, tickets: TicketGranter) -> None:
        wrong = problems(settings)
        if wrong:
            raise ConfigurationError(wrong)
        self._settings = settings
        self._tickets = tickets
        self._pool = SharePool(settings.pool)
        self._actions = actions(settings)

    @property
    def actions(self) -> Sequence[Action]:
        """``list-directory``, ``read-file`` and ``file-info``."""
        return self._actions

    @property
    def targets(self) -> frozenset[str]:
        """The services that it needs tickets for: ``cifs/files.example.com``."""
        return frozenset(_target(share.server) for share in self._settings.allow)

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Carry out one of :attr:`actions` as the session's user.

        Raises:
            UnknownAction: it is none of them.
            PathRefused, InvalidParameters: before anything was sent.
            CredentialRejected, IdentityMismatch: the file server does not know the user as himself.
            ActasError: what the tickets' source or the file server refuse.
        """
        match call.parameters:
            case ListDirectory() as asked:
                return await self._list(call, asked)
            case ReadFile() as asked:
                return await self._read(call, asked)
            case FileInfo() as asked:
                place = self._place(asked.path)
                found, receipt = await self._run(call, place, lambda connection: facts(connection, place))
                return _result(place, receipt, found)
            case _:
                raise UnknownAction

    async def destroy(self) -> None:
        """Close all connections. May be called twice."""
        await self._pool.close()

    async def _list(self, call: DelegationCall, asked: ListDirectory) -> DelegationResult:
        place, most = self._place(asked.path), self._settings.limits.entries
        _between("limit", asked.limit, 1, most)
        _between("offset", asked.offset, 0, _MOST_ENTRIES_SKIPPED)

        def work(connection: UserConnection) -> dict[str, object]:
            return list_folder(connection, place, hidden=asked.include_hidden, skip=asked.offset, most=asked.limit)

        found, receipt = await self._run(call, place, work)
        return _result(place, receipt, found)

    async def _read(self, call: DelegationCall, asked: ReadFile) -> DelegationResult:
        place, most = self._place(asked.path), self._settings.limits.bytes
        _between("max_bytes", asked.max_bytes, 1, most)
        _between("offset", asked.offset, 0, _LARGEST_FILE - most)

        def work(connection: UserConnection) -> dict[str, object]:
            part = read(connection, place, offset=asked.offset, most=asked.max_bytes)
            contents, length = shown(part, asked.encoding, asked.offset)
            end = asked.offset + length
            more = end < part.size and length > 0
            return {
                "size": part.size,
                "modified": part.modified,
                "encoding": asked.encoding,
                "offset": asked.offset,
                "contents": contents,
                "truncated": more,
                "next_offset": end if more else None,
            }

        found, receipt = await self._run(call, place, work)
        return _result(place, receipt, found)

    def _place(self, path: str) -> Place:
        return locate(path, self._settings.allow)

    async def _run(self, call: DelegationCall, place: Place, work: Callable[[UserConnection], T]) -> tuple[T, Receipt]:
        try:
            return await self._attempt(call, place, work)
        except CredentialRejected:
            # The service's key may have been changed since the ticket was made: once more, with a new one.
            await self._tickets.discard(call.session, _target(place.share.server))
            return await self._attempt(call, place, work)

    async def _attempt(
        self, call: DelegationCall, place: Place, work: Callable[[UserConnection], T]
    ) -> tuple[T, Receipt]:
        # Also where a connection is kept: whom the module no longer gives a ticket has no use of it either.
        ticket = await self._tickets.ticket(call.session, _target(place.share.server), deadline=call.deadline)
        ask = self._settings.identity == "server"

        def log_in(connection: UserConnection) -> None:
            connection.log_in(ticket, ask=ask, seconds=max(0.1, call.remaining(time.monotonic())))

        owner = Owner(ticket.principal, place.share.server, place.share.port)
        found, connection = await self._pool.run(owner, log_in, work, call.deadline)
        return found, _receipt(ticket, connection)


def _receipt(ticket: Ticket, connection: UserConnection) -> Receipt:
    details = {"kerberos": ticket.principal, "target": ticket.target}
    if connection.account:
        details["account"] = connection.account
    return Receipt(identity=ticket.principal, method="s4u2proxy:smb", details=details)


def _result(place: Place, receipt: Receipt, found: dict[str, object]) -> DelegationResult:
    where: dict[str, object] = {"path": place.path, "server": place.share.server, "share": place.share.share}
    return DelegationResult(data={**where, **found, "authenticated_as": receipt.identity}, receipt=receipt)


def _target(server: str) -> str:
    return f"cifs/{server.lower()}"


def _between(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidParameters(f"{name}: must be {least} to {most}.")
