"""Taking roles: every belt is looked for on the live server, and each of them is needed."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from sql_gateway import gateway_to
from sql_ways import OPEN, Way

from actas.core.errors import ConfigurationError
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.failures import LoginRefused
from actas.delegation.sql.frames import taken_role
from actas.delegation.sql.identities.service import Service
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.transaction import Bounds, Statement, run_as
from actas.delegation.sql.wire import Wire

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("way", ["embedded-set_role", "debian-set_role"], indirect=True),
]
Admin = psycopg.Connection
AS_BOB = "SELECT n.* FROM (SELECT set_config('role', 'bob', true) OFFSET 0) s, public.notes n"
LOOSENED = {
    "GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO PUBLIC": "set_config",
    "GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO app_users": "",
    "GRANT UPDATE ON pg_catalog.pg_settings TO PUBLIC": "pg_settings",
    "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC": "plpgsql",
    "GRANT USAGE ON LANGUAGE sql TO alice": "",
    "GRANT TEMPORARY ON DATABASE closed TO PUBLIC": "TEMPORARY ON DATABASE closed",
    "ALTER ROLE actas_service INHERIT": "NOINHERIT",
    "ALTER ROLE actas_service CREATEROLE": "NOCREATEROLE",
    "ALTER ROLE actas_service BYPASSRLS": "NOBYPASSRLS",
    "GRANT pg_read_all_data TO actas_service": "REVOKE pg_read_all_data FROM actas_service",
    "GRANT user5 TO actas_service WITH ADMIN OPTION": "REVOKE ADMIN OPTION FOR user5 FROM actas_service",
    "GRANT SELECT ON bobs TO actas_service": "REVOKE ALL ON table public.bobs FROM actas_service",
    "CREATE SCHEMA services AUTHORIZATION actas_service": "REASSIGN OWNED BY actas_service",
    "CREATE FUNCTION public.as_bob() RETURNS int LANGUAGE sql AS 'SELECT 1';"
    "ALTER FUNCTION public.as_bob() SET role = 'bob'": "as_bob() RESET role",
    "CREATE FUNCTION own.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION own.mine() OWNER TO alice": "",
    "ALTER ROLE alice CREATEROLE": "REVOKE alice FROM actas_service",
}
"""What loosens a belt, and what the message at the start says; nothing where it is only seen when alice comes."""
RESTORE = """
REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC, app_users;
REVOKE UPDATE ON pg_catalog.pg_settings FROM PUBLIC; REVOKE USAGE ON LANGUAGE sql, plpgsql FROM PUBLIC, alice;
REVOKE TEMPORARY ON DATABASE closed FROM PUBLIC; ALTER ROLE actas_service NOINHERIT NOCREATEROLE NOBYPASSRLS;
REVOKE pg_read_all_data FROM actas_service; REVOKE ADMIN OPTION FOR user5 FROM actas_service;
REVOKE SELECT ON bobs FROM actas_service; DROP SCHEMA IF EXISTS services; DROP FUNCTION IF EXISTS public.as_bob();
DROP FUNCTION IF EXISTS own.mine(); ALTER ROLE alice NOCREATEROLE;
"""


@pytest.fixture
def loosened(way_admin: Admin) -> Iterator[Admin]:
    yield way_admin
    way_admin.execute(RESTORE)
    way_admin.execute("GRANT alice TO actas_service" + _apart(way_admin))


@pytest.mark.parametrize(("loosen", "said"), LOOSENED.items())
async def test_a_missing_belt_stops_the_start_and_the_user_and_the_message_has_the_statement(
    way: Way, loosened: Admin, loosen: str, said: str
) -> None:
    async with gateway_to(way.settings) as gateway:
        assert await gateway.value("SELECT current_user") == "alice"
    running = SqlDelegation(way.settings)
    await running.initialize()
    await running.destroy()
    loosened.execute(loosen)
    if said:
        with pytest.raises(ConfigurationError) as refused:
            await SqlDelegation(way.settings).initialize()
        assert said in "\n".join(refused.value.problems)
    with pytest.raises(ConfigurationError if said else LoginRefused) as turned_away:
        async with gateway_to(way.settings) as gateway:
            await gateway.query("SELECT 1")
    fixes = [line.split(": ", 1)[1] for line in _lines(turned_away.value)]
    for fix in fixes:
        loosened.execute(fix)
    async with gateway_to(way.settings) as gateway:
        assert await gateway.value("SELECT current_user", "bob") == "bob"


def _lines(error: ConfigurationError | LoginRefused) -> list[str]:
    if isinstance(error, LoginRefused):
        return (error.detail or "").split("; ")
    return [problem.removeprefix("identity = set_role is not safe here; ") for problem in error.problems]


def _apart(admin: Admin) -> str:
    return " WITH INHERIT FALSE" if admin.info.server_version >= 160000 else ""


async def test_without_the_belts_one_select_would_read_bobs_rows(way: Way) -> None:
    settings = replace(way.settings, database=OPEN)
    for attacked, stolen in ((settings, True), (way.settings, False)):
        connection = await Service(attacked, Connector(attacked)).open()
        statement, frame = Statement(AS_BOB, 10), taken_role("alice", "actas_service")
        try:
            answer = await run_as(Wire(connection), frame, statement, Bounds(10_000, 5.0))
            assert stolen and "SECRET of bob" in str(answer.page)
        except Exception as refused:
            assert not stolen, refused
        finally:
            connection.pgconn.finish()


async def test_a_wrong_service_role_stops_the_start(way: Way) -> None:
    service = replace(way.settings.service, role="nobody_at_all")
    with pytest.raises(ConfigurationError, match="does not let it in"):
        await SqlDelegation(replace(way.settings, service=service)).initialize()


async def test_a_server_that_is_down_stops_no_start(way: Way) -> None:
    module = SqlDelegation(replace(way.settings, port=1))
    await module.initialize()
    assert not (await module.health_check()).healthy
    await module.destroy()
