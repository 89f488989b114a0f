"""A KDC, a file server and the shares of a module, with tickets that python-gssapi obtained by S4U2Self and S4U2Proxy.

The tickets come from a source that is as small as can be, so that what is tried here is the shares alone.
"""

import os
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import gssapi
import krb5

from actas.core import DelegationCall, DelegationResult, Session
from actas.core.errors import DelegationRefused
from actas.core.models import new_id
from actas.delegation.kerberos.smb_settings import SharePoolSettings, ShareSettings, SmbSettings
from actas.delegation.kerberos.smb_shares import FileShares
from actas.mcp.schema import validate_parameters
from actas.testing.kdc import KerberosRealm
from actas.testing.samba import SambaServer

GATEWAY = "gateway/mcp.example.com"
ALICE = Session(
    issuer="https://idp.example",
    subject="alice",
    username="alice",
    legacy_username="alice",
    provider="test",
    permissions=frozenset({"kerberos:files"}),
)
BOB = replace(ALICE, subject="bob", username="bob", legacy_username="bob")


def user(name: str) -> Session:
    return replace(ALICE, subject=name, username=name, legacy_username=name)


@dataclass(frozen=True)
class LabTicket:
    principal: str
    target: str
    expires_at: float
    credentials: Any = field(repr=False)

    def gss_credentials(self) -> object:
        return self.credentials

    @contextmanager
    def cache_file(self) -> Generator[Path]:
        handle, name = mkstemp(dir="/dev/shm")
        os.close(handle)
        context = krb5.init_context()
        whole = krb5.cc_new_unique(context, b"MEMORY")
        self.credentials.store(
            store={"ccache": f"MEMORY:{whole.name.decode()}"}, usage="initiate", overwrite=True, set_default=False
        )
        alone = krb5.cc_resolve(context, f"FILE:{name}".encode())
        krb5.cc_initialize(context, alone, whole.principal)
        for credential in whole:
            if str(credential.server) == self.target:
                krb5.cc_store_cred(context, alone, credential)
        krb5.cc_destroy(context, whole)
        try:
            yield Path(name)
        finally:
            os.unlink(name)


class LabTickets:
    """S4U2Self and S4U2Proxy, each time anew; ``refused`` users get none."""

    def __init__(self, realm: KerberosRealm, keytab: Path) -> None:
        self._realm, self._keytab = realm, keytab
        self.refused: set[str] = set()
        self.discarded: list[str] = []
        self.asked = 0

    async def ticket(self, session: Session, target: str, *, deadline: float) -> LabTicket:
        self.asked += 1
        name = session.legacy_username or ""
        if name in self.refused:
            raise DelegationRefused(detail="refused by the test")
        return self.obtain(name, target)

    async def discard(self, session: Session, target: str) -> None:
        self.discarded.append(target)

    def obtain(self, user: str, target: str) -> LabTicket:
        kinds = gssapi.NameType.kerberos_principal
        mechs = [gssapi.MechType.kerberos]
        keytab = str(self._keytab)
        own = gssapi.Credentials(
            name=gssapi.Name(self._realm.principal(GATEWAY), kinds),
            usage="both",
            mechs=mechs,
            store={"client_keytab": keytab, "keytab": keytab, "ccache": f"MEMORY:{new_id()}"},
        )
        principal, whole = self._realm.principal(user), self._realm.principal(target)
        users = own.impersonate(gssapi.Name(principal, kinds), mechs=mechs)
        gssapi.SecurityContext(name=gssapi.Name(whole, kinds), creds=users, usage="initiate", mech=mechs[0]).step()
        return LabTicket(principal, whole, time.time() + 600, users)


class Stage:
    """Ask with :meth:`call`."""

    def __init__(self, server: SambaServer, tickets: LabTickets, **settings: Any) -> None:
        self.server, self.tickets = server, tickets
        allow = settings.pop("allow", None) or [ShareSettings(server="localhost", share="files", port=server.port)]
        self.shares = FileShares(SmbSettings(allow=allow, **settings), tickets)

    def ask(self, session: Session, action: str, seconds: float = 20.0, **parameters: Any) -> DelegationCall:
        declared = next(each for each in self.shares.actions if each.name == action)
        given: Mapping[str, Any] = {"path": "//localhost/files/", **parameters}
        return DelegationCall(
            session=session,
            action=declared,
            parameters=validate_parameters(declared, given),
            deadline=time.monotonic() + seconds,
            request_id=new_id(),
        )

    async def call(self, session: Session, action: str, seconds: float = 20.0, **parameters: Any) -> DelegationResult:
        return await self.shares.delegate(self.ask(session, action, seconds, **parameters))

    async def data(self, session: Session, action: str, path: str = "", **parameters: Any) -> dict[str, Any]:
        result = await self.call(session, action, path=f"//localhost/files/{path}", **parameters)
        assert isinstance(result.data, dict)
        assert result.receipt.identity == f"{session.legacy_username}@EXAMPLE.COM"
        return result.data


@asynccontextmanager
async def other_server(realm: KerberosRealm, lines: str) -> AsyncGenerator[SambaServer]:
    """A server of the test's own, on the same principal with the same key."""
    server = SambaServer(realm, lines=lines)
    server.add_users("alice", "bob")
    with server:
        yield server


__all__ = [
    "ALICE",
    "BOB",
    "GATEWAY",
    "LabTickets",
    "SharePoolSettings",
    "ShareSettings",
    "Stage",
    "other_server",
    "user",
]
