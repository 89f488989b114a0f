"""Who lends tickets where no module for Kerberos is at hand: users who typed their passwords, at a real KDC."""

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from actas.core.errors import DownstreamUnavailable, PrincipalUnavailable
from actas.core.models import Session
from actas.core.tickets import Ticket
from actas.testing.kdc import KerberosRealm


@dataclass(frozen=True)
class TypedTicket:
    """A ticket that the KDC gave for a password: alone in its cache, without one that could get others."""

    principal: str
    target: str
    cache: bytes
    folder: Path
    expires_at: float = float("inf")

    def gss_credentials(self) -> object:
        import gssapi

        with self.cache_file() as file:
            return gssapi.Credentials(usage="initiate", store={"ccache": f"FILE:{file}"})

    @contextmanager
    def cache_file(self) -> Generator[Path]:
        with TemporaryDirectory(dir=self.folder) as own:
            file = Path(own) / "cc"
            file.write_bytes(self.cache)
            file.chmod(0o600)
            yield file


@dataclass
class TypedTickets:
    """A TicketGranter. ``change`` may put something else in a ticket's place; ``folder`` has the files while they are
    there."""

    realm: KerberosRealm
    folder: Path
    change: Callable[[TypedTicket], Ticket] = lambda ticket: ticket
    asked: list[tuple[str, str]] = field(default_factory=list)
    discarded: list[tuple[str, str]] = field(default_factory=list)
    known: dict[tuple[str, str], TypedTicket] = field(default_factory=dict)
    turn: AbstractContextManager[bool] = field(default_factory=threading.Lock)

    async def ticket(self, session: Session, target: str, *, deadline: float) -> Ticket:
        assert session.legacy_username
        key = (session.legacy_username.rpartition("\\")[2], target)
        self.asked.append(key)
        if key not in self.known:
            self.known[key] = await asyncio.to_thread(self._typed, *key)
        return self.change(self.known[key])

    async def discard(self, session: Session, target: str) -> None:
        assert session.legacy_username
        key = (session.legacy_username.rpartition("\\")[2], target)
        self.discarded.append(key)
        del self.known[key]

    def _typed(self, user: str, target: str) -> TypedTicket:
        with self.turn:
            try:
                cache = self.realm.sign_in(user, flags=f"-S {target}")
            except RuntimeError as error:
                if "not found in Kerberos database" in str(error):
                    raise PrincipalUnavailable(detail=str(error)) from None
                raise DownstreamUnavailable(detail=str(error)) from None
            return TypedTicket(
                self.realm.principal(user), self.realm.principal(target), cache.read_bytes(), self.folder
            )
