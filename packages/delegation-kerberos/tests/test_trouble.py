"""What goes wrong in a realm, while the gateway runs: each has its code, takes a bounded time, and ends by itself."""

import asyncio
import os
import time
from typing import Any

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
    settings_for,
    user,
)

from actas.core import ActasError, ConfigurationError, DownstreamUnavailable
from actas.delegation.kerberos.failures import TicketRejected
from actas.delegation.kerberos.settings import LimitSettings
from actas.testing.kdc import KerberosRealm

pytestmark = pytest.mark.anyio

FRESH = LimitSettings(ticket_seconds=1)
"""A ticket is obtained anew with nearly each call."""


async def code_of(gateway: Gateway, target: str = WEB, session: Any = ALICE) -> str:
    with pytest.raises(ActasError) as caught:
        await gateway.reach(target, session)
    assert gateway.refused() == caught.value.code
    assert "EXAMPLE.COM" not in caught.value.message
    return caught.value.code


def renew(gateway: Gateway) -> None:
    """Forget everything that is kept."""
    gateway.module._vault._kept.clear()
    gateway.module._gateway.renew()


async def test_a_kdc_that_is_down_is_told_at_once_and_it_comes_back_by_itself(own_realm: KerberosRealm) -> None:
    async with opened(settings_for(own_realm)) as gateway:
        await gateway.reach(WEB)
        own_realm.kill()
        started = time.monotonic()
        assert await code_of(gateway, DATABASE) == "kerberos_kdc_unavailable"
        assert time.monotonic() - started < 5
        assert await gateway.reach(WEB), "what is kept serves on"
        assert not (await gateway.module.health_check()).healthy, "though the gateway is still signed in"
        own_realm.start()
        assert (await gateway.module.health_check()).healthy
        assert await gateway.reach(DATABASE)


async def test_a_kdc_that_hangs_takes_no_longer_than_it_may_and_who_has_a_ticket_goes_on(
    own_realm: KerberosRealm,
) -> None:
    limits = LimitSettings(threads=2, kdc_seconds=0.5)
    async with opened(settings_for(own_realm, limits=limits)) as gateway:
        await gateway.reach(WEB)
        own_realm.freeze()
        started = time.monotonic()
        asked = [code_of(gateway, DATABASE, user(f"user{number}")) for number in range(20)]
        assert set(await asyncio.gather(*asked)) == {"kerberos_kdc_unavailable"}
        assert time.monotonic() - started < 5
        assert await gateway.reach(WEB)
        own_realm.thaw()
        for _ in range(100):
            try:
                assert await gateway.reach(DATABASE)
                break
            except DownstreamUnavailable:
                await asyncio.sleep(0.1)
        else:
            pytest.fail("the threads that hung never came back")


async def test_a_caller_with_less_time_waits_no_longer(own_realm: KerberosRealm) -> None:
    async with opened(settings_for(own_realm), seconds=0.3) as gateway:
        await gateway.module.initialize()
        own_realm.freeze()
        started = time.monotonic()
        assert await code_of(gateway) in ("kerberos_kdc_unavailable", "timeout")
        assert time.monotonic() - started < 3
        own_realm.thaw()


@pytest.mark.parametrize("ahead", [3600, -3600])
async def test_clocks_that_are_apart_are_told(own_realm: KerberosRealm, ahead: int) -> None:
    own_realm.kill()
    own_realm.start(clock=ahead)
    async with opened(settings_for(own_realm)) as gateway:
        assert await code_of(gateway) == "kerberos_clock_skew"
        own_realm.kill()
        own_realm.start()
        assert await gateway.reach()


async def test_a_keytab_that_is_replaced_is_used_without_a_restart(own_realm: KerberosRealm) -> None:
    async with opened(settings_for(own_realm)) as gateway:
        await gateway.reach()
        own_realm.rotate(GATEWAY)
        before = own_realm.read_log().count("AS_REQ")
        assert await gateway.reach(DATABASE), "the old ticket-granting ticket is good, and the new keytab was tried"
        assert own_realm.read_log().count("AS_REQ") > before
        renew(gateway)
        assert await gateway.reach()


async def test_a_keytab_without_the_present_key_is_told_and_a_good_one_is_noticed(own_realm: KerberosRealm) -> None:
    async with opened(settings_for(own_realm)) as gateway:
        await gateway.reach()
        own_realm.rotate(GATEWAY, write=False)
        assert await gateway.reach(DATABASE), "until it has to sign in, the gateway goes on"
        renew(gateway)
        assert await code_of(gateway) == "kerberos_gateway_refused"
        assert not (await gateway.module.health_check()).healthy
        own_realm.write_keytab(GATEWAY)
        assert await gateway.reach()


async def test_a_bad_keytab_that_is_put_there_does_not_stop_who_is_signed_in(
    own_realm: KerberosRealm, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(settings_for(own_realm)) as gateway:
        await gateway.reach()
        keytab = own_realm.keytab(GATEWAY)
        good = keytab.read_bytes()
        keytab.write_bytes(b"no keytab")
        assert await gateway.reach(DATABASE)
        assert "could not be renewed" in caplog.text
        keytab.unlink()
        assert await gateway.reach("ldap/localhost")
        renew(gateway)
        assert await code_of(gateway) == "kerberos_gateway_refused"
        keytab.write_bytes(good)
        assert await gateway.reach()


async def test_without_a_keytab_or_a_kdc_nothing_starts(own_realm: KerberosRealm) -> None:
    async with opened(settings_for(own_realm, keytab="/nonexistent/keytab")) as gateway:
        with pytest.raises(ConfigurationError, match="keytab"):
            await gateway.module.initialize()
    own_realm.kill()
    async with opened(settings_for(own_realm)) as gateway:
        with pytest.raises(DownstreamUnavailable):
            await gateway.module.initialize()
        own_realm.start()
        await gateway.module.initialize()


async def test_the_realms_own_key_may_change(own_realm: KerberosRealm) -> None:
    """Then nobody takes the gateway's ticket-granting ticket any more: it signs in anew, and the call goes on."""
    async with opened(settings_for(own_realm)) as gateway:
        await gateway.reach()
        own_realm.administer("cpw -randkey krbtgt/EXAMPLE.COM")
        assert await gateway.reach(DATABASE)


async def test_a_target_that_the_kdc_no_longer_lists_is_refused_when_its_ticket_was_kept_long_enough(
    own_realm: KerberosRealm,
) -> None:
    async with opened(settings_for(own_realm, limits=FRESH)) as gateway:
        await gateway.reach()
        own_realm.withdraw(GATEWAY, WEB)
        await asyncio.sleep(1.1)
        assert await code_of(gateway) == "kerberos_target_not_delegable"
        assert await gateway.reach(DATABASE)
        own_realm.allow(GATEWAY, WEB)
        assert await gateway.reach()


async def test_a_target_may_take_her_by_its_own_list(own_realm: KerberosRealm) -> None:
    async with opened(settings_for(own_realm, targets=[UNLISTED], limits=FRESH)) as gateway:
        assert await code_of(gateway, UNLISTED) == "kerberos_target_not_delegable"
        own_realm.allow_resource(UNLISTED, GATEWAY)
        assert (await gateway.reach(UNLISTED))["principal"] == "alice@EXAMPLE.COM"
        assert await code_of(gateway, UNLISTED, user("vip")) == "kerberos_user_not_delegable"


async def test_a_target_may_take_her_where_the_gateway_has_no_protocol_transition(own_realm: KerberosRealm) -> None:
    own_realm.change_user(GATEWAY, "-ok_to_auth_as_delegate")
    async with opened(settings_for(own_realm, targets=[WEB, UNLISTED])) as gateway:
        assert await code_of(gateway) == "kerberos_user_not_delegable"
        for target in TARGETS:  # a gateway with a list of its own goes by that first (MIT)
            own_realm.withdraw(GATEWAY, target)
        own_realm.allow_resource(UNLISTED, GATEWAY)
        assert (await gateway.reach(UNLISTED))["principal"] == "alice@EXAMPLE.COM"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("-allow_tix", "kerberos_user_disabled"),
        ("-expire yesterday", "kerberos_user_disabled"),
        ("-allow_forwardable", "kerberos_user_not_delegable"),
    ],
)
async def test_a_user_who_may_no_longer_may_no_longer(own_realm: KerberosRealm, change: str, code: str) -> None:
    async with opened(settings_for(own_realm, limits=FRESH)) as gateway:
        await gateway.reach()
        own_realm.change_user("alice", change)
        await asyncio.sleep(1.1)
        assert await code_of(gateway) == code
        assert await gateway.reach(session=BOB)


async def test_a_deleted_user_is_nobody(own_realm: KerberosRealm) -> None:
    async with opened(settings_for(own_realm, limits=FRESH)) as gateway:
        await gateway.reach()
        own_realm.administer("delprinc -force alice")
        await asyncio.sleep(1.1)
        assert await code_of(gateway) == "kerberos_user_unknown"


async def test_a_ticket_that_ran_out_is_not_used(own_realm: KerberosRealm) -> None:
    own_realm.add_service("HTTP/short.example.com", seconds=2)
    own_realm.allow(GATEWAY, "HTTP/short.example.com")
    async with opened(settings_for(own_realm, targets=["HTTP/short.example.com"])) as gateway:
        ticket = await gateway.module.ticket(ALICE, "HTTP/short.example.com", deadline=float("inf"))
        assert ticket.expires_at - time.time() <= 2
        await asyncio.sleep(2.1)
        with pytest.raises(TicketRejected):
            ticket.gss_credentials()
        again = await gateway.module.ticket(ALICE, "HTTP/short.example.com", deadline=float("inf"))
        assert again is not ticket
        keytab = own_realm.keytab("HTTP/short.example.com")
        assert accepted(initiated(again.gss_credentials(), again.target).step(), keytab) == "alice@EXAMPLE.COM"


async def test_the_gateway_signs_in_again_before_its_own_ticket_ends(own_realm: KerberosRealm) -> None:
    own_realm.change_user(GATEWAY, '-maxlife "130 seconds"')
    async with opened(settings_for(own_realm, limits=FRESH)) as gateway:
        await gateway.module.initialize()
        held = gateway.module._gateway._held
        assert held is not None
        assert held.renew_at < held.ends_at - 60 < time.time() + 130


async def test_a_disabled_gateway_is_told(own_realm: KerberosRealm) -> None:
    own_realm.change_user(GATEWAY, "-allow_tix")
    async with opened(settings_for(own_realm)) as gateway:
        assert await code_of(gateway) == "kerberos_gateway_refused"


async def test_a_realm_with_its_principals_in_ldap_does_the_same(kerberos_realm_in_ldap: KerberosRealm) -> None:
    realm = kerberos_realm_in_ldap
    with realm.in_use():
        realm.add_users("alice")
        realm.add_users("vip", sensitive=True)
        realm.add_users("gone", disabled=True)
        realm.add_service(GATEWAY, transition=True)
        for target in [*TARGETS, UNLISTED]:
            realm.add_service(target)
        realm.allow(GATEWAY, *TARGETS)
        async with opened(settings_for(realm, targets=[*TARGETS, UNLISTED], limits=FRESH)) as gateway:
            ticket = await gateway.module.ticket(ALICE, WEB, deadline=float("inf"))
            assert accepted(initiated(ticket.gss_credentials(), ticket.target).step(), realm.keytab(WEB)) == (
                "alice@LDAP.EXAMPLE.COM"
            )
            assert await code_of(gateway, UNLISTED) == "kerberos_target_not_delegable"
            assert await code_of(gateway, session=user("vip")) == "kerberos_user_not_delegable"
            assert await code_of(gateway, session=user("gone")) == "kerberos_user_disabled"
            assert await code_of(gateway, session=user("nobody")) == "kerberos_user_unknown"
            realm.withdraw(GATEWAY, DATABASE)
            assert await code_of(gateway, DATABASE) == "kerberos_target_not_delegable"


def test_this_process_has_no_kerberos_of_its_own() -> None:
    assert "KRB5CCNAME" not in os.environ and "KRB5_KTNAME" not in os.environ
