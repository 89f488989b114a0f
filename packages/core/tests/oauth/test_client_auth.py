"""How we prove which client we are: to a provider that checks it for real."""

import base64
import json
import warnings
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from actas.core.errors import AuthenticationUnavailable, ConfigurationError
from actas.core.secret import Secret
from actas.http import HttpClient
from actas.oauth import ClientCredentials
from actas.oauth.client_auth import ASSERTION_SECONDS, Client
from actas.testing.idp import IdentityProvider
from actas.testing.idp_clients import Clients, DemoClient
from actas.testing.tokens import SigningKey

from .conftest import Clock
from .test_introspection import Make

pytestmark = pytest.mark.anyio

AWKWARD = "p@ss:w+rd %&=/ü€ "
KEYS: dict[str, SigningKey] = {
    "RS256": RSAKey.generate_key(2048),
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "ES512": ECKey.generate_key("P-521"),
    "Ed25519": OKPKey.generate_key("Ed25519"),
}


def pem(key: SigningKey) -> Secret:
    assert not isinstance(key, OctKey)
    return Secret(key.as_pem(private=True).decode())


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", None])
@pytest.mark.parametrize(("name", "secret"), [("plain", "secret"), ("https://id:1/ü", AWKWARD)])
async def test_secrets_are_understood_whatever_is_in_them(
    idp: IdentityProvider, make: Make, method: str | None, name: str, secret: str
) -> None:
    idp.opaque.clients.add(DemoClient(name, secret=secret))
    client = ClientCredentials(id=name, secret=Secret(secret), method=method)  # type: ignore[arg-type] # one of the literals
    authenticator = make(idp.trusted(introspection=idp.introspection(client=client)))
    await authenticator.authenticate(idp.issue_opaque())


def test_basic_is_form_encoded_before_it_is_base64() -> None:
    proof = Client(ClientCredentials(id="a:b", secret=Secret("c d+ü")), "https://idp.example", lambda: 0.0).prove()
    assert base64.b64decode(proof.headers["authorization"].removeprefix("Basic ")) == b"a%3Ab:c+d%2B%C3%BC"
    assert not proof.fields


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("form", ["PEM", "JWK"])
async def test_an_assertion_is_accepted_and_never_the_same_twice(
    idp: IdentityProvider, make: Make, algorithm: str, form: str, clock: Clock
) -> None:
    key = KEYS[algorithm]
    text = pem(key) if form == "PEM" else Secret(json.dumps(key.as_dict(private=True)))
    idp.opaque.clients.add(DemoClient("prover", key=key))
    client = ClientCredentials(id="prover", private_key=text, key_id="k1")
    authenticator = make(idp.trusted(introspection=idp.introspection(client=client)))
    idp.opaque.clients.assertions.clear()
    for _ in range(2):
        await authenticator.authenticate(idp.issue_opaque())
    first, second = idp.opaque.clients.assertions
    assert first["jti"] != second["jti"]
    assert first["aud"] == idp.issuer
    assert first["exp"] == clock.now + ASSERTION_SECONDS


async def test_the_audience_may_be_the_endpoint_where_a_provider_wants_that(idp: IdentityProvider, make: Make) -> None:
    key = KEYS["ES256"]
    idp.opaque.clients.add(DemoClient("prover", key=key))
    client = ClientCredentials(id="prover", private_key=pem(key), audience="https://elsewhere.example/token")
    authenticator = make(idp.trusted(introspection=idp.introspection(client=client)))
    with pytest.raises(AuthenticationUnavailable):
        await authenticator.authenticate(idp.issue_opaque())
    right = replace(client, audience=idp.issuer)
    await make(idp.trusted(introspection=idp.introspection(client=right))).authenticate(idp.issue_opaque())


async def test_another_key_proves_nothing(idp: IdentityProvider, make: Make) -> None:
    idp.opaque.clients.add(DemoClient("prover", key=KEYS["RS256"]))
    client = ClientCredentials(id="prover", private_key=pem(RSAKey.generate_key(2048)))
    with pytest.raises(AuthenticationUnavailable):
        await make(idp.trusted(introspection=idp.introspection(client=client))).authenticate(idp.issue_opaque())


def _short() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return RSAKey.generate_key(1024).as_pem(private=True).decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no private key"),
        ("nonsense", "no private key"),
        ("{", "no private key"),
        ("{}", "no private key"),
        ('{"kty":5}', "no private key"),
        ('{"kty":"RSA","n":"x"}', "no private key"),
        ('{"kty":"oct","k":"AAAA"}', "no private key"),
        (KEYS["RS256"].as_pem(private=False).decode(), "no private key"),  # type: ignore[union-attr] # RSA
        (json.dumps(KEYS["ES256"].as_dict(private=False)), "no private key"),
        (KEYS["RS256"].as_pem(private=True, password="x").decode(), "passphrase"),  # type: ignore[union-attr] # RSA
        (ECKey.generate_key("secp256k1").as_pem(private=True).decode(), "another curve"),
        (_short(), "too short"),
    ],
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_key_that_cannot_be_used_stops_the_start_and_is_not_repeated(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        Client(ClientCredentials(id="x", private_key=Secret(text)), "https://idp.example", lambda: 0.0)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"id": "", "secret": Secret("x")}, "client id"),
        ({"id": "x"}, "one of secret, private_key and certificate"),
        ({"id": "x", "secret": Secret("x"), "private_key": Secret("y")}, "one of secret"),
        ({"id": "x", "secret": Secret("x"), "certificate": "c.pem"}, "one of secret"),
        ({"id": "x", "certificate": "c.pem", "method": "private_key_jwt"}, "it must be tls_client_auth"),
        ({"id": "x", "secret": Secret("x"), "method": "tls_client_auth"}, "method does not fit"),
        ({"id": "x", "secret": Secret("x"), "certificate_key": "c.pem"}, "certificate_key is for a certificate"),
        ({"id": "x", "secret": Secret("x"), "method": "private_key_jwt"}, "method does not fit"),
        ({"id": "x", "private_key": Secret("x"), "method": "client_secret_post"}, "method does not fit"),
        ({"id": "x", "secret": Secret("x"), "key_id": "k"}, "for an assertion"),
        ({"id": "x", "secret": Secret("x"), "audience": "a"}, "for an assertion"),
    ],
)
def test_credentials_that_do_not_fit_together_are_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ClientCredentials(**fields)  # type: ignore[arg-type] # wrong on purpose


def test_no_way_of_printing_shows_a_proof() -> None:
    credentials = ClientCredentials(id="x", secret=Secret("hunter2"))
    proof = Client(credentials, "https://idp.example", lambda: 0.0).prove()
    posted = Client(replace(credentials, method="client_secret_post"), "https://idp.example", lambda: 0.0).prove()
    for shown in (repr(proof), repr(posted), repr(credentials)):
        assert "hunter2" not in shown
        assert "Basic" not in shown


@given(name=st.text(min_size=1).filter(lambda text: text.isprintable()), secret=st.text(min_size=1, max_size=30))
def test_any_id_and_secret_arrive_as_they_are(name: str, secret: str) -> None:
    try:
        (name + secret).encode()
    except UnicodeEncodeError:
        return
    known = Clients(lambda: "https://idp.example", lambda: 0.0)
    known.add(DemoClient(name, secret=secret))
    client = Client(ClientCredentials(id=name, secret=Secret(secret)), "https://idp.example", lambda: 0.0)
    proof = client.prove()
    assert known.authenticated(proof.headers, proof.fields) == name


# The provider's own strictness, on which the tests above rest


async def test_the_embedded_provider_lets_nobody_ask_without_proof(idp: IdentityProvider, http: HttpClient) -> None:
    token = idp.issue_opaque()
    basic = "Basic " + base64.b64encode(b"resource-server:wrong").decode()
    url = idp.origin + idp.introspection_path
    for headers, form in (
        ({}, {}),
        ({"authorization": basic}, {}),
        ({"authorization": "Basic !"}, {}),
        ({"authorization": "Bearer x"}, {}),
        ({}, {"client_id": "resource-server"}),
        ({}, {"client_id": "resource-server", "client_secret": "wrong"}),
        ({}, {"client_id": "resource-server", "client_assertion": "x.y.z"}),
        ({"authorization": basic}, {"client_id": "resource-server", "client_secret": "wrong"}),
    ):
        sent = {**headers, "content-type": "application/x-www-form-urlencoded"}
        for place in (url, f"{idp.issuer}/revoke"):
            body = urlencode({"token": token, **form}).encode()
            assert (await http.request("POST", place, headers=sent, content=body)).status == 401
    assert token in idp.opaque.active


def test_the_embedded_provider_refuses_an_assertion_that_is_replayed_late_or_for_somebody_else(clock: Clock) -> None:
    known = Clients(lambda: "https://idp.example", clock)
    known.add(DemoClient("prover", key=KEYS["ES256"]))
    client = ClientCredentials(id="prover", private_key=pem(KEYS["ES256"]))
    proof = Client(client, "https://idp.example", clock).prove()
    assert known.authenticated({}, proof.fields) == "prover"
    assert known.authenticated({}, proof.fields) is None
    assert known.authenticated({}, {**proof.fields, "client_assertion_type": "x"}) is None
    assert known.authenticated({}, Client(client, "https://other.example", clock).prove().fields) is None
    late = Client(client, "https://idp.example", clock).prove()
    clock.now += ASSERTION_SECONDS
    assert known.authenticated({}, late.fields) is None


async def test_a_token_revoked_at_the_embedded_provider_is_inactive(idp: IdentityProvider, http: HttpClient) -> None:
    token = idp.issue_opaque()
    client = idp.introspection().client
    assert client.secret is not None
    form = {"token": token, "client_id": client.id, "client_secret": client.secret.reveal()}
    sent = {"content-type": "application/x-www-form-urlencoded"}
    body, url = urlencode(form).encode(), idp.origin + idp.introspection_path
    assert (await http.request("POST", url, headers=sent, content=body)).json()["active"] is True
    await http.request("POST", f"{idp.issuer}/revoke", headers=sent, content=body)
    assert (await http.request("POST", url, headers=sent, content=body)).json() == {"active": False}
