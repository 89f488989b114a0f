"""The KDC for tests is a real one: it knows who may delegate to whom, whoever keeps its principals."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actas.testing.fixtures import needed_in_ci
from actas.testing.kdc import KerberosRealm, password_of
from actas.testing.kdc_databases import LdapDatabase
from actas.testing.slapd import Slapd

GATEWAY = "gateway/mcp.example.com"
WEB = "HTTP/web.example.com"


@pytest.fixture(params=["listed", "ldap"])
def realm(request: pytest.FixtureRequest) -> Iterator[KerberosRealm]:
    with needed_in_ci():
        if request.param == "listed":
            with KerberosRealm() as kdc:
                yield kdc
            return
        with Slapd(kerberos_schema=True) as slapd, KerberosRealm(database=LdapDatabase(slapd, "EXAMPLE.COM")) as kdc:
            yield kdc


def as_user(realm: KerberosRealm, user: str, target: str = WEB) -> str:
    """What ``kvno`` says to S4U2Self and S4U2Proxy with the gateway's keytab."""
    environment = {"PATH": "/usr/bin:/bin", **realm.environment, "KRB5CCNAME": f"FILE:{realm.folder}/gateway.ccache"}
    keytab = realm.keytab(GATEWAY)
    subprocess.run(["kinit", "-k", "-t", str(keytab), GATEWAY], env=environment, check=True)
    command = ["kvno", "-k", str(keytab), "-P", "-U", user, target]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return "done" if done.returncode == 0 else done.stdout + done.stderr


def test_the_kdc_delegates_as_its_lists_say(realm: KerberosRealm) -> None:
    realm.add_users("alice")
    realm.add_users("vip", sensitive=True)
    realm.add_users("gone", disabled=True)
    realm.add_service(GATEWAY, transition=True)
    realm.add_service(WEB)
    assert "can't fulfill requested option" in as_user(realm, "alice")
    realm.allow(GATEWAY, WEB)
    assert as_user(realm, "alice") == "done"
    assert "delegation failed" in as_user(realm, "vip")
    assert "revoked" in as_user(realm, "gone")
    assert "not found" in as_user(realm, "nobody")
    realm.withdraw(GATEWAY, WEB)
    assert "can't fulfill requested option" in as_user(realm, "alice")


def test_a_target_may_say_itself_through_whom_it_is_reached() -> None:
    with needed_in_ci(), KerberosRealm() as realm:
        realm.add_users("alice")
        realm.add_service(GATEWAY)
        realm.add_service(WEB)
        realm.allow_resource(WEB, GATEWAY)
        assert as_user(realm, "alice") == "done"


def test_it_comes_back_with_its_data_and_its_keys_can_change() -> None:
    with needed_in_ci(), KerberosRealm() as realm:
        realm.add_users("alice")
        keytab = realm.add_service(WEB)
        before = keytab.read_bytes()
        realm.rotate(WEB)
        assert keytab.read_bytes() != before
        realm.kill()
        with pytest.raises(RuntimeError, match="Cannot contact any KDC"):
            realm.sign_in("alice")
        realm.start()
        assert realm.sign_in("alice").exists()


def test_nothing_of_it_is_left_behind() -> None:
    with needed_in_ci(), KerberosRealm() as realm:
        folder = realm.folder
        assert folder.exists()
    assert not Path(folder).exists()
    assert password_of("alice") == "alice-password"
