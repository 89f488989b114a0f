"""Where keys are found, and which of them are taken. Real HTTP."""

import json
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import ECKey, OctKey, RSAKey

from actas.core.roles import Permissions
from actas.oauth import Authenticator
from actas.oauth.jwks import MAX_KEYS, PublicKeySet
from actas.oauth.metadata import MetadataError, named_place, well_known_urls
from actas.testing.idp import IdentityProvider
from actas.testing.tokens import encode_segment

pytestmark = pytest.mark.anyio

Refused = Callable[[Authenticator, str], Awaitable[str]]
Make = Callable[..., Authenticator]


@pytest.mark.parametrize("path", ["", "/realms/acme"])
@pytest.mark.parametrize("hidden", [None, 0, 1])
async def test_metadata_is_found_at_either_well_known_place(make: Make, path: str, hidden: int | None) -> None:
    with IdentityProvider(path=path) as idp:
        if hidden is not None:
            idp.hidden.add(idp.metadata_paths[hidden])
        clockless = Authenticator([idp.trusted()], Permissions())
        assert (await clockless.authenticate(idp.issue())).subject == "alice"
        await clockless.aclose()
        await clockless.aclose()


async def test_metadata_about_another_issuer_is_refused(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    for issuer in (idp.issuer + "/", "https://evil.example", None):
        document = json.dumps({**idp.metadata(), "issuer": issuer}).encode()
        for place in idp.metadata_paths:
            idp.answers[place] = document
        authenticator = make(idp.trusted())
        assert await refused(authenticator, idp.issue()) == "keys_unavailable"
        assert idp.requests[idp.jwks_path] == 0
        (report,) = await authenticator.check()
        assert report.problem is not None
        assert "issuer" in report.problem


async def test_a_redirect_is_not_followed(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("location", idp.origin + idp.jwks_path)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Redirect)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        authenticator = make(idp.trusted(jwks_uri=f"http://127.0.0.1:{server.server_port}/jwks"))
        assert await refused(authenticator, idp.issue()) == "keys_unavailable"
        assert not idp.requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_metadata_had_by_https_cannot_lead_to_plain_http() -> None:
    assert named_place({"jwks_uri": "https://x.example/k"}, "jwks_uri", "https://idp.example") == "https://x.example/k"
    assert named_place({"jwks_uri": "http://localhost/k"}, "jwks_uri", "http://localhost") == "http://localhost/k"
    for document in ({"jwks_uri": "http://localhost/k"}, {"jwks_uri": 5}, {}):
        with pytest.raises(MetadataError):
            named_place(document, "jwks_uri", "HTTPS://idp.example")


def test_the_well_known_urls_are_those_of_the_standards() -> None:
    assert well_known_urls("https://idp.example/realms/acme") == (
        "https://idp.example/.well-known/oauth-authorization-server/realms/acme",
        "https://idp.example/.well-known/openid-configuration/realms/acme",
        "https://idp.example/realms/acme/.well-known/openid-configuration",
    )
    assert well_known_urls("https://idp.example/") == (
        "https://idp.example/.well-known/oauth-authorization-server",
        "https://idp.example/.well-known/openid-configuration",
    )


def _public(kind: str = "EC", **more: object) -> dict[str, object]:
    key = ECKey.generate_key("P-256") if kind == "EC" else RSAKey.generate_key(2048)
    return {**key.as_dict(private=False), "kid": "k", **more}


def _short_rsa() -> dict[str, object]:
    n = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
    return {"kty": "RSA", "kid": "k", "e": "AQAB", "n": encode_segment(n.to_bytes(128)).decode()}


@pytest.mark.parametrize(
    "entry",
    [
        OctKey.generate_key(256).as_dict() | {"kid": "k"},
        ECKey.generate_key("P-256").as_dict(private=True) | {"kid": "k"},
        _public(use="enc"),
        _public(key_ops=["sign"]),
        _public(key_ops="verify"),
        _public(alg="HS256"),
        _public(alg="ES384"),
        _public(alg=["ES256"]),
        _public(kid=5),
        _public(x="AAAA"),
        _public(x=5),
        _public(kty="RSA"),
        _public(kty="unheard-of"),
        _public("RSA", e="AQ"),
        _public("RSA", e="_____________w"),
        _public("RSA", n="x" * 5000),
        _short_rsa(),
        "rubbish",
        None,
    ],
)
def test_keys_that_must_not_verify_are_left_out(entry: object) -> None:
    keys = PublicKeySet({"keys": [entry, _public(kid="good")]})
    assert len(keys) == 1
    assert keys.find("k", "ES256") is None
    assert keys.find("good", "ES256") is not None
    assert keys.find("good", "ES384") is None


def test_a_set_with_too_many_keys_is_refused() -> None:
    entry = _public()
    assert len(PublicKeySet({"keys": [entry] * MAX_KEYS})) == 1
    with pytest.raises(ValueError, match="too many"):
        PublicKeySet({"keys": [entry] * (MAX_KEYS + 1)})
