"""What a caller sees and may call: the unmodified client on both wires, and raw HTTP."""

from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from actas.core import Outcome
from actas.mcp.receipts import RECEIPT_KEY

from .conftest import HANDSHAKE, MODERN, Mode, Stage
from .test_tokens import challenge_of

pytestmark = pytest.mark.anyio

WIRES = pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@MODES
async def test_the_unmodified_client_lists_and_calls(stage: Stage, mode: Mode) -> None:
    async with stage.client(stage.token(), mode) as client:
        assert client.protocol_version == (MODERN if mode == "auto" else HANDSHAKE)
        names = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("toy-say", {"text": "hi", "times": 2})
    assert "toy-say" in names and "toy-break" not in names
    assert names[:2] == ["user-info", "health-check"]
    assert result.content[0].text == "hi hi"  # type: ignore[union-attr]  # text, as asserted
    assert result.structured_content == {"result": "hi hi"}
    assert result.meta is not None and result.meta[RECEIPT_KEY]["identity"] == "alice"


@MODES
async def test_what_fails_downstream_is_an_error_result_with_a_code_and_nothing_private(
    stage: Stage, mode: Mode
) -> None:
    codes = {"toy-fail": "downstream_unavailable", "toy-crash": "internal", "toy-wait": "timeout"}
    async with stage.client(stage.token(), mode) as client:
        for name, code in codes.items():
            result = await client.call_tool(name, {})
            assert result.is_error
            assert result.structured_content is not None
            error = result.structured_content["error"]
            assert error["code"] == code
            assert "hunter2" not in str(result) and "broken" not in str(result)
            event = stage.sink.entries()[-1]
            assert (event.outcome, event.code, event.request_id) == (Outcome.FAILED, code, error["requestId"])


@MODES
async def test_bad_arguments_name_the_field_and_not_the_value(stage: Stage, mode: Mode) -> None:
    async with stage.client(stage.token(), mode) as client:
        for arguments, named in (({}, "text"), ({"text": 5}, "text"), ({"text": "a", "times": "hunter2"}, "times"),
                                 ({"text": "a", "as_user": "bob"}, "as_user"), ({"text": None}, "text")):  # fmt: skip
            result = await client.call_tool("toy-say", arguments)
            assert result.is_error
            assert named in str(result.content)
            assert "hunter2" not in str(result.content)
    assert stage.toy.calls == []


async def test_a_receipt_of_somebody_else_throws_the_result_away(stage: Stage) -> None:
    stage.toy.identity = "bob"
    result = (await stage.call(stage.token(), "toy-say", {"text": "secret"})).json()["result"]
    assert result["isError"] and result["structuredContent"]["error"]["code"] == "identity_mismatch"
    assert "secret" not in str(result)


@MODES
async def test_a_guest_sees_no_tool_of_the_module(stage: Stage, mode: Mode) -> None:
    async with stage.client(stage.token("guest"), mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["user-info", "health-check"]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("toy-say", {"text": "x"})
    event = stage.sink.entries()[-1]
    assert (event.outcome, event.code, event.tool) == (Outcome.REFUSED, "permission_denied", "toy-say")
    assert stage.toy.calls == []


GAMES: list[dict[str, Any]] = [
    {},
    {"headers": {"mcp-param-text": "x"}},
    {"headers": {"mcp-param-text": "x", "mcp-param-times": "=?base64?####?="}},
    {"headers": {"mcp-name": "user-info"}},
    {"headers": {"mcp-name": ""}},
    {"headers": {"mcp-method": "tools/list"}},
    {"headers": {"x-long": "x" * 3000}},
]


@WIRES
@pytest.mark.parametrize("game", range(len(GAMES)))
@pytest.mark.parametrize("arguments", [{}, {"text": "x"}, {"text": 5}, {"wrong": [None]}])
async def test_a_hidden_tool_is_indistinguishable_from_none(
    stage: Stage, version: str, game: int, arguments: dict[str, object]
) -> None:
    token = stage.token("guest")
    hidden = await stage.call(token, "toy-break", arguments, version=version, **GAMES[game])
    absent = await stage.call(token, "toy-brake", arguments, version=version, **GAMES[game])
    assert hidden.status_code == absent.status_code
    assert hidden.content == absent.content
    assert sorted(hidden.headers.items()) == sorted(absent.headers.items())
    assert "result" not in hidden.json()
    assert "break" not in hidden.text


@WIRES
async def test_a_tool_with_a_missing_scope_is_listed_and_answers_403_naming_all_of_them(
    stage: Stage, version: str
) -> None:
    token = stage.token()
    listed = (await stage.post(token, version=version)).json()["result"]["tools"]
    assert "toy-write" in [tool["name"] for tool in listed]
    for headers in ({}, {"x-sdk": "y", "last-event-id": "1"}):  # the short way, and the SDK's
        response = await stage.call(token, "toy-write", {"text": "x"}, version=version, headers=headers)
        assert response.status_code == 403
        challenge = challenge_of(response)
        assert challenge["error"] == "insufficient_scope"
        assert challenge["scope"] == "toy.extra toy.read toy.write"
        assert challenge["resource_metadata"].endswith("/.well-known/oauth-protected-resource/mcp")
    events = stage.sink.entries(source="delegation:toy")
    assert [(event.code, event.outcome) for event in events] == [("insufficient_scope", Outcome.REFUSED)] * 2
    assert stage.toy.calls == []


@MODES
async def test_after_stepping_up_the_unmodified_client_succeeds(stage: Stage, mode: Mode) -> None:
    async with stage.client(stage.token(scopes=["toy.read", "toy.write", "toy.extra"]), mode) as client:
        assert (await client.call_tool("toy-write", {"text": "x"})).structured_content == {"result": "x"}


async def test_the_call_is_decided_anew_although_the_list_was_kept(stage: Stage) -> None:
    """Alice loses her role between listing and calling."""
    async with stage.client(stage.token()) as client:
        assert "toy-say" in [tool.name for tool in (await client.list_tools()).tools]
    async with stage.client(stage.token(roles=[])) as client:
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("toy-say", {"text": "x"})


async def test_an_expired_token_in_the_cache_is_refused(stage: Stage) -> None:
    token = stage.token(expires_in=300)
    assert (await stage.post(token)).status_code == 200
    stage.server.core_context.authenticator.revoke(subject="alice")
    assert (await stage.post(token)).status_code == 401


@MODES
async def test_user_info_says_who_one_is(stage: Stage, mode: Mode) -> None:
    async with stage.client(stage.token(roles=["staff", "audit"]), mode) as client:
        result = await client.call_tool("user-info", {})
    assert result.structured_content == {
        "provider": "demo",
        "issuer": stage.idp.issuer,
        "subject": "alice",
        "username": "alice",
        "legacy_username": None,
        "role": "user",
        "custom_roles": ["auditor"],
        "permissions": ["toy:look", "toy:use"],
        "scopes": ["toy.read"],
        "client_id": "demo-client",
        "application": False,
        "actors": [],
    }


@MODES
async def test_health_check_tells_of_the_modules_that_one_can_see(stage: Stage, mode: Mode) -> None:
    async with stage.client(stage.token(), mode) as client:
        full = await client.call_tool("health-check", {})
        one = await client.call_tool("health-check", {"module": "toy"})
        none = await client.call_tool("health-check", {"module": "other"})
    assert full.structured_content == one.structured_content
    assert full.structured_content == {"healthy": True, "modules": {"toy": {"healthy": True, "message": "plays"}}}
    assert none.is_error
    async with stage.client(stage.token("guest"), mode) as client:
        assert (await client.call_tool("health-check", {})).structured_content == {"healthy": True, "modules": {}}
        hidden = await client.call_tool("health-check", {"module": "toy"})
    assert hidden.content[0].text.split(", request")[0] == none.content[0].text.split(", request")[0]  # type: ignore[union-attr]


async def test_a_tool_is_listed_with_its_schema_and_its_hints(stage: Stage) -> None:
    listed = (await stage.post(stage.token("bob"))).json()["result"]
    tools = {tool["name"]: tool for tool in listed["tools"]}
    assert tools["toy-say"]["inputSchema"] == {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "The words."},
            "times": {"type": "integer", "default": 1, "description": "How often."},
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    assert tools["toy-write"]["annotations"]["destructiveHint"] is True
    assert tools["toy-say"]["annotations"]["readOnlyHint"] is True
    assert (listed["cacheScope"], listed["ttlMs"]) == ("private", 60_000)
    again = (await stage.post(stage.token("bob"))).json()["result"]
    assert again == listed


@WIRES
async def test_a_result_of_five_megabytes_arrives_whole(stage: Stage, version: str) -> None:
    stage.toy.answer = ["row" * 100] * 17_000
    answer = (await stage.call(stage.token(), "toy-data", version=version)).json()
    assert answer["result"]["structuredContent"]["result"] == stage.toy.answer


async def test_methods_that_we_do_not_serve_are_not_found(stage: Stage) -> None:
    assert (await stage.post(stage.token(), "subscriptions/listen", {"notifications": {}})).status_code == 404
    for method in ("resources/list", "prompts/list", "logging/setLevel", "no/such"):
        answer = await stage.post(stage.token(), method)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601), method


async def test_thousands_of_wrong_parameters_are_refused_without_being_looked_at_one_by_one(stage: Stage) -> None:
    token = stage.token()
    unknown = {f"p{number}": 0 for number in range(9_000)}
    for arguments, told in (
        ({**unknown, **{f"q{number}": 0 for number in range(9_000)}}, "more than 10000 values"),
        ({"text": "x", "value": [[]] * 200_000}, "more than 10000 values"),
        ({"text": "x", **unknown}, "there are 9000 problems"),
    ):
        answer = (await stage.call(token, "toy-say", arguments)).json()["result"]["structuredContent"]
        assert answer["error"]["code"] == "invalid_parameters"
        assert told in answer["error"]["message"]
        assert len(answer["error"]["message"]) < 500
