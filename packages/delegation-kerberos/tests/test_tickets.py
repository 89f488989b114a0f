"""Tickets against a real KDC: who gets one, whom the target sees, and what it is good for."""

from pathlib import Path

import gssapi
import pytest
from kerberos_stage import (
    ALICE,
    BOB,
    DATABASE,
    GATEWAY,
    TARGETS,
    UNLISTED,
    WEB,
    Gateway,
    accepted,
    initiated,
    opened,
    ran,
    settings_for,
    user,
)

from actas.core import ActasError, IdentityMismatch
from actas.delegation.kerberos.failures import TicketRejected
from actas.delegation.kerberos.settings import UserSettings
from actas.testing.kdc import KerberosRealm

pytestmark = pytest.mark.anyio


async def test_the_target_sees_the_user_and_the_receipt_says_so(realm: KerberosRealm, gateway: Gateway) -> None:
    for session, name in ((ALICE, "alice@EXAMPLE.COM"), (BOB, "bob@EXAMPLE.COM")):
        for target in TARGETS:
            result = await gateway.call("s4u2proxy", session, target=target)
            assert result.receipt.identity == name
            assert result.receipt.details == {"kerberos": name, "target": f"{target}@EXAMPLE.COM"}
            ticket = await gateway.module.ticket(session, target, deadline=float("inf"))
            context = initiated(ticket.gss_credentials(), ticket.target)
            assert accepted(context.step(), realm.keytab(target)) == name


async def test_the_realm_is_asked_about_the_user_alone(gateway: Gateway) -> None:
    result = await gateway.call("s4u2self")
    assert isinstance(result.data, dict)
    assert result.data["principal"] == result.receipt.identity == "alice@EXAMPLE.COM"
    assert result.data["forwardable"] is True
    assert (await gateway.call("delegate", action="obtain-ticket")).data == (await gateway.call("s4u2self")).data


@pytest.mark.parametrize(
    ("name", "code"),
    [("nobody", "kerberos_user_unknown"), ("gone", "kerberos_user_disabled"), ("vip", "kerberos_user_not_delegable")],
)
async def test_users_who_may_not_are_refused_by_the_kdc(gateway: Gateway, name: str, code: str) -> None:
    with pytest.raises(ActasError) as caught:
        await gateway.reach(session=user(name))
    assert caught.value.code == gateway.refused() == code
    assert name not in caught.value.message


async def test_a_target_that_is_not_listed_here_is_refused_and_the_kdc_not_asked(
    realm: KerberosRealm, gateway: Gateway
) -> None:
    before = realm.read_log()
    with pytest.raises(ActasError) as caught:
        await gateway.reach(UNLISTED)
    assert caught.value.code == gateway.refused() == "kerberos_target_refused"
    assert realm.read_log() == before


async def test_a_target_that_the_kdc_does_not_list_is_refused_by_it(realm: KerberosRealm) -> None:
    async with opened(settings_for(realm, targets=[UNLISTED, "HTTP/nowhere.example.com"])) as gateway:
        with pytest.raises(ActasError) as caught:
            await gateway.reach(UNLISTED)
        assert caught.value.code == gateway.refused() == "kerberos_target_not_delegable"
        with pytest.raises(ActasError) as caught:
            await gateway.reach("HTTP/nowhere.example.com")
        assert caught.value.code == gateway.refused() == "kerberos_target_unknown"


async def test_a_ticket_is_good_for_its_target_and_no_other(realm: KerberosRealm, gateway: Gateway) -> None:
    ticket = await gateway.module.ticket(ALICE, WEB, deadline=float("inf"))
    before = realm.read_log()
    with pytest.raises(Exception, match="Matching credential not found"):
        initiated(ticket.gss_credentials(), f"{DATABASE}@EXAMPLE.COM").step()
    assert realm.read_log() == before


async def test_a_file_holds_one_ticket_and_not_the_gateways_and_is_gone_at_once(
    realm: KerberosRealm, gateway: Gateway
) -> None:
    ticket = await gateway.module.ticket(ALICE, WEB, deadline=float("inf"))
    with ticket.cache_file() as path:
        listed = ran("klist", "-c", str(path)).stdout
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert str(path).startswith("/dev/shm/")
        assert "Default principal: alice@EXAMPLE.COM" in listed
        assert [line.split()[-1] for line in listed.splitlines() if "HTTP/" in line] == [f"{WEB}@EXAMPLE.COM"]
        assert "krbtgt" not in listed and GATEWAY not in listed
        content = path.read_bytes()
        assert b"krbtgt" not in content and b"gateway" not in content
    assert not path.exists() and not path.parent.exists()


async def test_a_stolen_file_opens_nothing_but_its_target(realm: KerberosRealm, gateway: Gateway) -> None:
    ticket = await gateway.module.ticket(ALICE, WEB, deadline=float("inf"))
    with ticket.cache_file() as path:
        stolen = path.read_bytes()
    copy = Path(realm.folder) / "stolen"
    copy.write_bytes(stolen)
    for command in (["kvno", f"{DATABASE}@EXAMPLE.COM"], ["kvno", "-U", "bob", f"{WEB}@EXAMPLE.COM"], ["kinit", "-R"]):
        done = ran(*command, KRB5CCNAME=f"FILE:{copy}")
        assert done.returncode != 0, done.stdout
    copy.unlink()


async def test_no_other_identity_comes_in_where_a_ticket_was_wiped(
    realm: KerberosRealm, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would sign in as whoever the machine's own keytab is for."""
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", str(realm.keytab(GATEWAY)))
    ticket = await gateway.module.ticket(ALICE, WEB, deadline=float("inf"))
    ticket.wipe()
    with pytest.raises(TicketRejected):
        ticket.gss_credentials()
    with pytest.raises(TicketRejected), ticket.cache_file():
        pass


async def test_nothing_prints_a_ticket(gateway: Gateway) -> None:
    ticket = await gateway.module.ticket(ALICE, WEB, deadline=float("inf"))
    assert repr(ticket) == "KerberosTicket('alice@EXAMPLE.COM', 'HTTP/localhost@EXAMPLE.COM')"


async def test_an_enterprise_name_is_the_kdcs_to_resolve(realm: KerberosRealm) -> None:
    """The receipt names her as the session does, and in its details as the KDC does."""
    realm.name("alice.liddell@example.net", "alice")
    upn = user("alice.liddell@example.net")
    async with opened(settings_for(realm, users=UserSettings(upn_suffixes=["example.net"]))) as gateway:
        result = await gateway.call("s4u2proxy", upn, target=WEB)
        assert result.receipt.identity == "alice.liddell@example.net"
        seen = result.receipt.details["kerberos"]
        assert seen == "alice.liddell\\@example.net@EXAMPLE.COM", "as MIT's KDC writes such a name into tickets"
        ticket = await gateway.module.ticket(upn, WEB, deadline=float("inf"))
        assert accepted(initiated(ticket.gss_credentials(), ticket.target).step(), realm.keytab(WEB)) == seen
        with pytest.raises(ActasError):
            await gateway.reach(session=user("nobody@example.net"))
        assert gateway.refused() == "kerberos_user_unknown"


async def test_an_enterprise_name_that_is_a_services_is_nobodys(
    realm: KerberosRealm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Active Directory, where accounts of services have such names too, and the KDC answers with the account."""
    asked = gssapi.Name

    def resolved(name: str | bytes, kind: gssapi.NameType) -> gssapi.Name:
        if name == b"service@example.net":
            return asked(realm.principal(WEB), gssapi.NameType.kerberos_principal)
        return asked(name, kind)

    monkeypatch.setattr(gssapi, "Name", resolved)
    async with opened(settings_for(realm, users=UserSettings(upn_suffixes=["example.net"]))) as gateway:
        for action, parameters in (("s4u2self", {}), ("s4u2proxy", {"target": WEB})):
            with pytest.raises(ActasError):
                await gateway.call(action, user("service@example.net"), **parameters)
            assert gateway.refused() == "identity_mismatch"


async def test_a_name_of_another_realm_is_refused_and_the_kdc_not_asked(realm: KerberosRealm, gateway: Gateway) -> None:
    before = realm.read_log()
    for name in ("alice@EVIL", "alice@OTHER.EXAMPLE.COM", "alice/admin", "OTHER\\alice"):
        with pytest.raises(ActasError):
            await gateway.reach(session=user(name))
        assert gateway.refused() == "principal_unavailable"
    assert realm.read_log() == before


async def test_a_user_of_another_realm_is_one_where_both_sides_say_so(own_realm: KerberosRealm) -> None:
    with KerberosRealm("USERS.EXAMPLE.NET") as users, own_realm.in_use(users):
        users.add_users("carol")
        own_realm.trust(users)
        forms = {"{user}": "{user}", "NET\\{user}": "{user}@USERS.EXAMPLE.NET"}
        settings = settings_for(own_realm, realms=["USERS.EXAMPLE.NET"], users=UserSettings(forms=forms))
        async with opened(settings) as gateway:
            result = await gateway.call("s4u2proxy", user("NET\\carol"), target=WEB)
            assert result.receipt.identity == "carol@USERS.EXAMPLE.NET"
            ticket = await gateway.module.ticket(user("NET\\carol"), WEB, deadline=float("inf"))
            seen = accepted(initiated(ticket.gss_credentials(), ticket.target).step(), own_realm.keytab(WEB))
            assert seen == "carol@USERS.EXAMPLE.NET"
            for name, code in (("NET\\alice", "kerberos_user_unknown"), ("carol", "kerberos_user_unknown")):
                with pytest.raises(ActasError):
                    await gateway.reach(session=user(name))
                assert gateway.refused() == code


async def test_a_kdc_that_gives_somebody_elses_ticket_is_not_believed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it took one name for another."""
    asked = gssapi.Name

    def another(name: str | bytes, kind: gssapi.NameType) -> gssapi.Name:
        return asked(b"bob@EXAMPLE.COM" if name == b"alice@EXAMPLE.COM" else name, kind)

    monkeypatch.setattr(gssapi, "Name", another)
    for action, parameters in (("s4u2self", {}), ("s4u2proxy", {"target": WEB})):
        with pytest.raises(ActasError):
            await gateway.call(action, **parameters)
        assert gateway.refused() == "identity_mismatch"
    with pytest.raises(IdentityMismatch):
        await gateway.module.ticket(ALICE, DATABASE, deadline=float("inf"))
