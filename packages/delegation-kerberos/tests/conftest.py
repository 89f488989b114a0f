"""A real KDC and a real file server."""

import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from actas.testing.fixtures import kerberos_realm, samba_server
from actas.testing.kdc import KerberosRealm
from actas.testing.samba import SambaServer

sys.path.insert(0, str(Path(__file__).parent))
from smb_stage import GATEWAY, LabTickets, Stage

__all__ = ["kerberos_realm", "samba_server"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def tickets(kerberos_realm: KerberosRealm, samba_server: SambaServer) -> Iterator[LabTickets]:
    keytab = kerberos_realm.add_service(GATEWAY, transition=True)
    kerberos_realm.allow(GATEWAY, samba_server.service)
    kerberos_realm.add_users("alice", "bob")
    samba_server.add_users("alice", "bob")
    yield LabTickets(kerberos_realm, keytab)


@pytest.fixture
async def stage(samba_server: SambaServer, tickets: LabTickets) -> AsyncGenerator[Stage]:
    tickets.refused.clear()
    opened = Stage(samba_server, tickets)
    yield opened
    await opened.shares.destroy()
