"""What only one identity promises: certificates that are gone, roles that are dropped, sessions that are lent."""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sql_gateway import WRITE, Gateway, gateway_to
from sql_ways import Way

from actas.core.errors import ConfigurationError, PrincipalUnavailable
from actas.core.secret import Secret
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.identities import user_certificate
from actas.delegation.sql.identities.user_certificate import UserCertificate
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import PoolSettings, ServiceSettings
from actas.testing.pki import CertificateAuthority

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection
certificates = pytest.mark.parametrize("way", ["debian-user_certificate"], indirect=True)
ephemeral = pytest.mark.parametrize("way", ["embedded-ephemeral_role", "debian-ephemeral_role"], indirect=True)
pooled = pytest.mark.parametrize("way", ["debian-pooled_login"], indirect=True)


@pytest.fixture
async def through(way: Way) -> AsyncGenerator[Gateway]:
    async with gateway_to(way.settings) as opened:
        yield opened


@certificates
async def test_the_key_is_in_a_folder_of_our_own_only_while_we_log_in(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_certificate, "_MEMORY", str(tmp_path))
    seen: list[tuple[str, int, int]] = []

    class Watched(Connector):
        async def open(self, user, proof=None):
            key = (proof or {})["sslkey"]
            seen.append((key, stat.S_IMODE(os.stat(key).st_mode), stat.S_IMODE(os.stat(os.path.dirname(key)).st_mode)))
            return await super().open(user, proof)

    connection = await UserCertificate(way.settings, Watched(way.settings)).connect("alice")
    ((key, mode, folder_mode),) = seen
    assert (mode, folder_mode) == (0o600, 0o700)
    assert key.startswith(str(tmp_path)) and not os.listdir(tmp_path)
    connection.pgconn.finish()
    with pytest.raises(LoginRefused):
        await UserCertificate(way.settings, Watched(way.settings)).connect("nobody_at_all")
    assert not os.listdir(tmp_path)


@certificates
async def test_a_certificate_for_one_user_lets_nobody_else_in(way: Way) -> None:
    class Confused(Connector):
        async def open(self, user, proof=None):
            return await super().open("bob", proof)

    with pytest.raises(LoginRefused):
        await UserCertificate(way.settings, Confused(way.settings)).connect("alice")


@certificates
async def test_certificates_of_another_authority_and_of_an_expired_one_are_refused(way: Way, tmp_path: Path) -> None:
    stranger = CertificateAuthority(tmp_path)
    assert way.settings.issuer
    files = {"certificate_file": str(stranger.certificate), "key_file": str(stranger.write_key())}
    settings = replace(way.settings, issuer=replace(way.settings.issuer, **files))
    async with gateway_to(settings) as gateway:
        with pytest.raises(Exception) as refused:
            await gateway.query("SELECT 1")
    assert "does not let you in" in str(refused.value) or "does not answer" in str(refused.value)


@certificates
@pytest.mark.parametrize("name", ["a" * 60, "a" * 63])
async def test_a_name_that_no_certificate_can_carry_is_no_principal_here(through: Gateway, name: str) -> None:
    with pytest.raises(PrincipalUnavailable):
        await through.query("SELECT 1", name)


@certificates
@pytest.mark.parametrize("broken", ["not PEM", "another key"])
def test_an_issuer_whose_files_do_not_fit_stops_the_start(way: Way, tmp_path: Path, broken: str) -> None:
    key = CertificateAuthority(tmp_path).write_key()
    if broken == "not PEM":
        key.write_text("nothing")
    assert way.settings.issuer
    with pytest.raises(ConfigurationError, match="issuer"):
        SqlDelegation(replace(way.settings, issuer=replace(way.settings.issuer, key_file=str(key))))


@ephemeral
async def test_a_made_role_can_become_its_user_and_nobody_else_and_is_dropped_when_its_session_has_ended(
    way: Way, way_admin: Admin
) -> None:
    async with gateway_to(way.settings, pool=PoolSettings(per_user=1)) as gateway:
        result = await gateway.value("SELECT session_user")
        assert str(result).startswith("actas_ephemeral_")
        member_of = way_admin.execute(
            "SELECT array_agg(g.rolname::text ORDER BY g.rolname) FROM pg_auth_members m "
            "JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = %s::regrole",
            [result],
        ).fetchone()
        assert member_of == (["actas_ephemeral", "alice"],)
        flags = way_admin.execute(
            "SELECT rolsuper, rolcreaterole, rolinherit, rolconnlimit, rolvaliduntil < now() + interval '61 s' "
            "FROM pg_roles WHERE rolname = %s",
            [result],
        ).fetchone()
        assert flags == (False, False, False, 1, True)
    for _ in range(100):
        if way_admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [result]).fetchone() == (0,):
            break
        await asyncio.sleep(0.02)
    way_admin.execute(f"ALTER ROLE {result} VALID UNTIL '2000-01-01'")
    async with gateway_to(way.settings) as gateway:
        assert await gateway.value("SELECT current_user", "bob") == "bob"
    assert way_admin.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [result]).fetchone() == (0,)


@ephemeral
async def test_who_was_not_granted_to_the_broker_is_nobody_here(through: Gateway, way_admin: Admin) -> None:
    way_admin.execute("CREATE ROLE table_owner; GRANT table_owner TO actas_broker")
    try:
        with pytest.raises(LoginRefused):
            await through.query("SELECT 1", "table_owner")
    finally:
        way_admin.execute("DROP ROLE table_owner")


@ephemeral
async def test_a_broker_that_may_make_no_roles_stops_the_start(way: Way, way_admin: Admin) -> None:
    way_admin.execute("ALTER ROLE actas_broker NOCREATEROLE")
    try:
        with pytest.raises(ConfigurationError, match="ALTER ROLE actas_broker CREATEROLE"):
            await SqlDelegation(way.settings).initialize()
    finally:
        way_admin.execute("ALTER ROLE actas_broker CREATEROLE")


@ephemeral
async def test_the_broker_comes_back_after_it_was_cut_off(through: Gateway, way_admin: Admin) -> None:
    assert await through.value("SELECT current_user") == "alice"
    way_admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'actas_broker'")
    for _ in range(3):
        try:
            assert await through.value("SELECT current_user", "bob") == "bob"
            return
        except Exception as lost:
            assert "does not answer" in str(lost)
    pytest.fail("it did not come back")


@ephemeral
async def test_a_wrong_password_of_the_service_role_stops_the_start_and_prints_nowhere(way: Way) -> None:
    service = ServiceSettings(role="actas_broker", password=Secret("wrong password"))
    settings = replace(way.settings, service=service)
    assert "wrong password" not in repr(settings)
    with pytest.raises(ConfigurationError) as refused:
        await SqlDelegation(settings).initialize()
    assert "wrong password" not in str(refused.value) + str(refused.value.problems)


@pooled
async def test_what_is_left_in_a_pooled_session_meets_nobody_else(way: Way, way_admin: Admin) -> None:
    way_admin.execute(
        "CREATE FUNCTION public.leave() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(77), "
        "set_config('search_path', 'own', false), set_config('request.claims', 'alice', false); "
        "EXECUTE 'PREPARE actas_1 AS SELECT 1'; RETURN 1; END $$"
    )
    try:
        async with gateway_to(way.settings, allowed_functions=["leave"]) as gateway:
            for _ in range(3):
                assert await gateway.value("SELECT leave()", "alice", WRITE) == 1
                held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                for _ in range(500):
                    if way_admin.execute(held).fetchone() == (0,):
                        break
                    await asyncio.sleep(0.02)
                assert await gateway.value(held, "bob") == 0
                left = "SELECT count(*) FROM pg_prepared_statements WHERE name = 'actas_1'"
                assert [await gateway.value(left, user) for user in ("alice", "bob")] == [0, 0]
    finally:
        way_admin.execute("DROP FUNCTION public.leave()")


@pooled
async def test_nothing_is_kept_prepared_in_a_pooled_session(through: Gateway) -> None:
    for _ in range(4):
        assert await through.rows("SELECT name FROM pg_prepared_statements") == []
