"""Soft questions answer, hard ones raise, and a rejected session has nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from actas.core import (
    ActasError,
    Action,
    Authorization,
    InsufficientScope,
    PermissionDenied,
    Session,
    SessionExpired,
    SessionRejected,
)
from actas.core.authority import Authority
from actas.core.authorization import entitled

ALICE = Session(
    issuer="i",
    subject="s",
    username="alice",
    provider="p",
    role="user",
    custom_roles=("auditor",),
    permissions=frozenset({"sql:read"}),
    scopes=frozenset({"read", "list"}),
    expires_at=2000.0,
)
REJECTED = replace(ALICE, rejected=True, rejection_reason="no role is mapped")
READ = Action(name="read", description="Read.", permission="sql:read", scopes=frozenset({"read"}))

Question = Callable[[Authorization], object]
GRANTED: list[tuple[str, Question]] = [
    ("role", lambda a: a.has_role("user")),
    ("custom role", lambda a: a.has_role("auditor")),
    ("any role", lambda a: a.has_any_role(["admin", "auditor"])),
    ("all roles", lambda a: a.has_all_roles(["user", "auditor"])),
    ("no roles", lambda a: a.has_all_roles([])),
    ("permission", lambda a: a.has_permission("sql:read")),
    ("scope", lambda a: a.has_scope("read")),
    ("any scope", lambda a: a.has_any_scope(["write", "read"])),
    ("all scopes", lambda a: a.has_all_scopes(["read", "list"])),
    ("no scopes", lambda a: a.has_all_scopes([])),
]
DENIED: list[tuple[str, Question]] = [
    ("role", lambda a: a.has_role("admin")),
    ("any role", lambda a: a.has_any_role(["admin", "guest"])),
    ("any of no roles", lambda a: a.has_any_role([])),
    ("all roles", lambda a: a.has_all_roles(["user", "admin"])),
    ("permission", lambda a: a.has_permission("sql:write")),
    ("scope", lambda a: a.has_scope("write")),
    ("any scope", lambda a: a.has_any_scope(["write", "drop"])),
    ("any of no scopes", lambda a: a.has_any_scope([])),
    ("all scopes", lambda a: a.has_all_scopes(["read", "write"])),
]
REQUIRED: list[tuple[type[ActasError], Question, Question]] = [
    (PermissionDenied, lambda a: a.require_role("user"), lambda a: a.require_role("secret-role")),
    (PermissionDenied, lambda a: a.require_any_role(["user"]), lambda a: a.require_any_role(["secret-role"])),
    (PermissionDenied, lambda a: a.require_all_roles(["user"]), lambda a: a.require_all_roles(["secret-role"])),
    (PermissionDenied, lambda a: a.require_permission("sql:read"), lambda a: a.require_permission("secret-role")),
    (InsufficientScope, lambda a: a.require_scope("read"), lambda a: a.require_scope("write")),
    (InsufficientScope, lambda a: a.require_any_scope(["read", "x"]), lambda a: a.require_any_scope(["write"])),
    (InsufficientScope, lambda a: a.require_all_scopes(["read"]), lambda a: a.require_all_scopes(["read", "write"])),
]


@pytest.mark.parametrize(("what", "question"), GRANTED)
def test_what_the_session_has_is_affirmed(what: str, question: Question) -> None:
    assert question(Authorization(ALICE)) is True, what


@pytest.mark.parametrize(("what", "question"), DENIED)
def test_what_the_session_lacks_is_denied(what: str, question: Question) -> None:
    assert question(Authorization(ALICE)) is False, what


@pytest.mark.parametrize(("what", "question"), GRANTED + DENIED)
def test_a_rejected_session_has_nothing_whatever_its_fields_say(what: str, question: Question) -> None:
    assert question(Authorization(REJECTED)) is False, what


@pytest.mark.parametrize(("error", "granted", "denied"), REQUIRED)
def test_a_hard_question_returns_none_or_raises(error: type[ActasError], granted: Question, denied: Question) -> None:
    assert granted(Authorization(ALICE)) is None
    with pytest.raises(error):
        denied(Authorization(ALICE))
    with pytest.raises(error):
        granted(Authorization(REJECTED))


def test_a_refusal_does_not_tell_the_caller_what_is_missing() -> None:
    for error, _, denied in REQUIRED:
        with pytest.raises(error) as caught:
            denied(Authorization(ALICE))
        assert "secret-role" not in str(caught.value)
        if error is PermissionDenied:
            assert "secret-role" in str(caught.value.detail)


def test_a_step_up_names_all_scopes_and_not_only_the_missing_ones() -> None:
    with pytest.raises(InsufficientScope) as caught:
        Authorization(ALICE).require_all_scopes(["read", "write"])
    assert caught.value.scopes == {"read", "write"}


def test_a_tool_is_hidden_by_permission_and_never_by_scope() -> None:
    assert entitled(ALICE, READ)
    assert entitled(replace(ALICE, scopes=frozenset()), READ)
    assert entitled(replace(ALICE, permissions=frozenset()), replace(READ, permission=None))
    assert not entitled(replace(ALICE, permissions=frozenset()), READ)
    assert not entitled(REJECTED, READ)
    assert not entitled(REJECTED, replace(READ, permission=None))


def test_whoever_has_all_that_is_needed_may() -> None:
    Authority().authorize(ALICE, READ, now=1999.0)


def test_the_reasons_to_refuse_are_looked_at_in_a_fixed_order() -> None:
    bare = replace(ALICE, permissions=frozenset(), scopes=frozenset())
    for session, now, expected in (
        (replace(bare, rejected=True), 3000.0, SessionRejected),
        (bare, 3000.0, SessionExpired),
        (bare, 1000.0, PermissionDenied),
        (replace(bare, permissions=ALICE.permissions), 1000.0, InsufficientScope),
    ):
        with pytest.raises(expected):
            Authority().authorize(session, READ, now=now)


@pytest.mark.parametrize("expires_at", [1000.0, 999.0, 0.0, -1.0, float("nan"), float("-inf")])
def test_a_token_that_ran_out_is_refused_also_where_its_expiry_is_no_number(expires_at: float) -> None:
    with pytest.raises(SessionExpired):
        Authority().authorize(replace(ALICE, expires_at=expires_at), READ, now=1000.0)


def test_the_missing_permission_is_in_the_private_detail_only() -> None:
    with pytest.raises(PermissionDenied) as caught:
        Authority().authorize(replace(ALICE, permissions=frozenset()), READ, now=0)
    assert "sql:read" not in str(caught.value)
    assert "sql:read" in str(caught.value.detail)


def test_the_reason_of_a_rejection_is_private() -> None:
    with pytest.raises(SessionRejected) as caught:
        Authority().authorize(REJECTED, READ, now=0)
    assert "no role is mapped" not in str(caught.value)
    assert caught.value.detail == "no role is mapped"
