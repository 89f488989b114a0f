"""Users who come with Kerberos tickets of their own: each login has its ticket for itself, and only while it lasts."""

import asyncio

import os
import stat
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from kerberos_stage import TypedTicket, TypedTickets
from sql_gateway import READ, Gateway, by_ticket, evidence_for, gateway_to, session_of, settings_for
from sql_ways import USERS

from actas.core.audit import Audit
from actas.core.errors import (
    ConfigurationError,
    CredentialRejected,
    DelegationRefused,
    DownstreamUnavailable,
    IdentityMismatch,
    PrincipalUnavailable,
)
from actas.core.lending import Lent, equipped
from actas.core.models import DelegationCall
from actas.delegation.sql.actions import Query
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.identities import identity_of
from actas.delegation.sql.identities.kerberos import Kerberos
from actas.delegation.sql.kerberos_caches import KerberosCaches
from actas.delegation.sql.loaded_libpq import loaded_libpq
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import PoolSettings, SqlSettings, TlsSettings
from actas.testing.kdc import KerberosRealm
from actas.testing.postgres_kerberos import SERVICE, KerberosPostgres

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("encrypted_by", ["tls", "gssapi"])


@pytest.fixture(scope="module")
def server(kerberos_postgres: KerberosPostgres) -> KerberosPostgres:
    if kerberos_postgres.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'alice'") == "0":
        kerberos_postgres.add_users(*USERS)
    return kerberos_postgres


@pytest.fixture
def encrypted_by() -> str:
    return "tls"


@pytest.fixture
def settings(server: KerberosPostgres, encrypted_by: str) -> SqlSettings:
    by_tls = by_ticket(settings_for(server))
    return by_tls if encrypted_by == "tls" else replace(by_tls, tls=None)


@pytest.fixture
def lender(tickets: TypedTickets) -> Generator[TypedTickets]:
    """Has nothing left of its tests before, nor afterwards of this one."""
    tickets.known.clear(), tickets.asked.clear(), tickets.discarded.clear()
    yield tickets
    tickets.change = TypedTickets.change
    assert os.listdir(tickets.folder) == []


@pytest.fixture
async def gateway(settings: SqlSettings, lender: TypedTickets) -> AsyncGenerator[Gateway]:
    async with gateway_to(settings) as opened:
        yield opened


@pytest.fixture
def admin(server: KerberosPostgres) -> Generator[psycopg.Connection]:
    where = {"host": str(server.socket_folder), "port": str(server.port), "dbname": server.database}
    with psycopg.connect(**where, user="postgres", autocommit=True) as connection:
        yield connection


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come about")


@BOTH
async def test_each_user_is_seen_by_the_principal_of_their_own_ticket(
    gateway: Gateway, admin: psycopg.Connection, encrypted_by: str
) -> None:
    for user in ("alice", "bob", "alice"):
        result = await gateway.call(Query(sql="SELECT session_user"), user)
        assert result.data["rows"] == [[user]]
        assert (result.receipt.identity, result.receipt.method) == (user, "login:kerberos")
        assert result.receipt.details["kerberos"] == f"{user}@EXAMPLE.COM"
    seen = admin.execute(
        "SELECT usename, principal, encrypted, ssl FROM pg_stat_activity JOIN pg_stat_gssapi USING (pid) "
        "JOIN pg_stat_ssl USING (pid) WHERE gss_authenticated ORDER BY usename"
    ).fetchall()
    by_tls = encrypted_by == "tls"
    assert seen == [(user, f"{user}@EXAMPLE.COM", not by_tls, by_tls) for user in ("alice", "bob")]


@BOTH
async def test_many_logins_at_once_are_never_mixed_up(settings: SqlSettings, lender: TypedTickets) -> None:
    pool = PoolSettings(total=60, per_user=3, wait_seconds=30.0, connect_seconds=30.0)
    async with gateway_to(settings, pool=pool) as gateway:
        await asyncio.gather(*(gateway.module.principal(session_of(user)) and _typed(lender, user) for user in USERS))

        async def one(user: str) -> None:
            # ``query`` holds the receipt's three names to the user's.
            assert await gateway.rows("SELECT session_user, count(*) FROM generate_series(1, 20000)", user) == [
                [user, 20000]
            ]

        await asyncio.gather(*(one(user) for _ in range(3) for user in USERS))
        assert len(lender.asked) > len(USERS)


async def _typed(lender: TypedTickets, user: str) -> None:
    await lender.ticket(session_of(user), SERVICE, deadline=time.monotonic() + 20)


@BOTH
async def test_somebody_elses_ticket_lets_nobody_in(gateway: Gateway, lender: TypedTickets) -> None:
    await _typed(lender, "bob")
    bobs = lender.known["bob", SERVICE]
    lender.change = lambda ticket: bobs
    with pytest.raises(LoginRefused):
        await gateway.query("SELECT 1", "alice")
    lender.change = lambda ticket: replace(ticket, principal="bob@EXAMPLE.COM")
    with pytest.raises(IdentityMismatch, match="did not recognise you"):
        await gateway.query("SELECT 1", "alice")


@BOTH
async def test_a_user_of_the_realm_without_a_role_is_told_so_and_no_new_ticket_is_asked_for(
    gateway: Gateway, lender: TypedTickets, admin: psycopg.Connection
) -> None:
    for statement in ("SELECT 1", "CREATE ROLE outsider LOGIN"):
        admin.execute(statement)
        with pytest.raises(LoginRefused) as refused:
            await gateway.query("SELECT 1", "outsider")
        assert refused.value.code == "sql_login_refused" and "outsider" not in refused.value.message
    admin.execute("DROP ROLE outsider")
    assert not lender.discarded


async def test_who_gets_no_ticket_gets_no_further_and_hears_why(gateway: Gateway, lender: TypedTickets) -> None:
    with pytest.raises(PrincipalUnavailable, match="no identity"):
        await gateway.query("SELECT 1", "stranger")

    def sensitive(ticket: TypedTicket) -> TypedTicket:
        raise DelegationRefused(detail="not to be delegated")

    lender.change = sensitive
    with pytest.raises(DelegationRefused) as refused:
        await gateway.query("SELECT 1", "alice")
    assert refused.value.code == "delegation_refused"


async def test_without_tickets_nobody_is_asked(settings: SqlSettings) -> None:
    identity = Kerberos(settings, Connector(settings))
    with pytest.raises(PrincipalUnavailable) as refused:
        await identity.connect("alice")
    assert "tickets_from" in (refused.value.detail or "")
    await identity.close()


async def test_while_the_kdc_is_down_open_connections_go_on_and_new_ones_fail_with_a_clear_code(
    gateway: Gateway, lender: TypedTickets, kerberos_realm: KerberosRealm
) -> None:
    assert await gateway.value("SELECT session_user") == "alice"
    lender.known.clear()
    kerberos_realm.kill()
    try:
        assert await gateway.value("SELECT session_user") == "alice"
        with pytest.raises(DownstreamUnavailable):
            await gateway.query("SELECT 1", "bob")
    finally:
        kerberos_realm.start()
    assert await gateway.value("SELECT session_user", "bob") == "bob"


@BOTH
async def test_a_ticket_that_the_server_does_not_take_is_replaced_once(
    settings: SqlSettings, lender: TypedTickets, kerberos_realm: KerberosRealm, server: KerberosPostgres
) -> None:
    await _typed(lender, "alice")
    kerberos_realm.rotate(SERVICE)
    server.take_keytab()
    async with gateway_to(settings) as gateway:
        with pytest.raises(CredentialRejected):
            await gateway.query("SELECT 1", "alice")
        result = await carried_out(gateway, lender, "alice")
        assert result.receipt.identity == "alice"
        assert lender.discarded == [("alice", SERVICE)]
        kerberos_realm.rotate(SERVICE, write=False)  # the server never gets this one
        lender.known.clear(), lender.discarded.clear()
        with pytest.raises(CredentialRejected):
            await carried_out(gateway, lender, "bob")
        assert lender.discarded == [("bob", SERVICE)]
    kerberos_realm.write_keytab(SERVICE)
    server.take_keytab()


async def carried_out(gateway: Gateway, lender: TypedTickets, user: str):
    """As the pipeline does it."""
    call = DelegationCall(
        session=session_of(user),
        action=gateway.module.actions[0],
        parameters=Query(sql="SELECT session_user"),
        deadline=time.monotonic() + 20,
        request_id="r",
    )
    return await equipped(gateway.module.delegate, None, lender)(call)


async def test_a_connection_serves_only_whose_ticket_opened_it_though_another_has_the_same_name(
    gateway: Gateway, lender: TypedTickets
) -> None:
    for subject, asked in (("one", 1), ("one", 1), ("another", 2), ("another", 2), ("one", 2)):
        session = replace(session_of("alice"), subject=subject)
        call = DelegationCall(
            session=session,
            action=gateway.module.actions[0],
            parameters=Query(sql="SELECT 1"),
            deadline=time.monotonic() + 20,
            request_id="r",
            tickets=Lent(lender, session, time.monotonic() + 20),
        )
        await gateway.module.delegate(call)
        assert len(lender.asked) == asked
