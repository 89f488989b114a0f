"""SQL Server on the wire: the testing kit's peer, and a module that reaches it over TLS."""

import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import replace

import pytest

from actas.core import DelegationCall, DelegationResult, Secret, Session
from actas.delegation.sql.mssql.actions import Scalar, TsqlQuery
from actas.delegation.sql.mssql.module import MssqlDelegation
from actas.delegation.sql.mssql.settings import MssqlServiceSettings, MssqlSettings
from actas.testing.pki import CertificateAuthority
from actas.testing.tds import TdsPeer
from actas.testing.tds_session import Ran, ResultSet, SqlError, echo

ALICE = Session(
    issuer="https://idp.example",
    subject="u-1",
    username="alice",
    legacy_username="CORP\\alice",
    provider="test",
    role="user",
    permissions=frozenset({"sql:read", "sql:write"}),
)
BOB = replace(ALICE, subject="u-2", username="bob", legacy_username="bob")
PASSWORD = "Pool-Secret-1"


def answers(ran: Ran) -> ResultSet:
    """Tables by name: what a server would say of them."""
    if "[payroll]" in ran.text:
        raise SqlError(229, "The SELECT permission was denied on the object 'payroll'.", 14)
    if "[slow]" in ran.text:
        return ResultSet(["a"], [[1]], 1, seconds=20)
    if "FROM sys." in ran.text:
        rows: list[list[object]] = [["dbo", f"t{number}", ran.user] for number in range(3)]
        nothing = ran.values.get("@table") == "hidden"
        return ResultSet(["schema", "name", "who"], [] if nothing else rows, 0 if nothing else 3)
    if "[many]" in ran.text:
        return ResultSet(["n", "text"], [[n, "x" * 100] for n in range(5000)], 5000)
    return echo(ran)


@pytest.fixture(scope="module")
def tds_authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("tds"))


@pytest.fixture
def tds_peer(tds_authority: CertificateAuthority) -> Iterator[TdsPeer]:
    certificate = tds_authority.issue_server("127.0.0.1", "localhost")
    with TdsPeer(
        certificate, logins={"gateway": PASSWORD}, users=["CORP\\alice", "bob", "alice"], answers=answers
    ) as peer:
        yield peer


@pytest.fixture
def mssql_settings(tds_peer: TdsPeer, tds_authority: CertificateAuthority) -> MssqlSettings:
    return MssqlSettings(
        host="127.0.0.1",
        port=tds_peer.port,
        database="shop",
        ca_file=str(tds_authority.certificate),
        service=MssqlServiceSettings(login="gateway", password=Secret(PASSWORD)),
        procedures=["dbo.close_month"],
    )


@pytest.fixture
async def mssql(mssql_settings: MssqlSettings) -> AsyncGenerator[MssqlDelegation]:
    module = MssqlDelegation(mssql_settings)
    yield module
    await module.destroy()


async def ask(
    module: MssqlDelegation, sql: str, who: Session = ALICE, seconds: float = 20, **params: Scalar
) -> DelegationResult:
    return await run(module, TsqlQuery(sql=sql, params=params), who, seconds)


async def run(
    module: MssqlDelegation, parameters: object, who: Session = ALICE, seconds: float = 20
) -> DelegationResult:
    action = next(each for each in module.actions if isinstance(parameters, each.parameters))
    call = DelegationCall(
        session=who,
        action=action,
        parameters=parameters,
        deadline=time.monotonic() + seconds,
        request_id="r-1",
    )
    return await module.delegate(call)


def data(result: DelegationResult) -> Mapping[str, object]:
    assert isinstance(result.data, dict)
    return result.data
