"""A real KDC with users, services and lists, and a gateway in its realm."""

import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from actas.testing.fixtures import kerberos_realm, kerberos_realm_in_ldap, needed_in_ci
from actas.testing.kdc import KerberosRealm

sys.path.insert(0, str(Path(__file__).parent))
from kerberos_stage import Gateway, opened, populate, settings_for

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
