"""SASL/GSSAPI with the user's own ticket, over TLS: a real KDC, real delegation, and slapd says whom it sees."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from gssapi.raw import ChannelBindings
from ldap_directory import SEED, ask, code, dn, find, module_for, settings_for, uids, user
from ldap_tickets import DIRECTORY, GATEWAY, Granter

from actas.core import CredentialRejected, CredentialUse, PrincipalUnavailable
from actas.core.lending import Lent
from actas.delegation.ldap.actions import Read, WhoAmI
from actas.delegation.ldap.module import LdapDelegation
from actas.delegation.ldap.plugin import actas_module_kinds
from actas.delegation.ldap.settings import PoolSettings
from actas.testing.fixtures import needed_in_ci
from actas.testing.kdc import KerberosRealm
from actas.testing.slapd import LINES, Slapd

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def realm() -> Generator[KerberosRealm]:
    with needed_in_ci():
        made = KerberosRealm(client_lines="forwardable = true")
    with made, made.in_use():
        made.add_users("alice", "bob", "odd", "stranger")
        made.add_users("vip", sensitive=True)
        made.add_service(GATEWAY, transition=True)
        made.add_service(DIRECTORY)
        made.allow(GATEWAY, DIRECTORY)
        yield made


@pytest.fixture(scope="module")
def kerberized(realm: KerberosRealm) -> Generator[Slapd]:
    with Slapd(SEED, keytab=realm.keytab(DIRECTORY), environment=realm.environment) as server:
        yield server


@pytest.fixture
async def granter(realm: KerberosRealm) -> Granter:
    return Granter(realm)


@pytest.fixture
async def by_ticket(kerberized: Slapd) -> AsyncGenerator[LdapDelegation]:
    module = made_for(kerberized)
    await module.initialize()
    yield module
    await module.destroy()


def made_for(server: Slapd, **changed: object) -> LdapDelegation:
    return module_for(server, **{"identity": "kerberos", "service": None, "probe": None, **changed})


def lent(granter: Granter, who: str) -> Lent:
    return Lent(granter, user(who), time.monotonic() + 20)


async def test_the_directory_sees_the_user_and_decides(by_ticket: LdapDelegation, granter: Granter) -> None:
    for who in ("alice", "bob", "alice"):
        result = await ask(by_ticket, who, WhoAmI(), lent(granter, who))
        assert result.data == {"seen_as": f"dn:{dn(who)}"}
        assert result.receipt.method == "kerberos" and result.receipt.details == {"kerberos": f"{who}@EXAMPLE.COM"}
    for who, seen in (("alice", False), ("bob", True)):
        read = (await ask(by_ticket, who, Read(entry=dn("bob")), lent(granter, who))).data
        assert ("homePhone" in read["attributes"]) is seen  # type: ignore[index] -- JSON
    assert {target for _, target in granter.asked} == {DIRECTORY}


async def test_each_user_has_connections_of_his_own_and_they_are_used_again(
    kerberized: Slapd, by_ticket: LdapDelegation, granter: Granter
) -> None:
    before = kerberized.read_log().count("mech=GSSAPI bind_ssf")
    for _ in range(3):
        for who in ("alice", "bob"):
            await ask(by_ticket, who, WhoAmI(), lent(granter, who))
    assert kerberized.read_log().count("mech=GSSAPI bind_ssf") - before == 2


async def test_many_users_at_once_are_never_mixed_up(by_ticket: LdapDelegation, granter: Granter) -> None:
    users = ["alice", "bob", "odd"] * 30
    random.Random(3).shuffle(users)

    async def one(who: str) -> None:
        asked = find(filter={"attribute": "homePhone", "present": True})
        found = (await ask(by_ticket, who, asked, lent(granter, who))).data
        assert uids(found) == ([] if who == "odd" else [who])

    for at in range(0, len(users), 15):
        await asyncio.gather(*(one(who) for who in users[at : at + 15]))


async def test_more_users_than_connections_take_turns_and_are_never_mixed_up(
    kerberized: Slapd, granter: Granter
) -> None:
    module = made_for(kerberized, pool=PoolSettings(total=2))
    for _ in range(3):
        for who in ("alice", "bob", "odd"):
            assert (await ask(module, who, WhoAmI(), lent(granter, who))).data == {"seen_as": f"dn:{dn(who)}"}
    both = [ask(module, who, WhoAmI(), lent(granter, who)) for who in ("alice", "bob", "odd") * 4]
    seen = [each.data for each in await asyncio.gather(*both)]
    assert seen == [{"seen_as": f"dn:{dn(who)}"} for who in ("alice", "bob", "odd") * 4]
    await module.destroy()


async def test_the_next_server_gets_a_ticket_of_its_own(kerberized: Slapd, granter: Granter) -> None:
    module = made_for(kerberized, urls=["ldaps://127.0.0.1:1", kerberized.ldaps_url])
    await module.initialize()
    await ask(module, "alice", WhoAmI(), lent(granter, "alice"))
    assert granter.asked == [("alice", DIRECTORY)], "the one that answered at the start is asked first"
    granter.asked.clear()
    fresh = made_for(kerberized, urls=["ldaps://localhost:1", kerberized.ldaps_url])
    await ask(fresh, "alice", WhoAmI(), lent(granter, "alice"))
    assert granter.asked == [("alice", DIRECTORY)] * 2, "one for each server"
    for each in (module, fresh):
        await each.destroy()


async def test_a_ticket_of_somebody_else_is_never_used_for_the_user(
    by_ticket: LdapDelegation, granter: Granter
) -> None:
    await ask(by_ticket, "alice", WhoAmI(), lent(granter, "alice"))
    granter.as_somebody_else = "bob"
    for _ in range(2):
        assert await refused(by_ticket, granter, "alice") == "identity_mismatch"


async def test_whom_the_realm_knows_is_himself_with_an_entry_or_without(
    by_ticket: LdapDelegation, granter: Granter
) -> None:
    result = await ask(by_ticket, "stranger", WhoAmI(), lent(granter, "stranger"))
    assert result.data == {"seen_as": f"dn:{dn('stranger')}"}


async def test_a_sensitive_user_is_refused_by_the_realm(by_ticket: LdapDelegation, granter: Granter) -> None:
    with pytest.raises(CredentialRejected) as caught:
        await ask(by_ticket, "vip", WhoAmI(), lent(granter, "vip"))
    assert "gssapi" not in caught.value.message.lower()


async def test_without_tickets_there_is_no_way_in(by_ticket: LdapDelegation) -> None:
    with pytest.raises(PrincipalUnavailable):
        await ask(by_ticket, "alice", WhoAmI())


async def test_a_connection_does_not_outlive_its_ticket(
    kerberized: Slapd, by_ticket: LdapDelegation, granter: Granter
) -> None:
    granter.lifetime = 0.2
    before = kerberized.read_log().count("mech=GSSAPI bind_ssf")
    for _ in range(3):
        await ask(by_ticket, "odd", WhoAmI(), lent(granter, "odd"))
        await asyncio.sleep(0.3)
    assert kerberized.read_log().count("mech=GSSAPI bind_ssf") - before == 3


async def test_a_directory_without_the_key_takes_no_ticket_and_says_so(realm: KerberosRealm, granter: Granter) -> None:
    with Slapd(SEED, environment=realm.environment) as server:
        module = made_for(server)
        await module.initialize()
        with pytest.raises(CredentialRejected):
            await ask(module, "alice", WhoAmI(), lent(granter, "alice"))
        await module.destroy()


async def test_channel_bindings_are_sent(
    realm: KerberosRealm, granter: Granter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """slapd compares them where it is told to (sasl-cbinding), as Active Directory does where it must."""
    lines = "sasl-cbinding tls-endpoint\n" + LINES
    with Slapd(SEED, lines=lines, keytab=realm.keytab(DIRECTORY), environment=realm.environment) as server:
        module = made_for(server)
        await ask(module, "alice", WhoAmI(), lent(granter, "alice"))
        await module.destroy()
        module = made_for(server)
        elsewhere = ChannelBindings(application_data=b"tls-server-end-point:" + b"x" * 32)
        monkeypatch.setattr("ldap3.protocol.sasl.kerberos.get_channel_bindings", lambda sock: elsewhere)
        with pytest.raises(CredentialRejected):  # as when somebody in between shows a certificate of his own
            await ask(module, "alice", WhoAmI(), lent(granter, "alice"))
        await module.destroy()


async def test_start_tls_protects_it_too(kerberized: Slapd, granter: Granter) -> None:
    module = made_for(kerberized, urls=[kerberized.ldap_url])
    await module.initialize()
    await ask(module, "alice", WhoAmI(), lent(granter, "alice"))
    await module.destroy()


SCHEMA = """\
attributetype ( 1.2.840.113556.1.4.1865 NAME 'msDS-PrincipalName' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.99999.1 NAME 'rootOfTests' SUP top AUXILIARY MAY msDS-PrincipalName )
"""


async def test_the_name_in_the_root_entry_proves_it_where_there_is_no_who_am_i(
    realm: KerberosRealm, granter: Granter, tmp_path: Path
) -> None:
    """Active Directory's way, on a root entry that always says alice: for everybody else it is a mismatch."""
    root = tmp_path / "root.ldif"
    root.write_text("dn:\nmsDS-PrincipalName: EXAMPLE\\alice\n")
    lines = f"{SCHEMA}rootDSE {root}\n{LINES}"
    with Slapd(SEED, lines=lines, keytab=realm.keytab(DIRECTORY), environment=realm.environment) as server:
        module = made_for(server, authzid="u:EXAMPLE\\{}", proof="principal_name")
        result = await ask(module, "alice", WhoAmI(), lent(granter, "alice"))
        assert result.data == {"seen_as": "u:EXAMPLE\\alice"}
        found = (await ask(module, "alice", find(filter="(uid=alice)"), lent(granter, "alice"))).data
        assert uids(found) == ["alice"]
        assert await refused(module, granter, "bob") == "identity_mismatch"
        assert await code(module, "alice", Read()) != "done", "whose entry it is cannot be told from u:"
        await module.destroy()


async def refused(module: LdapDelegation, granter: Granter, who: str) -> str:
    from actas.core import ActasError

    with pytest.raises(ActasError) as caught:
        await ask(module, who, WhoAmI(), lent(granter, who))
    return caught.value.code


def test_the_kind_says_that_it_may_use_tickets() -> None:
    (kind,) = actas_module_kinds()
    assert kind.tickets is CredentialUse.OPTIONAL and kind.credential is CredentialUse.NEVER


def test_kerberos_takes_neither_a_service_nor_a_line_without_tls(directory: Slapd) -> None:
    from actas.core import ConfigurationError

    for changed in (
        {"unencrypted": True, "urls": [directory.ldap_url]},
        {"urls": [directory.ldapi_url]},
        {"probe": "alice"},
        {"asked_as": "u:{}"},
        {"service": settings_for(directory).service},
    ):
        with pytest.raises(ConfigurationError):
            made_for(directory, **changed)
