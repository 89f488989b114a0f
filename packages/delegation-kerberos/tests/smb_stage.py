"""A file server, and the module with its shares."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from kerberos_stage import ALICE as OTHER_ALICE
from kerberos_stage import GATEWAY, settings_for

from actas.core import DelegationCall, DelegationResult, Session
from actas.core.models import new_id
from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.smb_settings import SharePoolSettings, ShareSettings, SmbSettings
from actas.mcp.schema import validate_parameters
from actas.testing.fixtures import needed_in_ci
from actas.testing.kdc import KerberosRealm
from actas.testing.samba import SambaServer

ALICE = replace(OTHER_ALICE, permissions=frozenset({"kerberos:files"}))


def user(name: str) -> Session:
    return replace(ALICE, subject=f"id-of-{name}", username=name, legacy_username=name)


BOB = user("bob")


class Stage:
    """Ask with :meth:`call`; :meth:`data` also looks at the receipt."""

    def __init__(self, realm: KerberosRealm, server: SambaServer, **smb: Any) -> None:
        realm.allow(GATEWAY, server.service)
        self.realm, self.server = realm, server
        smb.setdefault("allow", [ShareSettings(server="localhost", share="files", port=server.port)])
        self.settings = settings_for(realm, targets=[server.service], smb=SmbSettings(**smb))
        self.module = KerberosDelegation(self.settings)

    @property
    def pool(self) -> Any:
        (service,) = self.module._services
        return service._pool

    def ask(self, session: Session, action: str, seconds: float = 20.0, **parameters: Any) -> DelegationCall:
        declared = next(each for each in self.module.actions if each.name == action)
        given: Mapping[str, Any] = {"path": "//localhost/files/", **parameters}
        return DelegationCall(
            session=session,
            action=declared,
            parameters=validate_parameters(declared, given),
            deadline=time.monotonic() + seconds,
            request_id=new_id(),
        )

    async def call(self, session: Session, action: str, seconds: float = 20.0, **parameters: Any) -> DelegationResult:
        return await self.module.delegate(self.ask(session, action, seconds, **parameters))

    async def data(self, session: Session, action: str, path: str = "", **parameters: Any) -> dict[str, Any]:
        result = await self.call(session, action, path=f"//localhost/files/{path}", **parameters)
        assert isinstance(result.data, dict)
        assert result.receipt.identity == f"{session.legacy_username}@EXAMPLE.COM"
        return result.data


@asynccontextmanager
async def staged(realm: KerberosRealm, server: SambaServer, **smb: Any) -> AsyncGenerator[Stage]:
    stage = Stage(realm, server, **smb)
    try:
        yield stage
    finally:
        await stage.module.destroy()


@asynccontextmanager
async def other_server(
    realm: KerberosRealm, lines: str = "", *, shares: Mapping[str, str] | None = None
) -> AsyncGenerator[SambaServer]:
    """A server of the test's own, the same service with the same key; ``shares`` have lines of their own."""
    with needed_in_ci():
        server = SambaServer(realm, lines=lines)
    server.add_users("alice", "bob")
    for name, its_lines in (shares or {}).items():
        server.add_share(name, lines=its_lines)
    with server:
        yield server


__all__ = ["ALICE", "BOB", "SharePoolSettings", "ShareSettings", "Stage", "other_server", "staged", "user"]
