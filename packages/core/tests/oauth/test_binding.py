"""Bound tokens: whom they may be presented by, and what an operator may demand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core import AuthenticationError, Session
from actas.oauth.binding import BindingChecker, Presentation, is_key_bound
from actas.oauth.dpop import ProofVerifier
from actas.oauth.nonces import Nonces
from actas.oauth.reasons import Reason
from actas.oauth.replay import MemoryReplayStore
from actas.oauth.settings import Binding, TokenRules, TrustedIssuer
from actas.testing.dpop import ProofKey
from actas.testing.tokens import make_session

from .conftest import Clock

pytestmark = pytest.mark.anyio

URL = "https://mcp.test/mcp"
KEY = ProofKey()
CERTIFICATE = "c" * 43
BY_KEY = {"jkt": KEY.thumbprint}
BY_CERTIFICATE = {"x5t#S256": CERTIFICATE}


def checker(clock: Clock, demanded: Binding = Binding.OPTIONAL) -> BindingChecker:
    store = MemoryReplayStore(clock)
    clock.now += 1
    verifier = ProofVerifier(URL, store=store, nonces=Nonces(None, clock), require_nonce=False, clock=clock)
    issuer = TrustedIssuer(
        name="example", issuer="https://idp.example", audience=[URL], security=TokenRules(binding=demanded)
    )
    return BindingChecker([issuer], verifier)


def bound(cnf: object) -> Session:
    return make_session(claims={"cnf": cnf})


def presented(clock: Clock, *, dpop: bool, certificate: str | None = None) -> Presentation:
    proof = KEY.proof("token", URL, claims={"iat": int(clock.now)}).encode()
    return Presentation(
        token=b"token", method="POST", proofs=[proof] if dpop else None, certificate=lambda: certificate
    )


async def outcome(checker: BindingChecker, session: Session, presentation: Presentation) -> str | None:
    """None where ``session`` is admitted, else why it is not."""
    try:
        await checker.check(session, presentation)
    except AuthenticationError as error:
        return error.reason
    return None


UNBOUND, WRONG = Reason.NOT_BOUND, Reason.WRONG_SCHEME
DEMANDS = {
    Binding.OPTIONAL: (None, None, None, None),
    Binding.DPOP: (UNBOUND, None, UNBOUND, None),
    Binding.MTLS: (UNBOUND, UNBOUND, None, None),
    Binding.EITHER: (UNBOUND, None, None, None),
}


@pytest.mark.parametrize("demanded", Binding)
async def test_an_operator_may_demand_a_binding(clock: Clock, demanded: Binding) -> None:
    checks = checker(clock, demanded)
    sessions = (make_session(), bound(BY_KEY), bound(BY_CERTIFICATE), bound(BY_KEY | BY_CERTIFICATE))
    seen = [
        await outcome(checks, session, presented(clock, dpop=is_key_bound(session), certificate=CERTIFICATE))
        for session in sessions
    ]
    assert tuple(seen) == DEMANDS[demanded]
    assert checks.is_free(make_session()) is (demanded is Binding.OPTIONAL)
    assert not any(checks.is_free(session) for session in sessions[1:])


async def test_the_scheme_must_fit_the_binding(clock: Clock) -> None:
    checks = checker(clock)
    assert await outcome(checks, bound(BY_KEY), presented(clock, dpop=False)) == WRONG
    assert await outcome(checks, make_session(), presented(clock, dpop=True)) == WRONG
    by_certificate = presented(clock, dpop=True, certificate=CERTIFICATE)
    assert await outcome(checks, bound(BY_CERTIFICATE), by_certificate) == WRONG


async def test_of_two_bindings_both_must_hold(clock: Clock) -> None:
    checks, both = checker(clock), bound(BY_KEY | BY_CERTIFICATE)
    assert await outcome(checks, both, presented(clock, dpop=True, certificate=CERTIFICATE)) is None
    assert await outcome(checks, both, presented(clock, dpop=True)) == Reason.NO_CERTIFICATE
    assert await outcome(checks, both, presented(clock, dpop=False, certificate=CERTIFICATE)) == WRONG


async def test_another_certificate_is_refused(clock: Clock) -> None:
    checks, session = checker(clock), bound(BY_CERTIFICATE)
    assert (
        await outcome(checks, session, presented(clock, dpop=False, certificate="d" * 43)) == Reason.WRONG_CERTIFICATE
    )
    assert await outcome(checks, session, presented(clock, dpop=False)) == Reason.NO_CERTIFICATE


async def test_a_thumbprint_that_is_no_text_is_a_binding_that_nobody_can_check(clock: Clock) -> None:
    for cnf in ({"jkt": 5}, {"x5t#S256": None}, {**BY_KEY, "x5t#S256": ["x"]}):
        assert await outcome(checker(clock), bound(cnf), presented(clock, dpop=True)) == Reason.UNKNOWN_BINDING


_members = st.sampled_from(["jkt", "x5t#S256", "x5t", "jwk", "kid", "jku", "jwe", "osc", "JKT"])
_values = st.none() | st.integers() | st.text(max_size=45) | st.just(KEY.thumbprint) | st.just(CERTIFICATE)
_anything = st.none() | st.booleans() | st.text() | st.lists(st.text()) | st.dictionaries(_members, _values)


@given(_anything, st.booleans())
async def test_a_confirmation_that_cannot_be_checked_is_refused(cnf: object, dpop: bool) -> None:
    clock = Clock()
    checks = checker(clock)
    session = bound(cnf)
    assert not checks.is_free(session)
    refused = await outcome(checks, session, presented(clock, dpop=dpop, certificate=CERTIFICATE))
    good = [BY_KEY, BY_KEY | BY_CERTIFICATE] if dpop else [BY_CERTIFICATE]
    assert (refused is None) == (cnf in good)
    if not isinstance(cnf, dict) or not cnf or not cnf.keys() <= {"jkt", "x5t#S256"}:
        assert refused == Reason.UNKNOWN_BINDING
