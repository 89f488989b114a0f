"""Which tokens are refused, and with what reason. Real signatures, keys over real HTTP."""

from collections.abc import Awaitable, Callable

import pytest
from joserfc.jwk import RSAKey

from actas.oauth import Authenticator, TokenRules
from actas.testing import tokens
from actas.testing.idp import IdentityProvider
from actas.testing.tokens import ALGORITHMS, encode_segment, generate_key

pytestmark = pytest.mark.anyio

Refused = Callable[[Authenticator, str], Awaitable[str]]
Make = Callable[..., Authenticator]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_good_token_of_every_default_algorithm_makes_a_session(
    authenticator: Authenticator, idp: IdentityProvider, algorithm: str
) -> None:
    token = idp.issue("alice", algorithm=algorithm)
    session = await authenticator.authenticate(token)
    assert (session.issuer, session.subject, session.username) == (idp.issuer, "alice", "alice")
    assert session.token is not None
    assert session.token.reveal() == token
    assert token not in repr(session)


async def test_an_unsigned_token_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    assert await refused(authenticator, tokens.unsigned(idp.claims())) == "wrong_algorithm"
    assert await refused(authenticator, tokens.unsigned(idp.claims(), algorithm="NONE")) == "wrong_algorithm"


async def test_hmac_with_the_public_key_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    published = idp.key("RS256")
    assert isinstance(published.key, RSAKey)
    token = tokens.hmac_with_public_key(idp.claims(), published.key, key_id=published.key_id)
    assert await refused(authenticator, token) == "wrong_algorithm"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_tampered_signature_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, algorithm: str
) -> None:
    token = idp.issue(algorithm=algorithm)
    assert await refused(authenticator, tokens.tampered(token)) == "bad_signature"
    assert await refused(authenticator, token.rpartition(".")[0] + ".") == "bad_signature"
    assert await refused(authenticator, token + "AAAA") == "bad_signature"


async def test_claims_put_under_another_tokens_signature_are_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    token = idp.issue("alice")
    await authenticator.authenticate(token)
    assert await refused(authenticator, tokens.with_claims(token, sub="bob")) == "bad_signature"


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"1e999", b"9" * 400, b"-9" + b"9" * 30])
async def test_numbers_that_json_does_not_know_or_cannot_hold_are_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, literal: bytes
) -> None:
    claims = tokens.with_duplicate(idp.claims(), "big", 0)[:-2] + literal + b"}"
    assert await refused(authenticator, idp.issue(claims=claims)) == "malformed"


@pytest.mark.parametrize("typ", ["JWT", "logout+jwt", "JWE", "id_token+jwt", "dpop+jwt", "at+jwt ", "", "none", None])
async def test_another_kind_of_jwt_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, typ: str | None
) -> None:
    assert await refused(authenticator, idp.issue(headers={"typ": typ})) == "wrong_type"


@pytest.mark.parametrize("typ", ["AT+JWT", "application/at+jwt", "Application/At+Jwt"])
async def test_the_type_is_compared_as_a_media_type(
    authenticator: Authenticator, idp: IdentityProvider, typ: str
) -> None:
    await authenticator.authenticate(idp.issue(headers={"typ": typ}))


async def test_types_of_older_providers_may_be_allowed_but_id_tokens_still_do_not_pass(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    authenticator = make(idp.trusted(security=TokenRules(token_types=["application/JWT", "none"])))
    await authenticator.authenticate(idp.issue(headers={"typ": "jwt"}, claims={"typ": "Bearer"}))
    await authenticator.authenticate(idp.issue(headers={"typ": None}))
    assert await refused(authenticator, idp.issue()) == "wrong_type"
    others: list[dict[str, object]] = [
        {"token_use": "id"},
        {"token_use": 5},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"at_hash": "x"},
        {"events": {}},
    ]
    others.append({"nonce": "n-0S6_WzA2Mj", "client_id": None})
    for claims in others:
        assert await refused(authenticator, idp.issue(headers={"typ": "JWT"}, claims=claims)) == "wrong_type"


@pytest.mark.parametrize("critical", [["exp"], ["b64"], [], "x", ["https://example/unknown"]])
async def test_any_critical_header_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, critical: object
) -> None:
    token = idp.issue(headers={"crit": critical, "b64": False, "https://example/unknown": 1})
    assert await refused(authenticator, token) == "critical_header"


async def test_a_key_in_the_header_is_never_used(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    own = generate_key("RS256")
    public = own.as_dict(private=False)
    idp.answers["/evil"] = b'{"keys":[]}'
    headers: dict[str, object] = {
        "jwk": public,
        "jku": f"{idp.origin}/evil",
        "x5u": f"{idp.origin}/evil",
        "x5c": ["MII"],
    }
    assert await refused(authenticator, idp.issue(headers=headers, key=own)) == "bad_signature"
    assert await refused(authenticator, idp.issue(headers={**headers, "kid": "mine"}, key=own)) == "unknown_key"
    assert idp.requests["/evil"] == 0
    await authenticator.authenticate(idp.issue(headers=headers))


async def test_an_algorithm_that_is_not_the_keys_own_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    rsa, curve = idp.key("RS256"), idp.key("ES256")
    assert await refused(authenticator, idp.issue(headers={"alg": "PS256"})) == "unknown_key"
    assert await refused(authenticator, idp.issue(headers={"alg": "ES256", "kid": rsa.key_id})) == "unknown_key"
    assert await refused(authenticator, idp.issue(headers={"alg": "RS256", "kid": curve.key_id})) == "unknown_key"
    assert await refused(authenticator, idp.issue(headers={"alg": "RS512"})) == "wrong_algorithm"


async def test_only_the_issuers_own_algorithms_pass(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    authenticator = make(idp.trusted(algorithms=["ES256"]))
    await authenticator.authenticate(idp.issue(algorithm="ES256"))
    assert await refused(authenticator, idp.issue(algorithm="RS256")) == "wrong_algorithm"


async def test_eddsa_is_another_name_of_ed25519(idp: IdentityProvider, make: Make) -> None:
    authenticator = make(idp.trusted(algorithms=["EdDSA"]))
    await authenticator.authenticate(idp.issue(algorithm="Ed25519"))
    await authenticator.authenticate(idp.issue(algorithm="Ed25519", headers={"alg": "EdDSA"}))


async def test_without_a_kid_the_only_key_that_fits_is_taken_and_none_where_two_fit(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, make: Make
) -> None:
    token = idp.issue(headers={"kid": None})
    await authenticator.authenticate(token)
    idp.rotate("RS256")
    assert await refused(make(idp.trusted()), idp.issue(headers={"kid": None})) == "unknown_key"


async def test_a_megabyte_is_refused_at_once(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    assert await refused(authenticator, "A" * 1_000_000) == "too_large"
    assert await refused(authenticator, idp.issue(claims={"filler": "x" * 1_000_000})) == "too_large"
    assert await refused(authenticator, "." * 1_000_000) == "too_large"
    assert not idp.requests


async def test_each_provider_has_its_own_limit(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    small = idp.trusted("small", audience=["https://small.example"], security=TokenRules(max_token_bytes=1000))
    authenticator = make(small, idp.trusted("large"))
    filler: dict[str, object] = {"filler": "x" * 1000}
    await authenticator.authenticate(idp.issue(claims=filler))
    assert await refused(authenticator, idp.issue(claims={**filler, "aud": "https://small.example"})) == "too_large"


async def test_many_claims_and_deep_nesting_are_refused(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    authenticator = make(idp.trusted(security=TokenRules(max_token_bytes=1_000_000)))
    assert await refused(authenticator, idp.issue(claims=tokens.many_claims(10_000))) == "too_large"
    assert await refused(authenticator, idp.issue(headers=tokens.many_claims(300))) == "too_large"
    assert await refused(authenticator, idp.issue(headers={"x": "y" * 8192})) == "too_large"
    assert await refused(authenticator, idp.issue(headers={"kid": "k" * 2000})) == "too_large"
    await authenticator.authenticate(idp.issue(claims={"deep": tokens.nested(15)}))
    for depth in (16, 200, 900):
        assert await refused(authenticator, idp.issue(claims={"deep": tokens.nested(depth)})) == "too_large"
    abyss = b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert await refused(authenticator, idp.issue(claims=abyss)) == "malformed"
    assert not idp.requests[idp.jwks_path] > 1


@pytest.mark.parametrize("name", ["sub", "aud", "exp", "roles"])
async def test_duplicate_claims_are_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, name: str
) -> None:
    claims = tokens.with_duplicate(idp.claims(), name, idp.claims()[name])
    assert await refused(authenticator, idp.issue(claims=claims)) == "malformed"
    escaped = claims.replace(f'"{name}"'.encode(), f'"\\u{ord(name[0]):04x}{name[1:]}"'.encode(), 1)
    assert escaped != claims
    assert await refused(authenticator, idp.issue(claims=escaped)) == "malformed"
    nested = b'{"a":{"x":1,"x":1},' + claims[1:]
    assert await refused(authenticator, idp.issue(claims=nested)) == "malformed"


async def test_duplicate_header_members_are_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    key = idp.key()
    header = f'{{"alg":"RS256","typ":"JWT","typ":"at+jwt","kid":"{key.key_id}"}}'.encode()
    assert await refused(authenticator, idp.issue(headers=header)) == "malformed"


async def test_json_that_is_spaced_or_escaped_passes_all_the_same(
    authenticator: Authenticator, idp: IdentityProvider
) -> None:
    claims = tokens.with_duplicate(idp.claims("alice"), "more", "Zoë").replace(b":", b" : ").replace(b",", b" ,\n")
    claims = claims.replace(b"http : //", b"http:\\/\\/").replace(b"https : //", b"https:\\/\\/")
    claims = claims.replace(b"1 : ", b"1:").replace(b"127.0.0.1 : ", b"127.0.0.1:")
    session = await authenticator.authenticate(idp.issue(claims=claims))
    assert session.claims["more"] == "Zoë"


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b", "a.b.c.d.e", "é.b.c", "a b.c.d", "eyJ9.e30.", "\ud800", "bnVsbA.e30.", "W10.e30.AA"],
)
async def test_what_is_no_jws_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, token: str
) -> None:
    assert await refused(authenticator, token) == "malformed"
    assert not idp.requests


async def test_an_encrypted_token_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    header = encode_segment({"alg": "RSA-OAEP", "enc": "A256GCM", "typ": "at+jwt"}).decode()
    assert await refused(authenticator, f"{header}.AAAA.AAAA.AAAA.AAAA") == "malformed"


async def test_one_signature_has_one_spelling(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    token = idp.issue(algorithm="ES256")
    await authenticator.authenticate(token)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    sibling = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]
    for other in (
        sibling,
        token + "=",
        token + "==",
        token + " ",
        " " + token,
        token + "\n",
        token.replace(".", ".=", 1),
    ):
        assert await refused(authenticator, other) == "malformed"
