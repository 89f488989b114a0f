"""What the door answers in place of a tool: one challenge, well-formed whatever is in it, on both wires."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actas.core import (
    Action,
    AuditUnavailable,
    AuthenticationError,
    DelegationCall,
    InsufficientScope,
    InvalidProof,
    NonceRequired,
    Pipeline,
    SessionRejected,
)
from actas.mcp.challenge import Challenges, Refusal
from actas.mcp.tools import Tool
from actas.testing.tokens import make_session

from .conftest import HANDSHAKE, MODERN, Serve

pytestmark = pytest.mark.anyio

METADATA = "https://mcp.test/.well-known/oauth-protected-resource/mcp"
_QUOTED = rb'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
_PARAMETER = rb"[a-z_]+=" + _QUOTED
_CHALLENGE = rb"(?:Bearer|DPoP) " + _PARAMETER + rb"(?:, " + _PARAMETER + rb")*"
WELL_FORMED = re.compile(_CHALLENGE + rb"(?:, " + _CHALLENGE + rb")*")
"""RFC 9110 section 11.6.1, with quoted values alone."""


def challenge(refusal: Refusal) -> bytes:
    (value,) = [value for name, value in refusal.headers if name == b"www-authenticate"]
    return value


@given(st.lists(st.text(), min_size=1, max_size=4), st.booleans(), st.booleans())
@example(['a"b', "c\\d", "e\r\nx: y", "ä\x00"], True, True)
def test_a_challenge_is_well_formed_whatever_is_in_it(scopes: list[str], bearer: bool, bound: bool) -> None:
    challenges = Challenges(METADATA, scopes, bearer=bearer)
    session = make_session(claims={"cnf": {"jkt": "x"}} if bound else {})
    for refusal in (
        challenges.missing_token(),
        challenges.invalid_token(AuthenticationError("x", scopes[0]), dpop=bound),
        challenges.invalid_token(InvalidProof("x", scopes[0]), dpop=bound),
        challenges.step_up(InsufficientScope(scopes), session),
    ):
        assert WELL_FORMED.fullmatch(challenge(refusal))
        assert f'resource_metadata="{METADATA}"'.encode() in challenge(refusal)
        assert (b"Bearer" in challenge(refusal)) <= bearer


def test_a_nonce_comes_in_a_header_of_its_own() -> None:
    refusal = Challenges(METADATA, []).invalid_token(NonceRequired("x", "abc"), dpop=True)
    assert (b"dpop-nonce", b"abc") in refusal.headers
    assert (b"cache-control", b"no-store") in refusal.headers
    assert b'DPoP error="use_dpop_nonce"' in challenge(refusal)


def test_who_is_rejected_or_cannot_be_recorded_is_not_challenged() -> None:
    challenges = Challenges(METADATA, [])
    for refusal, status in (
        (challenges.rejected(SessionRejected()), 403),
        (challenges.unavailable(AuditUnavailable()), 503),
    ):
        assert refusal.status == status
        assert all(name != b"www-authenticate" for name, _ in refusal.headers)


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
@pytest.mark.parametrize("headers", [{}, {"last-event-id": "1"}], ids=["short", "SDK"])
async def test_a_tool_that_finds_out_in_its_middle_that_scopes_are_missing_is_a_403_too(
    serve: Serve, version: str, headers: dict[str, str]
) -> None:
    begun: list[str] = []

    async def ask(call: DelegationCall, pipeline: Pipeline) -> object:
        begun.append(call.session.username)
        raise InsufficientScope(["b:write", "a:read"])

    tool = Tool.own(Action(name="ask", description="Ask.", permission="toy:use"), ask)
    async with serve(prepare=lambda server: server.register_tool(tool)) as stage:
        response = await stage.call(stage.token(), "ask", version=version, headers=headers)
        assert response.status_code == 403
        sent = response.headers["www-authenticate"]
        assert WELL_FORMED.fullmatch(sent.encode())
        assert sent.startswith('Bearer error="insufficient_scope"')
        assert 'scope="a:read b:write"' in sent
        assert begun == ["alice"]
        assert stage.sink.entries()[-1].code == "insufficient_scope"
