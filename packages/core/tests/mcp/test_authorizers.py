"""Roles, ``can_access`` and an authoriser from a plug-in that is really installed: over HTTP, on both wires."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from actas.core import Action, ConfigurationError, DelegationCall, MemorySink, Outcome, Pipeline, Session
from actas.mcp import (
    DoorMiddleware,
    MCPOAuthServer,
    Policy,
    Prompt,
    ProtectedServer,
    Resource,
    Rule,
    Tool,
    create_delegation_tool,
    guard,
    requires,
)
from actas.testing.idp import IdentityProvider
from actas.testing.tokens import make_session

from .conftest import HANDSHAKE, MODERN, Mode, Serve, Stage, Toy
from .serving import serving
from .test_tokens import challenge_of

pytestmark = pytest.mark.anyio

WIRES = pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
ROLES = {"admin": ["boss"], "user": ["staff"], "custom": {"auditor": ["audit"]}}
PERMISSIONS = {"admin": ["toy:use", "toy:break"], "user": ["toy:use"], "custom": {"auditor": ["toy:use"]}}


Open = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def opened(idp: IdentityProvider, sink: MemorySink, toy: Toy) -> Open:
    """A server whose configuration names authorisers."""

    @asynccontextmanager
    async def serve(
        *authorizers: dict[str, Any],
        tools: tuple[Tool, ...] = (),
        prepare: Callable[[MCPOAuthServer], object] = lambda _: None,
    ) -> AsyncIterator[Stage]:
        server = MCPOAuthServer(configured(idp, *authorizers), audit_sink=sink)
        server.register_delegation_module("toy", toy)
        server.register_tools(tools)
        prepare(server)
        await server.start()
        try:
            async with httpx2.AsyncClient(timeout=30) as http:
                yield Stage(server, idp, sink, toy, http)
        finally:
            await server.stop()

    return serve


def configured(idp: IdentityProvider, *authorizers: dict[str, Any]) -> dict[str, Any]:
    issuer = idp.trusted()
    trusted = {"name": "demo", "issuer": issuer.issuer, "audience": issuer.audience, "role_mappings": ROLES}
    return {
        "mcp": {"port": 0},
        "auth": {"trusted_idps": [trusted], "permissions": PERMISSIONS, "authorizers": list(authorizers)},
    }


async def echo(call: DelegationCall, pipeline: Pipeline) -> object:
    return call.session.username


def tool(name: str, **asks: Any) -> Tool:
    return Tool.own(Action(name=name, description="Echo.", **asks), echo)


async def listed(stage: Stage, token: str, version: str = MODERN) -> set[str]:
    answer = (await stage.post(token, version=version)).json()
    return {each["name"] for each in answer["result"]["tools"]}


def same_but_ids(answer: httpx2.Response) -> object:
    return answer.status_code, sorted(answer.headers.keys() - {"date"}), answer.json()


def hours_of(**settings: Any) -> dict[str, Any]:
    return {"kind": "hours", **settings}


# Roles and can_access

BY_ROLE = tool("by-role", roles=frozenset({"admin", "auditor"}))
BY_NAME = tool("by-name", can_access=lambda session: session.username == "bob")


@WIRES
async def test_what_is_listed_is_what_can_be_called_whatever_decides_it(serve: Serve, version: str) -> None:
    async with serve(prepare=lambda server: server.register_tools([BY_ROLE, BY_NAME])) as stage:
        for user, roles, expected in (
            ("alice", ["staff"], set[str]()),
            ("bob", ["staff"], {"by-name"}),
            ("alice", ["staff", "audit"], {"by-role"}),
            ("bob", ["boss"], {"by-name", "by-role"}),
            ("guest", ["nothing"], set[str]()),
        ):
            token = stage.token(user, claims={"roles": roles})
            for _ in range(2):
                assert await listed(stage, token, version) & {"by-name", "by-role"} == expected
            for name in ("by-name", "by-role"):
                answer = (await stage.call(token, name, version=version)).json()
                assert ("result" in answer) == (name in expected), (user, name)


@MODES
async def test_the_unmodified_client_gets_an_unknown_tool(serve: Serve, mode: Mode) -> None:
    async with serve(prepare=lambda server: server.register_tools([BY_ROLE, BY_NAME])) as stage:
        async with stage.client(stage.token(), mode) as client:
            for name in ("by-name", "by-role", "nothing"):
                with pytest.raises(MCPError, match="Unknown tool"):
                    await client.call_tool(name, {})
    refused = {event.tool: event.reason for event in stage.sink.entries(outcome=Outcome.REFUSED)}
    assert refused == {
        "by-name": "can_access said no",
        "by-role": "needs one of the roles admin, auditor",
        "nothing": "there is no such tool",
    }


async def test_a_delegation_tool_takes_roles_and_can_access(serve: Serve) -> None:
    made = [
        create_delegation_tool("a", "A.", module="toy", action="data", arguments={}, roles=["admin"]),
        create_delegation_tool("b", "B.", module="toy", action="data", arguments={}, can_access=lambda _: False),
    ]
    async with serve(prepare=lambda server: server.register_tools(made)) as stage:
        assert await listed(stage, stage.token("bob")) & {"a", "b"} == {"a"}
        assert await listed(stage, stage.token("alice")) & {"a", "b"} == set()


async def test_the_handler_asks_can_access_again_after_the_list(serve: Serve) -> None:
    open_for = {"alice"}
    changing = tool("changing", can_access=lambda session: session.username in open_for)
    async with serve(prepare=lambda server: server.register_tool(changing)) as stage:
        token = stage.token()
        assert "changing" in await listed(stage, token)
        open_for.clear()
        error = (await stage.call(token, "changing")).json()["result"]["structuredContent"]["error"]
        assert error["code"] == "permission_denied"


async def test_what_a_session_sees_is_looked_at_anew_after_a_short_while(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_for = {"alice"}
    changing = tool("changing", can_access=lambda session: session.username in open_for)
    async with serve(prepare=lambda server: server.register_tool(changing)) as stage:
        token = stage.token()
        monkeypatch.setattr(guard, "_VIEW_SECONDS", 0.0)
        assert "changing" in await listed(stage, token)
        open_for.clear()
        assert "changing" not in await listed(stage, token)


async def test_who_has_the_same_rights_shares_one_view_and_nobody_is_asked(serve: Serve) -> None:
    async with serve(prepare=lambda server: server.register_tool(BY_ROLE)) as stage:
        made = stage.server._sites.current.guard
        alice, other = make_session("alice", permissions=["toy:use"]), make_session("other", permissions=["toy:use"])
        assert await made.view(alice) is await made.view(other)
        assert await made.view(alice) is not await made.view(replace(other, role="admin"))
        assert (await made.view(make_session("x", rejected=True))).listing == []


async def test_what_is_remembered_is_bounded(serve: Serve) -> None:
    names = [tool(f"t{number}", permission=f"p{number}") for number in range(12)]
    async with serve(prepare=lambda server: server.register_tools(names)) as stage:
        made = stage.server._sites.current.guard
        for number in range(3000):
            have = [f"p{bit}" for bit in range(12) if number >> bit & 1]
            view = await made.view(make_session("x", permissions=have))
            assert len(view.tools) == len(have) + 2
        assert len(made._by_rights) <= 512 and len(made._by_names) <= 512
    async with serve(prepare=lambda server: server.register_tools([*names, BY_NAME])) as stage:
        made = stage.server._sites.current.guard
        for number in range(3000):
            await made.view(make_session(f"user{number}"))
        assert len(made._seen) == 2048


# An authoriser


@WIRES
async def test_an_authoriser_hides_and_its_reason_is_in_the_minutes_alone(
    hours: ModuleType, opened: Open, version: str
) -> None:
    async with opened(hours_of(closed=["toy-say"])) as stage:
        token = stage.token()
        assert "toy-say" not in await listed(stage, token, version)
        assert "toy-data" in await listed(stage, token, version)
        hidden = await stage.call(token, "toy-say", {"text": "x"}, version=version)
        absent = await stage.call(token, "toy-sax", {"text": "x"}, version=version)
        assert same_but_ids(hidden) == same_but_ids(absent)
        assert "SECRET" not in hidden.text
    (event,) = stage.sink.entries(outcome=Outcome.REFUSED)[:1]
    assert (event.tool, event.code, event.reason) == ("toy-say", "permission_denied", "hours: SECRET closing time")
    assert stage.toy.calls == []


@WIRES
async def test_a_parameter_that_a_policy_forbids_is_refused_without_a_reason(
    hours: ModuleType, opened: Open, version: str
) -> None:
    async with opened(hours_of(word="forbidden")) as stage:
        token = stage.token()
        refused = await stage.call(token, "toy-say", {"text": "forbidden"}, version=version)
        error = refused.json()["result"]["structuredContent"]["error"]
        assert error["code"] == "permission_denied" and "SECRET" not in refused.text
        allowed = await stage.call(token, "toy-say", {"text": "fine"}, version=version)
        assert allowed.json()["result"]["isError"] is False
    assert stage.toy.calls == ["say"]
    (event,) = [each for each in stage.sink.entries(outcome=Outcome.SUCCESS) if each.tool]
    assert event.granted_by == "permission toy:use by role user; hours: open"


@WIRES
async def test_an_authoriser_can_ask_for_a_step_up_and_the_tool_stays_in_sight(
    hours: ModuleType, opened: Open, version: str
) -> None:
    async with opened(hours_of(scope={"toy-say": "mfa"})) as stage:
        token = stage.token()
        assert "toy-say" in await listed(stage, token, version)
        refused = await stage.call(token, "toy-say", {"text": "x"}, version=version)
        assert refused.status_code == 403
        assert challenge_of(refused)["scope"] == "mfa"
        stepped = stage.token(scopes=["toy.read", "mfa"])
        assert (await stage.call(stepped, "toy-say", {"text": "x"}, version=version)).status_code == 200


@WIRES
@pytest.mark.parametrize("name", ["toy-say", "by-name", "toy-break", "nothing"])
async def test_authorisers_are_asked_the_same_whether_a_tool_is_hidden_or_absent(
    hours: ModuleType, opened: Open, version: str, name: str
) -> None:
    """What they are asked, and so the time it takes, may not depend on the name that a caller tries."""
    looked: list[str] = []

    def slow(session: Session) -> bool:
        looked.append(session.username)
        return False

    async with opened(hours_of(closed=["toy-say"]), tools=(tool("by-name", can_access=slow),)) as stage:
        hours.LOG.clear()
        await stage.call(stage.token(), name, version=version)
        ((asked, about_a_call),) = hours.LOG
        assert about_a_call is False
        assert "toy-say" in asked and "toy-data" in asked and "toy-break" not in asked and "by-name" not in asked
        assert looked == ["alice"]


async def test_a_list_is_asked_about_once_and_each_call_anew(hours: ModuleType, opened: Open) -> None:
    async with opened(hours_of()) as stage:
        token = stage.token()
        hours.LOG.clear()
        for _ in range(3):
            await listed(stage, token)
        for _ in range(2):
            await stage.call(token, "toy-say", {"text": "x"})
        assert [about_a_call for _, about_a_call in hours.LOG] == [False, True, True]


@WIRES
async def test_an_authoriser_that_fails_hides_everything_and_the_minutes_say_so(
    hours: ModuleType, opened: Open, version: str
) -> None:
    async with opened(hours_of(broken=True)) as stage:
        token = stage.token()
        assert await listed(stage, token, version) == set()
        event = stage.sink.entries()[-1]
        assert (event.action, event.outcome, event.code) == ("list", Outcome.REFUSED, "authorizer_unavailable")
        assert event.reason == "hours: raised RuntimeError"
        hidden = await stage.call(token, "toy-say", {"text": "x"}, version=version)
        absent = await stage.call(token, "toy-sax", {"text": "x"}, version=version)
        assert same_but_ids(hidden) == same_but_ids(absent)
        ours = stage.server.core_context.pipeline.authority.authorizers[0].authorizer
        ours.settings = replace(ours.settings, broken=False)  # type: ignore[attr-defined]  # the plug-in's own
        assert "toy-say" in await listed(stage, token, version), "a failure is not remembered"


async def test_an_authoriser_that_fails_after_the_list_refuses_the_call(hours: ModuleType, opened: Open) -> None:
    async with opened(hours_of()) as stage:
        token = stage.token()
        await listed(stage, token)
        ours = stage.server.core_context.pipeline.authority.authorizers[0].authorizer
        ours.settings = replace(ours.settings, broken=True)  # type: ignore[attr-defined]  # the plug-in's own
        error = (await stage.call(token, "toy-say", {"text": "x"})).json()["result"]["structuredContent"]["error"]
        assert error["code"] == "authorizer_unavailable"
    assert stage.toy.calls == []


async def test_a_module_that_an_authoriser_hides_is_not_in_the_health_check(hours: ModuleType, opened: Open) -> None:
    async with opened(hours_of(closed=["toy"])) as stage:
        token = stage.token()
        assert (await stage.call(token, "health-check")).json()["result"]["structuredContent"]["modules"] == {}
        named = await stage.call(token, "health-check", {"module": "toy"})
        absent = await stage.call(token, "health-check", {"module": "tox"})
        told = [each.json()["result"]["structuredContent"]["error"]["message"] for each in (named, absent)]
        assert told[0] == told[1]


async def test_two_authorisers_must_both_allow(hours: ModuleType, opened: Open) -> None:
    async with opened(hours_of(closed=["toy-say"]), hours_of(closed=["toy-data"])) as stage:
        assert await listed(stage, stage.token()) & {"toy-say", "toy-data", "toy-take"} == {"toy-take"}


async def test_authorisers_start_and_end_with_the_server(hours: ModuleType, opened: Open) -> None:
    async with opened(hours_of()):
        assert hours.LOG == ["initialize"]
    assert hours.LOG[0] == "initialize" and set(hours.LOG[1:]) == {"close"}


async def test_one_that_cannot_start_stops_the_start(hours: ModuleType, opened: Open) -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.authorizers\[0\]: word: is not a word"):
        async with opened(hours_of(refuses_to_start=True)):
            pass


def test_what_is_wrong_with_its_settings_is_told_with_the_path(hours: ModuleType, idp: IdentityProvider) -> None:
    for table, told in (
        ({}, "auth.authorizers[0]: kind is required: the name of the plug-in"),
        ({"kind": 5}, "auth.authorizers[0]: kind is required: the name of the plug-in"),
        ({"kind": "huors"}, "auth.authorizers[0]: plug-in 'huors' is not installed"),
        (hours_of(clsoed=[]), "auth.authorizers[0].clsoed: unknown key; did you mean closed?"),
        (hours_of(broken="perhaps"), "auth.authorizers[0].broken: "),
        (hours_of(word="invalid"), "auth.authorizers[0]: word: is invalid"),
        (hours_of(word={"$secret": "NOWHERE"}), "auth.authorizers[0].word: "),
        ("hours", "auth.authorizers[0]: "),
    ):
        with pytest.raises(ConfigurationError) as caught:
            MCPOAuthServer(configured(idp, table))  # type: ignore[arg-type]  # on purpose
        assert any(problem.startswith(told) for problem in caught.value.problems), caught.value.problems


def test_a_plug_in_without_an_authoriser_is_no_kind_of_one(
    install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, idp: IdentityProvider
) -> None:
    monkeypatch.syspath_prepend(install("dummy-greet"))
    with pytest.raises(ConfigurationError, match="offers no authorizer"):
        MCPOAuthServer(configured(idp, {"kind": "greet"}))


# An authoriser and what is no tool


def notes(server: MCPOAuthServer) -> None:
    for name in ("open", "closed"):
        action = Action(name=f"note-{name}", description="A note.", permission="toy:use")
        server.register_resource(Resource(f"notes://{name}", action, echo))
        server.register_prompt(Prompt(Action(name=f"prompt-{name}", description="One."), echo))


@WIRES
async def test_an_authoriser_hides_resources_and_prompts_and_is_asked_the_same_for_what_is_absent(
    hours: ModuleType, opened: Open, version: str
) -> None:
    async with opened(hours_of(closed=["note-closed", "prompt-closed"]), prepare=notes) as stage:
        token = stage.token()
        for method, key, value in (
            ("resources/read", "uri", "notes://"),
            ("prompts/get", "name", "prompt-"),
        ):
            kind = method.partition("/")[0]
            listed = (await stage.post(token, f"{kind}/list", version=version)).json()["result"][kind]
            assert [each[key] for each in listed] == [f"{value}open"]
            answers, asked = [], []
            for name in ("closed", "absent"):
                hours.LOG.clear()
                params = {key: f"{value}{name}"}
                headers = {"mcp-name": params[key]} if version == MODERN else {}
                answers.append(same_but_ids(await stage.post(token, method, params, version=version, headers=headers)))
                asked.append(list(hours.LOG))
            assert answers[0] == answers[1] and asked[0] == asked[1] and len(asked[0]) == 1
    reasons = [event.reason for event in stage.sink.entries(outcome=Outcome.REFUSED)]
    closed = "hours: SECRET closing time"
    assert reasons == [closed, "there is no such resource", closed, "there is no such prompt"]


@WIRES
async def test_an_authoriser_that_fails_hides_resources_and_prompts_and_the_minutes_say_so(
    hours: ModuleType, opened: Open, version: str
) -> None:
    async with opened(hours_of(broken=True), prepare=notes) as stage:
        for kind, source in (("resources", "resource"), ("prompts", "prompt")):
            listed = (await stage.post(stage.token(), f"{kind}/list", version=version)).json()["result"][kind]
            assert listed == []
            event = stage.sink.entries()[-1]
            assert (event.source, event.action, event.code) == (source, "list", "authorizer_unavailable")
            assert event.reason == "hours: raised RuntimeError"


async def test_an_authoriser_is_asked_about_a_route_too(
    hours: ModuleType, idp: IdentityProvider, sink: MemorySink
) -> None:
    needs = requires("toy:use", name="orders"), requires("toy:use", name="reports")

    async def route(request: Request) -> JSONResponse:
        await needs[request.url.path == "/reports"](request)
        return JSONResponse("well")

    def made(port: int) -> DoorMiddleware:
        configuration = configured(idp, hours_of(closed=["orders"]))
        configuration["mcp"] = {"resource": f"http://127.0.0.1:{port}/"}
        routes = [Route("/orders", route), Route("/reports", route)]
        return DoorMiddleware(Starlette(routes=routes), configuration, audit_sink=sink)

    async with serving(made) as served:
        headers = {"authorization": f"Bearer {idp.issue('alice')}"}
        refused = await served.http.get(f"{served.origin}/orders", headers=headers)
        assert (refused.status_code, refused.json()["error"]) == (403, "permission_denied")
        assert "SECRET" not in refused.text
        assert sink.entries()[-1].reason == "hours: SECRET closing time"
        assert (await served.http.get(f"{served.origin}/reports", headers=headers)).json() == "well"


@WIRES
async def test_an_authoriser_hides_what_a_policy_allows(
    hours: ModuleType, idp: IdentityProvider, sink: MemorySink, version: str
) -> None:
    server: Any = MCPServer("existing")
    for name in ("report-open", "report-closed"):
        server.tool(name=name)(lambda number=1: "report")

    def made(port: int) -> ProtectedServer:
        configuration = configured(idp, hours_of(closed=["report-closed"]))
        configuration["mcp"] = {"resource": f"http://127.0.0.1:{port}/mcp"}
        policy = Policy(tools={"report-*": Rule(permission="toy:use")})
        return ProtectedServer(server, configuration, policy, json_response=True, stateless=True, audit_sink=sink)

    async with serving(made) as served:
        token = idp.issue("alice")
        listed = (await served.post(token, "tools/list", version=version)).json()["result"]["tools"]
        assert [each["name"] for each in listed] == ["report-open"]
        answers, asked = [], []
        for name in ("report-closed", "report-absent", "unruled"):
            hours.LOG.clear()
            params = {"name": name, "arguments": {"number": 1}}
            sent = await served.post(token, "tools/call", params, version=version, headers={"mcp-param-number": "2"})
            answers.append(same_but_ids(sent))
            asked.append([len(each[0]) for each in hours.LOG])
        assert answers[0] == answers[1] == answers[2] and asked[0] == asked[1] == asked[2]
        params = {"name": "report-open", "arguments": {"number": 1}}
        assert "result" in (await served.post(token, "tools/call", params, version=version)).json()
