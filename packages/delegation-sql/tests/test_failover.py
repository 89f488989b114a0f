"""Several servers of one database, and servers that stop, die and come back while people call."""

import asyncio
import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sql_gateway import READ, WRITE, Gateway, gateway_to, settings_for
from sql_ways import Way

from actas.cli.demo_client import Visitor
from actas.core import MemorySink
from actas.core.errors import ActasError, ConfigurationError, DownstreamUnavailable
from actas.delegation.sql.failures import DatabaseRefused, LoginRefused
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.servers import Server, parsed
from actas.delegation.sql.settings import PoolSettings, ServiceSettings, SqlSettings
from actas.mcp import MCPOAuthServer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.postgres import DebianPostgres, EmbeddedPostgres, PostgresServer
from actas.testing.postgres_standby import StandbyPostgres

pytestmark = pytest.mark.anyio

SCHEMA = """
CREATE TABLE notes (id serial PRIMARY KEY, owner name NOT NULL DEFAULT session_user, body text UNIQUE);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (owner = session_user);
GRANT SELECT, INSERT ON notes TO app_users;
GRANT USAGE ON SEQUENCE notes_id_seq TO app_users;
ALTER DATABASE app SET synchronous_commit = on;
"""
WHERE = "SELECT pg_is_in_recovery()"
USERS = ("alice", "bob")


@pytest.fixture(params=[EmbeddedPostgres, DebianPostgres], ids=["embedded-peer", "debian-certificate"])
def primary(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server of the test's own: it may be stopped, and must not lose what it has committed when it dies."""
    with request.param() as server:
        server.add_users(*USERS)
        server.sql(SCHEMA)
        yield server


@pytest.fixture
def standby(primary: PostgresServer) -> Iterator[StandbyPostgres]:
    with StandbyPostgres(primary) as server:
        yield server


def both(primary: PostgresServer, standby: StandbyPostgres, **changes: Any) -> SqlSettings:
    """The standby first: the order does not matter."""
    settings = settings_for(primary)
    if settings.unix_socket:
        host = f"{standby.socket_folder}, {primary.socket_folder}"
    else:
        host = f"localhost:{standby.port}, localhost:{primary.port}"
    changes.setdefault("allowed_functions", ["pg_is_in_recovery"])
    return replace(settings, host=host, **changes)


async def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 -- the server tells nobody
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("written", "servers"),
    [
        ("db", [("db", 5432)]),
        ("db1, db2:5433", [("db1", 5432), ("db2", 5433)]),
        ("/run/a,/run/b", [("/run/a", 5432), ("/run/b", 5432)]),
        ("::1,10.0.0.1:1", [("::1", 5432), ("10.0.0.1", 1)]),
        ("/run/odd:name", [("/run/odd:name", 5432)]),
    ],
)
def test_servers_are_written_with_commas_and_ports_of_their_own(written: str, servers: list[tuple[str, int]]) -> None:
    assert parsed(written, 5432) == [Server(*each) for each in servers]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"host": "/run/a,"}, "host: must be a name"),
        ({"host": "db:x"}, "host: must be a name"),
        ({"host": "db:70000"}, "host: must be a name"),
        ({"host": "/run/a,/run/a"}, "host: names a server twice"),
        ({"host": "/run/a,db"}, "host: must be unix sockets, or host names, not both"),
        ({"host": "/run/a,/run/b", "identity": "pooled_login"}, "host: the pooler is one"),
        ({"host": "/run/a", "reads": "standby"}, "reads: host names one server only"),
        (
            {
                "host": "/run/a,/run/b",
                "reads": "standby",
                "identity": "ephemeral_role",
                "service": ServiceSettings(role="broker"),
            },
            "reads: a role that was made a moment ago",
        ),
    ],
)
def test_what_makes_no_sense_of_several_servers_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        SqlDelegation(SqlSettings(**{"database": "app", **changes}))
    assert any(problem.startswith(told) for problem in refused.value.problems), refused.value.problems


async def test_everything_goes_to_the_primary_wherever_it_stands(
    primary: PostgresServer, standby: StandbyPostgres
) -> None:
    async with gateway_to(both(primary, standby)) as gateway:
        assert await gateway.value(WHERE) is False
        await gateway.query("INSERT INTO notes (body) VALUES ('x')", "alice", WRITE)


async def test_readers_may_be_served_by_a_standby_as_themselves_and_writers_never_are(
    primary: PostgresServer, standby: StandbyPostgres
) -> None:
    primary.sql("INSERT INTO notes (owner, body) VALUES ('alice', 'hers'), ('bob', 'his')")
    async with gateway_to(both(primary, standby, reads="standby")) as gateway:

        async def there() -> bool:
            return len(await gateway.rows("SELECT * FROM notes", "alice")) == 1

        await eventually(there)
        for user, body in (("alice", "hers"), ("bob", "his"), ("alice", "hers")):
            assert await gateway.rows("SELECT pg_is_in_recovery(), session_user, body FROM notes", user) == [
                [True, user, body]
            ]
        # Who may write reads what he wrote, and not what a standby does not know yet.
        await gateway.query("INSERT INTO notes (body) VALUES ('new')", "alice", WRITE)
        assert await gateway.rows("SELECT pg_is_in_recovery(), body FROM notes WHERE body = 'new'", "alice", WRITE) == [
            [False, "new"]
        ]
        assert await gateway.value(WHERE, "alice", READ) is True


async def test_every_identity_that_can_reads_from_a_standby_as_the_user(way: Way) -> None:
    if way.settings.identity in ("pooled_login", "ephemeral_role"):
        return  # these are refused: see above
    with StandbyPostgres(way.server) as standby:
        settings = way.settings
        if settings.unix_socket:
            host = f"{settings.host},{standby.socket_folder}"
        else:
            host = f"localhost:{settings.port},localhost:{standby.port}"
        settings = replace(settings, host=host, reads="standby", allowed_functions=["pg_is_in_recovery"])
        async with gateway_to(settings) as gateway:
            for user in USERS:
                found = await gateway.rows("SELECT DISTINCT pg_is_in_recovery(), current_user, owner FROM notes", user)
                assert found == [[True, user, user]]
            with pytest.raises(DatabaseRefused):
                await gateway.query("SELECT * FROM bobs", "alice")


async def test_without_a_standby_readers_go_to_the_primary_and_back_when_it_is_there(
    primary: PostgresServer, standby: StandbyPostgres
) -> None:
    settings = both(primary, standby, reads="standby", pool=PoolSettings(lifetime_seconds=0.2))
    async with gateway_to(settings) as gateway:
        assert await gateway.value(WHERE) is True
        standby.halt("immediate")
        health = await gateway.module.health_check()
        assert (health.healthy, health.message) == (True, "1 of the database's 2 servers answer.")
        assert await gateway.value(WHERE) is False
        standby.start()

        async def back() -> bool:
            return bool(await gateway.value(WHERE))

        await eventually(back)
        assert (await gateway.module.health_check()).message == ""


async def test_when_a_standby_takes_the_primarys_place_calls_follow(
    primary: PostgresServer, standby: StandbyPostgres
) -> None:
    async with gateway_to(both(primary, standby)) as gateway:
        await gateway.query("INSERT INTO notes (body) VALUES ('before')", "alice", WRITE)

        async def arrived() -> bool:
            return standby.sql("SELECT count(*) FROM notes") == "1"

        await eventually(arrived)
        primary.halt("immediate")
        with pytest.raises(DownstreamUnavailable) as down:
            await gateway.query("INSERT INTO notes (body) VALUES ('lost')", "alice", WRITE)
        assert str(standby.port) not in down.value.message
        standby.promote()
        await gateway.query("INSERT INTO notes (body) VALUES ('after')", "alice", WRITE)
        assert await gateway.rows("SELECT body, session_user FROM notes ORDER BY id") == [
            ["before", "alice"],
            ["after", "alice"],
        ]


async def test_who_is_unknown_is_refused_and_with_the_primary_away_only_told_to_wait(
    primary: PostgresServer, standby: StandbyPostgres
) -> None:
    async with gateway_to(both(primary, standby)) as gateway:
        with pytest.raises(LoginRefused):
            await gateway.query("SELECT 1", "nobody_knows")
        primary.halt("immediate")
        with pytest.raises(DownstreamUnavailable):
            await gateway.query("SELECT 1", "alice")


@dataclass
class Load:
    """Two people who write and read without a pause, and what they were told."""

    gateway: Gateway
    acknowledged: dict[str, list[str]] = field(default_factory=lambda: {user: [] for user in USERS})
    errors: Counter[str] = field(default_factory=Counter[str])
    number: Iterator[int] = field(default_factory=itertools.count)
    read: int = 0
    over: bool = False

    async def write(self, user: str, who: int) -> None:
        while not self.over:
            body = f"{user} {who} {next(self.number)}"
            text = "INSERT INTO notes (body) VALUES (%(body)s) RETURNING owner, session_user"
            try:
                rows = await self.gateway.rows(text, user, WRITE, body=body)
            except ActasError as error:
                await self._failed(error)
            else:
                assert rows == [[user, user]]
                self.acknowledged[user].append(body)

    async def look(self, user: str) -> None:
        while not self.over:
            try:
                rows = await self.gateway.rows("SELECT DISTINCT owner FROM notes", user)
            except ActasError as error:
                await self._failed(error)
            else:
                self.read += 1
                assert rows in ([], [[user]])

    async def _failed(self, error: ActasError) -> None:
        self.errors[error.code] += 1
        await asyncio.sleep(0.01)

    async def run(self, meanwhile: Callable[[], None]) -> None:
        """Call, let ``meanwhile`` happen in a thread, and call on until everybody has been answered again."""
        tasks = [asyncio.create_task(self.write(user, who)) for user in USERS for who in range(2)]
        tasks += [asyncio.create_task(self.look(user)) for user in USERS]
        try:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(meanwhile)
            before = {user: len(self.acknowledged[user]) for user in USERS}

            async def answered() -> bool:
                return all(len(self.acknowledged[user]) > before[user] + 5 for user in USERS)

            await eventually(answered)
        finally:
            self.over = True
            await asyncio.gather(*tasks)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_under_load_loses_no_acknowledged_write_and_mixes_up_nobody(
    primary: PostgresServer, mode: str
) -> None:
    async with gateway_to(settings_for(primary)) as gateway:
        load = Load(gateway)
        for _ in range(2):
            load.over = False
            await load.run(lambda: primary.restart(mode))
    assert set(load.errors) <= {"downstream_unavailable"}, load.errors
    assert load.errors["downstream_unavailable"] > 0
    assert load.read > 0
    for user, bodies in load.acknowledged.items():
        kept = set(primary.sql(f"SELECT body FROM notes WHERE owner = '{user}'").splitlines())
        assert set(bodies) <= kept
        assert all(body.startswith(user) for body in kept)
        # What was not acknowledged may have been done: one call a writer and restart, at most.
        assert len(kept) - len(bodies) <= 4


async def test_a_failover_under_load_loses_no_write_that_the_standby_had_confirmed(
    primary: PostgresServer, standby: StandbyPostgres
) -> None:
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.sql("SELECT pg_reload_conf()")
    async with gateway_to(both(primary, standby)) as gateway:
        load = Load(gateway)

        def fail_over() -> None:
            primary.halt("immediate")
            standby.sql("ALTER SYSTEM RESET synchronous_standby_names")
            standby.promote()

        await load.run(fail_over)
    assert set(load.errors) <= {"downstream_unavailable"}, load.errors
    for user, bodies in load.acknowledged.items():
        assert set(bodies) <= set(standby.sql(f"SELECT body FROM notes WHERE owner = '{user}'").splitlines())


async def test_a_database_that_is_down_takes_no_other_module_with_it_and_comes_back_by_itself() -> None:
    audience = "https://mcp.example/mcp"
    users = {"alice": DemoUser(roles=["reader"], claims={"legacy": "alice"})}
    with (
        IdentityProvider(users=users, audience=audience) as provider,
        EmbeddedPostgres() as one,
        EmbeddedPostgres() as two,
    ):
        for server in (one, two):
            server.add_users("alice")
        issuer = {
            "name": "test",
            "issuer": provider.issuer,
            "audience": audience,
            "claim_mappings": {"legacy_username": "legacy"},
            "role_mappings": {"user": ["reader"]},
        }
        modules = {
            name: {"kind": "sql", "host": str(server.socket_folder), "database": "app"}
            for name, server in (("one", one), ("two", two))
        }
        running = MCPOAuthServer(
            {
                "mcp": {"port": 0, "resource": audience},
                "auth": {"trusted_idps": [issuer], "permissions": {"user": ["sql:read"]}},
                "delegation": {"modules": modules},
            },
            audit_sink=MemorySink(),
        )
        await running.start()
        try:
            async with Visitor.connected(running.url, provider.issue("alice")) as visitor:

                async def call(tool: str, **arguments: object) -> Any:
                    return await visitor._client.call_tool(tool, arguments)

                async def health() -> dict[str, bool]:
                    modules = (await call("health-check")).structured_content["modules"]
                    return {name: each["healthy"] for name, each in modules.items()}

                assert not (await call("one-delegate", sql="SELECT 1")).is_error
                assert await health() == {"one": True, "two": True}
                one.halt("immediate")
                down = await call("one-delegate", sql="SELECT 1")
                assert down.is_error
                assert "downstream_unavailable" in str(down.content)
                assert (await call("two-delegate", sql="SELECT 1")).structured_content["rows"] == [[1]]
                assert await health() == {"one": False, "two": True}
                one.start()
                assert (await call("one-delegate", sql="SELECT session_user")).structured_content["rows"] == [["alice"]]
                assert await health() == {"one": True, "two": True}
        finally:
            await running.stop()


async def test_a_primary_that_is_silent_costs_its_share_of_the_time_and_the_next_one_is_found(
    primary: PostgresServer, standby: StandbyPostgres
) -> None:
    settings = both(primary, standby, pool=PoolSettings(connect_seconds=2.0))
    async with gateway_to(settings) as gateway:
        await gateway.query("INSERT INTO notes (body) VALUES ('before')", "alice", WRITE)

        async def arrived() -> bool:
            return standby.sql("SELECT count(*) FROM notes") == "1"

        await eventually(arrived)
        with frozen(primary):
            with pytest.raises(DownstreamUnavailable):
                await gateway.query("SELECT 1", "bob")
            standby.promote()
            assert await gateway.rows("SELECT session_user", "bob") == [["bob"]]
            health = await gateway.module.health_check()
            assert (health.healthy, health.message) == (True, "1 of the database's 2 servers answer.")


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Inside, nothing of it answers, and nothing says so."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    stopped = [pid, *map(int, children)]
    for each in stopped:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in stopped:
            os.kill(each, signal.SIGCONT)
