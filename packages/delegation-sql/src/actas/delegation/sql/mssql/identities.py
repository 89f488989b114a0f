"""The two ways in which SQL Server learns who the user is: what each opens, what each sends, and what it must hear."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from actas.core.errors import PrincipalUnavailable
from actas.core.models import DelegationCall, Session
from actas.delegation.sql.mssql.batch import Bound, batch, own_batch
from actas.delegation.sql.mssql.driver import Answer, Connection, Driver
from actas.delegation.sql.mssql.settings import MssqlServiceSettings, MssqlSettings
from actas.delegation.sql.mssql.ticket_driver import TicketDriver

Open = Callable[[], Connection]
"""Logs in, in a thread: it blocks."""


class Identity(Protocol):
    """One way."""

    method: str
    """How the identity was had, for the receipt."""

    def owner(self, principal: str, session: Session) -> str:
        """Whose connections those are that serve ``session``'s calls: they serve nobody else's."""
        ...

    def opening(self, call: DelegationCall) -> Callable[[], Awaitable[Open]]:
        """Gets what is needed to log in for ``call``; asked only where no connection is left."""
        ...

    def batch(self, principal: str, text: str, bound: Bound, mark: str) -> str:
        """The one batch of a call. See :mod:`.batch`."""
        ...

    def login(self, principal: str) -> str:
        """Whose the session must be when the batch has ended."""
        ...

    def seen(self, answer: Answer) -> str:
        """Whom the server saw while the statement ran, as it said itself."""
        ...


def identity_of(settings: MssqlSettings, driver: Driver) -> Identity:
    """The way that the settings name."""
    if settings.service is not None:
        return Impersonation(settings, settings.service, driver)
    return IntegratedLogin(settings, driver)


class Impersonation:
    """A service logs in, and each batch takes the user's identity and gives it back."""

    def __init__(self, settings: MssqlSettings, service: MssqlServiceSettings, driver: Driver) -> None:
        self._taken = settings.impersonate
        self._service = service
        self._driver = driver
        self.method = f"execute_as_{settings.impersonate}"

    def owner(self, principal: str, session: Session) -> str:
        """Whoever has the name."""
        return principal

    def opening(self, call: DelegationCall) -> Callable[[], Awaitable[Open]]:
        """Nothing of the call's is needed."""
        return self._opening

    async def _opening(self) -> Open:
        return self._open

    def _open(self) -> Connection:
        return self._driver.open(self._service)

    def batch(self, principal: str, text: str, bound: Bound, mark: str) -> str:
        """``EXECUTE AS … WITH COOKIE``."""
        return batch(principal, text, bound, impersonate=self._taken, mark=mark)

    def login(self, principal: str) -> str:
        """The service's."""
        return self._service.login

    def seen(self, answer: Answer) -> str:
        """The user in the database, or the login."""
        return answer.user if self._taken == "user" else answer.login


class IntegratedLogin:
    """The user's own Kerberos ticket logs in; the session is the user's from its beginning to its end.

    Raises:
        ConfigurationError: this FreeTDS has no GSSAPI.
    """

    def __init__(self, settings: MssqlSettings, driver: Driver) -> None:
        self._target = f"MSSQLSvc/{settings.host.lower()}:{settings.port}"
        self._driver = TicketDriver(settings, driver)
        self.method = "login:kerberos"

    def owner(self, principal: str, session: Session) -> str:
        """The session's user alone, whoever else has the name."""
        return "\0".join((principal, session.issuer, session.subject))

    def opening(self, call: DelegationCall) -> Callable[[], Awaitable[Open]]:
        """A ticket for the server. Raises PrincipalUnavailable where there are none to be had."""
        tickets = call.tickets
        if tickets is None:
            raise PrincipalUnavailable(detail="identity = integrated needs tickets_from, which this module lacks")

        async def opening() -> Open:
            ticket = await tickets.obtain(self._target)
            return lambda: self._driver.open(ticket)

        return opening

    def batch(self, principal: str, text: str, bound: Bound, mark: str) -> str:
        """Nothing is taken."""
        return own_batch(principal, text, bound, mark=mark)

    def login(self, principal: str) -> str:
        """The user's own."""
        return principal

    def seen(self, answer: Answer) -> str:
        """The login."""
        return answer.login
