"""What the pages say is so: kerberos.md works as it is written, the table of kerberos-troubleshooting.md is whole."""

import re
import tomllib
from pathlib import Path

import pytest
from kerberos_stage import GATEWAY, Gateway, accepted, initiated, opened, settings_for, user

from actas.core import ActasError
from actas.delegation.kerberos import failures
from actas.delegation.kerberos.settings import HttpServiceSettings, KerberosSettings
from actas.testing.fixtures import needed_in_ci
from actas.testing.kdc import KerberosRealm
from actas.testing.kdc_databases import LdapDatabase
from actas.testing.slapd import Slapd

ROOT = Path(__file__).parents[3]
HOW_TO = ROOT / "docs/how-to"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not HOW_TO.exists(), reason="the pages are in the repository, not in this distribution's sources"
    ),
]


def blocks(page: str, language: str) -> list[str]:
    text = (HOW_TO / page).read_text()
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


async def test_the_page_about_mit_leads_to_a_ticket(realm: KerberosRealm) -> None:
    """Its commands, its LDIF, its krb5.conf and its first configuration, in the very words but for places."""
    with needed_in_ci(), Slapd(kerberos_schema=True) as slapd:
        database = LdapDatabase(slapd, "EXAMPLE.COM")
        with KerberosRealm(database=database) as own:
            own.add_users("alice", "administrator")
            for target in ("HTTP/intranet.example.com", "postgres/db.example.com"):
                own.add_service(target)
            keytab = own.folder / "page.keytab"
            for commands in blocks("kerberos.md", "kadmin"):
                own.administer(*commands.replace("/etc/actas/gateway.keytab", str(keytab)).splitlines())
            (ldif,) = blocks("kerberos.md", "ldif")
            slapd.modify(ldif)
            (conf,) = blocks("kerberos.md", "conf")
            own.config.write_text(conf.replace("kdc.example.com", f"127.0.0.1:{own.port}"))
            first, *_ = blocks("kerberos.md", "toml")
            written = tomllib.loads(first)["delegation"]["modules"]["kerberos"]
            assert set(written) == {"principal", "keytab", "targets", "http"}
            sites = {name: HttpServiceSettings(**site) for name, site in written["http"].items()}
            settings = KerberosSettings(
                principal=written["principal"], keytab=str(keytab), targets=written["targets"], http=sites
            )
            with own.in_use():
                async with opened(settings) as gateway:
                    await _holds(own, gateway, written["targets"])


async def _holds(own: KerberosRealm, gateway: Gateway, targets: list[str]) -> None:
    await gateway.module.initialize()
    for target in targets:
        ticket = await gateway.module.ticket(user("alice"), target, deadline=float("inf"))
        context = initiated(ticket.gss_credentials(), ticket.target)
        assert accepted(context.step(), own.keytab(target)) == "alice@EXAMPLE.COM"
    with pytest.raises(ActasError):
        await gateway.reach(targets[0], user("administrator"))
    assert gateway.refused() == "kerberos_user_not_delegable"
    tools = {action.name for action in gateway.module.actions}
    assert tools == {"s4u2self", "s4u2proxy", "delegate", "http-intranet"}


async def test_the_keytab_that_the_page_makes_is_its_owners_alone(own_realm: KerberosRealm) -> None:
    path = own_realm.folder / "fresh.keytab"
    own_realm.administer(f"ktadd -norandkey -k {path} {GATEWAY}")
    assert path.stat().st_mode & 0o777 == 0o600
    async with opened(settings_for(own_realm, keytab=str(path))) as gateway:
        await gateway.reach()


CODES = {
    error.code
    for error in vars(failures).values()
    if isinstance(error, type) and issubclass(error, ActasError) and error.__module__ == failures.__name__
}


def test_the_table_has_every_code_and_each_was_seen_in_a_test() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", (HOW_TO / "kerberos-troubleshooting.md").read_text(), re.MULTILINE))
    assert listed >= CODES | {"principal_unavailable", "identity_mismatch"}
    assert {code for code in listed if code.startswith("kerberos_")} == CODES
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [code for code in listed if f'"{code}"' not in tests] == []


def test_the_active_directory_page_says_what_was_not_proven() -> None:
    text = (HOW_TO / "kerberos-active-directory.md").read_text()
    assert "There was no Active Directory to test with" in text
