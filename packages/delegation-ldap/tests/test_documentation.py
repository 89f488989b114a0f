"""docs/how-to/ldap-openldap.md and the README: what they say is done, in a directory that knows nothing of it."""

import asyncio
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ldap_directory import SUFFIX, ask, dn, group, unit
from ldap_tickets import DIRECTORY, Granter
from test_kerberos import lent, realm  # noqa: F401 -- a fixture that is used by being here

from actas.core import ActasError, Secret
from actas.delegation.ldap import failures
from actas.delegation.ldap.actions import Change, ChangeOwn, Groups, Modify, Read, WhoAmI
from actas.delegation.ldap.module import LdapDelegation
from actas.delegation.ldap.settings import CertificateSettings, GroupSettings, LdapSettings, ServiceSettings
from actas.mcp.config import parse
from actas.testing import slapd_lines
from actas.testing.kdc import KerberosRealm
from actas.testing.slapd import LINES, Slapd, person

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/how-to/ldap-openldap.md").read_text()
README = (Path(__file__).parents[1] / "README.md").read_text()
WITHOUT = [slapd_lines.POLICY, slapd_lines.PROTECTION, slapd_lines.CERTIFICATE_REGEXP, slapd_lines.USER_REGEXP]
EMPTY = LINES
for each in [*WITHOUT, slapd_lines.KERBEROS_REGEXP]:
    EMPTY = EMPTY.replace(each, "")
PEOPLE = "".join(person(uid, f"mobile: of-{uid}", f"homePhone: secret-{uid}") for uid in ("alice", "bob"))
SEED = PEOPLE + unit("groups") + group("staff", dn("alice"))


def of(language: str, title: str | None = None, text: str = PAGE) -> list[str]:
    found = re.findall(r"^```(\S+) ?(.*?)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for kind, name, body in found if kind == language and (title is None or name == title)]


def settings(block: str, server: Slapd, **changed: Any) -> LdapSettings:
    table = tomllib.loads(block)["delegation"]["modules"]["staff"]
    for gone in ("kind", "tickets_from"):
        table.pop(gone, None)
    if "service" in table:
        table["service"] = ServiceSettings(dn=table["service"]["dn"], password=Secret("change-this-password"))
    if "groups" in table:
        table["groups"] = GroupSettings(**table["groups"])
    urls = {"urls": [server.ldaps_url], "ca_file": str(server.authority.certificate)}
    return LdapSettings(**{**table, **urls, **changed})


async def works(module: LdapDelegation) -> None:
    await module.initialize()
    for who, seen in (("alice", False), ("bob", True)):
        result = await ask(module, who, Read(entry=dn("bob")))
        assert ("homePhone" in result.data["attributes"]) is seen  # type: ignore[index, call-overload] -- JSON
    found = (await ask(module, "alice", Groups())).data
    assert [each["entry"] for each in found["groups"]] == [f"cn=staff,ou=groups,{SUFFIX}"]  # type: ignore[index, call-overload]
    await module.destroy()


def prepared(lines: str = EMPTY, seed: str = SEED, **more: Any) -> Slapd:
    server = Slapd(seed, lines=lines, **more)
    gateway, *_, probe = of("ldif")
    server.modify(gateway)
    server.modify(probe)
    return server


async def test_the_page_leads_to_a_directory_that_is_used_as_the_user_by_slapd_conf() -> None:
    (lines,) = of("conf", "slapd.conf")
    with prepared(lines + EMPTY) as server:
        module = LdapDelegation(settings(of("toml")[0], server))
        await works(module)
        module = LdapDelegation(settings(of("toml")[0], server))
        await ask(module, "alice", ChangeOwn(old="alice-password", new="another"))
        await module.destroy()


async def test_the_page_leads_there_by_cn_config_too_and_nowhere_without_it() -> None:
    with prepared() as server:
        with pytest.raises(ActasError, match="does not let the gateway act as this user"):
            await LdapDelegation(settings(of("toml")[0], server)).initialize()
        server.modify(of("ldif")[1])
        await works(LdapDelegation(settings(of("toml")[0], server)))
        done = await asyncio.to_thread(tried_by_hand, server, "uid=probe")
        assert done.stdout == f"dn:{dn('probe')}\n", done.stderr
        assert "Denied (123)" in (await asyncio.to_thread(tried_by_hand, server, "uid=ghost")).stderr


def tried_by_hand(server: Slapd, name: str) -> subprocess.CompletedProcess[str]:
    written = next(each for each in of("console") if "ldapwhoami" in each).removeprefix("$ ").strip()
    for theirs, ours in (
        ("-W", "-w change-this-password"),
        ("ldaps://ldap1.example.com", server.ldaps_url.replace("localhost", "127.0.0.1")),
        ("authzid=dn:uid=probe", f"authzid=dn:{name}"),
    ):
        written = written.replace(theirs, ours)
    environment = {"LDAPTLS_CACERT": str(server.authority.certificate), "PATH": "/usr/bin:/bin"}
    return subprocess.run(shlex.split(written), env=environment, capture_output=True, text=True, check=False)


async def test_a_user_cannot_give_himself_the_right() -> None:
    (lines,) = of("conf", "slapd.conf")
    with prepared(lines + EMPTY) as server:
        module = LdapDelegation(settings(of("toml")[0], server, writable=["authzTo"]))
        change = Change(operation="add", attribute="authzTo", values=["dn.regex:.*"])
        with pytest.raises(failures.AccessRefused):
            await ask(module, "alice", Modify(changes=[change]))
        assert "authzTo" not in server.search("uid=alice", "authzTo")
        await module.destroy()


async def test_the_page_leads_there_with_a_certificate_and_with_names() -> None:
    lines = "".join(of("conf", "slapd.conf") + of("conf", "slapd.conf with a certificate"))
    lines += "".join(of("conf", "slapd.conf with names"))
    with prepared(lines + EMPTY) as server:
        files = server.issue_client("gateway")
        certificate = CertificateSettings(certificate=str(files.certificate), key=str(files.key))
        for identity in ("proxied_authorization", "sasl_external"):
            for asked_as in (None, "u:{}"):
                changed = {"identity": identity, "service": None, "certificate": certificate, "asked_as": asked_as}
                await works(LdapDelegation(settings(of("toml")[0], server, **changed)))


async def test_the_page_leads_there_with_the_users_own_ticket(realm: KerberosRealm) -> None:  # noqa: F811 -- the fixture
    (lines,) = of("conf", "slapd.conf with Kerberos")
    with Slapd(SEED, lines=lines + EMPTY, keytab=realm.keytab(DIRECTORY), environment=realm.environment) as server:
        module = LdapDelegation(settings(of("toml")[1], server))
        await module.initialize()
        granter = Granter(realm)
        result = await ask(module, "alice", WhoAmI(), lent(granter, "alice"))
        assert result.data == {"seen_as": f"dn:{dn('alice')}"}
        await module.destroy()


@pytest.mark.parametrize(
    "name", [name for name in vars(slapd_lines) if name.isupper() and name not in ("SUFFIX", "GATEWAY")]
)
def test_the_page_shows_the_lines_that_all_other_tests_run_with(name: str) -> None:
    assert getattr(slapd_lines, name) in PAGE or name == "AUTHZ_TO_LDIF"


def test_the_readme_shows_them_too_and_its_configuration_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slapd_lines.AUTHZ_TO_LDIF in README
    monkeypatch.setenv("STAFF_PASSWORD", "x")
    (block,) = of("toml", text=README)
    idp = {"name": "idp", "issuer": "https://login.example.com", "audience": "https://a.example"}
    written = {"mcp": {"resource": "https://mcp.example.com/mcp"}, **tomllib.loads(block)}
    written["auth"]["trusted_idps"] = [idp]
    parse(written)


def test_every_code_of_the_package_is_in_the_readmes_table() -> None:
    codes = {
        each.code
        for each in vars(failures).values()
        if isinstance(each, type) and issubclass(each, ActasError) and each.__module__ == failures.__name__
    }
    assert {code for code in codes if f"| `{code}` |" not in README} == set()


def test_what_the_page_says_is_said_at_the_start_is_what_is_said() -> None:
    source = "".join(path.read_text() for path in Path(failures.__file__).parent.glob("*.py"))
    source = re.sub(r'"\s+f?"', "", source)
    said = re.findall(r"^\| start: `(.*?)`", PAGE, re.MULTILINE)
    assert said and [each for each in said if each not in source] == []
