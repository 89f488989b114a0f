"""Users who come with Kerberos tickets of their own: each login has its ticket for itself, and only while it lasts."""

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sql_gateway import LENDERS, Gateway, by_ticket, gateway_to, session_of, settings_for
from sql_ways import USERS
from typed_tickets import TypedTicket, TypedTickets

from actas.core.errors import (
    ConfigurationError,
    CredentialRejected,
    DelegationError,
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
from actas.delegation.sql.identities.kerberos import Kerberos
from actas.delegation.sql.kerberos_caches import KerberosCaches
from actas.delegation.sql.loaded_libpq import loaded_libpq
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import PoolSettings, SqlSettings
from actas.testing.conformance import ModuleConformance, ModuleKit
from actas.testing.kdc import KerberosRealm
from actas.testing.postgres_kerberos import SERVICE, KerberosPostgres

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("encrypted_by", ["tls", "gssapi"])


@pytest.fixture(scope="module")
def server(kerberos_postgres: KerberosPostgres) -> KerberosPostgres:
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
    for _ in range(200):
        if not os.listdir(tickets.folder):
            return
        time.sleep(0.02)
    pytest.fail("a cache was left behind")


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
    assert (await gateway.module.health_check()).healthy
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


async def test_a_connection_that_no_ticket_opened_serves_nobody(
    settings: SqlSettings, server: KerberosPostgres
) -> None:
    identity = Kerberos(settings, Connector(settings))
    where = {"host": str(server.socket_folder), "port": str(server.port), "dbname": "app", "user": "postgres"}
    async with await psycopg.AsyncConnection.connect(**where) as connection:
        with pytest.raises(DelegationError):
            identity.frame("alice", connection)
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


# -- one login's ticket is nobody else's, and gone when the login is over ----------------------------------------------


@BOTH
async def test_a_connection_does_not_outlive_its_ticket(
    settings: SqlSettings, lender: TypedTickets, encrypted_by: str
) -> None:
    lender.change = lambda ticket: replace(ticket, expires_at=time.time() + 2)
    async with gateway_to(settings) as gateway:
        await gateway.query("SELECT 1")
        await gateway.query("SELECT 1")
        assert len(lender.asked) == 1, "the connection is used again"
        await asyncio.sleep(2)
        await gateway.query("SELECT 1")
        assert len(lender.asked) == 2


@BOTH
async def test_the_cache_is_there_for_the_login_alone(
    settings: SqlSettings, lender: TypedTickets, encrypted_by: str
) -> None:
    seen: list[Path] = []

    class Watched(TypedTicket):
        @contextmanager
        def cache_file(self) -> Generator[Path]:
            with super().cache_file() as file:
                seen.append(file)
                yield file

    def watched(ticket: TypedTicket) -> TypedTicket:
        return Watched(ticket.principal, ticket.target, ticket.cache, ticket.folder)

    lender.change = watched
    async with gateway_to(settings) as gateway:
        assert await gateway.value("SELECT session_user") == "alice"
        assert len(seen) == 1 and os.listdir(lender.folder) == []
        with pytest.raises(LoginRefused):
            await gateway.query("SELECT 1", "outsider")
        lender.change = lambda ticket: replace(watched(ticket), cache=b"rubbish")
        with pytest.raises(CredentialRejected):
            await gateway.query("SELECT 1", "bob")
        assert len(seen) > 2 and os.listdir(lender.folder) == []


@contextmanager
def deaf_server() -> Generator[int]:
    """Takes connections, and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@BOTH
async def test_the_cache_is_gone_where_the_server_hangs_or_the_caller_does_not_wait(
    settings: SqlSettings, lender: TypedTickets
) -> None:
    with deaf_server() as port:
        hanging = replace(settings, port=port, pool=PoolSettings(connect_seconds=0.5))
        LENDERS[port] = lender
        try:
            async with gateway_to(hanging) as gateway:
                with pytest.raises(DownstreamUnavailable):
                    await gateway.query("SELECT 1")
                await until(lambda: not os.listdir(lender.folder))
            async with gateway_to(hanging, pool=PoolSettings(connect_seconds=60.0)) as gateway:
                call = asyncio.create_task(gateway.query("SELECT 1"))
                await until(lambda: bool(os.listdir(lender.folder)))
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await until(lambda: not os.listdir(lender.folder))
        finally:
            del LENDERS[port]


async def test_a_login_that_nobody_waits_for_leaves_no_connection(
    settings: SqlSettings, lender: TypedTickets, admin: psycopg.Connection
) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'user7'"
    async with gateway_to(settings) as gateway:
        await _typed(lender, "user7")
        for wait in range(100):
            call = asyncio.create_task(gateway.query("SELECT 1", "user7"))
            await asyncio.sleep(wait / 3000)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
    await until(lambda: admin.execute(count).fetchone() == (0,))


@BOTH
async def test_what_is_given_up_ends_on_the_server_too(gateway: Gateway, admin: psycopg.Connection) -> None:
    """Where GSSAPI encrypts, there is no ticket left for a cancel: the server sees that the connection is gone."""
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'alice'"
    call = asyncio.create_task(gateway.query("SELECT count(*) FROM generate_series(1, 100000000000)"))
    await until(lambda: admin.execute(running).fetchone() == (1,))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: admin.execute(running).fetchone() == (0,))


async def test_a_kerberos_library_that_hangs_keeps_nobody_waiting_who_is_logged_in(
    settings: SqlSettings, lender: TypedTickets, tmp_path: Path
) -> None:
    pipe = tmp_path / "cc"
    os.mkfifo(pipe)

    class Hanging(TypedTicket):
        @contextmanager
        def cache_file(self) -> Generator[Path]:
            yield pipe

    def change(ticket: TypedTicket) -> TypedTicket:
        if not ticket.principal.startswith("alice@"):
            return ticket
        return Hanging(ticket.principal, ticket.target, ticket.cache, ticket.folder)

    lender.change = change
    with _opened_in_the_end(pipe) as until_then:
        async with gateway_to(settings, pool=PoolSettings(connect_seconds=2.0)) as gateway:
            assert await gateway.value("SELECT session_user", "bob") == "bob"
            hanging = asyncio.create_task(gateway.query("SELECT 1", "alice"))
            await asyncio.sleep(0.3)
            assert await gateway.value("SELECT session_user", "bob") == "bob"
            assert not hanging.done()
            with pytest.raises(DownstreamUnavailable):
                await hanging
            assert until_then.poll() is None


@contextmanager
def _opened_in_the_end(pipe: Path) -> Generator[subprocess.Popen[bytes]]:
    """Another process opens it after a while: where this one hangs, nothing in it could."""
    rescue = subprocess.Popen(["sh", "-c", 'sleep 8; : > "$0"', str(pipe)])
    try:
        yield rescue
    finally:
        rescue.kill()
        rescue.wait()
        end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        pipe.unlink()  # or it would be opened once more
        os.close(end)


async def test_no_other_connection_of_this_process_can_pick_a_ticket_up(
    settings: SqlSettings, server: KerberosPostgres, lender: TypedTickets
) -> None:
    await _typed(lender, "alice")
    assert settings.tls
    where = {"host": server.host, "port": server.port, "dbname": server.database, "user": "alice"}
    others = {**where, "sslmode": "verify-full", "sslrootcert": settings.tls.ca_file, "gssencmode": "disable"}

    def opened() -> str:
        try:
            with psycopg.connect(**others, require_auth="gss", connect_timeout=5) as connection:
                return str(connection.info.user)
        except psycopg.OperationalError as error:
            return "no ticket" if "No credentials" in str(error) else str(error)

    caches = KerberosCaches(loaded_libpq(), "libpq")
    with lender.known["alice", SERVICE].cache_file() as file:
        with caches.chosen(file):
            assert opened() == "alice"
            assert await asyncio.to_thread(opened) == "no ticket"
        assert opened() == "no ticket"


async def test_on_failover_each_server_gets_a_ticket_of_its_own(
    settings: SqlSettings, lender: TypedTickets, kerberos_realm: KerberosRealm, monkeypatch: pytest.MonkeyPatch
) -> None:
    kerberos_realm.add_service("postgres/db1.example.com")
    monkeypatch.setattr(socket, "getaddrinfo", _resolver(socket.getaddrinfo))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens there
        hosts = f"DB1.example.com:{closed.getsockname()[1]},nowhere.invalid,localhost"
        async with gateway_to(replace(settings, host=hosts)) as gateway:
            assert await gateway.value("SELECT session_user") == "alice"
    assert lender.asked == [("alice", "postgres/db1.example.com"), ("alice", SERVICE)]


def _resolver(resolve: Callable) -> Callable:
    def resolved(host: str, *more, **named):
        return resolve("localhost" if host == "DB1.example.com" else host, *more, **named)

    return resolved


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"host": "/var/run/postgresql", "tls": None}, "host: must be a host name"),
        ({"host": "192.0.2.1"}, "host: must be a host name"),
        ({"host": "db.example.com,2001:db8::1"}, "host: must be a host name"),
        ({"kerberos_service": "postgres/db"}, "kerberos_service: must be a word"),
        ({"kerberos_service": ""}, "kerberos_service: must be a word"),
        ({"identity": "user_certificate", "kerberos_service": "POSTGRES"}, "has no use for it"),
        ({"identity": "oauth", "tls": None}, "tls: missing"),
    ],
)
def test_what_does_not_fit_is_refused(settings: SqlSettings, changes: dict, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        SqlDelegation(replace(settings, **changes))


def test_a_driver_without_kerberos_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="psycopg was built without GSSAPI"):
        KerberosCaches(ctypes.CDLL("libc.so.6"), "psycopg")


class TestKerberosDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, settings: SqlSettings, lender: TypedTickets, server: KerberosPostgres) -> ModuleKit:
        @contextmanager
        def outage() -> Generator[None]:
            server.halt("immediate")
            yield
            server.start()

        return ModuleKit(
            make=lambda: SqlDelegation(settings),
            outage=outage,
            denied=("query", {"sql": "SELECT * FROM bobs"}),
            make_dead=lambda: SqlDelegation(replace(settings, host="nowhere.invalid")),
            alice=session_of("alice"),
            bob=session_of("bob"),
            parameters={"query": {"sql": "SELECT session_user"}, "schema": {}, "table-details": {"table": "notes"}},
            slow=("query", {"sql": "SELECT count(*) FROM generate_series(1, 10000000000)"}),
            settings=SqlSettings,
            plugin="actas.delegation.sql.plugin",
            heavy_imports=["psycopg", "pglast"],
            granter=lender,
        )


SYSTEMS = """
import asyncio, sys
from contextlib import contextmanager
from pathlib import Path
from psycopg import pq
from actas.delegation.sql.loaded_libpq import loaded_libpq
from actas.delegation.sql.ticket_logins import TicketLogins

class Ticket:
    principal = "alice@EXAMPLE.COM"
    expires_at = float("inf")

    @contextmanager
    def cache_file(self):
        yield Path(sys.argv[1])

async def main():
    connection = await TicketLogins(1).log_in(sys.argv[2], Ticket())
    async with connection:
        row = await (await connection.execute("SELECT session_user")).fetchone()
    print(pq.__impl__, "binary" in loaded_libpq()._name, *row)

asyncio.run(main())
"""


async def test_the_libpq_of_the_system_takes_the_ticket_as_well(
    settings: SqlSettings, server: KerberosPostgres, lender: TypedTickets
) -> None:
    """Debian's server comes with it."""
    await _typed(lender, "alice")
    assert settings.tls
    where = {"host": "localhost", "hostaddr": "127.0.0.1", "port": server.port, "dbname": "app", "user": "alice"}
    asked = make_conninfo(**where, sslmode="verify-full", sslrootcert=settings.tls.ca_file, gssencmode="disable")
    with lender.known["alice", SERVICE].cache_file() as file:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SYSTEMS, str(file), asked),
            env={**os.environ, "PSYCOPG_IMPL": "python"},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await program.communicate()
    assert said.decode().split() == ["python", "False", "alice"]
