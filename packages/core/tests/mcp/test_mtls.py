"""Tokens bound to client certificates: real handshakes with our own TLS, behind a real nginx, behind other proxies."""

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from actas.core import ConfigurationError, MemorySink
from actas.mcp import AuthSettings, MCPOAuthServer, McpSettings, ProxySettings, Settings, TlsSettings
from actas.oauth.reasons import Reason
from actas.oauth.settings import Binding, TokenRules
from actas.testing.dpop import ProofKey
from actas.testing.idp import IdentityProvider
from actas.testing.pki import CertificateAuthority, CertificateFiles

from .conftest import HANDSHAKE, MODERN, ROLES, Limited, Serve, Stage, request
from .nginx import Nginx, require_nginx

pytestmark = pytest.mark.anyio

VERSIONS = [MODERN, HANDSHAKE]
LOOPBACK = ProxySettings(trusted=["127.0.0.1"], certificate_header="x-client-cert")


@dataclass(frozen=True)
class Pki:
    """An authority, a server, two clients."""

    authority: CertificateAuthority
    server: CertificateFiles
    alice: CertificateFiles
    mallory: CertificateFiles

    def tls(self, **changed: Any) -> TlsSettings:
        usual = TlsSettings(
            certificate=str(self.server.certificate),
            key=str(self.server.key),
            client_ca=str(self.authority.certificate),
        )
        return replace(usual, **changed)

    def context(self, client: CertificateFiles | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    authority = CertificateAuthority(tmp_path_factory.mktemp("pki"))
    return Pki(
        authority,
        authority.issue_server("127.0.0.1", "localhost"),
        authority.issue_client("alice's agent"),
        authority.issue_client("mallory's agent"),
    )


def confirmation(files: CertificateFiles) -> dict[str, object]:
    """The claims that bind a token to a certificate."""
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    digest = sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
    return {"cnf": {"x5t#S256": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()}}


@asynccontextmanager
async def connected(stage: Stage, context: ssl.SSLContext) -> AsyncIterator[Stage]:
    """``stage``, asked by another client."""
    async with httpx2.AsyncClient(timeout=30, verify=context) as http:
        yield replace(stage, http=http)


def last_reason(stage: Stage) -> str:
    return str(stage.sink.entries()[-1].reason).partition(":")[0]


async def test_whose_handshake_goes_on_when_the_server_stops_is_served(
    serve: Serve, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tls=pki.tls()) as stage:
        host = ("127.0.0.1", int(stage.url.split(":")[2].split("/")[0]))
        with socket.create_connection(host, 30) as slow, socket.create_connection(host, 30) as too_slow:

            def shaking_hands(client: socket.socket) -> bytes:
                with pki.context(pki.alice).wrap_socket(client, server_hostname="127.0.0.1") as secured:
                    secured.sendall(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1:1\r\n\r\n")
                    return secured.recv(1000)

            running = stage.server._running
            assert running is not None
            real, answers = running._server._everybody_in, list[asyncio.Task[bytes]]()

            async def everybody_in() -> None:
                answers.append(asyncio.create_task(asyncio.to_thread(shaking_hands, slow)))
                await real()

            monkeypatch.setattr(running._server, "_everybody_in", everybody_in)
            async with asyncio.timeout(30):
                await stage.server.stop()
            assert (await answers[0]).startswith(b"HTTP/1.1 200")
            try:
                rest = await asyncio.to_thread(shaking_hands, too_slow)
            except (OSError, ssl.SSLError):  # it depends on how far he had come
                rest = b""
            assert rest == b"", "nobody is left to answer"


async def test_who_says_nothing_before_tls_makes_room_for_others_and_is_closed_at_the_end(
    limited: Limited, pki: Pki
) -> None:
    def is_open(client: socket.socket) -> bool:
        try:
            return client.recv(1) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    stage = await limited(mcp={"tls": pki.tls()}, connections=5)
    host = ("127.0.0.1", int(stage.url.split(":")[2].split("/")[0]))
    strangers = []
    for index in range(30):
        strangers.append(socket.create_connection(host, 30))
        strangers[-1].setblocking(False)
        if index % 3 == 0:
            strangers[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")  # no handshake
        await asyncio.sleep(0.01)
    async with connected(stage, pki.context(pki.alice)) as asked:
        assert (await asked.http.get(f"{asked.origin}/livez")).status_code == 200
    assert 0 < sum(map(is_open, strangers)) <= 5, "they are counted like any others"
    await stage.server.stop()
    for _ in range(100):
        if not any(map(is_open, strangers)):
            break
        await asyncio.sleep(0.01)
    assert not any(map(is_open, strangers))
    for each in strangers:
        each.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_over_our_own_tls_a_bound_token_needs_its_certificate(serve: Serve, pki: Pki, version: str) -> None:
    async with serve(tls=pki.tls()) as stage:
        assert stage.url.startswith("https://")
        token = stage.token(claims=confirmation(pki.alice))
        for client, status in ((pki.alice, 200), (pki.mallory, 401), (None, 401)):
            async with connected(stage, pki.context(client)) as asked:
                for headers in ({}, {"last-event-id": "1"}):  # the short way, and the SDK's
                    response = await asked.call(token, "toy-say", {"text": "x"}, version=version, headers=headers)
                    assert response.status_code == status
                if status == 401:
                    assert 'Bearer error="invalid_token"' in response.headers["www-authenticate"]
                    wanted = Reason.NO_CERTIFICATE if client is None else Reason.WRONG_CERTIFICATE
                    assert last_reason(asked) == wanted
        assert stage.toy.calls == ["say"] * 2


async def test_over_our_own_tls_plain_bearer_clients_are_served_and_the_metadata_says_what_is_possible(
    serve: Serve, pki: Pki
) -> None:
    async with serve(tls=pki.tls()) as stage, connected(stage, pki.context()) as asked:
        assert (await asked.call(asked.token(), "toy-say", {"text": "x"})).status_code == 200
        metadata = (await asked.http.get(f"{asked.origin}/.well-known/oauth-protected-resource/mcp")).json()
        assert metadata["resource"] == stage.url
        assert metadata["tls_client_certificate_bound_access_tokens"] is True
        key = ProofKey()
        token = asked.token(claims=key.confirmation)
        first = await asked.post(None, headers=key.headers(token, asked.url))
        nonce = first.headers.get("dpop-nonce")
        assert (await asked.post(None, headers=key.headers(token, asked.url, nonce=nonce))).status_code == 200


async def test_a_certificate_of_nobody_we_trust_ends_the_handshake(serve: Serve, pki: Pki, tmp_path: Path) -> None:
    stranger = CertificateAuthority(tmp_path, "another CA").issue_client("alice's agent")
    expired = pki.authority.issue_client("alice's agent", valid_for=timedelta(days=-1))
    for client in (stranger, expired, pki.server):
        async with serve(tls=pki.tls()) as stage, connected(stage, pki.context(client)) as asked:
            token = stage.token(claims=confirmation(client))
            with pytest.raises(httpx2.TransportError):
                await asked.call(token, "toy-say", {"text": "x"})
            assert stage.sink.entries() == []


async def test_without_a_client_authority_nobody_is_asked_for_a_certificate(serve: Serve, pki: Pki) -> None:
    async with serve(tls=pki.tls(client_ca=None)) as stage, connected(stage, pki.context(pki.alice)) as asked:
        token = stage.token(claims=confirmation(pki.alice))
        assert (await asked.call(token, "toy-say", {"text": "x"})).status_code == 401
        assert last_reason(stage) == Reason.NO_CERTIFICATE


async def test_old_tls_and_plain_http_are_not_spoken(serve: Serve, pki: Pki) -> None:
    old = pki.context()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serve(tls=pki.tls()) as stage:
        async with connected(stage, old) as asked:
            with pytest.raises(httpx2.TransportError):
                await asked.post(None)
        with pytest.raises(httpx2.TransportError):
            await stage.http.get(stage.url.replace("https", "http"))
        async with connected(stage, pki.context()) as asked:
            assert (await asked.post(stage.token())).status_code == 200


async def test_a_renewed_certificate_is_used_after_a_reload_and_a_bad_one_is_not(
    serve: Serve, pki: Pki, idp: IdentityProvider, tmp_path: Path
) -> None:
    files = CertificateFiles(tmp_path / "server.crt", tmp_path / "server.key")

    def install(source: CertificateFiles) -> None:
        files.certificate.write_bytes(source.certificate.read_bytes())
        files.key.write_bytes(source.key.read_bytes())

    async def shown() -> bytes:
        host, port = stage.origin.removeprefix("https://").split(":")
        address = (host, int(port))
        pem = await asyncio.to_thread(ssl.get_server_certificate, address, ca_certs=str(pki.authority.certificate))
        return ssl.PEM_cert_to_DER_cert(pem)

    def der(source: CertificateFiles) -> bytes:
        return ssl.PEM_cert_to_DER_cert(source.certificate.read_text())

    install(pki.server)
    async with serve(tls=pki.tls(certificate=str(files.certificate), key=str(files.key))) as stage:
        settings = stage.server.settings
        assert await shown() == der(pki.server)
        renewed = pki.authority.issue_server("127.0.0.1")
        install(renewed)
        await stage.server.reload(settings)
        assert await shown() == der(renewed)
        files.key.write_bytes(pki.alice.key.read_bytes())
        with pytest.raises(ConfigurationError, match="MISMATCH"):
            await stage.server.reload(settings)
        assert await shown() == der(renewed)
        with pytest.raises(ConfigurationError, match="restart"):
            await stage.server.reload(replace(settings, mcp=replace(settings.mcp, tls=None)))


async def test_a_header_means_nothing_on_our_own_tls(serve: Serve, pki: Pki) -> None:
    async with serve(tls=pki.tls()) as stage, connected(stage, pki.context(pki.mallory)) as asked:
        token = stage.token(claims=confirmation(pki.alice))
        for headers in passed(pki.alice).values():
            assert (await asked.post(token, headers=headers)).status_code == 401
            assert last_reason(stage) == Reason.WRONG_CERTIFICATE


def passed(files: CertificateFiles) -> dict[str, dict[str, str]]:
    """The certificate as proxies pass it, by the name of the header."""
    pem = files.certificate.read_text()
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    return {
        "client-cert": {"client-cert": f":{base64.b64encode(der).decode()}:"},
        "x-forwarded-client-cert": {"x-forwarded-client-cert": f'Hash={sha256(der).hexdigest()};Subject="CN=a"'},
        "x-client-cert": {"x-client-cert": quote(pem)},
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("header", ["client-cert", "x-forwarded-client-cert", "x-client-cert"])
async def test_a_trusted_proxy_may_pass_the_certificate_on(serve: Serve, pki: Pki, header: str, version: str) -> None:
    settings = ProxySettings(trusted=["127.0.0.0/8"], certificate_header=header)
    async with serve(proxies=settings) as stage:
        token = stage.token(claims=confirmation(pki.alice))
        for way in ({}, {"last-event-id": "1"}):
            for files, status in ((pki.alice, 200), (pki.mallory, 401)):
                response = await stage.call(
                    token, "toy-say", {"text": "x"}, version=version, headers={**passed(files)[header], **way}
                )
                assert response.status_code == status
        assert (await stage.post(token)).status_code == 401
        assert last_reason(stage) == Reason.NO_CERTIFICATE
        twice = list(passed(pki.alice)[header].items()) * 2
        response = await stage.http.post(stage.url, headers=[("authorization", f"Bearer {token}"), *twice])
        assert response.status_code == 401
        assert last_reason(stage) == Reason.MALFORMED_CERTIFICATE
        assert (await stage.post(token, headers={header: "x"})).status_code == 401
        assert last_reason(stage) == Reason.MALFORMED_CERTIFICATE


async def test_from_anybody_else_such_a_header_is_ignored(serve: Serve, pki: Pki) -> None:
    for header, headers in passed(pki.alice).items():
        settings = ProxySettings(trusted=["10.0.0.0/8"], certificate_header=header)
        async with serve(proxies=settings) as stage:
            token = stage.token(claims=confirmation(pki.alice))
            assert (await stage.post(token, headers={**headers, "x-forwarded-for": "10.0.0.1"})).status_code == 401
            assert last_reason(stage) == Reason.NO_CERTIFICATE
            assert stage.sink.entries()[-1].address == "127.0.0.1"
            assert (await stage.post(stage.token(), headers=headers)).status_code == 200


async def test_the_callers_address_is_recorded_with_each_refusal(serve: Serve) -> None:
    async with serve(proxies=LOOPBACK) as stage:
        for token in (None, "x", stage.token(roles=[])):
            await stage.post(token, headers={"x-forwarded-for": "1.1.1.1, 198.51.100.1"})
            assert stage.sink.entries()[-1].address == "198.51.100.1"


@pytest.mark.parametrize("version", VERSIONS)
async def test_behind_a_real_nginx_the_handshake_decides(serve: Serve, pki: Pki, tmp_path: Path, version: str) -> None:
    require_nginx()
    async with serve(proxies=LOOPBACK) as stage:
        with Nginx(tmp_path, pki.authority, stage.origin) as nginx:
            token = stage.token(claims=confirmation(pki.alice))
            for client, status in ((pki.alice, 200), (pki.mallory, 401), (None, 401)):
                async with connected(stage, pki.context(client)) as asked:
                    for forged in ({}, passed(pki.alice)["x-client-cert"]):
                        response = await through(asked, nginx, token, version, forged)
                        assert response.status_code == status, response.text
                        addresses = {event.address for event in asked.sink.entries(source="auth")}
                        assert addresses == {"127.0.0.1"}
                    assert (await through(asked, nginx, stage.token(), version, {})).status_code == 200
        assert stage.toy.calls.count("say") == 2 + 3


async def through(stage: Stage, nginx: Nginx, token: str, version: str, headers: dict[str, str]) -> httpx2.Response:
    """Call a tool through nginx."""
    sent, body = request("tools/call", {"name": "toy-say", "arguments": {"text": "x"}}, version)
    return await stage.http.post(
        f"{nginx.origin}/mcp", headers={**sent, "authorization": f"Bearer {token}", **headers}, json=body
    )


async def test_where_certificates_are_demanded_a_token_without_one_is_refused(
    serve: Serve, pki: Pki, idp: IdentityProvider
) -> None:
    strict = idp.trusted(role_mappings=ROLES, security=TokenRules(binding=Binding.MTLS))
    async with serve(strict, tls=pki.tls()) as stage, connected(stage, pki.context(pki.alice)) as asked:
        assert (await asked.post(stage.token())).status_code == 401
        assert last_reason(stage) == Reason.NOT_BOUND
        assert (await asked.post(stage.token(claims=confirmation(pki.alice)))).status_code == 200


def test_certificates_that_nobody_can_see_are_not_demanded(idp: IdentityProvider) -> None:
    strict = idp.trusted(security=TokenRules(binding=Binding.MTLS))
    with pytest.raises(ValueError, match="client_ca"):
        Settings(auth=AuthSettings(trusted_idps=[strict]))


def refused(idp: IdentityProvider, tls: TlsSettings) -> str:
    with pytest.raises(ConfigurationError) as caught:
        MCPOAuthServer(
            Settings(auth=AuthSettings(trusted_idps=[idp.trusted()]), mcp=McpSettings(tls=tls)), audit_sink=MemorySink()
        )
    return str(caught.value)


def test_tls_files_that_cannot_be_used_stop_the_start(idp: IdentityProvider, pki: Pki, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(pki.server.key.read_bytes(), None)
    locked, rubbish = tmp_path / "locked.key", tmp_path / "rubbish.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )
    rubbish.write_text("rubbish")
    assert "no such file" in refused(idp, pki.tls(certificate=str(tmp_path / "x"))).lower()
    assert "mcp.tls" in refused(idp, pki.tls(certificate=str(rubbish)))
    assert "MISMATCH" in refused(idp, pki.tls(key=str(pki.alice.key)))
    assert "password" in refused(idp, pki.tls(key=str(locked)))
    assert "no such file" in refused(idp, pki.tls(client_ca=str(tmp_path / "x"))).lower()
    assert "mcp.tls.client_ca" in refused(idp, pki.tls(client_ca=str(rubbish)))
    assert "mcp.tls" in refused(idp, pki.tls(key="a\x00b"))
