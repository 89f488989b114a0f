"""Claims in a row-level policy: what the gateway signed counts, and nothing that a user's SQL can say."""

import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files

import psycopg
import pytest
from sql_gateway import gateway_to, session_of

from actas.core.errors import ConfigurationError, PrincipalUnavailable
from actas.core.models import DelegationCall
from actas.core.secret import Secret
from actas.delegation.sql.actions import Query
from actas.delegation.sql.connector import Connector
from actas.delegation.sql.identities.login import Login
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import ServiceSettings, SignedClaimsSettings, SqlSettings
from actas.delegation.sql.signed_claims import ClaimSigner

pytestmark = pytest.mark.anyio
Admin = psycopg.Connection
KEY = "a key of at least thirty-two bytes"
SIGNED = SignedClaimsSettings(key=Secret(KEY), claims=["tenant", "https://example.test/groups"])
DOCUMENTS = f"""
CREATE TABLE documents (tenant text, body text);
INSERT INTO documents VALUES ('t1', 'of t1'), ('t2', 'of t2');
ALTER TABLE documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON documents USING (tenant = (SELECT actas.claims() ->> 'tenant'));
GRANT SELECT ON documents TO app_users;
SELECT actas.set_key('{KEY}');
"""
SCRIPT = files("actas.delegation.sql").joinpath("signed_claims.sql").read_text()


@pytest.fixture
def installed(admin: Admin) -> Iterator[Admin]:
    admin.execute(SCRIPT.encode())
    admin.execute(DOCUMENTS.encode())
    yield admin
    admin.execute("DROP TABLE documents; DROP SCHEMA actas CASCADE")


async def _documents(settings: SqlSettings, user: str, **claims: object) -> list[list[str]]:
    async with gateway_to(settings) as gateway:
        call = DelegationCall(
            session=replace(session_of(user), claims=claims),
            action=gateway.module.actions[0],
            parameters=Query(sql="SELECT body FROM documents"),
            deadline=time.monotonic() + 20,
            request_id="request-1",
        )
        return (await gateway.module.delegate(call)).data["rows"]


async def test_a_policy_sees_the_claim_of_each_callers_token(settings: SqlSettings, installed: Admin) -> None:
    signing = replace(settings, signed_claims=SIGNED)
    assert await _documents(signing, "alice", tenant="t1") == [["of t1"]]
    assert await _documents(signing, "alice", tenant="t2", more="ignored") == [["of t2"]]
    assert await _documents(signing, "bob", tenant="it's \\ ünusual") == []
    assert await _documents(signing, "alice") == []
    assert await _documents(settings, "alice", tenant="t1") == []


@pytest.mark.parametrize("long", ["", " and so long that it is hashed before it is used as the key of an HMAC"])
async def test_the_signature_is_an_hmac_as_rfc_2104_has_it(settings: SqlSettings, installed: Admin, long: str) -> None:
    installed.execute("SELECT actas.set_key(%s)", [KEY + long])
    signed = replace(SIGNED, key=Secret(KEY + long))
    assert await _documents(replace(settings, signed_claims=signed), "alice", tenant="t1") == [["of t1"]]


async def test_what_the_users_own_sql_says_about_claims_counts_for_nothing(
    settings: SqlSettings, installed: Admin
) -> None:
    sign = ClaimSigner(SIGNED).command
    alice = replace(session_of("alice"), claims={"tenant": "t1"})
    of_bob = sign(replace(session_of("bob"), claims={"tenant": "t2"}), "bob")
    good = sign(alice, "alice")
    late = ClaimSigner(replace(SIGNED, seconds=-5)).command(alice, "alice")
    other = ClaimSigner(replace(SIGNED, key=Secret(KEY + "!"))).command(alice, "alice")
    plain = b"""SET LOCAL actas.signed_claims = '{"tenant":"t2"}'"""
    connection = await Login(settings, Connector(settings)).connect("alice")
    seen: dict[str, int] = {}
    for name, command in {
        "good": good,
        "of bob": of_bob,
        "late": late,
        "another key": other,
        "plain": plain,
        "no signature": good[: good.rindex(b".") + 1] + b"'",
        "cut": good[:-3] + b"'",
        "none": b"SELECT 1",
        "empty": b"SET LOCAL actas.signed_claims = '.'",
    }.items():
        async with connection.transaction():
            await connection.execute(command)
            seen[name] = len(await (await connection.execute("SELECT * FROM documents")).fetchall())
    assert seen == dict.fromkeys(seen, 0) | {"good": 1}
    for forbidden in ("SELECT * FROM actas.signing_key", "SELECT actas.set_key(repeat('x', 40))"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(forbidden)
    await connection.close()


async def test_claims_that_are_too_long_or_no_json_stop_the_call(settings: SqlSettings, installed: Admin) -> None:
    signing = replace(settings, signed_claims=SIGNED)
    for tenant in ("x" * 5000, float("nan"), object()):
        with pytest.raises(PrincipalUnavailable):
            await _documents(signing, "alice", tenant=tenant)


def test_signed_claims_that_cannot_hold_stop_the_start_and_the_key_prints_nowhere(settings: SqlSettings) -> None:
    service = ServiceSettings(role="svc")
    for wrong in (
        replace(settings, signed_claims=replace(SIGNED, key=Secret("short"))),
        replace(settings, signed_claims=replace(SIGNED, claims=[])),
        replace(settings, signed_claims=replace(SIGNED, seconds=1)),
        replace(settings, signed_claims=SIGNED, identity="set_role", service=service),
    ):
        with pytest.raises(ConfigurationError, match="signed_claims"):
            SqlDelegation(wrong)
        assert KEY not in repr(wrong)
