"""SQL Server: one call from the module to the wire and back, with pymssql, and the testing kit's peer to answer.

What is proven here is what stands on the wire, and what the documented rules of EXECUTE AS make of it.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from mssql_stage import ALICE, BOB, PASSWORD, ask, data, run

from actas.core import Secret
from actas.core.errors import (
    ConfigurationError,
    DelegationTimeout,
    DownstreamUnavailable,
    IdentityMismatch,
    InvalidParameters,
    PrincipalUnavailable,
)
from actas.delegation.sql.actions import ListTables
from actas.delegation.sql.failures import (
    DatabaseRefused,
    LoginRefused,
    PoolExhausted,
    StatementFailed,
    StatementRefused,
)
from actas.delegation.sql.mssql.actions import Procedure, TableDetails
from actas.delegation.sql.mssql.driver import Driver
from actas.delegation.sql.mssql.module import MssqlDelegation
from actas.delegation.sql.mssql.settings import MssqlServiceSettings, MssqlSettings
from actas.delegation.sql.mssql.verifying import check_verification
from actas.delegation.sql.settings import LimitSettings, PoolSettings
from actas.testing.pki import CertificateAuthority
from actas.testing.tds import TdsPeer

pytestmark = pytest.mark.anyio


async def test_a_query_runs_as_the_user_in_one_batch(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    result = await ask(mssql, "SELECT created_at FROM dbo.orders WHERE region = @region", region="No'rth")
    assert result.receipt.identity == "CORP\\alice"
    assert result.receipt.details["original_login"] == "gateway"
    assert data(result)["rows"] == [["CORP\\alice", "SELECT [created_at] FROM [dbo].[orders] WHERE [region] = @region"]]
    (ran,) = tds_peer.ran
    assert (ran.user, ran.original, ran.values) == ("CORP\\alice", "gateway", {"@region": "No'rth"})
    use, batch = tds_peer.batches
    assert use == "use [shop]"  # pymssql's own, when it has logged in
    order = [
        "EXECUTE AS USER = N'CORP\\alice' WITH COOKIE INTO @actas_cookie",
        "sys.sp_executesql",
        "REVERT WITH COOKIE = @actas_cookie",
    ]
    assert [batch.index(each) for each in order] == sorted(batch.index(each) for each in order)


async def test_the_users_text_cannot_see_the_cookie(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    with pytest.raises(StatementRefused):
        await ask(mssql, "SELECT @actas_cookie")
    assert tds_peer.ran == []


async def test_after_an_error_the_connection_is_closed(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    with pytest.raises(DatabaseRefused):
        await ask(mssql, "SELECT a FROM payroll")
    result = await ask(mssql, "SELECT a FROM orders")
    assert result.receipt.identity == "CORP\\alice"
    await asyncio.sleep(0.1)
    first, second = tds_peer.connections
    assert (first.closed, first.left_as) == (True, None)
    assert not second.closed


async def test_a_connection_is_used_again_by_its_user_and_by_nobody_else(
    mssql: MssqlDelegation, tds_peer: TdsPeer
) -> None:
    for who in (ALICE, ALICE, BOB, ALICE, BOB):
        result = await ask(mssql, "SELECT 1", who)
        assert result.receipt.identity == who.legacy_username
        await asyncio.sleep(0)
    users = [
        {name for name in ("alice", "bob") for batch in seen.batches if f"{name}' WITH COOKIE" in batch}
        for seen in tds_peer.connections
    ]
    assert users == [{"alice"}, {"bob"}]
    assert {seen.left_as for seen in tds_peer.connections} == {None}


async def test_many_users_at_once_never_see_each_other(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    async def once(index: int) -> None:
        who = (ALICE, BOB)[index % 2]
        result = await ask(mssql, "SELECT who FROM orders WHERE n = @n", who, n=index)
        assert result.receipt.identity == who.legacy_username
        assert data(result)["rows"][0][0] == who.legacy_username

    await asyncio.gather(*(once(index) for index in range(40)))
    assert all(ran.user == ("CORP\\alice", "bob")[int(str(ran.values["@n"])) % 2] for ran in tds_peer.ran)


async def test_who_may_not_be_impersonated_runs_nothing(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    with pytest.raises(LoginRefused):
        await ask(mssql, "SELECT 1", replace(ALICE, legacy_username="mallory"))
    assert tds_peer.ran == []


@pytest.mark.parametrize(
    "name",
    ["dbo", "SA", "gateway", "guest", "sys", "db_owner", "x'; REVERT; --", "a]b", "", "a\\b\\c", "al\u00efce", "a\n"],
)
async def test_a_name_that_is_unsafe_or_denied_is_nobody(mssql: MssqlDelegation, tds_peer: TdsPeer, name: str) -> None:
    with pytest.raises(PrincipalUnavailable):
        await ask(mssql, "SELECT 1", replace(ALICE, legacy_username=name))
    assert tds_peer.connections == []


async def test_a_server_that_ignores_execute_as_runs_nothing_for_the_user(
    mssql: MssqlDelegation, tds_peer: TdsPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.testing.tds_session.TdsSession.execute_as", lambda *_, **__: b"cookie")
    with pytest.raises(IdentityMismatch):
        await ask(mssql, "SELECT 1")
    assert tds_peer.ran == []


async def test_a_long_result_is_cut_and_says_so(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    result = data(await ask(mssql, "SELECT * FROM many"))
    assert (result["row_count"], result["truncated"]) == (1000, True)
    await ask(mssql, "SELECT 1")
    assert len(tds_peer.connections) == 2


async def test_a_big_result_is_cut_by_bytes(mssql_settings: MssqlSettings) -> None:
    module = MssqlDelegation(replace(mssql_settings, limits=LimitSettings(bytes=2000)))
    result = data(await ask(module, "SELECT * FROM many"))
    await module.destroy()
    assert result["truncated"] and 5 < int(str(result["row_count"])) < 25


async def test_what_runs_too_long_is_given_up_with_its_connection(
    mssql_settings: MssqlSettings, tds_peer: TdsPeer
) -> None:
    module = MssqlDelegation(replace(mssql_settings, limits=LimitSettings(seconds=1)))
    with pytest.raises(DelegationTimeout):
        await ask(module, "SELECT a FROM slow")
    await asyncio.sleep(0.2)
    (seen,) = tds_peer.connections
    await module.destroy()
    assert seen.closed


async def test_places_are_bounded(mssql_settings: MssqlSettings) -> None:
    pool = PoolSettings(total=1, per_user=1, wait_seconds=0.2)
    module = MssqlDelegation(replace(mssql_settings, pool=pool, limits=LimitSettings(seconds=2)))
    slow = asyncio.create_task(ask(module, "SELECT a FROM slow"))
    await asyncio.sleep(0.1)
    with pytest.raises(PoolExhausted):
        await ask(module, "SELECT 1", BOB)
    with pytest.raises(DelegationTimeout):
        await slow
    assert (await ask(module, "SELECT 1", BOB)).receipt.identity == "bob"
    await module.destroy()


async def test_writing_needs_its_level_and_tells_how_much(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    assert data(await ask(mssql, "UPDATE orders SET a = @a WHERE b = 1", a=None))["affected_rows"] == 1
    with pytest.raises(StatementRefused, match="sql-write"):
        await ask(mssql, "DELETE FROM orders", replace(ALICE, permissions=frozenset({"sql:read"})))
    assert len(tds_peer.ran) == 1


async def test_a_procedure_of_the_settings_runs_as_the_user(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    result = await run(mssql, Procedure(name="DBO.close_month", params={"month": 7, "note": "it's"}))
    assert result.receipt.identity == "CORP\\alice"
    (ran,) = tds_peer.ran
    assert ran.text == "EXEC [dbo].[close_month] @month = @month, @note = @note"
    assert ran.values == {"@month": 7, "@note": "it's"}


@pytest.mark.parametrize("name", ["dbo.other", "sys.sp_who", "close_month", "dbo.close_month; REVERT", ""])
async def test_no_other_procedure_runs(mssql: MssqlDelegation, tds_peer: TdsPeer, name: str) -> None:
    with pytest.raises(InvalidParameters):
        await run(mssql, Procedure(name=name))
    assert tds_peer.connections == []


async def test_tables_and_columns_are_asked_for_as_the_user(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    listed = await run(mssql, ListTables(schema="d%", limit=2, offset=4))
    assert [each["who"] for each in data(listed)["tables"]] == ["CORP\\alice"] * 2
    assert data(listed)["next_offset"] == 6
    assert tds_peer.ran[-1].values == {"@schema": "d%", "@name": None, "@offset": 4, "@limit": 3}
    details = await run(mssql, TableDetails(table="orders"))
    assert len(data(details)["columns"]) == 3 and data(details)["next_offset"] is None
    with pytest.raises(StatementFailed, match="no such table"):
        await run(mssql, TableDetails(table="hidden"))
    assert data(await run(mssql, TableDetails(table="hidden", offset=200)))["columns"] == []
    for wrong in (
        ListTables(limit=0),
        ListTables(limit=501),
        ListTables(offset=-1),
        TableDetails(table="x", offset=-1),
    ):
        with pytest.raises(InvalidParameters):
            await run(mssql, wrong)


async def test_values_never_leave_their_quotes(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    values = ["'; REVERT; --", "''", "\u02bc; REVERT", "]]", "/*", "\\", "\u4e2d\U0001f600", "N'x'"]
    for value in values:
        await ask(mssql, "SELECT @v", v=value)
    assert [ran.values["@v"] for ran in tds_peer.ran] == values
    assert all(ran.effects == () for ran in tds_peer.ran)


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "line\\\nnext", 2**63, float("nan"), float("inf")])
async def test_values_that_sql_server_cannot_have_are_refused(
    mssql: MssqlDelegation, tds_peer: TdsPeer, value: str | int | float
) -> None:
    with pytest.raises(InvalidParameters):
        await ask(mssql, "SELECT @v", v=value)
    assert tds_peer.connections == []


async def test_a_server_of_another_authority_gets_no_password(
    mssql_settings: MssqlSettings, tds_peer: TdsPeer, tmp_path: Path
) -> None:
    other = CertificateAuthority(tmp_path)
    module = MssqlDelegation(replace(mssql_settings, ca_file=str(other.certificate)))
    with pytest.raises(DownstreamUnavailable):
        await module.initialize()
    assert {seen.login for seen in tds_peer.connections} == {None}


async def test_a_certificate_for_another_host_gets_no_password(
    mssql_settings: MssqlSettings, tds_authority: CertificateAuthority
) -> None:
    certificate = tds_authority.issue_server("elsewhere.example")
    with TdsPeer(certificate, logins={"gateway": PASSWORD}, users=[]) as peer:
        module = MssqlDelegation(replace(mssql_settings, port=peer.port))
        with pytest.raises(DownstreamUnavailable):
            await module.initialize()
        assert {seen.login for seen in peer.connections} == {None}


async def test_a_server_without_tls_gets_no_password(mssql_settings: MssqlSettings) -> None:
    with TdsPeer(None, logins={"gateway": PASSWORD}, users=[]) as peer:
        module = MssqlDelegation(replace(mssql_settings, port=peer.port))
        with pytest.raises(DownstreamUnavailable):
            await module.initialize()
        assert {seen.login for seen in peer.connections} == {None}


async def test_a_good_server_is_started_with(mssql: MssqlDelegation, tds_peer: TdsPeer) -> None:
    await mssql.initialize()
    assert [seen.login for seen in tds_peer.connections] == [None, "gateway"]
    assert tds_peer.connections[1].encrypted
    assert (await mssql.health_check()).healthy


async def test_a_freetds_that_does_not_verify_is_no_start(
    mssql_settings: MssqlSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.delegation.sql.mssql.verifying.stranger", lambda: mssql_settings.ca_file)
    for _ in range(70):  # pymssql keeps all of their errors, and has no room for more
        with pytest.raises(DownstreamUnavailable):
            Driver(mssql_settings).open(MssqlServiceSettings(login="n" * 100, password=Secret("none")))
    with pytest.raises(ConfigurationError, match="does not verify"):
        check_verification(mssql_settings)


def test_where_it_cannot_be_tried_nothing_starts(
    mssql_settings: MssqlSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.delegation.sql.mssql.verifying._TRY", "raise SystemExit('gone')")
    with pytest.raises(ConfigurationError, match="cannot be tried"):
        check_verification(mssql_settings)


@pytest.mark.parametrize(
    "change",
    [
        {"host": "a\nencryption = off"},
        {"ca_file": "/etc/ssl/certs/x\n[global]"},
        {"ca_file": "relative.pem"},
        {"ca_file": "/nonexistent.pem"},
        {"procedures": ["sys.sp_who"]},
        {"procedures": ["dbo.xp_cmdshell"]},
        {"allowed_functions": ["f"]},
        {"database": ""},
        {"port": 0},
    ],
)
async def test_settings_that_make_no_sense_are_said(mssql_settings: MssqlSettings, change: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        MssqlDelegation(replace(mssql_settings, **change))


async def test_the_password_of_the_service_never_shows(mssql_settings: MssqlSettings) -> None:
    wrong = replace(mssql_settings.service, password=Secret("Wrong-Secret-2"))
    module = MssqlDelegation(replace(mssql_settings, service=wrong))
    with pytest.raises(DownstreamUnavailable) as caught:
        await ask(module, "SELECT 1")
    await module.destroy()
    assert "Wrong-Secret-2" not in f"{caught.value!r} {caught.value.detail} {mssql_settings!r}"
