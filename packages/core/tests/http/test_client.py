"""The HTTP client against servers that are broken, slow, greedy or malicious. Real sockets throughout."""

import gzip
import ssl
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from actas.core.errors import ConfigurationError
from actas.http import (
    HttpClient,
    HttpError,
    HttpSettings,
    HttpTimeout,
    InsecureUrl,
    ResponseTooLarge,
    UnexpectedResponse,
)

pytestmark = pytest.mark.anyio

Respond = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def serving(respond: Respond, tls: ssl.SSLContext | None = None) -> Generator[str, None, None]:
    """The origin of a server that answers every GET and POST with ``respond``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                respond(self)
            except OSError:
                self.close_connection = True

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a refused handshake is what is tested
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answering(body: bytes, status: int = 200, **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return respond


async def fetch(url: str, settings: HttpSettings | None = None) -> dict[str, object]:
    client = HttpClient(settings or HttpSettings(total_timeout=2.0))
    try:
        return await client.get_json(url)
    finally:
        await client.aclose()


async def test_a_json_object_is_fetched() -> None:
    with serving(answering(b'{"a": [1]}')) as origin:
        assert await fetch(f"{origin}/x") == {"a": [1]}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"<html>", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b'{"a":' * 100_000, b'{"a":"\\ud800"}'],
)
async def test_what_is_no_strict_json_object_is_refused(body: bytes) -> None:
    with serving(answering(body)) as origin:
        with pytest.raises(UnexpectedResponse):
            await fetch(origin)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 401, 404, 500, 503])
async def test_any_other_status_is_refused_and_no_redirect_followed(status: int) -> None:
    seen: list[str] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.path)
        answering(b"", status, location="/elsewhere")(handler)

    with serving(respond) as origin:
        with pytest.raises(UnexpectedResponse) as caught:
            await fetch(f"{origin}/start")
    assert caught.value.status == status
    assert seen == ["/start"]


async def test_an_answer_that_is_too_large_is_not_read_to_its_end() -> None:
    sent = 0

    def respond(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        for _ in range(2000):
            handler.wfile.write(b" " * 65_536)
            sent += 65_536

    with serving(respond) as origin:
        with pytest.raises(ResponseTooLarge):
            await fetch(origin, HttpSettings(max_response_bytes=100_000))
    assert sent < 50_000_000


async def test_a_compressed_answer_is_refused_unread() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    for body in (bomb, b"{}"):
        with serving(answering(body, content_encoding="gzip")) as origin:
            with pytest.raises(UnexpectedResponse, match="does not answer") as caught:
                await fetch(origin)
            assert "compressed" in (caught.value.detail or "")


async def test_an_answer_that_drips_in_is_cut_off_in_time() -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(50):
            handler.wfile.write(b" ")
            time.sleep(0.1)

    start = time.monotonic()
    with serving(respond) as origin:
        with pytest.raises(HttpTimeout):
            await fetch(origin, HttpSettings(total_timeout=0.5))
        assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/jwks",
        "http://127.0.0.2/",
        "http://localhost.evil.example/",
        "http://127.0.0.1@evil.example/",
        "https://user:password@idp.example/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "//127.0.0.1/",
        "/jwks",
        "",
        "http://",
        "https:///x",
        "http://[::1",
        "http://\x00/",
    ],
)
async def test_an_unsafe_url_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(InsecureUrl) as caught:
        await fetch(url)
    assert url not in caught.value.message or not url


async def test_plain_http_needs_to_be_allowed_by_name() -> None:
    with pytest.raises(HttpError) as caught:
        await fetch("http://keycloak.invalid:1/", HttpSettings(insecure_hosts=["Keycloak.invalid"]))
    assert not isinstance(caught.value, InsecureUrl)


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:1", "http://127.0.0.1:99999999", f"https://{'a' * 80}.example", "https://a..b"]
)
async def test_a_server_that_is_not_there_is_an_error_of_ours_without_the_url(place: str) -> None:
    with pytest.raises(HttpError) as caught:
        await fetch(f"{place}/secret-path")
    assert "secret-path" not in f"{caught.value} {caught.value.detail}"


async def test_rubbish_instead_of_http_is_an_error_of_ours() -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")

    with serving(respond) as origin:
        with pytest.raises(HttpError):
            await fetch(origin)


async def test_the_environments_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(answering(b"{}")) as origin:
        assert await fetch(origin) == {}


async def test_cookies_are_neither_kept_nor_sent() -> None:
    seen: list[str | None] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("cookie"))
        answering(b"{}", set_cookie="who=alice; Path=/")(handler)

    client = HttpClient()
    with serving(respond) as origin:
        await client.get_json(origin)
        await client.get_json(origin)
    await client.aclose()
    await client.aclose()
    assert seen == [None, None]


async def test_a_request_carries_headers_and_content_and_any_status_is_an_answer() -> None:
    seen: list[tuple[str, str | None, bytes]] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", "0"))
        seen.append((handler.command, handler.headers.get("x-a"), handler.rfile.read(length)))
        answering(b'{"error":"no"}', 400, x_reply="yes")(handler)

    client = HttpClient()
    with serving(respond) as origin:
        response = await client.request("POST", origin, headers={"x-a": "b"}, content=b"body")
    await client.aclose()
    assert seen == [("POST", "b", b"body")]
    assert (response.status, response.headers["x-reply"], response.json()) == (400, "yes", {"error": "no"})
    assert "error" not in repr(response)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    builder = builder.add_extension(usage, True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    folder = tmp_path_factory.mktemp("tls")
    signed = builder.sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(*pem))
    return folder


async def test_a_certificate_nobody_vouches_for_is_refused_and_a_ca_file_makes_it_good(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with serving(answering(b'{"tls":true}'), tls) as origin:
        with pytest.raises(HttpError):
            await fetch(origin)
        assert await fetch(origin, HttpSettings(ca_file=str(certificate / "cert.pem"))) == {"tls": True}


def test_a_ca_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no PEM")
    for path in (broken, tmp_path / "absent"):
        with pytest.raises(ConfigurationError, match="CA file"):
            HttpClient(HttpSettings(ca_file=str(path)))


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="total_timeout"):
        HttpSettings(total_timeout=0)
