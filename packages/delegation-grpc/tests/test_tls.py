"""TLS both ways, with certificates that are right and such that are not."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_gateway import BOB, Gateway, gateway_to
from grpc_service import Service

from actas.core import ActasError, ConfigurationError
from actas.delegation.grpc.settings import TlsSettings
from actas.testing.idp import IdentityProvider
from actas.testing.pki import CertificateAuthority, CertificateFiles

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@pytest.fixture
def secured(provider: IdentityProvider, authority: CertificateAuthority) -> Iterator[Service]:
    """Asks for a client certificate."""
    files = authority.issue_server("orders.example", "127.0.0.1")
    pair = [(files.key.read_bytes(), files.certificate.read_bytes())]
    credentials = grpc.ssl_server_credentials(pair, authority.certificate.read_bytes(), require_client_auth=True)
    with Service(provider, credentials=credentials) as running:
        yield running


@asynccontextmanager
async def over_tls(service: Service, tls: TlsSettings) -> AsyncGenerator[Gateway]:
    async with gateway_to(service, plaintext=False, tls=tls) as gateway:
        yield gateway


def ours(authority: CertificateAuthority, files: CertificateFiles, **more: str) -> TlsSettings:
    return TlsSettings(
        ca_file=str(authority.certificate), certificate_file=str(files.certificate), key_file=str(files.key), **more
    )


async def test_the_token_goes_over_tls_and_the_user_is_seen(secured: Service, authority: CertificateAuthority) -> None:
    async with over_tls(secured, ours(authority, authority.issue_client("gateway"))) as gateway:
        assert (await gateway.response("who-am-i"))["subject"] == "alice"
        assert (await gateway.response("who-am-i", BOB))["subject"] == "bob"
        assert len((await gateway.call("watch-orders", count=2))["responses"]) == 2
        assert await gateway.call("health") == {"status": "SERVING"}
        assert (await gateway.module.health_check()).healthy
    assert all(seen.value("authorization") for seen in secured.seen)


async def test_many_users_at_once_over_one_channel_are_never_mixed_up(
    secured: Service, authority: CertificateAuthority
) -> None:
    async with over_tls(secured, ours(authority, authority.issue_client("gateway"))) as gateway:

        async def one(name: str) -> None:
            session = replace(BOB, subject=name, username=name)
            for _ in range(3):
                assert (await gateway.response("who-am-i", session))["subject"] == name

        await asyncio.gather(*(one(f"user-{number}") for number in range(50)))
    assert len({seen.value("authorization") for seen in secured.seen}) == 50


async def test_the_name_that_is_configured_is_the_one_that_counts(
    secured: Service, authority: CertificateAuthority
) -> None:
    client = authority.issue_client("gateway")
    async with over_tls(secured, ours(authority, client, server_name="orders.example")) as gateway:
        await gateway.call("who-am-i")
    async with over_tls(secured, ours(authority, client, server_name="other.example")) as gateway:
        with pytest.raises(ActasError) as caught:
            await gateway.call("who-am-i")
    assert caught.value.code == "downstream_unavailable" and len(secured.seen) == 1


async def test_nothing_is_sent_where_a_certificate_is_wrong(
    secured: Service, authority: CertificateAuthority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = CertificateAuthority(tmp_path / "other", "somebody else's CA")
    client = authority.issue_client("gateway")
    wrong = {
        "a CA that did not issue the service's": TlsSettings(
            ca_file=str(stranger.certificate), certificate_file=str(client.certificate), key_file=str(client.key)
        ),
        "the public CAs": TlsSettings(certificate_file=str(client.certificate), key_file=str(client.key)),
        "no certificate of ours": TlsSettings(ca_file=str(authority.certificate)),
        "one of another CA": ours(authority, stranger.issue_client("gateway")),
    }
    for what, tls in wrong.items():
        async with over_tls(secured, tls) as gateway:
            with pytest.raises(ActasError) as caught:
                await gateway.call("who-am-i")
            assert caught.value.code == "downstream_unavailable", what
            assert not (await gateway.module.health_check()).healthy, what
    assert secured.seen == []


async def test_a_service_without_tls_gets_no_token(service: Service, authority: CertificateAuthority) -> None:
    async with over_tls(service, TlsSettings(ca_file=str(authority.certificate))) as gateway:
        with pytest.raises(ActasError):
            await gateway.call("who-am-i")
    assert service.seen == []


async def test_files_that_cannot_be_used_stop_the_start(service: Service, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for path, why in ((tmp_path / "missing.pem", "cannot be read"), (tmp_path / "empty.pem", "no PEM file")):
        with pytest.raises(ConfigurationError, match=why):
            async with over_tls(service, TlsSettings(ca_file=str(path))):
                raise AssertionError("it started")
