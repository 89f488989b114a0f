"""Real tickets of users who typed no password (S4U2Self and S4U2Proxy), without the module that would lend them."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import gssapi

from actas.core import DelegationRefused, Session, Ticket
from actas.testing.kdc import KerberosRealm

GATEWAY = "gateway/mcp.example.com"
DIRECTORY = "ldap/localhost"


@dataclass
class UserTicket:
    """As :class:`actas.core.Ticket` says."""

    principal: str
    target: str
    expires_at: float
    gss_credentials: Callable[[], object] = field(repr=False)

    def cache_file(self) -> AbstractContextManager[Path]:
        raise NotImplementedError


@dataclass
class Granter:
    """Acts as the gateway of ``realm``."""

    realm: KerberosRealm
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    discarded: int = 0
    lifetime: float = 600.0
    as_somebody_else: str | None = None
    cache: str = field(default_factory=lambda: uuid4().hex)

    async def ticket(self, session: Session, target: str, *, deadline: float) -> Ticket:
        who = self.as_somebody_else or session.legacy_username or ""
        self.asked.append((who, target))
        await asyncio.to_thread(self._impersonated, who)
        if target != DIRECTORY:
            raise DelegationRefused(detail="not on the list")
        return UserTicket(
            f"{who}@{self.realm.realm}", target, time.time() + self.lifetime, lambda: self._impersonated(who)
        )

    async def discard(self, session: Session, target: str) -> None:
        self.discarded += 1

    def _impersonated(self, who: str) -> object:
        kerberos = [gssapi.MechType.kerberos]
        keytab = str(self.realm.keytab(GATEWAY))
        mine = gssapi.Credentials(
            name=gssapi.Name(GATEWAY, gssapi.NameType.kerberos_principal),
            usage="both",
            mechs=kerberos,
            store={"client_keytab": keytab, "keytab": keytab, "ccache": f"MEMORY:{self.cache}"},
        )
        return mine.impersonate(gssapi.Name(who, gssapi.NameType.user), mechs=kerberos)
