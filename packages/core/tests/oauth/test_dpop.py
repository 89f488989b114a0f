"""DPoP proofs: real keys and real signatures, and whatever else may stand in a header."""

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from actas.core.errors import ConfigurationError, InvalidProof, NonceRequired
from actas.oauth.dpop import MAX_PROOF_BYTES, PROOF_ALGORITHMS, ProofVerifier
from actas.oauth.nonces import Nonces
from actas.oauth.reasons import Reason
from actas.oauth.replay import MemoryReplayStore
from actas.oauth.target import normal
from actas.testing.dpop import ProofKey
from actas.testing.tokens import ALGORITHMS, encode_segment, nested, tampered

from .conftest import Clock

pytestmark = pytest.mark.anyio

URL = "https://mcp.test/mcp"
TOKEN = "header.claims.signature"
KEYS = {algorithm: ProofKey(algorithm) for algorithm in ALGORITHMS}
KEY = KEYS["ES256"]

Make = Callable[..., ProofVerifier]


@pytest.fixture
def make(clock: Clock) -> Make:
    def make(*, resource: str = URL, require_nonce: bool = False, most: int = 100) -> ProofVerifier:
        store = MemoryReplayStore(clock, most)
        clock.now += 1  # the store was there before
        return ProofVerifier(
            resource, store=store, nonces=Nonces(b"s" * 32, clock), require_nonce=require_nonce, clock=clock
        )

    return make


@pytest.fixture
def verifier(make: Make) -> ProofVerifier:
    return make()


async def verify(verifier: ProofVerifier, proof: str | bytes, key: ProofKey = KEY, method: str = "POST") -> str | None:
    encoded = proof if isinstance(proof, bytes) else proof.encode()
    return await verifier.verify([encoded], thumbprint=key.thumbprint, token=TOKEN.encode(), method=method)


async def refused(verifier: ProofVerifier, proof: str | bytes, **options: Any) -> str:
    """Why ``proof`` is refused; the public message is the same for all."""
    with pytest.raises((InvalidProof, NonceRequired)) as caught:
        await verify(verifier, proof, **options)
    assert caught.value.message == type(caught.value).default_message
    return caught.value.reason


def proof(clock: Clock, key: ProofKey = KEY, *, claims: dict[str, object] | None = None, **options: Any) -> str:
    return key.proof(TOKEN, URL, claims={"iat": int(clock.now), **(claims or {})}, **options)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_good_proof_is_accepted_once(verifier: ProofVerifier, clock: Clock, algorithm: str) -> None:
    key = KEYS[algorithm]
    good = proof(clock, key)
    assert await verify(verifier, good, key) is None
    assert await refused(verifier, good, key=key) == Reason.REPLAYED_PROOF
    assert await verify(verifier, proof(clock, key), key) is None  # the key is known now, and its next proof is read


async def test_eddsa_may_be_called_by_its_older_name(verifier: ProofVerifier, clock: Clock) -> None:
    key = KEYS["Ed25519"]
    assert await verify(verifier, proof(clock, key, header={"alg": "EdDSA"}), key) is None
    assert "EdDSA" in PROOF_ALGORITHMS


@pytest.mark.parametrize("typ", ["DPOP+JWT", "application/dpop+jwt"])
async def test_the_kind_is_a_media_type(verifier: ProofVerifier, clock: Clock, typ: str) -> None:
    assert await verify(verifier, proof(clock, header={"typ": typ})) is None


WEAK = {"kty": "RSA", "n": "-" + "A" * 170, "e": "AQAB"}
BAD_HEADERS: dict[str, dict[str, object]] = {
    "no typ": {"typ": None},
    "an access token": {"typ": "at+jwt"},
    "a JWT": {"typ": "JWT"},
    "typ is no text": {"typ": 5},
    "unsigned": {"alg": "none"},
    "symmetric": {"alg": "HS256"},
    "no alg": {"alg": None},
    "alg is a list": {"alg": ["ES256"]},
    "alg of another kind of key": {"alg": "RS256"},
    "alg of another curve": {"alg": "ES384"},
    "alg in another case": {"alg": "es256"},
    "crit": {"crit": ["b64"], "b64": False},
    "no jwk": {"jwk": None},
    "jwk is a text": {"jwk": "x"},
    "jwk is empty": {"jwk": {}},
    "a private key": {"jwk": KEY.key.as_dict(private=True)},
    "a symmetric key": {"jwk": OctKey.generate_key(256).as_dict(private=True)},
    "a private member": {"jwk": {**KEY.public, "d": ""}},
    "a point that is on no curve": {"jwk": {**KEY.public, "y": KEY.public["x"]}},
    "a key for encryption": {"jwk": {**KEY.public, "use": "enc"}},
    "a key for another algorithm": {"jwk": {**KEY.public, "alg": "ES384"}},
    "a weak key": {"alg": "RS256", "jwk": WEAK},
    "a key of an unknown kind": {"jwk": {"kty": "AKP", "pub": "x"}},
    "nested too deep": {"x": nested(40)},
    "too many members": {f"m{number}": number for number in range(300)},
}


@pytest.mark.parametrize("kind", BAD_HEADERS)
async def test_a_header_that_no_proof_may_have_is_refused(verifier: ProofVerifier, clock: Clock, kind: str) -> None:
    assert await refused(verifier, proof(clock, header=BAD_HEADERS[kind])) == Reason.MALFORMED_PROOF


async def test_an_unsigned_proof_is_refused(verifier: ProofVerifier, clock: Clock) -> None:
    head, claims, _ = proof(clock, header={"alg": "none"}).split(".")
    assert await refused(verifier, f"{head}.{claims}.") == Reason.MALFORMED_PROOF
    head, claims, _ = proof(clock).split(".")
    assert await refused(verifier, f"{head}.{claims}.") == Reason.BAD_PROOF_SIGNATURE


BAD_CLAIMS: dict[str, tuple[dict[str, object], Reason]] = {
    "no jti": ({"jti": None}, Reason.MALFORMED_PROOF),
    "an empty jti": ({"jti": ""}, Reason.MALFORMED_PROOF),
    "jti is a number": ({"jti": 5}, Reason.MALFORMED_PROOF),
    "jti without end": ({"jti": "x" * 257}, Reason.MALFORMED_PROOF),
    "jti that cannot be printed": ({"jti": "a\n"}, Reason.MALFORMED_PROOF),
    "no htm": ({"htm": None}, Reason.WRONG_PROOF_METHOD),
    "another method": ({"htm": "GET"}, Reason.WRONG_PROOF_METHOD),
    "the method in another case": ({"htm": "post"}, Reason.WRONG_PROOF_METHOD),
    "htm is a list": ({"htm": ["POST"]}, Reason.WRONG_PROOF_METHOD),
    "no htu": ({"htu": None}, Reason.WRONG_PROOF_URL),
    "another path": ({"htu": "https://mcp.test/mcp/"}, Reason.WRONG_PROOF_URL),
    "another host": ({"htu": "https://evil.test/mcp"}, Reason.WRONG_PROOF_URL),
    "another port": ({"htu": "https://mcp.test:8443/mcp"}, Reason.WRONG_PROOF_URL),
    "another scheme": ({"htu": "http://mcp.test/mcp"}, Reason.WRONG_PROOF_URL),
    "a user": ({"htu": "https://a@mcp.test/mcp"}, Reason.WRONG_PROOF_URL),
    "htu is a number": ({"htu": 5}, Reason.WRONG_PROOF_URL),
    "no ath": ({"ath": None}, Reason.WRONG_PROOF_TOKEN),
    "another token": ({"ath": "x" * 43}, Reason.WRONG_PROOF_TOKEN),
    "ath is a list": ({"ath": []}, Reason.WRONG_PROOF_TOKEN),
    "no iat": ({"iat": None}, Reason.MALFORMED_PROOF),
    "iat is a text": ({"iat": "5"}, Reason.MALFORMED_PROOF),
    "iat is true": ({"iat": True}, Reason.MALFORMED_PROOF),
    "iat of long ago": ({"iat": 0}, Reason.STALE_PROOF),
    "iat of the far future": ({"iat": 2**63}, Reason.STALE_PROOF),
    "nonce is a number": ({"nonce": 5}, Reason.MALFORMED_PROOF),
    "nonce without end": ({"nonce": "x" * 257}, Reason.MALFORMED_PROOF),
    "nonce of somebody else": ({"nonce": "x" * 30}, Reason.WRONG_NONCE),
    "nonce that is none": ({"nonce": "x"}, Reason.WRONG_NONCE),
    "nonce with other letters": ({"nonce": "!" * 30}, Reason.WRONG_NONCE),
}


@pytest.mark.parametrize("kind", BAD_CLAIMS)
async def test_a_proof_that_is_not_for_this_request_is_refused(
    verifier: ProofVerifier, clock: Clock, kind: str
) -> None:
    claims, reason = BAD_CLAIMS[kind]
    assert await refused(verifier, proof(clock, claims=claims)) == reason


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://MCP.test/mcp", "https://mcp.test:443/mcp", "https://mcp.test:/mcp", "https://mcp.test/mcp?x=1#y",
        "https://mcp.test/%6dcp", "https://mcp.test/a/../mcp", "https://mcp.test/./mcp",
    ],
)  # fmt: skip
async def test_a_url_may_be_spelled_in_several_ways(verifier: ProofVerifier, clock: Clock, url: str) -> None:
    assert await verify(verifier, proof(clock, claims={"htu": url})) is None


async def test_another_key_is_refused(verifier: ProofVerifier, clock: Clock) -> None:
    thief = ProofKey()
    assert await refused(verifier, proof(clock, thief)) == Reason.WRONG_PROOF_KEY
    stolen_header = proof(clock, thief, header={"jwk": KEY.public})
    assert await refused(verifier, stolen_header) == Reason.BAD_PROOF_SIGNATURE
    assert await refused(verifier, tampered(proof(clock))) == Reason.BAD_PROOF_SIGNATURE


async def test_the_same_key_in_another_spelling_is_another_key(verifier: ProofVerifier, clock: Clock) -> None:
    padded = {**KEY.public, "x": f"{KEY.public['x']}="}
    assert await refused(verifier, proof(clock, header={"jwk": padded})) in (
        Reason.WRONG_PROOF_KEY,
        Reason.MALFORMED_PROOF,
    )


async def test_there_must_be_one_proof(verifier: ProofVerifier, clock: Clock) -> None:
    good = proof(clock).encode()
    for proofs, reason in (([], Reason.NO_PROOF), ([good, good], Reason.MALFORMED_PROOF)):
        with pytest.raises(InvalidProof) as caught:
            await verifier.verify(proofs, thumbprint=KEY.thumbprint, token=TOKEN.encode(), method="POST")
        assert caught.value.reason == reason


async def test_a_proof_that_is_too_large_is_not_read(verifier: ProofVerifier, clock: Clock) -> None:
    assert await refused(verifier, proof(clock, claims={"x": "x" * MAX_PROOF_BYTES})) == Reason.MALFORMED_PROOF


async def test_a_duplicate_claim_is_refused(verifier: ProofVerifier, clock: Clock) -> None:
    text = base64.urlsafe_b64decode(proof(clock).split(".")[1] + "==")
    twice = text[:-1] + b',"htm":"GET"}'
    assert await refused(verifier, KEY.proof(TOKEN, URL, claims=twice)) == Reason.MALFORMED_PROOF


@pytest.mark.parametrize(("age", "accepted"), [(59, True), (60, False), (-5, True), (-6, False)])
async def test_without_a_nonce_a_proof_is_as_old_as_it_says(
    verifier: ProofVerifier, clock: Clock, age: int, accepted: bool
) -> None:
    clock.now += 120
    dated = proof(clock, claims={"iat": int(clock.now) - age})
    if accepted:
        assert await verify(verifier, dated) is None
    else:
        assert await refused(verifier, dated) == Reason.STALE_PROOF


async def test_a_client_whose_clock_is_wrong_gets_on_with_a_nonce(verifier: ProofVerifier, clock: Clock) -> None:
    with pytest.raises(NonceRequired) as caught:
        await verify(verifier, proof(clock, claims={"iat": 5}))
    assert await verify(verifier, proof(clock, nonce=caught.value.nonce, claims={"iat": 5})) is None


async def test_a_demanded_nonce_is_given_renewed_and_runs_out(make: Make, clock: Clock) -> None:
    verifier = make(require_nonce=True)
    with pytest.raises(NonceRequired) as caught:
        await verify(verifier, proof(clock))
    assert caught.value.reason == Reason.NO_NONCE
    nonce = caught.value.nonce
    assert await verify(verifier, proof(clock, nonce=nonce)) is None
    clock.now += 61
    renewed = await verify(verifier, proof(clock, nonce=nonce))
    assert renewed is not None
    assert renewed != nonce
    clock.now += 58
    assert await verify(verifier, proof(clock, nonce=nonce)) is not None
    clock.now += 1
    assert await refused(verifier, proof(clock, nonce=nonce)) == Reason.WRONG_NONCE
    assert await verify(verifier, proof(clock, nonce=renewed)) is None


async def test_a_proof_with_a_nonce_counts_once_for_as_long_as_the_nonce_is_good(make: Make, clock: Clock) -> None:
    verifier = make(require_nonce=True)
    nonce = Nonces(b"s" * 32, clock).make()
    used = proof(clock, nonce=nonce)
    await verify(verifier, used)
    for _ in range(5):
        clock.now += 23
        assert await refused(verifier, used) == Reason.REPLAYED_PROOF
    clock.now += 5
    assert await refused(verifier, used) == Reason.WRONG_NONCE


def test_replicas_that_share_a_secret_accept_each_others_nonces(clock: Clock) -> None:
    first, second, stranger = (Nonces(secret, clock) for secret in (b"s" * 32, b"s" * 32, b"t" * 32))
    nonce = first.make()
    assert second.made_at(nonce) == clock.now
    assert stranger.made_at(nonce) is None
    assert Nonces(None, clock).made_at(Nonces(None, clock).make()) is None
    clock.now -= 6
    assert second.made_at(nonce) is None  # from the future


async def test_nonces_of_another_server_do_not_help(make: Make, clock: Clock) -> None:
    verifier = make(require_nonce=True)
    assert await refused(verifier, proof(clock, nonce=Nonces(b"t" * 32, clock).make())) == Reason.WRONG_NONCE


async def test_after_a_restart_no_proof_from_before_is_taken_for_new(make: Make, clock: Clock) -> None:
    used = proof(clock)
    clock.now += 1
    restarted = make()
    with pytest.raises(NonceRequired) as caught:
        await verify(restarted, used)
    assert caught.value.reason == Reason.STALE_PROOF
    assert await verify(restarted, proof(clock, nonce=caught.value.nonce)) is None


async def test_the_keys_of_genuine_proofs_alone_are_remembered_and_not_too_many(
    verifier: ProofVerifier, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actas.oauth.dpop._KEYS_REMEMBERED", 2)
    await refused(verifier, tampered(proof(clock)))
    assert len(verifier._keys) == 0
    for header in ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 3}):
        assert await verify(verifier, proof(clock, header=header)) is None
    assert len(verifier._keys) == 2


def test_a_resource_that_no_proof_can_name_stops_the_start(make: Make) -> None:
    with pytest.raises(ConfigurationError):
        make(resource="https://exa mple/mcp")


_claims = st.dictionaries(
    st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce", "x"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.just(URL) | st.just("POST"),
)
_members = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "k", "alg", "use", "key_ops"])
_jwk = st.dictionaries(
    _members, st.none() | st.integers() | st.text(max_size=50) | st.sampled_from(["EC", "RSA", "OKP", "P-256", "AQAB"])
)
_headers = st.fixed_dictionaries(
    {"typ": st.sampled_from(["dpop+jwt", "x", 1]), "alg": st.sampled_from([*PROOF_ALGORITHMS, "none", "HS256", None])},
    optional={"jwk": _jwk | st.text(), "crit": st.just([])},
)
_json_segment = st.one_of(_claims, _headers).map(lambda value: encode_segment(json.dumps(value, default=str).encode()))
_garbage = st.binary(max_size=40) | st.binary(max_size=40).map(encode_segment)


@given(st.lists(_json_segment | _garbage, max_size=5).map(b".".join))
@example(b"..")
@example(b"")
async def test_whatever_is_in_the_header_is_refused_as_no_proof(encoded: bytes) -> None:
    clock = Clock()
    verifier = ProofVerifier(
        URL, store=MemoryReplayStore(clock), nonces=Nonces(None, clock), require_nonce=False, clock=clock
    )
    assert await refused(verifier, encoded)
    assert not verifier._keys


@given(_claims)
async def test_whatever_a_genuine_proof_says_has_an_answer(claims: dict[str, object]) -> None:
    claims = {name: value for name, value in claims.items() if not isinstance(value, float) or math.isfinite(value)}
    clock = Clock()
    verifier = ProofVerifier(
        URL, store=MemoryReplayStore(clock), nonces=Nonces(None, clock), require_nonce=False, clock=clock
    )
    clock.now += 1
    try:
        await verify(verifier, proof(clock, claims=claims))
    except (InvalidProof, NonceRequired):
        return
    assert claims.get("htm", "POST") == "POST"
    assert "nonce" not in claims or claims["nonce"] is None


@given(st.text(max_size=30) | st.text(max_size=25).map(lambda text: f"https://mcp.test/{text}"))
@example("https://mcp.test")
@example("https://mcp.test/..")
@example("https://mcp.test/a/.")
@example("https://mcp.test/%2E%2e/%2f")
@example("https://[::1]:443/a")
@example("https://mcp.test:99999/")
def test_a_url_has_one_normal_spelling(url: str) -> None:
    once = normal(url)
    if once is not None:
        assert normal(once) == once
        assert normal(f"{once}?q#f") == once
        assert "/../" not in once
        assert once.isascii()


def test_urls_that_mean_the_same_are_the_same() -> None:
    assert normal("HTTP://[::1]:80") == normal("http://[::1]/") == "http://[::1]/"
    assert normal("https://h/a%2fb") == "https://h/a%2Fb"  # an escaped slash is no slash
    assert normal("https://h/a/b/..") == "https://h/a/"
    assert normal("https://h/" + "a" * 2048) is None
    for none in (
        "",
        "mcp.test/mcp",
        "ftp://h/",
        "https://h:x/",
        "https://h/ä",
        "https:///mcp",
        "https://h/%zz",
        "https://h/\n",
    ):
        assert normal(none) is None
