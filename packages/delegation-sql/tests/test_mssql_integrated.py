"""SQL Server's integrated login: the user's own ticket logs in, by pymssql as it comes, to a peer that takes it."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pymssql
import pytest
from mssql_stage import ALICE, answers
from sql_ways import USERS
from typed_tickets import TypedTicket, TypedTickets

from actas.core.errors import (
    ConfigurationError,
    CredentialRejected,
    DelegationRefused,
    DownstreamUnavailable,
    IdentityMismatch,
    PrincipalUnavailable,
)
from actas.core.lending import Lent, equipped
from actas.core.models import DelegationCall, DelegationResult, Session
from actas.core.secret import Secret
from actas.delegation.sql.failures import DatabaseRefused
from actas.delegation.sql.mssql.actions import TsqlQuery
from actas.delegation.sql.mssql.module import MssqlDelegation
from actas.delegation.sql.mssql.settings import MssqlServiceSettings, MssqlSettings
from actas.delegation.sql.mssql.tls import section
from actas.delegation.sql.settings import PoolSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.kdc import KerberosRealm
from actas.testing.pki import CertificateAuthority
from actas.testing.tds import TdsPeer
from actas.testing.tds_integrated import IntegratedLogin

pytestmark = pytest.mark.anyio
CORP = {user: replace(ALICE, subject=f"u-{user}", username=user, legacy_username=f"CORP\\{user}") for user in USERS}
BOB = CORP["bob"]


@pytest.fixture
def peer(kerberos_realm: KerberosRealm, tds_authority: CertificateAuthority, tmp_path: Path) -> Generator[TdsPeer]:
    """A server at which every user of the realm but user9 has a login."""
    logins = {kerberos_realm.principal(user): f"CORP\\{user}" for user in USERS if user != "user9"}
    integrated = IntegratedLogin(tmp_path / "sql.keytab", logins)
    certificate = tds_authority.issue_server("127.0.0.1", "localhost")
    with TdsPeer(certificate, logins={}, users=[], answers=answers, integrated=integrated) as running:
        if not kerberos_realm.keytab(target(running)).exists():  # a port may come twice
            kerberos_realm.add_service(target(running))
        take_keytab(running, kerberos_realm)
        yield running


def target(peer: TdsPeer) -> str:
    return f"MSSQLSvc/localhost:{peer.port}"


def take_keytab(peer: TdsPeer, realm: KerberosRealm) -> None:
    assert peer.integrated
    peer.integrated.keytab.write_bytes(realm.keytab(target(peer)).read_bytes())


@pytest.fixture
def lender(tickets: TypedTickets) -> Generator[TypedTickets]:
    tickets.known.clear(), tickets.asked.clear(), tickets.discarded.clear()
    yield tickets
    tickets.change = TypedTickets.change
    for _ in range(200):
        if not os.listdir(tickets.folder):
            return
        time.sleep(0.02)
    pytest.fail("a cache was left behind")


@pytest.fixture
def settings(peer: TdsPeer, tds_authority: CertificateAuthority) -> MssqlSettings:
    return MssqlSettings(
        host="localhost",
        port=peer.port,
        database="shop",
        ca_file=str(tds_authority.certificate),
        identity="integrated",
        pool=PoolSettings(connect_seconds=20.0),
        procedures=["dbo.close_month"],
    )


@pytest.fixture
async def module(settings: MssqlSettings) -> AsyncGenerator[MssqlDelegation]:
    made = MssqlDelegation(settings)
    await made.initialize()
    yield made
    await made.destroy()


def call_of(module: MssqlDelegation, who: Session, sql: str, lender: TypedTickets | None) -> DelegationCall:
    until = time.monotonic() + 30
    return DelegationCall(
        session=who,
        action=module.actions[0],
        parameters=TsqlQuery(sql=sql),
        deadline=until,
        request_id="r",
        tickets=lender and Lent(lender, who, until),
    )


async def ask(
    module: MssqlDelegation, lender: TypedTickets, who: Session = ALICE, sql: str = "SELECT a FROM t"
) -> DelegationResult:
    return await module.delegate(call_of(module, who, sql, lender))


async def test_the_session_is_the_users_own_from_its_beginning_to_its_end(
    module: MssqlDelegation, peer: TdsPeer, lender: TypedTickets
) -> None:
    for who in (ALICE, BOB, ALICE):
        result = await ask(module, lender, who)
        assert (result.receipt.identity, result.receipt.method) == (who.legacy_username, "login:kerberos")
        assert result.receipt.details == {
            "user_name": who.legacy_username,
            "suser_sname": who.legacy_username,
            "original_login": who.legacy_username,
            "kerberos": f"{who.username}@EXAMPLE.COM",
        }
    opened = [seen for seen in peer.connections if seen.initiator]
    assert [(seen.initiator, seen.login, seen.encrypted) for seen in opened] == [
        ("alice@EXAMPLE.COM", "CORP\\alice", True),
        ("bob@EXAMPLE.COM", "CORP\\bob", True),
    ]
    assert [(ran.user, ran.original) for ran in peer.ran] == [
        (f"CORP\\{name}",) * 2 for name in ("alice", "bob", "alice")
    ]
    told = await asyncio.to_thread(Path(os.environ["FREETDSCONF"]).read_text)
    assert f"spn = {target(peer)}@EXAMPLE.COM\n" in told, "FreeTDS guesses no name"
    assert not any(word in batch for batch in peer.batches for word in ("EXECUTE AS", "REVERT"))


async def test_many_logins_at_once_are_never_mixed_up(
    settings: MssqlSettings, peer: TdsPeer, lender: TypedTickets
) -> None:
    module = MssqlDelegation(replace(settings, pool=PoolSettings(total=60, per_user=3, connect_seconds=30.0)))
    people = [who for name, who in CORP.items() if name != "user9"]
    for who in people:
        await lender.ticket(who, target(peer), deadline=time.monotonic() + 20)
    try:
        results = await asyncio.gather(*(ask(module, lender, who) for _ in range(3) for who in people))
    finally:
        await module.destroy()
    for who, result in zip(people * 3, results, strict=True):
        assert result.receipt.identity == who.legacy_username
        assert result.receipt.details["kerberos"] == f"{who.username}@EXAMPLE.COM"
    opened = [seen for seen in peer.connections if seen.initiator]
    assert len(opened) > len(people)
    assert all(seen.login == f"CORP\\{str(seen.initiator).partition('@')[0]}" for seen in opened)


async def test_somebody_elses_ticket_serves_nobody(
    module: MssqlDelegation, peer: TdsPeer, lender: TypedTickets
) -> None:
    bobs = await lender.ticket(BOB, target(peer), deadline=time.monotonic() + 20)
    lender.change = lambda ticket: bobs
    with pytest.raises(IdentityMismatch):
        await ask(module, lender)
    assert peer.ran == []


async def test_a_user_without_a_login_is_told_so(module: MssqlDelegation, lender: TypedTickets) -> None:
    with pytest.raises(CredentialRejected) as refused:
        await ask(module, lender, CORP["user9"])
    assert "for a login" in refused.value.message and "user9" not in refused.value.message


async def test_a_ticket_that_the_server_does_not_take_is_replaced_once(
    module: MssqlDelegation, peer: TdsPeer, lender: TypedTickets, kerberos_realm: KerberosRealm
) -> None:
    await lender.ticket(ALICE, target(peer), deadline=time.monotonic() + 20)
    kerberos_realm.rotate(target(peer))
    take_keytab(peer, kerberos_realm)
    with pytest.raises(CredentialRejected):
        await ask(module, lender)
    result = await equipped(module.delegate, None, lender)(call_of(module, ALICE, "SELECT a FROM t", None))
    assert result.receipt.identity == "CORP\\alice"
    assert lender.discarded == [("alice", target(peer))]


async def test_a_connection_does_not_outlive_its_ticket(module: MssqlDelegation, lender: TypedTickets) -> None:
    lender.change = lambda ticket: replace(ticket, expires_at=time.time() + 2)
    await ask(module, lender)
    await ask(module, lender)
    assert len(lender.asked) == 1, "the connection is used again"
    await asyncio.sleep(2)
    await ask(module, lender)
    assert len(lender.asked) == 2


async def test_who_gets_no_ticket_gets_no_further_and_gives_the_place_back(
    settings: MssqlSettings, peer: TdsPeer, lender: TypedTickets
) -> None:
    def sensitive(ticket: TypedTicket) -> TypedTicket:
        raise DelegationRefused(detail="not to be delegated")

    module = MssqlDelegation(replace(settings, pool=PoolSettings(total=1, per_user=1, wait_seconds=1.0)))
    try:
        lender.change = sensitive
        for _ in range(3):
            with pytest.raises(DelegationRefused):
                await ask(module, lender)
        lender.change = TypedTickets.change
        with pytest.raises(PrincipalUnavailable) as refused:
            await module.delegate(call_of(module, ALICE, "SELECT a FROM t", None))
        assert "tickets_from" in (refused.value.detail or "")
        assert (await ask(module, lender)).receipt.identity == "CORP\\alice"
    finally:
        await module.destroy()


async def test_a_connection_serves_only_whose_ticket_opened_it_though_another_has_the_same_name(
    module: MssqlDelegation, lender: TypedTickets
) -> None:
    for subject, asked in (("one", 1), ("one", 1), ("another", 2), ("another", 2), ("one", 2)):
        await ask(module, lender, replace(ALICE, subject=subject))
        assert len(lender.asked) == asked


async def test_while_the_kdc_is_down_open_connections_go_on_and_new_ones_fail_with_a_clear_code(
    module: MssqlDelegation, lender: TypedTickets, kerberos_realm: KerberosRealm
) -> None:
    await ask(module, lender)
    lender.known.clear()
    kerberos_realm.kill()
    try:
        assert (await ask(module, lender)).receipt.identity == "CORP\\alice"
        with pytest.raises(DownstreamUnavailable):
            await ask(module, lender, BOB)
    finally:
        kerberos_realm.start()
    assert (await ask(module, lender, BOB)).receipt.identity == "CORP\\bob"


async def test_the_cache_is_there_for_the_login_alone(
    module: MssqlDelegation, peer: TdsPeer, lender: TypedTickets
) -> None:
    seen: list[Path] = []

    class Watched(TypedTicket):
        @contextmanager
        def cache_file(self) -> Generator[Path]:
            with super().cache_file() as file:
                seen.append(file)
                yield file

    lender.change = lambda ticket: Watched(ticket.principal, ticket.target, ticket.cache, ticket.folder)
    await ask(module, lender)
    assert len(seen) == 1 and os.listdir(lender.folder) == []
    lender.change = lambda ticket: Watched(ticket.principal, ticket.target, b"rubbish", ticket.folder)
    with pytest.raises(DownstreamUnavailable):
        await ask(module, lender, BOB)
    assert len(seen) == 2 and os.listdir(lender.folder) == []


async def test_no_other_connection_of_this_process_can_pick_a_ticket_up(
    settings: MssqlSettings, peer: TdsPeer, lender: TypedTickets, module: MssqlDelegation
) -> None:
    ticket = await lender.ticket(ALICE, target(peer), deadline=time.monotonic() + 20)
    server = section("localhost", peer.port, settings.ca_file, ticket.target)

    def opened() -> str:
        try:
            module._driver.log_in(server).close()
        except pymssql.Error:
            return "no ticket"
        return "in"

    with ticket.cache_file() as file:
        with module._identity._driver._caches.chosen(file):
            assert opened() == "in"
            assert await asyncio.to_thread(opened) == "no ticket"
        assert opened() == "no ticket"


async def test_the_gate_and_the_servers_own_no_hold_as_ever(module: MssqlDelegation, lender: TypedTickets) -> None:
    with pytest.raises(DatabaseRefused):
        await ask(module, lender, sql="SELECT a FROM payroll")
    for attack in ("EXECUTE AS USER = 'bob'", "REVERT", "SELECT 1; REVERT", "EXEC sp_who"):
        with pytest.raises(DelegationRefused):
            await ask(module, lender, sql=attack)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"host": "192.0.2.1"}, "host: must be a host name"),
        ({"host": "2001:db8::1"}, "host: must be a host name"),
        ({"impersonate": "login"}, "impersonate: identity = integrated has no use"),
        ({"service": MssqlServiceSettings(login="gateway", password=Secret("x"))}, "service: identity = integrated"),
        ({"identity": "impersonate"}, "service: missing"),
    ],
)
def test_what_does_not_fit_is_refused(settings: MssqlSettings, changes: dict, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        MssqlDelegation(replace(settings, **changes))


async def test_a_server_that_is_not_there_is_waited_for(settings: MssqlSettings) -> None:
    with pytest.raises(DownstreamUnavailable):
        await MssqlDelegation(replace(settings, port=1)).initialize()


class TestIntegratedDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, settings: MssqlSettings, lender: TypedTickets) -> ModuleKit:
        return ModuleKit(
            make=lambda: MssqlDelegation(settings),
            make_dead=lambda: MssqlDelegation(replace(settings, port=1)),
            alice=ALICE,
            bob=BOB,
            parameters={
                "query": {"sql": "SELECT body FROM notes"},
                "schema": {},
                "table-details": {"table": "notes"},
                "procedure": {"name": "dbo.close_month"},
            },
            slow=("query", {"sql": "SELECT a FROM slow"}),
            settings=MssqlSettings,
            plugin="actas.delegation.sql.mssql.plugin",
            heavy_imports=["pymssql", "sqlglot"],
            granter=lender,
        )
