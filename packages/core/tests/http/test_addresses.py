"""Which addresses are connected to: none that a name was made to lead to behind our back."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from actas.http import AddressGuard, AddressRefused, HttpClient, HttpError, HttpSettings
from actas.http import addresses as module
from actas.testing.pki import CertificateAuthority

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:1::",
        "64:ff9b:1::7f00:1", "::127.0.0.1", "fec0::1", "::ffff:0:127.0.0.1", "5f00::1", "3fff::1", "192.88.99.1",
        "192.0.0.8", "198.18.0.1", "240.0.0.1", "2001:db8::1", "100::1",
    ],
)  # fmt: skip
def test_a_private_address_is_not_admitted_in_any_disguise(address: str) -> None:
    assert not AddressGuard().admits(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_admitted(address: str) -> None:
    assert AddressGuard().admits(address)


def test_what_is_configured_is_admitted_and_nothing_beside_it() -> None:
    guard = AddressGuard(["10.2.0.0/16", "fd00::/8"])
    assert guard.admits("10.2.3.4") and guard.admits("::ffff:10.2.3.4") and guard.admits("fd00::1")
    assert not guard.admits("10.3.0.1") and not guard.admits("127.0.0.1")
    assert AddressGuard(loopback=True).admits("127.0.0.1") and not AddressGuard(loopback=True).admits("10.2.3.4")
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        AddressGuard(["10.0.0.1/8"])


class Lookups:
    """A resolver whose answers the test chooses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.asked: list[str] = []
        self.answers = list(answers)
        monkeypatch.setattr(module, "_looked_up", self)

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def served() -> Iterator[tuple[int, list[str]]]:
    """A server on the loopback: its port, and the Host headers that it saw."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["host"])
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


INSECURE = HttpSettings(total_timeout=3.0, insecure_hosts=["api.test", "other.test"])


async def test_one_private_address_among_public_ones_refuses_them_all(
    monkeypatch: pytest.MonkeyPatch, served: tuple[int, list[str]]
) -> None:
    port, seen = served
    Lookups(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    client = HttpClient(INSECURE, guard=AddressGuard())
    with pytest.raises(AddressRefused):
        await client.request("GET", f"http://api.test:{port}/")
    await client.aclose()
    assert seen == []


async def test_what_was_judged_is_what_is_called_whatever_the_name_says_later(
    monkeypatch: pytest.MonkeyPatch, served: tuple[int, list[str]]
) -> None:
    port, seen = served
    lookups = Lookups(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    guard = AddressGuard(loopback=True)
    client = HttpClient(INSECURE, guard=guard)
    for _ in range(3):
        assert (await client.request("GET", f"http://api.test:{port}/")).status == 200
    assert lookups.asked == ["api.test"] and seen == [f"api.test:{port}"] * 3
    monkeypatch.setattr(module, "_REMEMBERED", -1.0)
    guard._known.clear()
    for _ in range(2):
        with pytest.raises(AddressRefused):
            await client.request("GET", f"http://api.test:{port}/")
    assert len(lookups.asked) == 3
    await client.aclose()


@pytest.mark.parametrize("addresses", [["127.0.0.9", "::1", "127.0.0.1"], ["::1", "127.0.0.1", "127.0.0.9"]])
async def test_the_next_address_is_tried_where_one_takes_no_connection_and_is_the_first_from_then_on(
    monkeypatch: pytest.MonkeyPatch, served: tuple[int, list[str]], addresses: list[str]
) -> None:
    port, seen = served
    Lookups(monkeypatch, addresses)
    guard = AddressGuard(loopback=True)
    client = HttpClient(INSECURE, guard=guard)
    assert (await client.request("GET", f"http://api.test:{port}/x?y=z")).status == 200
    await client.aclose()
    assert seen == [f"api.test:{port}"]
    assert (await guard.addresses("api.test", port))[0] == "127.0.0.1"
    guard.prefer("unknown.test", port, "127.0.0.1")


async def test_the_next_address_is_tried_where_one_does_not_answer_at_all(
    monkeypatch: pytest.MonkeyPatch, served: tuple[int, list[str]]
) -> None:
    port, seen = served
    Lookups(monkeypatch, ["127.0.0.9", "127.0.0.1"])
    client = HttpClient(replace(INSECURE, connect_timeout=0.3), guard=AddressGuard(loopback=True))
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.9", port))
        full.listen(0)
        waiting.connect(("127.0.0.9", port))  # nobody accepts it, and there is no room for another
        for _ in range(2):
            assert (await client.request("GET", f"http://api.test:{port}/")).status == 200
    await client.aclose()
    assert seen == [f"api.test:{port}"] * 2


async def test_names_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Lookups(monkeypatch, ["127.0.0.1"])
    guard = AddressGuard(loopback=True)
    for number in range(250):
        await guard.addresses(f"h{number}", 80)
    assert len(guard._known) <= 100


async def test_a_real_name_is_looked_up_and_an_unknown_one_is_an_error() -> None:
    assert set(await AddressGuard(loopback=True).addresses("localhost", 80)) <= {"127.0.0.1", "::1"}
    client = HttpClient(INSECURE, guard=AddressGuard())
    with pytest.raises(HttpError):
        await client.request("GET", "https://no-such-host.invalid/")
    await client.aclose()


async def test_the_certificate_must_be_the_names_though_an_address_is_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = CertificateAuthority(tmp_path)
    own = authority.issue_server("api.test")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own.certificate, own.key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a refused handshake is what is tested
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    Lookups(monkeypatch, ["127.0.0.1"])
    settings = HttpSettings(total_timeout=3.0, ca_file=str(authority.certificate))
    client = HttpClient(settings, guard=AddressGuard(loopback=True))
    try:
        assert (await client.request("GET", f"https://api.test:{server.server_port}/")).status == 204
        with pytest.raises(HttpError):
            await client.request("GET", f"https://other.test:{server.server_port}/")
    finally:
        await client.aclose()
        server.shutdown()
        thread.join()
        server.server_close()


async def test_one_name_is_looked_up_once_for_all_who_wait_and_again_after_it_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    async def look_up(host: str, port: int) -> list[str]:
        asked.append(host)
        await asyncio.sleep(0.05)
        if len(asked) == 1:
            raise OSError("no name server")
        return ["8.8.8.8"]

    monkeypatch.setattr(module, "_looked_up", look_up)
    guard = AddressGuard()
    waiting = [asyncio.ensure_future(guard.addresses("api.example", 443)) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert len(asked) == 1 and isinstance(ended[0], asyncio.CancelledError)
    assert all(isinstance(each, OSError) for each in ended[1:])
    assert await guard.addresses("api.example", 443) == ["8.8.8.8"] and len(asked) == 2
