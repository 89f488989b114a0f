"""A real KDC with users, services and lists, a gateway in its realm, and a file server."""

import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from actas.testing.fixtures import kerberos_realm, kerberos_realm_in_ldap, needed_in_ci
from actas.testing.kdc import KerberosRealm
from actas.testing.samba import SambaServer

sys.path.insert(0, str(Path(__file__).parent))
from kerberos_stage import Gateway, opened, populate, settings_for
from smb_stage import Stage, staged

__all__ = ["kerberos_realm", "kerberos_realm_in_ldap"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def realm(kerberos_realm: KerberosRealm) -> KerberosRealm:
    """The session's realm: tests leave it as it is."""
    populate(kerberos_realm)
    return kerberos_realm


@pytest.fixture
def own_realm(realm: KerberosRealm) -> Iterator[KerberosRealm]:
    """One that a test may break."""
    with needed_in_ci(), KerberosRealm() as own, own.in_use():
        populate(own)
        yield own


@pytest.fixture
async def gateway(realm: KerberosRealm) -> AsyncGenerator[Gateway]:
    async with opened(settings_for(realm)) as made:
        yield made


@pytest.fixture(scope="session")
def samba(realm: KerberosRealm) -> Iterator[SambaServer]:
    """A file server on which tests add files of their own, and nothing else."""
    with needed_in_ci(), SambaServer(realm) as server:
        server.add_users("alice", "bob")
        yield server


@pytest.fixture
async def stage(realm: KerberosRealm, samba: SambaServer) -> AsyncGenerator[Stage]:
    async with staged(realm, samba) as made:
        yield made
