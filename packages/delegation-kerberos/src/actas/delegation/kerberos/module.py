"""The delegation module: a name, a ticket, and what is reached with it."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from actas.core.errors import ActasError, ConfigurationError, InvalidParameters, UnknownAction
from actas.core.lending import equipped
from actas.core.models import Action, DelegationCall, DelegationResult, Health, NoParameters, Receipt, Session
from actas.core.shares import Shares
from actas.delegation.kerberos import actions, principals, targets
from actas.delegation.kerberos.caches import supported, sweep
from actas.delegation.kerberos.failures import KdcUnavailable
from actas.delegation.kerberos.gateway import Gateway
from actas.delegation.kerberos.principals import Principal, Principals, realm_of
from actas.delegation.kerberos.services import Service, ServiceMaker, receipt
from actas.delegation.kerberos.settings import KerberosSettings
from actas.delegation.kerberos.smb import smb
from actas.delegation.kerberos.targets import Targets
from actas.delegation.kerberos.tickets import KerberosTicket, Obtainer
from actas.delegation.kerberos.vault import Vault
from actas.delegation.kerberos.web import web
from actas.delegation.kerberos.workers import Workers

SERVICES: tuple[ServiceMaker, ...] = (web, smb)
"""What can be reached with tickets."""
_PROBE_SECONDS = 4.0


class KerberosDelegation:
    """One gateway account in one realm. Lends its users' tickets too (:class:`actas.core.TicketGranter`).

    Raises:
        ConfigurationError: the settings make no sense.
    """

    def __init__(self, settings: KerberosSettings) -> None:
        wrong = [*principals.problems(settings), *targets.problems(settings), *_plain_problems(settings)]
        services = [] if wrong else [made for make in SERVICES if (made := make(settings, wrong)) is not None]
        if wrong:
            raise ConfigurationError(wrong)
        self._settings = settings
        self._principals = Principals(settings)
        self._targets = Targets(settings)
        self._gateway = Gateway(settings.principal, settings.keytab)
        self._workers = Workers(settings.limits.threads, "actas-kerberos")
        realms = frozenset({realm_of(settings.principal), *settings.realms})
        self._vault = Vault(Obtainer(self._gateway, realms), self._workers, settings.limits)
        self._shares = Shares(settings.limits.calls_per_user)
        self._services = services
        self._serving: dict[str, Service] = {action.name: service for service in services for action in service.actions}
        own = actions.actions(settings.permission, self._targets.listed)
        self._actions = (*own, *(action for service in services for action in service.actions))

    @property
    def actions(self) -> Sequence[Action]:
        """``s4u2self``, ``s4u2proxy``, ``delegate`` and those of the services that are configured."""
        return self._actions

    async def initialize(self) -> None:
        """Sign in with the keytab.

        Raises:
            ConfigurationError: there is no keytab that could be read.
            DownstreamUnavailable: the KDC does not answer, or does not take the key.
        """
        if not await asyncio.to_thread(_readable, self._settings.keytab):
            raise ConfigurationError("keytab: the file cannot be read by this process", detail=self._settings.keytab)
        await asyncio.to_thread(sweep)
        await self._signed_in()

    def principal(self, session: Session) -> str:
        """``alice@EXAMPLE.COM``, or the enterprise name.

        Raises:
            PrincipalUnavailable: the session has no name, or none that is one user's in a realm that is configured.
        """
        return self._principals.of(session).name

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Carry out ``call`` as ``principal(call.session)``.

        Raises:
            ActasError: as :mod:`.failures` has it.
        """
        user = self._principals.of(call.session)
        async with self._shares.one_of(call.session):
            service = self._serving.get(call.action.name)
            if service is not None:
                return await self._served(service, call, user)
            match call.action.name, call.parameters:
                case actions.SELF, NoParameters():
                    return await self._known(call, user)
                case actions.PROXY, actions.Proxy(target=target):
                    return await self._reached(call, user, target)
                case actions.DELEGATE, actions.Delegate(action="s4u2proxy", targetSPN=str(target)):
                    return await self._reached(call, user, target)
                case actions.DELEGATE, actions.Delegate(action="s4u2self" | "obtain-ticket", targetSPN=None):
                    return await self._known(call, user)
                case actions.DELEGATE, actions.Delegate():
                    raise InvalidParameters("s4u2proxy needs targetSPN, and only s4u2proxy has one.")
                case _:
                    raise UnknownAction

    async def ticket(self, session: Session, target: str, *, deadline: float) -> KerberosTicket:
        """See :meth:`actas.core.TicketGranter.ticket`.

        Raises:
            ActasError: as :mod:`.failures` has it.
        """
        return await self._vault.ticket(self._principals.of(session), self._targets.found(target), deadline)

    async def discard(self, session: Session, target: str) -> None:
        """See :meth:`actas.core.TicketGranter.discard`."""
        self._vault.discard(self._principals.of(session), self._targets.found(target))

    async def health_check(self) -> Health:
        """Whether the gateway can sign in, now. 4 s at most."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._signed_in()
        except (ActasError, TimeoutError):
            return Health(healthy=False, message="This server cannot sign in to the Kerberos realm.")
        return Health(healthy=True)

    async def destroy(self) -> None:
        """Wipe all tickets and the gateway's own credential."""
        for service in self._services:
            await service.destroy()
        self._vault.close()
        self._gateway.close()
        self._workers.close()

    async def _signed_in(self) -> None:
        """Raises DownstreamUnavailable."""
        try:
            until = time.monotonic() + self._settings.limits.kdc_seconds
            await self._workers.run(self._gateway.sign_in, until, self._gateway)
        except TimeoutError:
            raise KdcUnavailable(detail="the KDC did not answer within limits.kdc_seconds") from None

    async def _served(self, service: Service, call: DelegationCall, user: Principal) -> DelegationResult:
        async def step(presenting: DelegationCall) -> DelegationResult:
            if presenting.tickets is None:
                raise UnknownAction
            return await service.delegate(presenting, user, presenting.tickets)

        return await equipped(step, None, self)(call)

    async def _known(self, call: DelegationCall, user: Principal) -> DelegationResult:
        evidence = await self._vault.evidence(user, call.deadline)
        data = {
            "principal": evidence.principal,
            "expires_at": _iso(evidence.expires_at),
            "forwardable": evidence.forwardable,
        }
        identity = user.name if user.enterprise else evidence.principal
        details = {"kerberos": evidence.principal}
        return DelegationResult(
            data=data, receipt=Receipt(identity=identity, method="kerberos:s4u2self", details=details)
        )

    async def _reached(self, call: DelegationCall, user: Principal, target: str) -> DelegationResult:
        ticket = await self._vault.ticket(user, self._targets.found(target), call.deadline)
        data = {"principal": ticket.principal, "target": ticket.target, "expires_at": _iso(ticket.expires_at)}
        return DelegationResult(data=data, receipt=receipt(user, ticket, "kerberos:s4u2proxy"))


def _plain_problems(settings: KerberosSettings) -> Iterator[str]:
    if not Path(settings.keytab).is_absolute():
        yield "keytab: must be an absolute path"
    for name, value in vars(settings.limits).items():
        if not value > 0:
            yield f"limits.{name}: must be more than 0"
    if not supported():
        yield "the Kerberos library that python's krb5 was built with is not MIT's, 1.20 or newer"
    if not settings.permission:
        yield "permission: missing; nothing is open by itself"


def _readable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
