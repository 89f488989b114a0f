"""The real servers as pytest fixtures: import those you want into your ``conftest.py``.

::

    from actas.testing.fixtures import embedded_postgres, identity_provider

    __all__ = ["embedded_postgres", "identity_provider"]

A server that is not installed is an error that names the package to install, never a skip. Only npm packages need a
network, the first time: without one those tests are skipped, but in CI (``CI`` is set) they fail.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from actas.testing.idp import IdentityProvider
from actas.testing.kdc import KerberosRealm
from actas.testing.kdc_databases import LdapDatabase
from actas.testing.missing import ServerMissing
from actas.testing.oidc_provider import OidcProvider
from actas.testing.os_users import OsUsers
from actas.testing.postgres import DebianPostgres, EmbeddedPostgres
from actas.testing.redis import RedisServer
from actas.testing.samba import SambaServer
from actas.testing.slapd import Slapd, person, service
from actas.testing.slapd_lines import AUTHZ_TO


@contextmanager
def needed_in_ci() -> Generator[None]:
    """What is missing inside fails the test in CI (``CI`` is set); elsewhere it skips it, and says what to install."""
    try:
        yield
    except ServerMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def embedded_postgres() -> Generator[EmbeddedPostgres]:
    """PostgreSQL 18 on a unix socket, for the whole session."""
    with EmbeddedPostgres() as server:
        yield server


@pytest.fixture(scope="session")
def debian_postgres() -> Generator[DebianPostgres]:
    """The distribution's own PostgreSQL, with TLS and a client certificate, for the whole session."""
    with DebianPostgres() as server:
        yield server


@pytest.fixture(scope="session")
def os_users() -> Generator[OsUsers]:
    """Users of the operating system, for the whole session. Only root can make them."""
    with needed_in_ci():
        made = OsUsers()
    with made:
        yield made


@pytest.fixture
def redis_server() -> Generator[RedisServer]:
    """A Redis server of the test's own: it may be killed and frozen."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def secured_redis_server() -> Generator[RedisServer]:
    """A Redis server that is reached by TLS, with a password."""
    with RedisServer(secured=True) as server:
        yield server


@pytest.fixture(scope="session")
def slapd() -> Generator[Slapd]:
    """An OpenLDAP directory with alice and bob, and ``cn=gateway``, which may act as them; for the whole session."""
    people = "".join(person(uid, f"mobile: of-{uid}", f"homePhone: secret-{uid}") for uid in ("alice", "bob"))
    with Slapd(people + service("gateway", authz_to=AUTHZ_TO)) as server:
        yield server


@pytest.fixture
def identity_provider() -> Generator[IdentityProvider]:
    """A fresh identity provider; give it users through ``identity_provider.users``."""
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
def oidc_provider() -> Generator[OidcProvider]:
    """A fresh ``oidc-provider``; change its ``users`` and ``resources``, then say :meth:`OidcProvider.changed`."""
    provider = OidcProvider()
    with needed_in_ci():
        provider.start()
    try:
        yield provider
    finally:
        provider.stop()


@pytest.fixture(scope="session")
def kerberos_realm() -> Generator[KerberosRealm]:
    """A KDC for the whole session, with both ways of delegation. This process belongs to its realm meanwhile."""
    with needed_in_ci():
        realm = KerberosRealm()
    with realm, realm.in_use():
        yield realm


@pytest.fixture(scope="session")
def kerberos_realm_in_ldap() -> Generator[KerberosRealm]:
    """A KDC with its principals in OpenLDAP, as MIT sites have it. ``with realm.in_use():`` is for each test to say."""
    name = "LDAP.EXAMPLE.COM"
    with needed_in_ci():
        slapd = Slapd(kerberos_schema=True)
        realm = KerberosRealm(name, database=LdapDatabase(slapd, name))
    with slapd, realm:
        yield realm


@pytest.fixture(scope="session")
def samba_server(kerberos_realm: KerberosRealm) -> Generator[SambaServer]:
    """A file server that the realm's users reach as ``cifs/localhost``, for the whole session."""
    with SambaServer(kerberos_realm) as server:
        yield server
