"""The delegation module: parameters, a conversation as the user, what the directory says, a receipt."""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from actas.core.errors import (
    ConfigurationError,
    DelegationError,
    DownstreamUnavailable,
    InvalidParameters,
    UnknownAction,
)
from actas.core.models import Action, DelegationCall, DelegationResult, Health, Receipt, Session
from actas.core.shares import Shares
from actas.delegation.ldap import entries, library, memberships, messages
from actas.delegation.ldap.actions import ChangeOwn, Compare, Groups, Modify, Read, Search, WhoAmI, actions
from actas.delegation.ldap.allowlists import AllowLists
from actas.delegation.ldap.checks import servers
from actas.delegation.ldap.connections import Connections
from actas.delegation.ldap.conversation import PROOFS, Conversation
from actas.delegation.ldap.cursors import Cursors
from actas.delegation.ldap.failures import ConnectionLost, NothingDone, ServerAway
from actas.delegation.ldap.filter_structures import structured
from actas.delegation.ldap.filter_texts import parsed as parsed_filter
from actas.delegation.ldap.identities import Entrance, Identities
from actas.delegation.ldap.link import Link
from actas.delegation.ldap.names import Name
from actas.delegation.ldap.names import parsed as parsed_name
from actas.delegation.ldap.principals import Principals, Template
from actas.delegation.ldap.probe import Probe
from actas.delegation.ldap.searches import Found, Wanted, search
from actas.delegation.ldap.servers import Choice, Server
from actas.delegation.ldap.settings import LdapSettings

T = TypeVar("T")
Work = Callable[[Conversation], object]

_SCOPES = {"base": messages.BASE, "one_level": messages.ONE_LEVEL, "subtree": messages.SUBTREE}
_PROBE_SECONDS = 3.0
_WIRE = 4
"""Bytes that may come for each byte of the result: names, what is not returned, and binary values."""


class LdapDelegation:
    """One directory in which every call is made as the user who made it.

    Raises:
        ConfigurationError: the settings make no sense, or a file cannot be used.
    """

    def __init__(self, settings: LdapSettings) -> None:
        found = servers(settings)
        self._settings = settings
        self._actions = actions(settings)
        self._principals = Principals(settings)
        self._own_is_known = Template(settings.authzid).is_name
        self._allowed = AllowLists(settings)
        self._context = _context(settings)
        self._identities = Identities(settings, self._principals, self._context)
        self._proof = PROOFS[settings.proof]()
        self._choice = Choice(found)
        self._pool = Connections(settings.pool)
        self._shares = Shares(settings.limits.calls_per_user)
        self._cursors = Cursors(settings.cursor_key, [*settings.urls, settings.authzid])

    @property
    def actions(self) -> Sequence[Action]:
        """Reading ones; where they are allowed, ``modify`` and ``change-password`` too."""
        return self._actions

    async def initialize(self) -> None:
        """See that the directory switches to a user who exists and to no other; for ``kerberos``, that it is there.

        Raises:
            ConfigurationError: it does not, with the exact words to write there.
            DownstreamUnavailable: no server answers, can be verified and lets the gateway in.
        """
        last: DelegationError = ServerAway(detail="there is no server")
        for server in self._choice.in_order():
            try:
                await asyncio.to_thread(self._prove, server)
            except DelegationError as error:
                last = error
            else:
                self._choice.was_good(server)
                return
        raise ServerAway(detail=f"{last.code}: {last.detail}")

    def _prove(self, server: Server) -> None:
        if self._settings.identity == "kerberos":  # whose tickets there are is known when somebody calls
            library.reach(server, self._context, self._settings.pool.connect_seconds)
        else:
            Probe(self._settings, self._principals, self._identities, self._proof).run(server)

    def principal(self, session: Session) -> str:
        """What the directory calls the session's user: ``dn:…`` or ``u:…`` (RFC 4513 section 5.2.1.8)."""
        return self._principals.of(session)

    async def health_check(self) -> Health:
        """See whether a server takes connections. Is let in as nobody; 3 s at most."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                for server in self._choice.in_order():
                    if await _listens(server):
                        return Health(healthy=True)
        except TimeoutError:
            pass
        return Health(healthy=False, message="The directory does not answer.")

    async def destroy(self) -> None:
        """Close all connections; what runs is closed when it ends."""
        await self._pool.close()

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Carry out the call as ``principal(call.session)``.

        Raises:
            InvalidParameters, AccessRefused, PrincipalUnavailable, PoolExhausted: nothing was asked.
            ServerAway: no server is there, or lets the gateway in.
            CredentialRejected: the directory did not take the user's ticket, and did nothing.
            AssumptionRefused, IdentityMismatch: the directory does not see the user.
            DelegationError: as :mod:`.failures` has it.
        """
        principal = self.principal(call.session)
        work = self._work(call, principal)
        reads = not isinstance(call.parameters, Modify | ChangeOwn)
        deadline = min(call.deadline, time.monotonic() + self._settings.limits.seconds)
        async with self._shares.one_of(call.session):
            data, entrance = await self._carried_out(call, principal, work, deadline, reads=reads)
        receipt = Receipt(identity=principal, method=self._settings.identity, details=entrance.details)
        return DelegationResult(data=data, receipt=receipt)

    async def _carried_out(
        self, call: DelegationCall, principal: str, work: Work, deadline: float, *, reads: bool
    ) -> tuple[object, Entrance]:
        """``work`` on the first server that is there; once more where an old link was dead and nothing can have
        happened."""
        last: DownstreamUnavailable = ServerAway(detail="there is no server")
        for server in self._choice.in_order():
            entrance = await self._identities.entrance(call, server)

            def on(link: Link, entrance: Entrance = entrance) -> object:
                limits = self._settings.limits
                return work(
                    Conversation(link, principal, entrance.controls, self._proof, deadline, _WIRE * limits.bytes)
                )

            for fresh in (False, True):
                try:
                    data = await self._pool.run(entrance.owner, entrance.open, on, deadline, fresh=fresh)
                except ServerAway as error:
                    last = error
                    break
                except ConnectionLost as error:
                    last = error
                    if not reads and not isinstance(error, NothingDone):
                        raise
                else:
                    self._choice.was_good(server)
                    return data, entrance
        raise last

    def _work(self, call: DelegationCall, principal: str) -> Work:
        """What to do in a thread, when everything that can be refused before was not."""
        given, allowed = call.parameters, self._allowed
        match given:
            case Search():
                return self._searching(call, given, principal)
            case Read():
                name, attributes = self._entry(given.entry, principal), allowed.attributes(given.attributes)
                return lambda talk: entries.read(talk, name, attributes, allowed)
            case Compare():
                allowed.comparable(given.attribute)
                name = allowed.base(given.entry)
                return lambda talk: {"equal": entries.compare(talk, name, given.attribute, given.value)}
            case Groups():
                name, base = self._entry(given.entry, principal), allowed.base(self._settings.groups.base)
                groups = self._settings.groups
                return lambda talk: memberships.groups_of(talk, name, base, groups, allowed, nested=given.nested)
            case WhoAmI():
                return lambda talk: _seen(talk)
            case Modify():
                allowed.writable([change.attribute for change in given.changes])
                name = self._entry(given.entry, principal)
                return lambda talk: entries.modify(talk, name, given.changes)
            case ChangeOwn():
                return lambda talk: entries.change_password(talk, given.old, given.new)
            case _:
                raise UnknownAction

    def _entry(self, written: str | None, principal: str) -> Name:
        if written is not None:
            return self._allowed.base(written)
        if not self._own_is_known:
            raise InvalidParameters("entry: say which. Find your own with search.")
        return parsed_name(principal.partition(":")[2])

    def _searching(self, call: DelegationCall, given: Search, principal: str) -> Work:
        limits, allowed = self._settings.limits, self._allowed
        what = parsed_filter(given.filter) if isinstance(given.filter, str) else structured(given.filter)
        allowed.filter(what)
        if not 1 <= given.limit <= limits.entries:
            raise InvalidParameters(f"limit: must be 1 to {limits.entries}.")
        base, attributes = allowed.base(given.base), allowed.attributes(given.attributes)

        def about() -> list[object]:
            who = [call.session.issuer, call.session.subject, principal]
            return [*who, str(base), given.scope, attributes, repr(what)]

        passed_over = 0 if given.cursor is None else self._cursors.entries(given.cursor, about())
        wanted = Wanted(base, _SCOPES[given.scope], what, attributes, given.limit, passed_over)
        return lambda talk: self._shown(search(talk, wanted, allowed, limits), about)

    def _shown(self, found: Found, about: Callable[[], Sequence[object]]) -> dict[str, object]:
        data: dict[str, object] = {"entries": found.entries, "count": len(found.entries), "truncated": found.more}
        if found.more:
            data["cursor"] = self._cursors.after(found.seen, about())
            data["notice"] = "There is more: use a narrower filter, or send the same again with this cursor."
        if found.elsewhere:
            data["elsewhere"] = "A part of the directory is on another server and was left out."
        return data


def _context(settings: LdapSettings) -> ssl.SSLContext:
    files = settings.certificate
    try:
        return library.tls_context(settings.ca_file, (files.certificate, files.key) if files else None)
    except OSError as error:
        raise ConfigurationError(
            "ca_file, certificate: one of the files cannot be read, or is not PEM", detail=str(error)
        ) from None


async def _listens(server: Server) -> bool:
    try:
        if server.local:
            _, writer = await asyncio.open_unix_connection(server.host)
        else:
            _, writer = await asyncio.open_connection(server.host, server.port)
    except OSError:
        return False
    writer.close()
    return True


def _seen(talk: Conversation) -> dict[str, object]:
    talk.prove()
    return {"seen_as": talk.principal}
