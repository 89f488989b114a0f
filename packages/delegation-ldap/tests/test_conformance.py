"""The suite that every delegation module must pass, before a real directory."""

from collections.abc import Iterator

import pytest
from ldap_directory import SEED, settings_for, user
from ldap_peers import SlowRelay

from actas.delegation.ldap.module import LdapDelegation
from actas.delegation.ldap.settings import LdapSettings, PoolSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.slapd import LINES, Slapd

CHANGE = {"changes": [{"operation": "replace", "attribute": "description", "values": ["x"]}]}
PARAMETERS: dict[str, dict[str, object]] = {
    "search": {"filter": {"attribute": "homePhone", "present": True}},
    "read": {},
    "compare": {"entry": "uid=alice,ou=people,dc=example,dc=com", "attribute": "cn", "value": "alice"},
    "groups": {},
    "whoami": {},
    "modify": CHANGE,
}


@pytest.fixture(scope="module")
def relay() -> Iterator[tuple[Slapd, SlowRelay]]:
    lines = LINES.replace("security simple_bind=128\n", "")
    with Slapd(SEED, lines=lines) as directory, SlowRelay(directory.port, b"slowly") as relay:
        yield directory, relay


class TestLdapDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, relay: tuple[Slapd, SlowRelay]) -> ModuleKit:
        directory, between = relay
        settings = settings_for(directory, urls=[between.url], unencrypted=True, writable=["description"])
        dead = settings_for(
            directory, urls=["ldap://127.0.0.1:1"], writable=["description"], pool=PoolSettings(connect_seconds=0.5)
        )
        return ModuleKit(
            make=lambda: LdapDelegation(settings),
            make_dead=lambda: LdapDelegation(dead),
            alice=user("alice"),
            bob=user("bob"),
            parameters=PARAMETERS,
            outage=between.outage,
            denied=("modify", {"entry": "uid=bob,ou=people,dc=example,dc=com", **CHANGE}),
            slow=("search", {"filter": {"attribute": "cn", "equals": "slowly"}}),
            settings=LdapSettings,
            plugin="actas.delegation.ldap.plugin",
            heavy_imports=["ldap3", "gssapi", "pyasn1"],
        )
