"""The door before an MCPServer that is there already: unmodified client and raw HTTP, both wires, JSON and streams."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.client.subscriptions import ResourceUpdated
from mcp.server.auth.settings import AuthSettings
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.shared.exceptions import MCPError
from pydantic import AnyHttpUrl

from actas.core import Authorization, ConfigurationError, InsufficientScope, MemorySink, Outcome
from actas.mcp import Policy, ProtectedServer, Rule, current_session, step_up
from actas.oauth import KnownActor
from actas.testing.idp import IdentityProvider

from .conftest import HANDSHAKE, MODERN, ROLES, Mode, settings_for
from .serving import Served, message_of, serving
from .test_tokens import challenge_of

pytestmark = pytest.mark.anyio

WIRES = pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
FORMS = pytest.mark.parametrize("form", ["json", "stream", "stateful"])

POLICY = Policy(
    tools={
        "report-secret": Rule(permission="toy:break"),
        "report-*": Rule(permission="toy:use"),
        "write": Rule(permission="toy:use", scopes=frozenset({"toy.read", "toy.extra"})),
    },
    resources={
        "notes://secret": Rule(permission="toy:break"),
        "notes://scoped": Rule(permission="toy:use", scopes=frozenset({"toy.read", "toy.extra"})),
        "notes://*": Rule(permission="toy:use"),
    },
    prompts={
        "prompt-secret": Rule(permission="toy:break"),
        "prompt-scoped": Rule(permission="toy:use", scopes=frozenset({"toy.read", "toy.extra"})),
        "prompt-*": Rule(permission="toy:use"),
    },
)
SCOPES = "toy.extra toy.read"


def existing() -> MCPServer[Any]:
    """A server that was written without us."""
    server = MCPServer("existing")

    @server.tool(name="report-whoami")
    async def whoami(ctx: Context) -> str:
        return current_session(ctx).username

    @server.tool(name="report-progress")
    async def progress(ctx: Context) -> str:
        await ctx.report_progress(1, 2, "half")
        return "done"

    @server.tool(name="report-late")
    async def late(ctx: Context, after: bool = False) -> str:
        if after:
            await ctx.report_progress(1, 2, "half")
            await asyncio.sleep(0.3)  # until it is out
        with step_up():
            Authorization(current_session(ctx)).require_all_scopes({"toy.read", "toy.extra"})
        return "done"

    @server.tool(name="report-fail")
    async def fail() -> str:
        raise RuntimeError("password=hunter2")

    @server.tool(name="report-secret")
    async def secret(number: int) -> str:
        return "secret"

    @server.tool(name="write")
    async def write(text: str) -> str:
        return text

    @server.tool(name="forgotten")
    async def forgotten() -> str:
        return "no rule"

    @server.resource("notes://open")
    async def opened() -> str:
        return "open"

    @server.resource("notes://secret")
    async def secret_note() -> str:
        return "secret"

    @server.resource("notes://scoped")
    async def scoped_note() -> str:
        return "scoped"

    @server.resource("notes://by/{name}")
    async def note(name: str, ctx: Context) -> str:
        return f"{name} for {current_session(ctx).username}"

    @server.resource("other://thing")
    async def other() -> str:
        return "no rule"

    for name in ("prompt-open", "prompt-secret", "prompt-scoped", "forgotten"):
        server.prompt(name=name)(lambda: "hello")

    @server.completion()
    async def complete(ref: Any, argument: Any, context: Any) -> types.Completion:
        return types.Completion(values=["one"])

    return server


Protect = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def protect(idp: IdentityProvider, sink: MemorySink) -> Protect:
    @asynccontextmanager
    async def protect(
        form: str = "json", server: Any = None, policy: Policy = POLICY, **options: Any
    ) -> AsyncIterator[Served]:
        def made(port: int) -> ProtectedServer:
            helper = KnownActor(subject="helper", permissions=["toy:use"])
            trusted = idp.trusted(role_mappings=ROLES, actors=[helper])
            settings = settings_for(trusted, resource=f"http://127.0.0.1:{port}/mcp")
            return ProtectedServer(
                existing() if server is None else server,
                settings,
                policy,
                json_response=form == "json",
                stateless=form != "stateful",
                audit_sink=sink,
                **options,
            )

        async with serving(made) as served:
            yield served

    return protect


async def ask(
    served: Served, token: str | None, method: str, params: dict[str, object], *, version: str, form: str, **more: Any
) -> httpx2.Response:
    """One request as a client of this form would send it."""
    headers: dict[str, str] = dict(more.get("headers", {}))
    if version == HANDSHAKE and form == "stateful":
        start = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        opened = await served.post(token, "initialize", start, version=version)
        headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        sent = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream", **headers}
        done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await served.http.post(served.url, headers=sent, json=done)).status_code == 202
    if version == MODERN and "uri" in params:
        headers["mcp-name"] = str(params["uri"])
    return await served.post(token, method, params, version=version, headers=headers)


@FORMS
@MODES
async def test_the_unmodified_client_lists_and_uses_what_it_may(
    protect: Protect, idp: IdentityProvider, mode: Mode, form: str
) -> None:
    async with protect(form) as served, served.client(idp.issue("alice"), mode) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert tools == ["report-whoami", "report-progress", "report-late", "report-fail", "write"]
        assert [each.uri for each in (await client.list_resources()).resources] == ["notes://open", "notes://scoped"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == ["notes://by/{name}"]
        assert [each.name for each in (await client.list_prompts()).prompts] == ["prompt-open", "prompt-scoped"]
        assert (await client.call_tool("report-whoami", {})).structured_content == {"result": "alice"}
        read = await client.read_resource("notes://by/ada")
        assert read.contents[0].text == "ada for alice"  # type: ignore[union-attr]  # text, as asserted
        assert (await client.get_prompt("prompt-open")).messages[0].content.text == "hello"  # type: ignore[union-attr]
        ref = types.PromptReference(type="ref/prompt", name="prompt-open")
        assert (await client.complete(ref, {"name": "x", "value": ""})).completion.values == ["one"]


@pytest.mark.parametrize("form", ["stream", "stateful"])
@MODES
async def test_progress_is_streamed_through_unharmed(
    protect: Protect, idp: IdentityProvider, mode: Mode, form: str
) -> None:
    seen: list[float] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with protect(form) as served, served.client(idp.issue("alice"), mode) as client:
        result = await client.call_tool("report-progress", {}, progress_callback=progressed)
    assert result.structured_content == {"result": "done"}
    assert seen == [1]


ASKED: list[tuple[str, dict[str, object], dict[str, object], dict[str, object]]] = [
    (
        "tools/call",
        {"name": "report-secret", "arguments": {"number": "x"}},
        {"name": "report-absent", "arguments": {"number": "x"}},
        {"name": "forgotten", "arguments": {}},
    ),
    ("resources/read", {"uri": "notes://secret"}, {"uri": "notes://absent"}, {"uri": "other://thing"}),
    ("resources/read", {"uri": "notes://%73ecret"}, {"uri": "notes://%61bsent"}, {"uri": "notes://by/../secret"}),
    ("prompts/get", {"name": "prompt-secret"}, {"name": "prompt-absent"}, {"name": "forgotten"}),
    *(
        ("completion/complete", *({"ref": ref, "argument": {"name": "a", "value": ""}} for ref in refs))
        for refs in (
            [{"type": "ref/prompt", "name": name} for name in ("prompt-secret", "prompt-absent", "forgotten")],
            [{"type": "ref/resource", "uri": uri} for uri in ("notes://secret", "notes://absent{x}", "other://thing")],
        )
    ),
]


def told(response: httpx2.Response, params: dict[str, object]) -> tuple[int, list[tuple[str, str]], str]:
    """All of an answer, but what was asked for and what differs by nature."""
    ref = params.get("ref", params)
    asked = str(ref.get("uri", ref.get("name")))  # type: ignore[union-attr]  # both are JSON objects
    varies = ("content-length", "date", "mcp-session-id")
    headers = sorted((name, value) for name, value in response.headers.items() if name not in varies)
    return response.status_code, headers, response.text.replace(asked, "ASKED")


@FORMS
@WIRES
@pytest.mark.parametrize(("method", "hidden", "absent", "unruled"), ASKED)
async def test_what_is_hidden_answers_to_the_byte_like_what_is_absent(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, method: str, hidden: dict[str, object],
    absent: dict[str, object], unruled: dict[str, object], version: str, form: str,
) -> None:  # fmt: skip
    token = idp.issue("alice")
    async with protect(form) as served:
        answers = []
        for params in (hidden, absent, unruled):
            for headers in ({}, {"mcp-param-number": "5"}):
                sent = await ask(served, token, method, params, version=version, form=form, headers=headers)
                answers.append(told(sent, params))
    assert len({repr(answer) for answer in answers}) == 1
    assert "nknown" in answers[0][2]
    codes = [event.code for event in sink.entries(outcome=Outcome.REFUSED)]
    assert len(codes) == 6 and set(codes) <= {"permission_denied", "unknown_action"}


NEEDS_SCOPES: list[tuple[str, dict[str, object]]] = [
    ("tools/call", {"name": "write", "arguments": {"text": 5}}),
    ("tools/call", {"name": "report-late", "arguments": {}}),
    ("resources/read", {"uri": "notes://scoped"}),
    ("prompts/get", {"name": "prompt-scoped"}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "prompt-scoped"},
                             "argument": {"name": "a", "value": ""}}),
]  # fmt: skip


@FORMS
@WIRES
@pytest.mark.parametrize(("method", "params"), NEEDS_SCOPES)
async def test_a_missing_scope_is_an_http_403_that_names_all_of_them(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, method: str, params: dict[str, object], version: str,
    form: str,
) -> None:  # fmt: skip
    async with protect(form) as served:
        response = await ask(served, idp.issue("alice"), method, params, version=version, form=form)
        assert response.status_code == 403
        challenge = challenge_of(response)
        assert (challenge["error"], challenge["scope"]) == ("insufficient_scope", SCOPES)
        assert challenge["resource_metadata"] == f"{served.origin}/.well-known/oauth-protected-resource/mcp"
        assert sink.entries()[-1].code == "insufficient_scope"
        token = idp.issue("alice", scopes=SCOPES.split())
        if params.get("arguments") != {"text": 5}:
            stepped = await ask(served, token, method, params, version=version, form=form)
            assert stepped.status_code == 200 and "result" in message_of(stepped)


@pytest.mark.parametrize("form", ["stream", "stateful"])
@WIRES
async def test_once_a_tool_has_sent_something_a_missing_scope_is_an_error_in_the_stream(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, version: str, form: str
) -> None:
    params: dict[str, object] = {"name": "report-late", "arguments": {"after": True}, "_meta": {"progressToken": 1}}
    async with protect(form) as served:
        headers = {"mcp-name": "report-late"} if version == MODERN else {}
        if version == MODERN:
            sent, body = _with_progress(params)
            sent["authorization"] = f"Bearer {idp.issue('alice')}"
            response = await served.http.post(served.url, headers={**sent, **headers}, json=body)
        else:
            response = await ask(served, idp.issue("alice"), "tools/call", params, version=version, form=form)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    error = message_of(response)["error"]
    assert error["data"] == {"error": "insufficient_scope", "scope": SCOPES}
    assert sink.entries()[-1].code == "insufficient_scope"


def _with_progress(params: dict[str, object]) -> tuple[dict[str, str], dict[str, Any]]:
    from .conftest import request

    headers, body = request("tools/call", params, MODERN)
    body["params"]["_meta"]["progressToken"] = 1  # type: ignore[index]  # a JSON object
    return headers, body


@FORMS
@WIRES
async def test_a_caller_without_a_token_is_challenged_and_the_server_hears_nothing(
    protect: Protect, version: str, form: str
) -> None:
    async with protect(form) as served:
        for method in ("tools/list", "initialize", "no/such"):
            response = await served.post(None, method, version=version)
            assert response.status_code == 401
            assert challenge_of(response)["scope"] == SCOPES
            assert "error" not in challenge_of(response)
        metadata = (await served.http.get(f"{served.origin}/.well-known/oauth-protected-resource/mcp")).json()
        assert metadata["scopes_supported"] == SCOPES.split()
        assert (await served.http.get(f"{served.origin}/elsewhere")).status_code == 404


@FORMS
@WIRES
async def test_what_a_tool_raises_stays_an_error_of_that_server_and_is_in_the_minutes(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, version: str, form: str
) -> None:
    params: dict[str, object] = {"name": "report-fail", "arguments": {}}
    async with protect(form) as served:
        response = await ask(served, idp.issue("alice"), "tools/call", params, version=version, form=form)
    result = message_of(response)["result"]
    assert result["isError"] and "hunter2" not in response.text
    event = sink.entries()[-1]
    assert (event.source, event.tool, event.code, event.outcome) == (
        "tool", "report-fail", "server_failed", Outcome.FAILED
    )  # fmt: skip


@FORMS
@WIRES
async def test_every_call_is_in_the_minutes(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, version: str, form: str
) -> None:
    asked: list[tuple[str, dict[str, object], str]] = [
        ("tools/call", {"name": "report-whoami", "arguments": {}}, "tool"),
        ("resources/read", {"uri": "notes://open"}, "resource"),
        ("prompts/get", {"name": "prompt-open"}, "prompt"),
    ]
    async with protect(form) as served:
        for method, params, _ in asked:
            response = await ask(served, idp.issue("alice"), method, params, version=version, form=form)
            assert response.status_code == 200, response.text
    events = [event for event in sink.entries() if event.source != "auth"]
    assert [(e.source, e.tool, e.subject, e.outcome) for e in events] == [
        (source, params.get("name", params.get("uri")), "alice", Outcome.SUCCESS) for _, params, source in asked
    ]
    assert all(event.request_id for event in events)


async def test_a_stream_of_events_says_nothing_of_what_is_hidden(protect: Protect, idp: IdentityProvider) -> None:
    server = existing()

    @server.tool(name="report-touch")
    async def touch(uri: str, ctx: Context) -> str:
        await ctx.notify_resource_updated(uri)
        return "touched"

    async with protect("stream", server) as served, served.client(idp.issue("alice")) as client:
        wanted = ["notes://open", "notes://secret", "notes://absent", "other://thing"]
        async with client.listen(resource_subscriptions=wanted) as subscription:
            assert subscription.honored.resource_subscriptions == ["notes://open"]
            await client.call_tool("report-touch", {"uri": "notes://secret"})
            await client.call_tool("report-touch", {"uri": "notes://open"})
            async for event in subscription:
                assert event == ResourceUpdated("notes://open")
                break


@pytest.mark.parametrize("form", ["json", "stream"])
async def test_listening_to_what_needs_a_scope_is_a_403(protect: Protect, idp: IdentityProvider, form: str) -> None:
    async with protect(form) as served:
        params = {"notifications": {"resourceSubscriptions": ["notes://scoped"]}}
        response = await served.post(idp.issue("alice"), "subscriptions/listen", params)
        assert (response.status_code, challenge_of(response)["scope"]) == (403, SCOPES)


async def test_streams_end_with_the_token(protect: Protect, idp: IdentityProvider) -> None:
    async with protect("stateful") as served:
        token = idp.issue("alice", expires_in=-57)  # the tolerance for clocks is a minute
        params = {"notifications": {"resourceSubscriptions": ["notes://open"]}}
        async with asyncio.timeout(15):
            response = await served.post(token, "subscriptions/listen", params)
            assert message_of(response)["result"]["resultType"] == "complete"
            start = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            token = idp.issue("alice", expires_in=-57)
            opened = await served.post(token, "initialize", start, version=HANDSHAKE)
            headers = {"authorization": f"Bearer {token}", "accept": "text/event-stream"}
            headers["mcp-session-id"] = opened.headers["mcp-session-id"]
            listened = await served.http.get(served.url, headers=headers)
            assert (listened.status_code, listened.text) == (200, "")


async def test_a_method_of_an_extension_is_not_there_without_a_rule(protect: Protect, idp: IdentityProvider) -> None:
    def made() -> Server[Any]:
        server: Server[Any] = Server("bare")

        async def custom(ctx: Any, params: types.RequestParams) -> dict[str, object]:
            return {"by": current_session(ctx.request).username}

        server.add_request_handler("acme/report", types.RequestParams, custom)
        return server

    async with protect("json", made()) as served:
        hidden = await served.post(idp.issue("alice"), "acme/report")
        absent = await served.post(idp.issue("alice"), "acme/absent")
        assert (hidden.status_code, hidden.text) == (404, absent.text.replace("absent", "report"))
    policy = Policy(methods={"acme/report": Rule(permission="toy:use")})
    async with protect("json", made(), policy) as served:
        assert (await served.post(idp.issue("alice"), "acme/report")).json()["result"]["by"] == "alice"
        assert (await served.post(idp.issue("guest"), "acme/report")).status_code == 404


@WIRES
async def test_what_names_nothing_or_something_of_no_kind_is_a_bad_request(
    protect: Protect, idp: IdentityProvider, version: str
) -> None:
    argument = {"name": "a", "value": ""}
    bad: list[tuple[str, dict[str, object]]] = [
        ("completion/complete", {"ref": {"type": "ref/tool", "name": "report-secret"}, "argument": argument}),
        ("completion/complete", {"ref": "prompt-open", "argument": argument}),
        ("completion/complete", {"argument": argument}),
        ("tools/call", {"name": ["report-whoami"], "arguments": {}}),
        ("prompts/get", {"name": None}),
    ]
    async with protect() as served:
        for method, params in bad:
            error = (await served.post(idp.issue("alice"), method, params, version=version)).json()["error"]
            # On the modern wire a name that is no text does not fit the header that repeats it, either.
            assert error["code"] in (types.INVALID_PARAMS, types.HEADER_MISMATCH), (method, params)


async def test_a_stream_about_nothing_in_particular_is_let_through_and_a_malformed_one_is_not(
    protect: Protect, idp: IdentityProvider
) -> None:
    async with protect("stateful") as served:
        for wanted in ({}, {"toolsListChanged": True}, {"resourceSubscriptions": "notes://secret"}):
            token = idp.issue("alice", expires_in=-58)  # the tolerance for clocks is a minute: the stream ends soon
            answer = await served.post(token, "subscriptions/listen", {"notifications": wanted})
            assert ("result" in message_of(answer)) is ("resourceSubscriptions" not in wanted)
            assert "secret" not in answer.text
        for params in ({}, {"notifications": ["toolsListChanged"]}, {"notifications": None}):
            error = message_of(await served.post(idp.issue("alice"), "subscriptions/listen", params))["error"]
            assert error["code"] == types.INVALID_PARAMS


async def test_a_list_of_many_pages_is_looked_through_but_not_for_ever(protect: Protect, idp: IdentityProvider) -> None:
    asked: list[str | None] = []

    async def pages(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        cursor = None if params is None else params.cursor
        asked.append(cursor)
        number = int(cursor or 0)
        tool = types.Tool(name=f"report-{number}", input_schema={"type": "object"})
        return types.ListToolsResult(tools=[tool], next_cursor=str(number + 1))

    async def call(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(type="text", text=params.name)])

    server: Server[Any] = Server("endless", on_list_tools=pages, on_call_tool=call)
    async with protect("json", server) as served:
        for name, there in (("report-99", True), ("report-100", False)):
            asked.clear()
            answer = (await served.post(idp.issue("alice"), "tools/call", {"name": name, "arguments": {}})).json()
            assert ("result" in answer) is there
            assert len(asked) == 100


@WIRES
async def test_pages_do_not_say_what_is_hidden(protect: Protect, idp: IdentityProvider, version: str) -> None:
    names = ["report-a", "report-secret", "forgotten", "report-b"]

    async def pages(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        cursor = (params.cursor if params else None) or names[0]
        if cursor not in names:
            raise MCPError(types.INVALID_PARAMS, "there is no such cursor")
        number = names.index(cursor)
        tool = types.Tool(name=cursor, input_schema={"type": "object"})
        return types.ListToolsResult(tools=[tool], next_cursor=names[number + 1] if number + 1 < len(names) else None)

    async with protect("json", Server("paged", on_list_tools=pages)) as served:
        alice = idp.issue("alice")
        result = (await served.post(alice, "tools/list", version=version)).json()["result"]
        assert [tool["name"] for tool in result["tools"]] == ["report-a", "report-b"]
        assert "nextCursor" not in result
        hidden, absent = [
            await served.post(alice, "tools/list", {"cursor": cursor}, version=version)
            for cursor in ("report-secret", "report-absent")
        ]
        assert (hidden.status_code, hidden.text) == (absent.status_code, absent.text)
        assert hidden.json()["error"]["code"] == types.INVALID_PARAMS


async def test_a_server_that_does_not_list_has_nothing_to_call(protect: Protect, idp: IdentityProvider) -> None:
    async def refuse(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        raise MCPError(types.INTERNAL_ERROR, "no list today")

    async def call(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        raise AssertionError("nobody gets here")

    async with protect("json", Server("closed", on_list_tools=refuse, on_call_tool=call)) as served:
        answer = await served.post(idp.issue("alice"), "tools/call", {"name": "report-x", "arguments": {}})
        assert "Unknown tool" in answer.json()["error"]["message"]
        assert (await served.post(idp.issue("alice"), "tools/list")).json()["error"]["message"] == "no list today"


@WIRES
async def test_a_tool_that_takes_longer_than_its_rule_allows_is_ended(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, version: str
) -> None:
    server = existing()

    @server.tool(name="report-slow")
    async def slow() -> str:
        await asyncio.sleep(30)
        return "never"

    policy = Policy(tools={"report-slow": Rule(permission="toy:use", timeout=0.1)})
    async with protect("json", server, policy) as served:
        params: dict[str, object] = {"name": "report-slow", "arguments": {}}
        error = (await served.post(idp.issue("alice"), "tools/call", params, version=version)).json()["error"]
        assert (error["code"], error["data"]["error"]) == (types.INTERNAL_ERROR, "timeout")
    assert sink.entries()[-1].code == "timeout"


@WIRES
async def test_a_scope_that_is_missed_deep_inside_is_a_step_up_and_a_ring_of_errors_is_an_error(
    protect: Protect, idp: IdentityProvider, version: str
) -> None:
    async def call(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name == "report-deep":
            missing = InsufficientScope({"toy.read", "toy.extra"})
            raise RuntimeError("a library's own error") from missing
        first, second = RuntimeError("one"), RuntimeError("two")
        first.__cause__, second.__cause__ = second, first
        raise first

    async def names(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        tools = [types.Tool(name=name, input_schema={"type": "object"}) for name in ("report-deep", "report-ring")]
        return types.ListToolsResult(tools=tools)

    async with protect("json", Server("bare", on_list_tools=names, on_call_tool=call)) as served:
        answers = [
            await served.post(
                idp.issue("alice"), "tools/call", {"name": f"report-{name}", "arguments": {}}, version=version
            )
            for name in ("deep", "ring")
        ]
    assert (answers[0].status_code, challenge_of(answers[0])["scope"]) == (403, SCOPES)
    assert "error" in answers[1].json()


@WIRES
async def test_a_middleware_of_the_server_that_answers_a_list_itself_is_filtered_too(
    protect: Protect, idp: IdentityProvider, version: str
) -> None:
    server = existing()
    answers: list[Any] = []

    async def eager(ctx: Any, call_next: Any) -> Any:
        return answers[0] if ctx.method == "tools/list" else await call_next(ctx)

    server.middleware.append(eager)
    tools = [types.Tool(name=name, input_schema={"type": "object"}) for name in ("report-secret", "report-open")]
    async with protect("json", server) as served:
        for answer, expected in ((types.ListToolsResult(tools=tools), ["report-open"]), (None, [])):
            answers[:] = [answer]
            result = (await served.post(idp.issue("alice"), "tools/list", version=version)).json()["result"]
            assert [each["name"] for each in result["tools"]] == expected


async def test_what_the_server_does_not_serve_is_no_method_of_it_whatever_it_names(
    protect: Protect, idp: IdentityProvider
) -> None:
    async with protect("json", Server("bare")) as served:
        answers = [
            (await served.post(idp.issue("alice"), "prompts/get", {"name": name})).json()["error"]
            for name in ("prompt-secret", "prompt-open", "forgotten")
        ]
        assert [each["code"] for each in answers] == [types.METHOD_NOT_FOUND] * 3


async def test_a_template_that_is_none_has_nothing_to_read(protect: Protect, idp: IdentityProvider) -> None:
    async def templates(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
        made = [types.ResourceTemplate(name=uri, uri_template=uri) for uri in ("notes://{", "notes://by/{name}")]
        return types.ListResourceTemplatesResult(resource_templates=made)

    async def read(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text="note")])

    server: Server[Any] = Server("bare", on_list_resource_templates=templates, on_read_resource=read)
    async with protect("json", server) as served:
        for uri, there in (("notes://by/ada", True), ("notes://other", False)):
            answer = await served.post(idp.issue("alice"), "resources/read", {"uri": uri}, headers={"mcp-name": uri})
            assert ("result" in answer.json()) is there


def test_a_server_with_a_door_of_its_own_or_without_an_address_is_refused(
    idp: IdentityProvider, sink: MemorySink
) -> None:
    auth = AuthSettings(issuer_url=AnyHttpUrl("https://idp.test"), resource_server_url=None)

    class Verifier:
        async def verify_token(self, token: str) -> None:
            return None

    theirs: MCPServer[Any] = MCPServer("theirs", auth=auth, token_verifier=Verifier())
    settings = settings_for(idp.trusted(), resource="https://mcp.test/mcp")
    with pytest.raises(ConfigurationError, match="an authentication of its own"):
        ProtectedServer(theirs, settings, POLICY, audit_sink=sink)
    with pytest.raises(ConfigurationError, match="names no resource"):
        ProtectedServer(MCPServer("ours"), settings_for(idp.trusted()), POLICY, audit_sink=sink)


class Events(EventStore):
    """As the SDK's own example keeps them: by stream, in one list for all."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self.kept.append((stream_id, message))
        return str(len(self.kept) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdecimal() or int(last_event_id) >= len(self.kept):
            return None
        stream = self.kept[int(last_event_id)][0]
        for number, (where, message) in enumerate(self.kept):
            if where == stream and number > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


async def test_a_stream_is_resumed_by_whom_it_was_meant_for_and_nobody_else(
    protect: Protect, idp: IdentityProvider
) -> None:
    async with protect("stateful", event_store=Events()) as served:
        params: dict[str, object] = {"name": "report-whoami", "arguments": {}}
        begun: dict[str, tuple[dict[str, str], str]] = {}
        tokens = {user: idp.issue(user) for user in ("alice", "bob")}
        tokens["helper"] = idp.issue("alice", claims={"act": {"sub": "helper"}})
        tokens["client"] = idp.issue("alice", claims={"client_id": "another"})
        for user, token in tokens.items():
            start = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            opened = await served.post(token, "initialize", start, version=HANDSHAKE)
            theirs = {"mcp-session-id": opened.headers["mcp-session-id"]}
            sent = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream", **theirs}
            sent["mcp-protocol-version"] = HANDSHAKE
            done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            assert (await served.http.post(served.url, headers=sent, json=done)).status_code == 202
            answer = await served.post(token, "tools/call", params, version=HANDSHAKE, headers=theirs)
            assert '"result":"' in answer.text.replace(" ", "")
            (first, *_) = re.findall(r"^id: (\S+)", answer.text, re.MULTILINE)
            begun[user] = ({**sent, "accept": "text/event-stream"}, first)

        async def resumed(user: str, after: str) -> str:
            headers = {**begun[user][0], "last-event-id": after}
            told = ""
            async with served.http.stream("GET", served.url, headers=headers) as response:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        async for chunk in response.aiter_text():
                            told += chunk
            return told

        for user, other in (("alice", "bob"), ("bob", "alice")):
            own = await resumed(user, begun[user][1])
            assert f'"result":"{user}"' in own.replace(" ", "") and other not in own
            assert "result" not in await resumed(user, begun[other][1])
        for acting in ("helper", "client"):  # in the name of the same user
            assert "result" not in await resumed(acting, begun["alice"][1])
            assert "result" not in await resumed("alice", begun[acting][1])


async def test_a_session_is_not_anothers_who_acts_for_the_same_user(protect: Protect, idp: IdentityProvider) -> None:
    acting = idp.issue("alice", claims={"act": {"sub": "helper"}})
    for other in (acting, idp.issue("alice", claims={"client_id": "another"})):
        async with protect("stateful") as served:
            start = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            for owner, stranger in ((idp.issue("alice"), other), (other, idp.issue("alice"))):
                opened = await served.post(owner, "initialize", start, version=HANDSHAKE)
                theirs = {"mcp-session-id": opened.headers["mcp-session-id"]}
                response = await served.post(stranger, "tools/list", version=HANDSHAKE, headers=theirs)
                assert response.status_code == 404


@WIRES
async def test_a_caller_who_hangs_up_while_he_speaks_harms_nobody(
    protect: Protect, idp: IdentityProvider, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    async with protect("json") as served:
        host, port = served.origin.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /mcp HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {idp.issue('alice')}\r\n"
        head += "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        head += f"mcp-protocol-version: {version}\r\nmcp-method: tools/list\r\n"
        writer.write((head + "content-length: 500\r\n\r\n{").encode())
        await writer.drain()
        await asyncio.sleep(0.2)  # until the server waits for the rest
        writer.close()
        await asyncio.sleep(0.2)
        assert (await served.post(idp.issue("alice"), "tools/list")).status_code == 200
    assert "actas" not in {record.name.partition(".")[0] for record in caplog.records}


async def test_a_session_belongs_to_whom_it_was_opened_for(protect: Protect, idp: IdentityProvider) -> None:
    async with protect("stateful") as served:
        start = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        opened = await served.post(idp.issue("alice"), "initialize", start, version=HANDSHAKE)
        theirs = {"mcp-session-id": opened.headers["mcp-session-id"]}
        response = await served.post(idp.issue("bob"), "tools/list", version=HANDSHAKE, headers=theirs)
        assert response.status_code == 404


async def test_the_server_serves_nobody_who_did_not_come_through_the_door(
    idp: IdentityProvider, sink: MemorySink
) -> None:
    server = existing()
    settings = settings_for(idp.trusted(role_mappings=ROLES), resource="https://mcp.test/mcp")
    protected = ProtectedServer(server, settings, POLICY, audit_sink=sink)
    with pytest.raises(ExceptionGroup) as raised:
        async with Client(server) as client:
            await client.list_tools()
    assert raised.group_contains(MCPError, match="through its door")
    with pytest.raises(ConfigurationError, match="a door already"):
        ProtectedServer(server, settings, POLICY, audit_sink=sink)
    async with protected._site.opened():
        pass


def test_a_pattern_that_can_never_be_reached_is_a_mistake() -> None:
    rule = Rule(permission=None)
    with pytest.raises(ConfigurationError, match=re.escape("policy.tools: 'admin-*' is never reached: '*' before it")):
        Policy(tools={"*": rule, "admin-*": rule})
    with pytest.raises(ConfigurationError, match="an empty pattern"):
        Policy(prompts={"": rule})
    assert Policy(tools={"admin-*": rule, "*": rule}).action("tool", "admin-x") is not None


def test_names_that_callers_make_up_do_not_fill_the_memory() -> None:
    policy = Policy(tools={"*": Rule(permission=None)})
    kept = policy.action("tool", "kept")
    assert policy.action("tool", "kept") is kept
    for number in range(10_000):
        policy.action("tool", f"made-up-{number}")
    assert len(policy._actions) <= 4096
    assert policy.action("tool", "kept") == kept


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [("a*c", "ac", True), ("a*c", "abc", True), ("a*c", "abcd", False), ("ab*ba", "aba", False), ("*", "", True),
     ("a*b*c", "a1b2c", True), ("a*b*c", "a12c", False), ("a*b*c", "acb", False), ("**", "x", True),
     ("a[b]", "ab", False)],
)  # fmt: skip
def test_a_star_stands_for_anything_and_nothing_else_does(pattern: str, name: str, fits: bool) -> None:
    policy = Policy(tools={pattern: Rule(permission=None)})
    assert (policy.action("tool", name) is not None) is fits
