"""What is explained is what happens: the same sessions and tools, explained and called."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from actas.core import ActasError, PrincipalUnavailable, Session
from actas.mcp import MCPOAuthServer
from actas.testing.idp import IdentityProvider
from actas.testing.tokens import make_session

from .conftest import Toy
from .test_authorizers import BY_NAME, BY_ROLE, configured, hours_of

pytestmark = pytest.mark.anyio

ARGUMENTS: dict[str, dict[str, Any]] = {
    "toy-say": {"text": "forbidden"},
    "toy-write": {"text": "x"},
    "toy-break": {"text": "x"},
    "toy-take": {"value": None},
}


class Nameless(Toy):
    def principal(self, session: Session) -> str:
        if session.username == "nameless":
            raise PrincipalUnavailable(detail="no mapped name")
        return super().principal(session)


def sessions() -> list[Session]:
    made = [
        make_session(name, permissions=permissions, scopes=scopes, role=role)
        for name in ("alice", "bob", "nameless")
        for permissions in ([], ["toy:use"], ["toy:use", "toy:break"])
        for scopes in ([], ["toy.read", "toy.write", "toy.extra", "mfa"])
        for role in ("user", "admin")
    ]
    made += [make_session("late", permissions=["toy:use"], expires_in=-1), make_session("gone", rejected=True)]
    return [_of(session) for session in made]


def _of(session: Session) -> Session:
    return replace(session, provider="demo")


@pytest.mark.parametrize(
    "authorizers",
    [[], [hours_of(closed=["toy-data"], word="forbidden", scope={"toy-take": "mfa"})]],
    ids=["none", "one"],
)
async def test_it_agrees_with_what_is_listed_and_with_what_happens_on_a_call(
    hours: ModuleType,
    idp: IdentityProvider,
    authorizers: list[dict[str, Any]],
) -> None:
    server = MCPOAuthServer(configured(idp, *authorizers))
    server.register_delegation_module("toy", toy := Nameless(answer="fine"))
    server.register_tools([BY_ROLE, BY_NAME])
    outcomes = set[object]()
    try:
        for session in sessions():
            told: Any = await server.explain(session, ARGUMENTS)
            visible = [name for name, each in told["tools"].items() if each["visible"]]
            assert visible == await server.tools_for(session)
            for name in set(told["tools"]) - {"toy-slow", "toy-fail", "toy-crash", "toy-wait"}:
                explained = told["tools"][name]
                code = await _called(server, session, name)
                outcomes.add(code)
                assert (explained["allowed"], explained["code"]) == (code is None, code), (session.username, name)
    finally:
        await server.release()
    assert toy.initialized == 0
    assert outcomes >= {None, "permission_denied", "insufficient_scope", "session_expired", "principal_unavailable"}


async def _called(server: MCPOAuthServer, session: Session, name: str) -> str | None:
    """The code with which the road refuses; the guard's own answer hides it."""
    try:
        await server._sites.current.guard.tools[name].run(
            server.core_context.pipeline, session, ARGUMENTS.get(name, {})
        )
    except ActasError as error:
        return error.code
    return None


async def test_a_hidden_tool_says_why_and_who_said_so(hours: ModuleType, idp: IdentityProvider) -> None:
    server = MCPOAuthServer(configured(idp, hours_of(closed=["toy-data"]), hours_of()))
    server.register_delegation_module("toy", Toy())
    try:
        told: Any = await server.explain(_of(make_session("alice", permissions=["toy:use"])))
    finally:
        await server.release()
    hidden = told["tools"]["toy-data"]
    assert (hidden["visible"], hidden["reason"]) == (False, "hours[0]: SECRET closing time")
    assert {name: each["allowed"] for name, each in hidden["authorizers"]["list"].items()} == {
        "hours[0]": False,
        "hours[1]": True,
    }
    assert told["tools"]["toy-break"]["reason"] == "needs the permission toy:break"
    assert told["tools"]["toy-say"]["allowed"] is None, "its arguments are not given"
    assert told["token_exchange"] == {}


async def test_a_step_up_tells_all_scopes_and_the_missing_ones(idp: IdentityProvider) -> None:
    server = MCPOAuthServer(configured(idp))
    server.register_delegation_module("toy", Toy())
    try:
        told: Any = await server.explain(_of(make_session("a", permissions=["toy:use"], scopes=["toy.read"])))
    finally:
        await server.release()
    write = told["tools"]["toy-write"]
    assert write["scopes"] == ["toy.extra", "toy.read", "toy.write"]
    assert write["missing_scopes"] == ["toy.extra", "toy.write"]
    assert told["tools"]["toy-say"]["allowed"] is True, "nobody would look at its arguments"


async def test_arguments_that_do_not_fit_are_told(idp: IdentityProvider) -> None:
    server = MCPOAuthServer(configured(idp))
    server.register_delegation_module("toy", Toy())
    try:
        session = _of(make_session("a", permissions=["toy:use"]))
        told: Any = await server.explain(session, {"toy-say": {"txet": "x"}})
    finally:
        await server.release()
    assert told["tools"]["toy-say"]["code"] == "invalid_parameters"
    assert "txet" in told["tools"]["toy-say"]["reason"]


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"claims": {"roles": ["staff"]}, "role": "user"}, "role_mappings.user has staff"),
        ({"claims": {"roles": "audit x"}, "role": "auditor"}, "role_mappings.custom.auditor has audit"),
        ({"claims": {}, "role": "guest"}, "none of the token's roles is mapped: default_role"),
        ({"claims": {"roles": ["staff"]}, "role": "unassigned"}, "the current actor may not use the roles"),
        ({"claims": {"roles": 5}, "rejected": True}, "none of the token's roles is mapped"),
    ],
)
async def test_it_says_which_mapping_made_the_role(idp: IdentityProvider, changes: Any, because: str) -> None:
    server = MCPOAuthServer(configured(idp))
    try:
        told: Any = await server.explain(_of(make_session("alice", permissions=["toy:use"], **changes)))
    finally:
        await server.release()
    assert told["roles"]["because"].startswith(because)
    assert told["roles"]["claim"] == "roles"
