"""The values that travel: immutable, and none of them prints a secret."""

import time
from dataclasses import FrozenInstanceError, replace

import pytest

from actas.core import (
    UNASSIGNED,
    Action,
    Actor,
    AuditEvent,
    DelegationCall,
    NoParameters,
    Outcome,
    Receipt,
    Secret,
    Session,
)

ALICE = Session(
    issuer="https://idp.example",
    subject="u-1",
    username="alice",
    provider="main",
    claims={"email": "alice@private.example"},
    token=Secret("eyJ-token"),
)


def test_a_session_that_nobody_gave_a_role_has_none_and_may_nothing() -> None:
    session = Session(issuer="i", subject="s", username="u", provider="p")
    assert session.role == UNASSIGNED
    assert not session.permissions
    assert not session.scopes
    assert not session.custom_roles


def test_a_session_prints_neither_its_token_nor_its_claims() -> None:
    call = DelegationCall(
        session=ALICE, action=Action(name="a", description="d"), parameters=NoParameters(), deadline=0, request_id=""
    )
    for text in (repr(ALICE), str(ALICE), repr(call)):
        assert "eyJ-token" not in text
        assert "private.example" not in text


def test_nothing_that_travels_can_be_changed() -> None:
    for value, name in (
        (ALICE, "username"),
        (Actor(subject="a"), "subject"),
        (Action(name="a", description="d"), "permission"),
        (Receipt(identity="alice", method="m"), "identity"),
        (AuditEvent(source="tool", outcome=Outcome.SUCCESS, action="a"), "outcome"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, "bob")
    with pytest.raises(TypeError):
        Session(issuer="i", subject="s", username="u", provider="p").claims["admin"] = True  # type: ignore[index]  # the point


def test_two_sessions_of_one_user_are_equal_whatever_token_they_came_with() -> None:
    again = replace(ALICE, token=Secret("another"), session_id="another")
    assert again == ALICE
    assert replace(ALICE, issuer="https://other.example") != ALICE


def test_each_session_and_each_event_has_an_id_of_its_own() -> None:
    sessions = {Session(issuer="i", subject="s", username="u", provider="p").session_id for _ in range(100)}
    events = {AuditEvent(source="tool", outcome=Outcome.SUCCESS, action="a").event_id for _ in range(100)}
    assert len(sessions) == len(events) == 100


def test_the_time_that_remains_is_never_negative() -> None:
    now = time.monotonic()
    call = DelegationCall(
        session=ALICE,
        action=Action(name="a", description="d"),
        parameters=NoParameters(),
        deadline=now + 2,
        request_id="",
    )
    assert call.remaining(now) == 2
    assert call.remaining(now + 5) == 0
