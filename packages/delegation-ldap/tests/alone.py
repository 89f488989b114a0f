"""What this distribution does where nothing else is installed: ``tools/run_alone.py`` runs it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def stage() -> Iterator[dict[str, object]]:
    """A directory that knows alice, and lets the gateway act as the people in it."""
    from actas.testing.slapd import Slapd, person, service
    from actas.testing.slapd_lines import AUTHZ_TO, GATEWAY, SUFFIX

    seed = person("alice", "mobile: 12") + person("probe") + service("gateway", authz_to=AUTHZ_TO)
    with Slapd(seed) as server:
        yield {
            "url": server.ldaps_url,
            "ca_file": str(server.authority.certificate),
            "suffix": SUFFIX,
            "gateway": GATEWAY,
            "expected": [f"dn:uid=alice,ou=people,{SUFFIX}", [{"mobile": ["12"]}]],
        }


async def act(place: Mapping[str, str]) -> list[object]:
    """One search as alice."""
    from actas.core import Audit, DelegationRegistry, MemorySink, Pipeline, Secret, Session
    from actas.core.discovery import load
    from actas.delegation.ldap.settings import LdapSettings, ServiceSettings

    settings = LdapSettings(
        urls=[place["url"]],
        ca_file=place["ca_file"],
        identity="proxied_authorization",
        authzid=f"dn:uid={{}},ou=people,{place['suffix']}",
        service=ServiceSettings(dn=place["gateway"], password=Secret("gateway-password")),
        probe="probe",
        bases=[place["suffix"]],
        attributes=["mobile"],
        searchable=["uid"],
    )
    module = load(["ldap"]).module_kind("ldap").create("ldap", settings)
    registry = DelegationRegistry()
    registry.register("ldap", module)
    session = Session(
        issuer="https://idp.example",
        subject="id-of-alice",
        username="alice",
        legacy_username="alice",
        provider="main",
        permissions=frozenset({"ldap:read"}),
    )
    await registry.initialize_all()
    try:
        wanted = {"filter": {"attribute": "uid", "equals": "alice"}}
        result = await Pipeline(registry, Audit(MemorySink())).delegate(session, "ldap", "search", wanted)
    finally:
        await registry.destroy_all()
    assert isinstance(result.data, dict)
    return [result.receipt.identity, [each["attributes"] for each in result.data["entries"]]]
