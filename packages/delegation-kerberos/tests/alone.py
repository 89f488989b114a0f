"""What this distribution does where nothing else is installed: ``tools/run_alone.py`` runs it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def stage() -> Iterator[dict[str, object]]:
    """A KDC that knows alice, and lets the gateway go on to a web service as her."""
    from actas.testing.kdc import KerberosRealm

    with KerberosRealm() as realm, realm.in_use():
        realm.add_users("alice")
        keytab = realm.add_service("gateway/mcp.example.com", transition=True)
        realm.add_service("HTTP/web.example.com")
        realm.allow("gateway/mcp.example.com", "HTTP/web.example.com")
        expected = ["alice@EXAMPLE.COM", "HTTP/web.example.com@EXAMPLE.COM"]
        yield {"principal": realm.principal("gateway/mcp.example.com"), "keytab": str(keytab), "expected": expected}


async def act(place: Mapping[str, str]) -> list[object]:
    """A ticket for the web service as alice."""
    from actas.core import Audit, DelegationRegistry, MemorySink, Pipeline, Session
    from actas.core.discovery import load
    from actas.delegation.kerberos.settings import KerberosSettings

    settings = KerberosSettings(principal=place["principal"], keytab=place["keytab"], targets=["HTTP/web.example.com"])
    module = load(["kerberos"]).module_kind("kerberos").create("kerberos", settings)
    registry = DelegationRegistry()
    registry.register("kerberos", module)
    session = Session(
        issuer="https://idp.example",
        subject="id-of-alice",
        username="alice",
        legacy_username="alice",
        provider="main",
        permissions=frozenset({"kerberos:delegate"}),
    )
    await registry.initialize_all()
    try:
        wanted = {"target": "HTTP/web.example.com"}
        result = await Pipeline(registry, Audit(MemorySink())).delegate(session, "kerberos", "s4u2proxy", wanted)
    finally:
        await registry.destroy_all()
    assert isinstance(result.data, dict)
    return [result.receipt.identity, result.data["target"]]
