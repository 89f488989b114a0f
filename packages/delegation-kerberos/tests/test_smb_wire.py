"""What a stranger on the way, or a server that is weaker than it should be, gets out of the gateway: nothing."""

import logging
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from smb_meddler import Meddler, framed
from smb_stage import ALICE, ShareSettings, Stage, other_server, staged
from smbprotocol.exceptions import StoppedOnSymlink
from smbprotocol.header import NtStatus, SMB2HeaderRequest, SMB2HeaderResponse
from spnego import KerberosCCache

from actas.core import ActasError, CredentialRejected, Session
from actas.core.errors import DownstreamUnavailable, IdentityMismatch
from actas.delegation.kerberos.smb_wire import SealedConnection
from actas.testing.kdc import KerberosRealm

pytestmark = pytest.mark.anyio

ENCRYPTED = b"\xfdSMB"
NEGOTIATE = 0
SESSION_SETUP = 1
READ = 8


async def read_past(
    stage: Stage, meddle: Callable[[bytes], bytes], *, identity: str = "ticket"
) -> tuple[ActasError, str]:
    """alice reads a file through somebody who changes the server's messages: the error, and the whole of its text."""
    stage.server.write("sealed.txt", b"the truth", owner="alice")
    with Meddler(stage.server.port, meddle) as meddler:
        allow = [ShareSettings(server="localhost", share="files", port=meddler.port)]
        async with staged(stage.realm, stage.server, allow=allow, identity=identity) as other:
            with pytest.raises(ActasError) as caught:
                await other.data(ALICE, "read-file", "sealed.txt")
    return caught.value, f"{caught.value!r} {caught.value.detail}"


async def test_an_answer_in_the_clear_is_refused_on_an_encrypted_session(stage: Stage) -> None:
    answers = 0

    def forge(message: bytes) -> bytes:
        nonlocal answers
        if message[4:8] != ENCRYPTED:
            return message
        answers += 1
        if answers != 3:  # the share, the file, and now what is in it
            return message
        data = b"forged!!!"
        header = struct.pack("<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, 1, 0, READ, 1, 1, 0, 4, 0, 1, 0, bytes(16))
        return framed(header + struct.pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data)

    error, said = await read_past(stage, forge)
    assert answers >= 3
    assert isinstance(error, DownstreamUnavailable)
    assert "forged" not in said


async def test_all_is_encrypted_also_where_the_server_would_do_without(realm: KerberosRealm) -> None:
    clear: list[int] = []

    def look(message: bytes) -> bytes:
        if message[4:8] != ENCRYPTED:
            clear.append(struct.unpack_from("<H", message, 4 + 12)[0])
        return message

    async with other_server(realm, "server smb encrypt = if_required") as server:
        server.write("sealed.txt", b"the truth", owner="alice")
        with Meddler(server.port, look) as meddler:
            allow = [ShareSettings(server="localhost", share="files", port=meddler.port)]
            async with staged(realm, server, allow=allow) as stage:
                assert (await stage.data(ALICE, "read-file", "sealed.txt"))["contents"] == "the truth"
    assert set(clear) == {NEGOTIATE, SESSION_SETUP}


@pytest.mark.parametrize("what", ["guest", "credits"])
async def test_the_servers_last_answer_to_a_login_must_be_as_it_was_signed(stage: Stage, what: str) -> None:
    changed = 0

    def change(message: bytes) -> bytes:
        nonlocal changed
        if message[4:8] != b"\xfeSMB" or struct.unpack_from("<H", message, 4 + 12)[0] != SESSION_SETUP:
            return message
        changed += 1
        altered = bytearray(message)
        altered[4 + 64 + 2 if what == "guest" else 4 + 14] ^= 1
        return bytes(altered)

    error, _ = await read_past(stage, change)
    assert changed
    assert isinstance(error, DownstreamUnavailable)


async def test_a_server_that_does_not_prove_itself_gets_nothing(stage: Stage) -> None:
    """Mutual authentication: its answer to the ticket must be made with the ticket's key."""

    def change(message: bytes) -> bytes:
        if message[4:8] != b"\xfeSMB" or struct.unpack_from("<H", message, 4 + 12)[0] != SESSION_SETUP:
            return message
        return message[:-4] + bytes(4)

    error, _ = await read_past(stage, change)
    assert isinstance(error, CredentialRejected)
    assert "GSS-API says" in (error.detail or "")


async def test_a_server_that_refuses_to_say_whose_session_it_is_is_not_believed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.delegation.kerberos.smb_whoami._LSARPC", bytes(20))
    with pytest.raises(DownstreamUnavailable, match="does not answer"):
        await stage.call(ALICE, "list-directory")


async def test_an_encrypted_answer_that_was_changed_is_refused(stage: Stage) -> None:
    def flip(message: bytes) -> bytes:
        return message[:-1] + bytes([message[-1] ^ 1]) if message[4:8] == ENCRYPTED else message

    error, _ = await read_past(stage, flip)
    assert isinstance(error, DownstreamUnavailable)


@pytest.mark.parametrize("length", [0, 1 << 30])
async def test_a_message_of_a_gigabyte_or_of_nothing_ends_the_connection(stage: Stage, length: int) -> None:
    def announce(message: bytes) -> bytes:
        return length.to_bytes(4, "big") + message[4:] if message[4:8] == ENCRYPTED else message

    error, _ = await read_past(stage, announce)
    assert isinstance(error, DownstreamUnavailable)


async def test_an_old_answer_sent_again_is_refused(stage: Stage) -> None:
    kept: list[bytes] = []

    def again(message: bytes) -> bytes:
        if message[4:8] == ENCRYPTED:
            kept.append(message)
            return kept[0]
        return message

    error, _ = await read_past(stage, again)
    assert isinstance(error, DownstreamUnavailable)


async def test_rubbish_is_an_error_of_ours(stage: Stage) -> None:
    error, said = await read_past(stage, lambda message: framed(b"\xfeSMB" + b"secret-of-the-server" * 9))
    assert isinstance(error, DownstreamUnavailable)
    assert "secret-of-the-server" not in said


def test_a_link_is_an_error_and_what_it_points_to_is_not_asked_for() -> None:
    """Windows leaves it to the client to follow a symbolic link; Samba resolves its own, so none is at hand here."""
    connection = SealedConnection("localhost", 1)
    connection._t_worker = None
    connection.transport = type("Made", (), {"server": "localhost", "port": 1, "timeout": 1})()
    connection.transport.connected = True
    response = SMB2HeaderResponse()
    response["status"] = NtStatus.STATUS_STOPPED_ON_SYMLINK

    class Request:
        response_event, response_event_lock = threading.Event(), threading.Lock()
        message = SMB2HeaderRequest()
        related_ids = ()

    Request.response = response
    Request.response_event.set()
    connection.send_compound = None  # what it would need to go on
    with pytest.raises(StoppedOnSymlink):
        connection.receive(Request())


@pytest.mark.parametrize(
    "lines", ["server smb encrypt = off", "server min protocol = SMB2\nserver max protocol = SMB2_10"]
)
async def test_a_server_without_smb_3_and_encryption_is_not_used(realm: KerberosRealm, lines: str) -> None:
    async with other_server(realm, lines) as server, staged(realm, server) as weak:
        with pytest.raises(DownstreamUnavailable):
            await weak.call(ALICE, "list-directory")


async def test_a_session_that_the_server_takes_for_somebody_elses_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = stage.module.ticket

    class OfBob:
        def __init__(self, ticket: Any) -> None:
            self.principal, self.target, self.expires_at = "bob@EXAMPLE.COM", ticket.target, ticket.expires_at
            self.cache_file = ticket.cache_file

    async def mixed_up(session: Session, target: str, *, deadline: float) -> Any:
        return OfBob(await right(session, target, deadline=deadline))

    monkeypatch.setattr(stage.module, "ticket", mixed_up)
    monkeypatch.setattr("actas.delegation.kerberos.smb_client.KerberosCCache", lambda cache, _: KerberosCCache(cache))
    with pytest.raises(IdentityMismatch):
        await stage.call(ALICE, "list-directory")


async def test_whom_the_server_does_not_know_does_not_become_its_guest(realm: KerberosRealm) -> None:
    async with other_server(realm, "map to guest = Bad Uid\nguest account = bob") as server:
        server._accounts.pop("alice")
        server._write_accounts()
        for identity in ("server", "ticket"):
            async with staged(realm, server, identity=identity) as guest:
                with pytest.raises(ActasError):
                    await guest.call(ALICE, "list-directory")


async def test_no_logger_has_tickets_or_contents(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stage.server.write("private-name.txt", b"private contents", owner="alice")
    await stage.data(ALICE, "read-file", "private-name.txt")
    said = "".join(f"{record.name} {record.getMessage()}" for record in caplog.records)
    assert "private" not in said
    assert "smbprotocol" not in said
