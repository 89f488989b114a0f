"""The entry point, the settings, and what importing costs."""

import asyncio
import socket
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from actas.core.errors import ConfigurationError
from actas.core.models import Effect
from actas.core.protocols import DelegationModule
from actas.core.registry import HEALTH_TIMEOUT
from actas.delegation.sql import probe
from actas.delegation.sql.levels import Level
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.plugin import actas_module_kinds
from actas.delegation.sql.settings import (
    IssuerSettings,
    LevelSettings,
    LimitSettings,
    PoolSettings,
    ServiceSettings,
    SqlSettings,
    TlsSettings,
)

SOCKET = SqlSettings(host="/run/postgresql", database="app")
ISSUER = IssuerSettings(certificate_file="/x", key_file="/y")


def test_importing_the_plugin_imports_no_driver_and_no_parser() -> None:
    program = (
        "import sys, actas.delegation.sql.plugin as plugin; list(plugin.actas_module_kinds())\n"
        "heavy = {'psycopg', 'pglast', 'pydantic', 'mcp'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_plugin_offers_one_kind_that_makes_a_delegation_module() -> None:
    (kind,) = actas_module_kinds()
    assert (kind.name, kind.settings) == ("sql", SqlSettings) and kind.by_name
    module = kind.create("db", SOCKET)
    assert isinstance(module, DelegationModule)


def test_the_actions_become_the_expected_tools_behind_the_read_permission() -> None:
    actions = SqlDelegation(replace(SOCKET, levels=LevelSettings(sql_read="may:look"))).actions
    assert [(action.name, action.tool or action.name) for action in actions] == [
        ("query", "delegate"),
        ("schema", "schema"),
        ("table-details", "table-details"),
    ]
    assert {action.permission for action in actions} == {"may:look"}
    assert [action.effect for action in actions] == [Effect.DESTRUCTIVE, Effect.READ, Effect.READ]
    for action in actions:
        names = {field.name for field in fields(action.parameters)}
        assert not names & {"user", "role", "username", "principal", "session", "identity"}


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        (replace(SOCKET, host="db.example.test"), "tls"),
        (replace(SOCKET, tls=TlsSettings(ca_file="a", certificate_file="b", key_file="c")), "tls"),
        (
            replace(SOCKET, host="db.test", tls=TlsSettings(ca_file="/x", certificate_file="/y", key_file="/z")),
            "tls.ca",
        ),
        (replace(SOCKET, host=""), "tls"),
        (replace(SOCKET, database=""), "database"),
        (replace(SOCKET, host="db.test", tls=TlsSettings(ca_file="/x")), "tls.certificate_file"),
        (
            replace(SOCKET, host="db.test", tls=TlsSettings(ca_file="/x", certificate_file="/y")),
            "tls: certificate_file",
        ),
        (replace(SOCKET, identity="set_role"), "service"),
        (replace(SOCKET, identity="ephemeral_role"), "service"),
        (replace(SOCKET, service=ServiceSettings(role="svc")), "service"),
        (replace(SOCKET, identity="set_role", service=ServiceSettings(role="Postgres")), "service.role"),
        (replace(SOCKET, identity="set_role", service=ServiceSettings(role="")), "service.role"),
        (replace(SOCKET, identity="user_certificate"), "issuer"),
        (replace(SOCKET, identity="user_certificate", issuer=ISSUER), "host"),
        (replace(SOCKET, identity="user_certificate", issuer=ISSUER), "issuer.key_file"),
        (replace(SOCKET, identity="user_certificate", issuer=replace(ISSUER, seconds=5)), "issuer.seconds"),
        (replace(SOCKET, issuer=ISSUER), "issuer"),
        (replace(SOCKET, port=0), "port"),
        (replace(SOCKET, search_path=[]), "search_path"),
        (replace(SOCKET, search_path=["a", ""]), "search_path"),
        (replace(SOCKET, pool=PoolSettings(total=0)), "pool.total"),
        (replace(SOCKET, limits=LimitSettings(seconds=-1)), "limits.seconds"),
        (replace(SOCKET, limits=LimitSettings(seconds=float("nan"))), "limits.seconds"),
        (replace(SOCKET, levels=LevelSettings(sql_write="sql:read")), "levels"),
        (replace(SOCKET, levels=LevelSettings(sql_write="")), "levels"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_path(settings: SqlSettings, path: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        SqlDelegation(settings)
    assert any(problem.startswith(path) for problem in refused.value.problems)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("ca", "certificate", "key")]
    for path in paths:
        path.write_text("x")
        path.chmod(0o644)
    tls = TlsSettings(ca_file=str(paths[0]), certificate_file=str(paths[1]), key_file=str(paths[2]))
    with pytest.raises(ConfigurationError, match="chmod 600"):
        SqlDelegation(replace(SOCKET, host="db.test", tls=tls))


@pytest.mark.parametrize("name", ["PGSERVICE", "PGDATESTYLE", "PGTZ", "PGGEQO"])
def test_an_environment_that_libpq_obeys_before_us_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "evil")
    with pytest.raises(ConfigurationError, match=name):
        SqlDelegation(SOCKET)


@pytest.mark.anyio
async def test_a_server_that_is_not_there_stops_no_start_and_shows_in_health() -> None:
    module = SqlDelegation(replace(SOCKET, host="/nonexistent"))
    await module.initialize()
    assert not (await module.health_check()).healthy
    await module.destroy()


def test_a_level_is_called_the_same_in_messages_settings_and_code() -> None:
    assert [level.label for level in Level] == ["sql-read", "sql-write", "sql-admin", "admin"]
    assert [level.setting for level in Level] == [field.name for field in fields(LevelSettings)]
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    for level in Level:
        permission = getattr(LevelSettings(), level.setting)
        assert f"| `{level.label}` | `{permission}` (`levels.{level.setting}`) |" in readme


@pytest.mark.anyio
async def test_a_server_that_takes_connections_and_says_nothing_is_unhealthy_in_time_and_stops_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert probe.PROBE_SECONDS < HEALTH_TIMEOUT
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.5)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / ".s.PGSQL.5432"))
        silent.listen()
        asked = asyncio.create_task(SqlDelegation(replace(SOCKET, host=str(tmp_path))).health_check())
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not asked.done()
        async with asyncio.timeout(HEALTH_TIMEOUT):
            assert not (await asked).healthy


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "healthy"),
    [
        (b"R\0\0\0\x08\0\0\0\0", True),
        (b"E\0\0\0\x12SFATAL\0C28000\0", True),
        (b"E\0\0\0\x12SFATAL\0C57P03\0", False),
        (b"E\xff\xff\xff\xffSFATAL", False),
        (b"E\0\0\0\x01", False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"", False),
    ],
    ids=["asks", "refuses nobody", "starting", "too long", "too short", "no PostgreSQL", "hangs up"],
)
async def test_only_a_server_that_would_let_somebody_in_is_healthy(tmp_path: Path, said: bytes, healthy: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, str(tmp_path / ".s.PGSQL.5432")):
        health = await SqlDelegation(replace(SOCKET, host=str(tmp_path))).health_check()
    assert health.healthy is healthy
