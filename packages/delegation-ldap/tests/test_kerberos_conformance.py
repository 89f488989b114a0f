"""The suite that every delegation module must pass, with the users' own tickets."""

import pytest
from ldap_directory import settings_for, user
from ldap_tickets import Granter
from test_conformance import CHANGE, PARAMETERS
from test_kerberos import kerberized, realm  # noqa: F401 -- fixtures that are used by being here

from actas.delegation.ldap.module import LdapDelegation
from actas.delegation.ldap.settings import LdapSettings, PoolSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.kdc import KerberosRealm
from actas.testing.slapd import Slapd


class TestLdapByTicket(ModuleConformance):
    @pytest.fixture
    def kit(self, realm: KerberosRealm, kerberized: Slapd) -> ModuleKit:  # noqa: F811 -- the fixtures
        changed: dict[str, object] = {"identity": "kerberos", "service": None, "probe": None}
        settings = settings_for(kerberized, writable=["description"], **changed)
        dead = settings_for(
            kerberized,
            urls=["ldaps://localhost:1"],
            writable=["description"],
            pool=PoolSettings(connect_seconds=0.5),
            **changed,
        )
        return ModuleKit(
            make=lambda: LdapDelegation(settings),
            make_dead=lambda: LdapDelegation(dead),
            alice=user("alice"),
            bob=user("bob"),
            parameters=PARAMETERS,
            denied=("modify", {"entry": "uid=bob,ou=people,dc=example,dc=com", **CHANGE}),
            settings=LdapSettings,
            plugin="actas.delegation.ldap.plugin",
            heavy_imports=["ldap3", "gssapi", "pyasn1"],
            granter=Granter(realm),
        )
