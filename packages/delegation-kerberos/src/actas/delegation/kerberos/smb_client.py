"""One user's session on one file server: logged in with a ticket, asked whose it is. Blocking: for threads."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from actas.core.errors import ActasError, DownstreamUnavailable, IdentityMismatch
from actas.core.tickets import Ticket
from actas.delegation.kerberos.smb_failures import FileUnsuitable, from_login, from_status, lost, no_context
from actas.delegation.kerberos.smb_library import (
    AuthenticationFailed,
    CreateDisposition,
    Failure,
    ImpersonationLevel,
    KerberosCCache,
    Open,
    Session,
    ShareAccess,
    StatusReturned,
    TreeConnect,
    status_of,
)
from actas.delegation.kerberos.smb_paths import Place
from actas.delegation.kerberos.smb_whoami import account
from actas.delegation.kerberos.smb_wire import SealedConnection

_SHARE_ALL = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE


class UserConnection:
    """Made, :meth:`logged in <log_in>`, used by one call at a time, closed. It is never anybody else's.

    Args:
        server: the file server's host name.
        port: its TCP port.
    """

    def __init__(self, server: str, port: int) -> None:
        self._server = server
        self._wire = SealedConnection(server, port)
        self._session: Any = None  # Any: smbprotocol's
        self._trees: dict[str, Any] = {}
        self.account = ""
        """Who the server says the user is, ``DOMAIN\\name``; empty where it was not asked."""
        self.expires_at = 0.0
        """When the ticket ends, in seconds since the epoch."""

    def log_in(self, ticket: Ticket, *, ask: bool, seconds: float) -> None:
        """Connect and log in with ``ticket``.

        Args:
            ask: have the server say whose session it is.
            seconds: for connecting. All else is ended by :meth:`close`.

        Raises:
            CredentialRejected: the server did not take the ticket.
            IdentityMismatch: it took the ticket for somebody else's.
            DownstreamUnavailable: it does not answer, or has no SMB 3 with encryption.
        """
        try:
            self._wire.open(seconds)
            self._session = self._set_up(ticket)
            if ask:
                domain, name = account(self._session, self._server)
                user = ticket.principal.rpartition("@")[0]
                if name.casefold() != user.casefold():
                    raise IdentityMismatch(detail=f"the file server says {domain}\\{name}, the ticket {user!r}")
                self.account = f"{domain}\\{name}"
            self.expires_at = ticket.expires_at
        except StatusReturned as error:
            self.close()
            raise DownstreamUnavailable(detail=f"asked who the user is, it answered {status_of(error):#010x}") from None
        except BaseException as error:
            self.close()
            if isinstance(error, Exception):
                raise lost(error) from None
            raise

    def _set_up(self, ticket: Ticket) -> Any:
        with ticket.cache_file() as cache:
            user = KerberosCCache(f"FILE:{cache}", ticket.principal)
            session = Session(self._wire, username=user, require_encryption=True, auth_protocol="kerberos")
            try:
                session.connect()
            except StatusReturned as error:
                raise from_login(status_of(error)) from None
            except AuthenticationFailed as error:
                raise no_context(error) from None
        self._wire.verify_login(session.session_id)
        return session

    @contextmanager
    def opened(self, place: Place, access: int, options: int, contexts: list[Any] | None = None) -> Generator[Any]:
        """``place``, opened; with what the server answered to ``contexts`` as the attribute ``answers``.

        Raises:
            ActasError: the server refused that, or what is done inside.
        """
        try:
            opened = Open(self._tree(place), place.inside)
            answers = opened.create(
                ImpersonationLevel.Impersonation,
                access,
                0,
                _SHARE_ALL,
                CreateDisposition.FILE_OPEN,
                options,
                create_contexts=contexts,
            )
            opened.answers = answers or []
            try:
                yield opened
            finally:
                with suppress(Failure):
                    opened.close()
        except StatusReturned as error:
            told = from_status(status_of(error))
            if isinstance(told, DownstreamUnavailable):
                self.close()  # the session or the share is gone on the server: of no use to the next call
            raise told from None
        except ActasError:
            raise
        except Exception as error:  # a server that makes no sense breaks smbprotocol in many ways
            self.close()
            raise lost(error) from None

    def _tree(self, place: Place) -> Any:
        share = place.share.share
        tree = self._trees.get(share)
        if tree is None:
            tree = TreeConnect(self._session, rf"\\{self._server}\{share}")
            tree.connect()
            if tree.is_dfs_share:
                tree.disconnect()
                raise FileUnsuitable("This share only refers to others, and they are not followed.")
            self._trees[share] = tree
        return tree

    @property
    def usable(self) -> bool:
        """Whether another call may use it."""
        return self._wire.usable

    def close(self) -> None:
        """End it, from any thread and at any time: what waits for the server gets an error. Never blocks."""
        self._wire.end()
