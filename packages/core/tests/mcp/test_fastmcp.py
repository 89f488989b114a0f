"""The door before a FastMCP server, through what FastMCP makes public."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import fastmcp
import mcp_types as types
import pytest
from fastmcp import Context, FastMCP
from fastmcp.exceptions import NotFoundError
from fastmcp.server.dependencies import get_http_request
from fastmcp.server.middleware import Middleware
from mcp.shared.exceptions import MCPError
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from actas.core import Authorization, ConfigurationError, MemorySink, Outcome
from actas.mcp import current_session
from actas.mcp.for_fastmcp import FastMCPDoor
from actas.testing.idp import IdentityProvider

from .conftest import HANDSHAKE, MODERN, ROLES, Mode, settings_for
from .serving import Served, message_of, serving
from .test_existing_server import ASKED, NEEDS_SCOPES, POLICY, SCOPES, ask, told
from .test_tokens import challenge_of

pytestmark = pytest.mark.anyio

WIRES = pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
FORMS = pytest.mark.parametrize("form", ["json", "stream", "stateful"])


def reports(door: FastMCPDoor, *, guarded: bool = True) -> FastMCP[Any]:
    server: FastMCP[Any] = FastMCP("reports", auth=door, middleware=[door.policy] if guarded else [])

    @server.tool(name="report-whoami")
    async def whoami() -> str:
        return current_session(get_http_request()).username

    @server.tool(name="report-progress")
    async def progress(ctx: Context) -> str:
        await ctx.report_progress(1, 2, "half")
        return "done"

    @server.tool(name="report-late")
    async def late() -> str:
        Authorization(current_session(get_http_request())).require_all_scopes({"toy.read", "toy.extra"})
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

    for uri in ("notes://open", "notes://secret", "notes://scoped", "other://thing"):
        server.resource(uri, name=uri)(lambda: "note")

    @server.resource("notes://by/{name}")
    async def note(name: str) -> str:
        return f"{name} for {current_session(get_http_request()).username}"

    for name in ("prompt-open", "prompt-secret", "prompt-scoped", "forgotten"):
        server.prompt(name=name)(lambda: "hello")

    @server.custom_route("/health", methods=["GET"])
    async def health(request: Request) -> PlainTextResponse:
        return PlainTextResponse("well")

    @server.custom_route("/internal", methods=["GET"])
    async def internal(request: Request) -> PlainTextResponse:
        return PlainTextResponse(current_session(request).username)

    return server


Protect = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def protect(idp: IdentityProvider, sink: MemorySink) -> Protect:
    @asynccontextmanager
    async def protect(form: str = "json") -> AsyncIterator[Served]:
        def made(port: int) -> Any:
            settings = settings_for(idp.trusted(role_mappings=ROLES), resource=f"http://127.0.0.1:{port}/mcp")
            door = FastMCPDoor(settings, POLICY, public=["/health"], audit_sink=sink)
            return reports(door).http_app(json_response=form == "json", stateless_http=form != "stateful")

        async with serving(made) as served:
            yield served

    return protect


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


async def test_fastmcps_own_client_does_too(protect: Protect, idp: IdentityProvider) -> None:
    async with protect() as served, fastmcp.Client(served.url, auth=idp.issue("alice")) as client:
        assert (await client.call_tool("report-whoami", {})).data == "alice"


@FORMS
@WIRES
@pytest.mark.parametrize(("method", "hidden", "absent", "unruled"), ASKED)
async def test_what_is_hidden_answers_to_the_byte_like_what_is_absent(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, method: str, hidden: dict[str, object],
    absent: dict[str, object], unruled: dict[str, object], version: str, form: str,
) -> None:  # fmt: skip
    token = idp.issue("alice")
    async with protect(form) as served:
        answers = [
            told(await ask(served, token, method, params, version=version, form=form), params)
            for params in (hidden, absent, unruled)
        ]
    assert len({repr(answer) for answer in answers}) == 1
    assert "nknown" in answers[0][2]
    codes = [event.code for event in sink.entries(outcome=Outcome.REFUSED) if event.source != "http"]
    assert len(codes) == 3 and set(codes) <= {"permission_denied", "unknown_action"}


@FORMS
@WIRES
@pytest.mark.parametrize(("method", "params"), [each for each in NEEDS_SCOPES if "completion" not in each[0]])
async def test_a_missing_scope_is_an_http_403_that_names_all_of_them(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, method: str, params: dict[str, object], version: str,
    form: str,
) -> None:  # fmt: skip
    async with protect(form) as served:
        response = await ask(served, idp.issue("alice"), method, params, version=version, form=form)
        assert response.status_code == 403, response.text
        challenge = challenge_of(response)
        assert (challenge["error"], challenge["scope"]) == ("insufficient_scope", SCOPES)
        assert challenge["resource_metadata"] == f"{served.origin}/.well-known/oauth-protected-resource/mcp"
        assert {event.code for event in sink.entries()[-2:]} == {"insufficient_scope"}
        if params.get("arguments") != {"text": 5}:
            token = idp.issue("alice", scopes=SCOPES.split())
            stepped = await ask(served, token, method, params, version=version, form=form)
            assert stepped.status_code == 200 and "result" in message_of(stepped)


@FORMS
@WIRES
async def test_without_a_token_nobody_gets_anywhere_but_to_public_paths(
    protect: Protect, idp: IdentityProvider, version: str, form: str
) -> None:
    async with protect(form) as served:
        for method in ("tools/list", "initialize"):
            response = await served.post(None, method, version=version)
            assert (response.status_code, challenge_of(response)["scope"]) == (401, SCOPES)
            assert "error" not in challenge_of(response)
        bad = await served.post("bad", "tools/list", version=version)
        assert (bad.status_code, challenge_of(bad)["error"]) == (401, "invalid_token")
        assert (await served.http.get(f"{served.origin}/internal")).status_code == 401
        assert (await served.http.get(f"{served.origin}/health")).text == "well"
        metadata = (await served.http.get(f"{served.origin}/.well-known/oauth-protected-resource/mcp")).json()
        assert metadata["authorization_servers"] == [idp.issuer]
        headers = {"authorization": f"Bearer {idp.issue('alice')}"}
        assert (await served.http.get(f"{served.origin}/internal", headers=headers)).text == "alice"


@FORMS
@WIRES
async def test_every_call_is_in_the_minutes(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, version: str, form: str
) -> None:
    async with protect(form) as served:
        for params in ({"name": "report-whoami", "arguments": {}}, {"name": "report-fail", "arguments": {}}):
            response = await ask(served, idp.issue("alice"), "tools/call", params, version=version, form=form)
            assert response.status_code == 200
    events = [(event.tool, event.outcome) for event in sink.entries(source="tool")]
    assert events == [("report-whoami", Outcome.SUCCESS), ("report-fail", Outcome.FAILED)]


async def test_methods_without_a_name_of_ours_are_not_there(protect: Protect, idp: IdentityProvider) -> None:
    async with protect() as served:
        hidden = await served.post(idp.issue("alice"), "acme/report")
        assert (hidden.status_code, hidden.json()["error"]["code"]) == (404, types.METHOD_NOT_FOUND)


@WIRES
async def test_there_is_nothing_to_subscribe_to(protect: Protect, idp: IdentityProvider, version: str) -> None:
    async with protect() as served:
        for method, params in (
            ("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["notes://open"]}}),
            ("resources/subscribe", {"uri": "notes://open"}),
        ):
            headers = {"mcp-name": "notes://open"} if version == MODERN and "uri" in params else {}
            answer = await served.post(idp.issue("alice"), method, params, version=version, headers=headers)
            assert answer.json()["error"]["code"] == types.METHOD_NOT_FOUND


@WIRES
async def test_what_names_nothing_is_a_bad_request(protect: Protect, idp: IdentityProvider, version: str) -> None:
    async with protect() as served:
        params = {"ref": {"type": "ref/tool", "name": "report-secret"}, "argument": {"name": "a", "value": ""}}
        answer = await served.post(idp.issue("alice"), "completion/complete", params, version=version)
        assert answer.json()["error"]["code"] in (types.INVALID_PARAMS, types.METHOD_NOT_FOUND)


async def test_what_turns_out_not_to_be_there_is_answered_like_what_never_was(
    idp: IdentityProvider, sink: MemorySink
) -> None:
    """A middleware of the server's own hides what it has."""

    class Sunday(Middleware):
        async def on_get_prompt(self, context: Any, call_next: Any) -> Any:
            raise NotFoundError("it is Sunday")

    def made(port: int) -> Any:
        settings = settings_for(idp.trusted(role_mappings=ROLES), resource=f"http://127.0.0.1:{port}/mcp")
        door = FastMCPDoor(settings, POLICY, audit_sink=sink)
        server = reports(door)
        server.add_middleware(Sunday())
        return server.http_app(json_response=True, stateless_http=True)

    async with serving(made) as served:
        token = idp.issue("alice")
        answers = [
            told(await served.post(token, "prompts/get", params), params)
            for params in ({"name": "prompt-open"}, {"name": "prompt-absent"})
        ]
        assert answers[0] == answers[1]


async def test_without_its_policy_the_server_does_not_start_and_without_its_door_it_serves_nobody(
    idp: IdentityProvider, sink: MemorySink
) -> None:
    settings = settings_for(idp.trusted(), resource="https://mcp.test/mcp")
    door = FastMCPDoor(settings, POLICY, audit_sink=sink)
    app: Any = reports(door, guarded=False).http_app()
    with pytest.raises(ConfigurationError, match="nothing applies the policy"):
        await app({"type": "lifespan", "app": app}, None, None)
    streamed: Any = reports(door).http_app(transport="sse")
    with pytest.raises(ConfigurationError, match="only FastMCP's streamable HTTP"):
        await streamed({"type": "lifespan", "app": streamed}, None, None)
    with pytest.raises(MCPError):
        async with fastmcp.Client(reports(door)) as client:
            await client.list_tools()
    assert await door.verify_token(idp.issue("alice")) is None
