"""What is revoked is refused at every hit: from the process, and from the file that all processes read."""

import logging
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core.errors import ConfigurationError
from actas.oauth import Authenticator, ClaimMappings, KnownActor, RevocationSettings
from actas.oauth import revocation as module
from actas.oauth.denylist import MAX_DENIED, Revocation
from actas.oauth.revocation import MAX_BYTES, RevocationFile, append, entries, format_line, parse_line
from actas.testing.idp import IdentityProvider

from .conftest import Clock

pytestmark = pytest.mark.anyio

Refused = Callable[[Authenticator, str], Awaitable[str]]
Make = Callable[..., Authenticator]
Revoking = Callable[[], Authenticator]

FOREVER = float("inf")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "revoked.jsonl"


@pytest.fixture
def revoking(idp: IdentityProvider, make: Make, path: Path) -> Revoking:
    """Makes authenticators that heed the file, as processes on several machines would."""
    return lambda: make(idp.trusted(introspection=idp.introspection()), revocation=RevocationSettings(path=str(path)))


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def look(authenticator: Authenticator) -> None:
    """What the thread does each second."""
    assert authenticator._revoked is not None
    authenticator._revoked.look()


@pytest.mark.parametrize("claim", ["jti", "sid", "sub"])
@pytest.mark.parametrize("opaque", [False, True])
async def test_what_the_file_names_is_refused_remembered_or_not_and_nobody_else_is(
    revoking: Revoking, idp: IdentityProvider, refused: Refused, path: Path, claim: str, opaque: bool
) -> None:
    authenticator = revoking()
    mine: dict[str, object] = {"jti": "j", "sid": "s", "sub": "alice"}
    if opaque:
        token, other = idp.issue_opaque(**mine), idp.issue_opaque("bob", sid="t")
    else:
        token, other = idp.issue(claims=mine), idp.issue("bob", claims={"sid": "t"})
    for each in (token, other):
        await authenticator.authenticate(each)
    append(path, Revocation(claim=claim, value=str(mine[claim])))  # type: ignore[arg-type] # one of the three
    look(authenticator)
    assert await refused(authenticator, token) == "revoked"
    assert authenticator.cached(other.encode()) is not None
    assert await refused(revoking(), token) == "revoked"  # after a restart, and in another process
    await revoking().authenticate(other)


async def test_a_running_server_notices_by_itself(revoking: Revoking, idp: IdentityProvider, path: Path) -> None:
    authenticator = revoking()
    await authenticator.start()
    await authenticator.start()
    try:
        token = idp.issue("alice")
        await authenticator.authenticate(token)
        append(path, Revocation(claim="sub", value="alice"))
        with anyio.fail_after(30):
            while authenticator.cached(token.encode()):  # noqa: ASYNC110 -- another thread changes it
                await anyio.sleep(0.05)
    finally:
        await authenticator.aclose()
        await authenticator.aclose()


async def test_an_issuer_narrows_it(revoking: Revoking, idp: IdentityProvider, refused: Refused, path: Path) -> None:
    append(path, Revocation(claim="sub", value="alice", issuer="https://other.example"))
    append(path, Revocation(claim="sub", value="bob", issuer=idp.issuer))
    authenticator = revoking()
    await authenticator.authenticate(idp.issue("alice"))
    assert await refused(authenticator, idp.issue("bob")) == "revoked"


async def test_an_entry_ends(
    revoking: Revoking, idp: IdentityProvider, refused: Refused, path: Path, clock: Clock
) -> None:
    append(path, Revocation(claim="sub", value="alice", until=clock.now + 10))
    authenticator = revoking()
    assert await refused(authenticator, idp.issue("alice")) == "revoked"
    clock.now += 10
    await authenticator.authenticate(idp.issue("alice"))
    assert authenticator._revoked is not None
    append(path, Revocation(claim="sub", value="bob"))
    look(authenticator)
    assert authenticator._revoked.denied is not None
    assert len(authenticator._revoked.denied) == 1


async def test_of_two_entries_the_one_that_ends_later_counts(
    revoking: Revoking, idp: IdentityProvider, refused: Refused, path: Path, clock: Clock
) -> None:
    for until in (clock.now + 5, clock.now + 100, clock.now + 50):
        append(path, Revocation(claim="sub", value="alice", until=until))
    authenticator = revoking()
    clock.now += 99
    assert await refused(authenticator, idp.issue("alice")) == "revoked"


async def test_a_subject_is_revoked_by_its_own_name_and_by_the_tokens(
    idp: IdentityProvider, make: Make, refused: Refused, path: Path
) -> None:
    for name in ("oid-1", "alice"):
        repair(path, b"")
        append(path, Revocation(claim="sub", value=name))
        authenticator = make(
            idp.trusted(claim_mappings=ClaimMappings(user_id="oid")), revocation=RevocationSettings(path=str(path))
        )
        assert await refused(authenticator, idp.issue("alice", claims={"oid": "oid-1"})) == "revoked"
        await authenticator.authenticate(idp.issue("bob", claims={"oid": "oid-2"}))


async def test_bad_and_torn_lines_are_logged_and_disable_nothing(
    revoking: Revoking, idp: IdentityProvider, refused: Refused, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [b"nonsense", b"[]", b"{}", b'{"sub":5}', b'{"sub":""}', b'{"sub":"x","sub":"y"}', b"\xff\xfe", b"[" * 3000]
    bad += [b'{"sub":"' + b"x" * 5000 + b'"}', b'{"user":"alice"}', b'{"sub":"a","x":' + b"[" * 20 + b"]" * 20 + b"}"]
    bad += [b'{"sub":"al']
    repair(path, b'{"sub":"alice"}\r\n\n  \n' + b"\n".join(bad))
    authenticator = revoking()
    assert await refused(authenticator, idp.issue("alice")) == "revoked"
    assert len([record for record in caplog.records if "line" in record.getMessage()]) == len(bad)
    append(path, Revocation(claim="sub", value="bob"))  # after a torn line
    look(authenticator)
    assert await refused(authenticator, idp.issue("bob")) == "revoked"
    assert "nonsense" not in caplog.text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"sub":"a"}', [Revocation(claim="sub", value="a")]),
        (b'{"sub":"a","note":"left","by":["x"]}', [Revocation(claim="sub", value="a")]),
        (b'{"jti":"j","sid":"s"}', [Revocation(claim="jti", value="j"), Revocation(claim="sid", value="s")]),
        (b'{"sub":"a","issuer":"https://i"}', [Revocation(claim="sub", value="a", issuer="https://i")]),
        (b'{"sub":"a","issuer":5}', [Revocation(claim="sub", value="a")]),
        (b'{"sub":"a","issuer":""}', [Revocation(claim="sub", value="a")]),
        (b'{"sub":"a","until":"1970-01-01T00:01:00Z"}', [Revocation(claim="sub", value="a", until=60.0)]),
        (b'{"sub":"a","until":"1970-01-01T00:01:00"}', [Revocation(claim="sub", value="a")]),
        (b'{"sub":"a","until":"soon"}', [Revocation(claim="sub", value="a")]),
        (b'{"sub":"a","until":60}', [Revocation(claim="sub", value="a")]),
    ],
)
def test_a_line_is_taken_as_widely_as_it_can_be_read(line: bytes, expected: list[Revocation]) -> None:
    assert parse_line(line) == expected


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def repair(path: Path, content: bytes) -> None:
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "everybody may write to it": lambda path: path.chmod(0o606),
    "a folder": _folder,
    "a pipe": _pipe,
    "too large": lambda path: os.truncate(path, MAX_BYTES + 1),
    "too many entries": lambda path: path.write_bytes(b"".join(b'{"jti":"%d"}\n' % n for n in range(MAX_DENIED + 1))),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_while_the_file_cannot_be_relied_on_nobody_is_let_in(
    revoking: Revoking,
    idp: IdentityProvider,
    refused: Refused,
    path: Path,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    append(path, Revocation(claim="sub", value="alice"))
    kept = content_of(path)
    authenticator = revoking()
    token = idp.issue("bob")
    await authenticator.authenticate(token)
    DAMAGE[damage](path)
    for _ in range(2):
        look(authenticator)
        assert authenticator.cached(token.encode()) is None
        assert await refused(authenticator, token) == "revocations_unreadable"
    assert len([record for record in caplog.records if "nobody is let in" in record.getMessage()]) == 1
    repair(path, kept)
    look(authenticator)
    await authenticator.authenticate(token)
    assert await refused(authenticator, idp.issue("alice")) == "revoked"


async def test_a_file_that_has_not_changed_is_not_read_again(
    revoking: Revoking, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert entries(path) == []
    repair(path, b"nonsense")
    authenticator = revoking()
    for _ in range(3):
        look(authenticator)
    assert caplog.text.count("line 1") == 1


async def test_emptying_the_file_takes_everything_back(
    revoking: Revoking, idp: IdentityProvider, refused: Refused, path: Path
) -> None:
    append(path, Revocation(claim="sub", value="alice"))
    authenticator = revoking()
    assert await refused(authenticator, idp.issue("alice")) == "revoked"
    repair(path, b"")
    look(authenticator)
    await authenticator.authenticate(idp.issue("alice"))


async def test_a_file_that_cannot_be_read_stops_the_start(revoking: Revoking, path: Path, tmp_path: Path) -> None:
    RevocationFile(path, lambda: 0.0).look()  # there need be none yet
    repair(path, b"")
    _folder(path)
    with pytest.raises(ConfigurationError, match=r"auth\.revocation\.path"):
        revoking()
    with pytest.raises(ConfigurationError, match=r"no regular file|cannot be read"):
        entries(path)
    with pytest.raises(ConfigurationError, match="the folder"):
        RevocationFile(tmp_path / "nowhere" / "x", lambda: 0.0)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(ValueError, match="absolute"):
        RevocationSettings(path="revoked.jsonl")


def test_a_new_file_is_for_its_owner_alone_and_belongs_to_the_folders_owner(path: Path) -> None:
    append(path, Revocation(claim="sub", value="alice"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == path.parent.stat().st_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_gives_a_file_it_makes_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    append(folder / "revoked.jsonl", Revocation(claim="sub", value="alice"))
    made = (folder / "revoked.jsonl").stat()
    assert (made.st_uid, made.st_gid) == (12345, 12345)


def test_what_cannot_be_written_is_said(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        append(tmp_path / "nowhere" / "x", Revocation(claim="sub", value="a"))
    with pytest.raises(ConfigurationError, match="not read by any server"):
        append(path, Revocation(claim="sub", value="a" * 5000))
    assert not path.exists()
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(ConfigurationError, match="full"):
        append(path, Revocation(claim="sub", value="a"))
    monkeypatch.undo()
    monkeypatch.setattr(os, "write", lambda descriptor, data: len(data) - 1)
    with pytest.raises(ConfigurationError, match="cannot be written: only a part"):
        append(path, Revocation(claim="sub", value="a"))


def test_many_writers_at_once_lose_nothing(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from actas.oauth.revocation import append, Revocation\n"
        "for n in range(50): append(Path(sys.argv[1]), Revocation(claim='jti', value=f'{sys.argv[2]}-{n}'))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "abcd"]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 4
    assert len({entry.value for entry in entries(path)}) == 200


_texts = st.text(min_size=1, max_size=20)
_times = st.just(FOREVER) | st.integers(0, 2**32).map(float)
_claims = st.sampled_from(["jti", "sid", "sub"])


@given(entry=st.builds(Revocation, claim=_claims, value=_texts, issuer=st.none() | _texts, until=_times))
def test_what_is_written_is_read(entry: Revocation) -> None:
    try:
        (entry.value + (entry.issuer or "")).encode()
    except UnicodeEncodeError:
        return
    line = format_line(entry)
    assert line.count(b"\n") == 1
    assert parse_line(line.strip()) == [entry]


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=6) | st.datetimes().map(str),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=3), children, max_size=2),
    max_leaves=5,
)
_objects = st.dictionaries(st.sampled_from(["jti", "sid", "sub", "issuer", "until", "x"]), _json)


@given(line=st.binary(max_size=60) | _objects.map(lambda value: orjson.dumps(_small(value))))
def test_any_line_is_read_or_refused(line: bytes) -> None:
    try:
        found = parse_line(line)
    except ValueError:
        return
    assert found
    assert all(entry.value and entry.claim in ("jti", "sid", "sub") for entry in found)


def _small(value: object) -> object:
    """Without integers that JSON libraries do not write."""
    if isinstance(value, dict):
        return {key: _small(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_small(item) for item in value]
    return value % 2**60 if isinstance(value, int) and not isinstance(value, bool) else value


def test_times_before_and_after_all_calendars_are_no_defect(path: Path) -> None:
    for until in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", datetime.now(UTC).isoformat()):
        (entry,) = parse_line(orjson.dumps({"sub": "a", "until": until}))
        assert parse_line(format_line(entry).strip()) == [entry]
    with pytest.raises(ConfigurationError, match="UTF-8"):
        append(path, Revocation(claim="sub", value="\ud800"))


async def test_an_agent_is_revoked_wherever_it_stands_in_the_chain(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    known = [KnownActor(subject="agent"), KnownActor(subject="agent", issuer="https://agents.example")]
    authenticator = make(idp.trusted(actors=known))
    own: dict[str, object] = {"act": {"sub": "agent"}}
    foreign: dict[str, object] = {"act": {"sub": "agent", "iss": "https://agents.example"}}
    inner: dict[str, object] = {"act": {"sub": "agent", "act": {"sub": "worm"}}}
    authenticator.revoke(subject="agent", issuer="https://agents.example")
    authenticator.revoke(subject="worm")
    await authenticator.authenticate(idp.issue(claims=own))
    assert await refused(authenticator, idp.issue(claims=foreign)) == "revoked"
    assert await refused(authenticator, idp.issue(claims=inner)) == "revoked"
    authenticator.revoke(subject="agent", issuer=idp.issuer)
    assert await refused(authenticator, idp.issue(claims=own)) == "revoked"
    await authenticator.authenticate(idp.issue("alice"))


async def test_revoking_in_this_process_may_name_an_issuer(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    authenticator.revoke(subject="alice", issuer="https://other.example")
    await authenticator.authenticate(idp.issue("alice"))
    authenticator.revoke(subject="alice", issuer=idp.issuer)
    assert await refused(authenticator, idp.issue("alice")) == "revoked"


async def test_nothing_of_an_entry_is_logged(revoking: Revoking, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    repair(path, b'{"sub":"alice"}\n{"user":"private-name"}\n')
    with caplog.at_level(logging.DEBUG):
        revoking()
    assert "line 2" in caplog.text
    assert "private-name" not in caplog.text
