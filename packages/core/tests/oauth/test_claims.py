"""Which claims are refused, and who judges them where several providers are trusted. Real signatures."""

from collections.abc import Awaitable, Callable

import pytest

from actas.core.errors import ConfigurationError
from actas.core.roles import RoleMappings
from actas.oauth import Authenticator, TokenRules, TrustedIssuer
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio

Refused = Callable[[Authenticator, str], Awaitable[str]]
Make = Callable[..., Authenticator]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": -61}, "expired"),
        ({"exp": -60}, "expired"),
        ({"exp": -59}, None),
        ({"nbf": 61}, "not_yet_valid"),
        ({"nbf": 60}, None),
        ({"iat": 61}, "not_yet_valid"),
        ({"iat": 60}, None),
        ({"iat": -3660, "exp": 9000}, "too_old"),
        ({"iat": -3659, "exp": 9000}, None),
    ],
)
async def test_times_are_judged_with_the_tolerance(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, changed: dict[str, int], reason: str | None
) -> None:
    token = idp.issue(claims={name: int(idp.clock()) + offset for name, offset in changed.items()})
    if reason is None:
        await authenticator.authenticate(token)
    else:
        assert await refused(authenticator, token) == reason


async def test_a_session_ends_when_its_token_starts_to_be_refused(
    authenticator: Authenticator, idp: IdentityProvider, make: Make
) -> None:
    now = idp.clock()
    assert (await authenticator.authenticate(idp.issue(expires_in=100))).expires_at == now + 160
    assert (await authenticator.authenticate(idp.issue(expires_in=9000))).expires_at == now + 3660


@pytest.mark.parametrize("name", ["exp", "sub", "iat"])
async def test_a_token_without_a_demanded_claim_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, name: str
) -> None:
    assert await refused(authenticator, idp.issue(claims={name: None})) == "missing_claim"


async def test_iat_may_be_absent_only_where_age_does_not_count(idp: IdentityProvider, make: Make) -> None:
    authenticator = make(idp.trusted(security=TokenRules(max_token_age=0)))
    await authenticator.authenticate(idp.issue(claims={"iat": None}))


async def test_nbf_may_be_demanded(idp: IdentityProvider, make: Make, refused: Refused) -> None:
    authenticator = make(idp.trusted(security=TokenRules(require_nbf=True)))
    assert await refused(authenticator, idp.issue()) == "missing_claim"
    await authenticator.authenticate(idp.issue(claims={"nbf": int(idp.clock())}))


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["4102444800", True, -1, 1e300, [4102444800], {"a": 1}])
async def test_a_time_that_is_no_sane_number_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, name: str, value: object
) -> None:
    assert await refused(authenticator, idp.issue(claims={name: value})) == "malformed_claim"


async def test_an_untrusted_issuer_is_refused_and_no_configured_one_is_named(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    for issuer in ("https://evil.example", idp.issuer + "/", idp.issuer.upper(), "", None, 7, [idp.issuer]):
        assert await refused(authenticator, idp.issue(claims={"iss": issuer})) == "untrusted_issuer"


@pytest.mark.parametrize(
    "audience", ["https://other.example", [], ["https://other.example"], "", "https://mcp.example/mcp/", 5, {}]
)
async def test_a_token_for_another_audience_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, audience: object
) -> None:
    assert await refused(authenticator, idp.issue(claims={"aud": audience})) == "wrong_audience"


async def test_a_token_without_an_audience_or_with_a_strange_list_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    assert await refused(authenticator, idp.issue(claims={"aud": None})) == "wrong_audience"
    assert await refused(authenticator, idp.issue(claims={"aud": [idp.audience, 1]})) == "wrong_audience"
    await authenticator.authenticate(idp.issue(audience=["https://other.example", idp.audience]))


@pytest.mark.parametrize("subject", ["", " ", "a\nb", "a\x00b", "a\u202eb", "x" * 256, 5, ["alice"], {"a": 1}, True])
async def test_a_subject_that_is_no_name_is_refused(
    authenticator: Authenticator, idp: IdentityProvider, refused: Refused, subject: object
) -> None:
    assert await refused(authenticator, idp.issue(claims={"sub": subject})) == "malformed_claim"


async def test_azp_need_not_be_the_audience_and_parties_may_be_listed(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    token = idp.issue(claims={"client_id": None, "azp": "some-client"})
    assert (await make(idp.trusted()).authenticate(token)).client_id == "some-client"
    listed = make(idp.trusted(authorized_parties=["demo-client"]))
    await listed.authenticate(idp.issue())
    assert await refused(listed, token) == "wrong_party"
    assert await refused(listed, idp.issue(claims={"azp": "other"})) == "wrong_party"
    assert await refused(listed, idp.issue(claims={"client_id": None})) == "wrong_party"
    assert await refused(listed, idp.issue(claims={"client_id": ["demo-client"]})) == "wrong_party"


async def test_providers_that_share_an_issuer_keep_their_own_keys_mappings_and_rules(
    idp: IdentityProvider, make: Make, refused: Refused
) -> None:
    with IdentityProvider(algorithms=["ES256"]) as other:
        keys = {"issuer": idp.issuer, "jwks_uri": other.origin + other.jwks_path}
        first = idp.trusted("first", role_mappings=RoleMappings(user=["staff"]))
        second = idp.trusted(
            "second", audience=["https://two.example"], role_mappings=RoleMappings(admin=["staff"]), **keys
        )
        authenticator = make(first, second)
        one = await authenticator.authenticate(idp.issue("alice"))
        claims: dict[str, object] = {"iss": idp.issuer, "aud": "https://two.example", "roles": ["staff"]}
        foreign = other.issue("alice", claims={**claims, "iat": int(idp.clock()), "exp": int(idp.clock()) + 60})
        two = await authenticator.authenticate(foreign)
        assert [(s.provider, s.role) for s in (one, two)] == [("first", "user"), ("second", "admin")]
        crossed = other.issue("alice", claims={"iss": idp.issuer, "aud": idp.audience})
        assert await refused(authenticator, crossed) == "unknown_key"
        both = idp.issue(audience=["https://two.example", idp.audience])
        assert (await authenticator.authenticate(both)).provider == "first"


async def test_the_errors_of_an_operator_are_found_before_the_start(idp: IdentityProvider, make: Make) -> None:
    wide = idp.trusted("wide", audience=["a", "b"])
    with pytest.raises(ConfigurationError) as caught:
        make(wide, idp.trusted("narrow", audience=["b"]), idp.trusted("wide", audience=["c"]))
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "no token can reach the trusted issuer narrow",
        "two trusted issuers have the name wide",
    ]
    with pytest.raises(ConfigurationError):
        make()


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS512", "rs256", "", "RSA-OAEP"])
def test_algorithms_without_a_public_key_cannot_be_configured(algorithm: str) -> None:
    with pytest.raises(ValueError, match="only signatures with a public key"):
        TrustedIssuer(name="x", issuer="https://idp.example", audience=["a"], algorithms=["RS256", algorithm])


@pytest.mark.parametrize(
    "wrong",
    [
        {"audience": []},
        {"audience": [""]},
        {"issuer": "acme"},
        {"jwks_uri": "ftp://x/y"},
        {"algorithms": []},
        {"name": ""},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"name": "x", "issuer": "https://idp.example", "audience": ["a"], **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrustedIssuer(**fields)  # type: ignore[arg-type] # wrong on purpose


def test_the_tolerance_is_bounded() -> None:
    for wrong in (-1, 301, float("nan")):
        with pytest.raises(ValueError, match="clock_tolerance"):
            TokenRules(clock_tolerance=wrong)
