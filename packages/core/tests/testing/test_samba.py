"""The file server for tests is a real one: it can be stopped in any way and comes back, and leaves nothing behind."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from actas.testing.fixtures import needed_in_ci
from actas.testing.kdc import KerberosRealm
from actas.testing.samba import SambaServer


@pytest.fixture
def server() -> Iterator[SambaServer]:
    with needed_in_ci(), KerberosRealm() as realm, SambaServer(realm) as opened:
        yield opened


def answers(server: SambaServer) -> bool:
    """Whether it negotiates SMB 3.1.1 (MS-SMB2 section 2.2.3), asked with nothing but a socket."""
    salt = bytes(32)
    context = b"\x01\0\x26\0\0\0\0\0" + b"\x01\0\x20\0\x01\0" + salt
    header = b"\xfeSMB" + b"\x40\0" + bytes(58)
    body = b"\x24\0\x01\0\x01\0\0\0" + bytes(4) + bytes(16) + b"\x68\0\0\0\x01\0\0\0" + b"\x11\x03" + bytes(2)
    message = header + body + context
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=1) as client:
            client.sendall(len(message).to_bytes(4, "big") + message)
            return client.recv(4096)[4:8] == b"\xfeSMB"
    except OSError:
        return False


def processes(server: SambaServer) -> list[str]:
    """The command lines of what it runs."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if str(server.folder) in command:
                found.append(command)
    return found


def test_it_answers_unless_it_is_frozen_or_dead(server: SambaServer) -> None:
    assert answers(server)
    server.freeze()
    assert not answers(server)
    server.thaw()
    assert answers(server)
    server.kill()
    assert not answers(server)
    server.start()
    assert answers(server)


def test_files_are_their_owners_and_accounts_are_no_accounts_of_this_machine(server: SambaServer) -> None:
    server.add_users("alice", "bob")
    file = server.write("a/b.txt", b"x", owner="bob")
    assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o600, server._accounts["bob"])
    assert f"bob:x:{file.stat().st_uid}:" not in Path("/etc/passwd").read_text()


def test_nothing_is_left_behind(server: SambaServer) -> None:
    assert processes(server)
    server.stop()
    server.stop()
    assert not processes(server)
    assert not server.folder.exists()
