"""The testing kit's TDS peer: Microsoft's own driver speaks to it too, and it keeps the rules of EXECUTE AS."""

import os

import pytest

from actas.testing.tds import TdsPeer
from actas.testing.tds_batch import Batch
from actas.testing.tds_session import SqlError, TdsSession

MICROSOFTS = (
    "Server=127.0.0.1,{port};Database=shop;UID=gateway;PWD=Pool-Secret-1;Encrypt=yes;TrustServerCertificate=yes"
)
BATCH = """DECLARE @c varbinary(8000); EXECUTE AS USER = N'bob' WITH COOKIE INTO @c; SELECT USER_NAME() AS [user];
EXEC sys.sp_executesql N'SELECT 1'; REVERT WITH COOKIE = @c; SELECT USER_NAME() AS [user];"""


def test_microsofts_own_driver_gets_the_same_from_the_peer(tds_peer: TdsPeer) -> None:
    """It needs libltdl, which its wheel does not bring: Debian's package ``libltdl7``."""
    driver = pytest.importorskip("mssql_python") if not os.environ.get("CI") else __import__("mssql_python")
    try:
        connection = driver.connect(MICROSOFTS.format(port=tds_peer.port), autocommit=True)
    except driver.OperationalError as error:
        if os.environ.get("CI") or "Failed to load the driver" not in str(error):
            raise
        pytest.skip("Microsoft's driver cannot be loaded: apt install libltdl7")
    cursor = connection.cursor()
    cursor.execute(BATCH)
    results = [[tuple(row) for row in cursor.fetchall()]]
    while cursor.nextset():
        results.append([tuple(row) for row in cursor.fetchall()])
    connection.close()
    assert results == [[("bob",)], [("bob", "SELECT 1")], [("gateway",)]]
    assert tds_peer.connections[0].encrypted
    assert [ran.user for ran in tds_peer.ran] == ["bob"]


def session() -> TdsSession:
    return TdsSession("gateway", frozenset({"alice", "bob"}))


def test_revert_needs_no_permission_and_without_a_cookie_anybody_can() -> None:
    peer = session()
    peer.execute_as("alice", cookie=False)
    list(Batch(peer, "REVERT;").run())
    assert peer.user == "gateway"


def test_what_was_taken_with_a_cookie_is_given_back_with_it_only() -> None:
    peer = session()
    cookie = peer.execute_as("alice", cookie=True)
    for wrong in (None, b"x"):
        with pytest.raises(SqlError):
            peer.revert(wrong)
    assert peer.user == "alice"
    peer.revert(cookie)
    assert peer.user == "gateway"


def test_a_text_in_its_own_scope_sees_no_variable_of_the_batch() -> None:
    with pytest.raises(SqlError, match="@c"):
        list(Batch(session(), "DECLARE @c int = 1; EXEC sys.sp_executesql N'SELECT @c';").run())


def test_without_xact_abort_a_batch_goes_on_as_the_service_when_execute_as_fails() -> None:
    """Why the batch sets it, and asks who it is before anything of the user's runs."""
    peer = session()
    text = "EXECUTE AS USER = N'mallory'; EXEC sys.sp_executesql N'SELECT 1';"
    list(Batch(peer, text).run())
    assert [ran.user for ran in peer.ran] == ["gateway"]
    with pytest.raises(SqlError):
        list(Batch(peer, "SET XACT_ABORT ON; " + text).run())
    assert len(peer.ran) == 1
