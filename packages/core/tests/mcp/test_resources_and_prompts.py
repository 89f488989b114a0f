"""Resources, templates, prompts, completion and subscriptions of our own server: both wires, hidden like absent."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate

from actas.core import (
    Action,
    Audit,
    Authorization,
    ConfigurationError,
    DelegationCall,
    DelegationRegistry,
    MemorySink,
    Outcome,
    Pipeline,
)
from actas.mcp import MCPOAuthServer, Prompt, Resource, create_delegation_resource
from actas.mcp.completion import Typed
from actas.mcp.prompt_guard import PromptGuard
from actas.mcp.receipts import RECEIPT_KEY
from actas.mcp.resource_guard import ResourceGuard

from .conftest import HANDSHAKE, MODERN, Mode, Serve, Stage
from .test_tokens import challenge_of

pytestmark = pytest.mark.anyio

WIRES = pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
SCOPES = frozenset({"toy.read", "toy.write", "toy.extra"})


@dataclass(frozen=True)
class Order:
    number: int
    """Which order."""


@dataclass(frozen=True)
class About:
    """What to write about."""

    topic: str
    """The subject."""
    words: int = 10
    """How many words."""


@dataclass(frozen=True)
class Impossible:
    text: "Nowhere"  # type: ignore[name-defined]  # noqa: F821  # what is wrong with it


async def mine(call: DelegationCall, pipeline: Pipeline) -> object:
    return await pipeline.delegate(call.session, "toy", "say", {"text": call.session.username}, tool="mine")


async def order(call: DelegationCall, pipeline: Pipeline) -> object:
    assert isinstance(call.parameters, Order)
    return {"number": call.parameters.number, "for": call.session.username}


async def picture(call: DelegationCall, pipeline: Pipeline) -> object:
    return b"\x89PNG"


async def late(call: DelegationCall, pipeline: Pipeline) -> object:
    Authorization(call.session).require_all_scopes(SCOPES)
    return "now"


async def crash(call: DelegationCall, pipeline: Pipeline) -> object:
    raise RuntimeError("password=hunter2")


async def no_json(call: DelegationCall, pipeline: Pipeline) -> object:
    return object()


async def write(call: DelegationCall, pipeline: Pipeline) -> object:
    assert isinstance(call.parameters, About)
    return f"Write {call.parameters.words} words about {call.parameters.topic} for {call.session.username}."


async def numbers(call: DelegationCall, pipeline: Pipeline) -> list[str]:
    assert isinstance(call.parameters, Typed)
    return [f"{call.parameters.value}{digit}-{call.session.username}" for digit in range(120)]


def action(name: str, permission: str | None = "toy:use", scopes: frozenset[str] = frozenset(), **more: Any) -> Action:
    return Action(name=name, description=f"About {name}.", permission=permission, scopes=scopes, **more)


def furnish(server: MCPOAuthServer) -> None:
    for resource in (
        Resource("orders://mine", action("mine"), mine),
        Resource("orders://secret", action("secret", "toy:break"), mine),
        Resource("orders://scoped", action("scoped", scopes=SCOPES), mine),
        Resource("orders://late", action("late"), late),
        Resource("orders://crash", action("crash"), crash),
        Resource("orders://no-json", action("no-json"), no_json),
        Resource("orders://picture", action("picture"), picture, "image/png"),
        Resource("orders://by/{number}", action("order", parameters=Order), order, completions={"number": numbers}),
        Resource("secrets://{number}", action("secrets", "toy:break", parameters=Order), order),
    ):
        server.register_resource(resource)
    for prompt in (
        Prompt(action("write", parameters=About), write, completions={"topic": numbers}),
        Prompt(action("write-secret", "toy:break", parameters=About), write),
        Prompt(action("write-scoped", scopes=SCOPES, parameters=About), write),
        Prompt(action("write-late"), late),
        Prompt(action("write-crash"), crash),
    ):
        server.register_prompt(prompt)


@pytest.fixture
async def shop(serve: Serve) -> AsyncIterator[Stage]:
    async with serve(prepare=furnish) as running:
        yield running


async def ask(
    stage: Stage, token: str, method: str, params: dict[str, object], version: str, **headers: str
) -> httpx2.Response:
    if version == MODERN and "uri" in params:
        headers["mcp-name"] = str(params["uri"])
    return await stage.post(token, method, params, version=version, headers=headers)


@MODES
async def test_the_unmodified_client_lists_and_reads_as_the_user(shop: Stage, mode: Mode) -> None:
    async with shop.client(shop.token(), mode) as client:
        listed = (await client.list_resources()).resources
        assert [each.uri for each in listed] == [
            "orders://mine", "orders://scoped", "orders://late", "orders://crash", "orders://no-json",
            "orders://picture",
        ]  # fmt: skip
        assert (listed[0].name, listed[0].description, listed[-1].mime_type) == ("mine", "About mine.", "image/png")
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == ["orders://by/{number}"]
        read = await client.read_resource("orders://mine")
        assert read.contents[0].text == "alice"  # type: ignore[union-attr]  # text, as asserted
        assert read.meta is not None and read.meta[RECEIPT_KEY]["details"] == {"via": "toy", "as": "alice"}
        one = (await client.read_resource("orders://by/42")).contents[0]
        assert (one.mime_type, one.text) == ("application/json", '{"number":42,"for":"alice"}')  # type: ignore[union-attr]
        blob = (await client.read_resource("orders://picture")).contents[0]
        assert (blob.mime_type, blob.blob) == ("image/png", "iVBORw==")  # type: ignore[union-attr]  # a blob


@MODES
async def test_the_unmodified_client_gets_prompts_as_the_user(shop: Stage, mode: Mode) -> None:
    async with shop.client(shop.token(), mode) as client:
        prompts = (await client.list_prompts()).prompts
        assert [each.name for each in prompts] == ["write", "write-scoped", "write-late", "write-crash"]
        assert [(a.name, a.description, a.required) for a in prompts[0].arguments or ()] == [
            ("topic", "The subject.", True), ("words", "How many words.", False)
        ]  # fmt: skip
        got = await client.get_prompt("write", {"topic": "rain", "words": "3"})
        assert got.messages[0].role == "user"
        assert got.messages[0].content.text == "Write 3 words about rain for alice."  # type: ignore[union-attr]
        with pytest.raises(MCPError, match="topic: is required") as raised:
            await client.get_prompt("write", {})
        assert raised.value.error.code == types.INVALID_PARAMS


@MODES
async def test_suggestions_are_made_as_the_user_and_are_a_hundred_at_most(shop: Stage, mode: Mode) -> None:
    async with shop.client(shop.token(), mode) as client:
        for ref in (
            types.PromptReference(type="ref/prompt", name="write"),
            types.ResourceTemplateReference(type="ref/resource", uri="orders://by/{number}"),
        ):
            name = "topic" if isinstance(ref, types.PromptReference) else "number"
            made = (await client.complete(ref, {"name": name, "value": "x"})).completion
            assert (made.values[0], len(made.values), made.total, made.has_more) == ("x0-alice", 100, 120, True)
            other = (await client.complete(ref, {"name": "other", "value": "x"})).completion
            assert other.values == []


HIDDEN: list[tuple[str, dict[str, object], dict[str, object]]] = [
    ("resources/read", {"uri": "orders://secret"}, {"uri": "orders://absent"}),
    ("resources/read", {"uri": "secrets://7"}, {"uri": "nothing://7"}),
    ("resources/read", {"uri": "orders://by/..%2Fsecret"}, {"uri": "orders://by/7/8"}),
    ("prompts/get", {"name": "write-secret", "arguments": {"words": "x"}},
     {"name": "write-absent", "arguments": {"words": "x"}}),
    *(
        ("completion/complete", *({"ref": ref, "argument": {"name": "number", "value": ""}} for ref in refs))
        for refs in (
            [{"type": "ref/prompt", "name": name} for name in ("write-secret", "write-absent")],
            [{"type": "ref/resource", "uri": uri} for uri in ("secrets://{number}", "nothing://{number}")],
            [{"type": "ref/resource", "uri": uri} for uri in ("orders://secret", "orders://absent")],
        )
    ),
    ("resources/subscribe", {"uri": "orders://secret"}, {"uri": "orders://absent"}),
]  # fmt: skip


@WIRES
@pytest.mark.parametrize(("method", "hidden", "absent"), HIDDEN)
async def test_what_is_hidden_answers_to_the_byte_like_what_is_absent(
    shop: Stage, sink: MemorySink, method: str, hidden: dict[str, object], absent: dict[str, object], version: str
) -> None:
    answers = set()
    for params in (hidden, absent):
        for headers in ({}, {"mcp-param-number": "7"}, {"mcp-name": "else"}):
            response = await ask(shop, shop.token(), method, params, version, **headers)
            told = sorted((k, v) for k, v in response.headers.items() if k not in ("date", "content-length"))
            answers.add((tuple(headers), response.status_code, repr(told), response.text))
    assert len(answers) == 3
    refused = sink.entries(outcome=Outcome.REFUSED)
    assert {event.code for event in refused} <= {"permission_denied", "unknown_action"}


@WIRES
async def test_what_is_hidden_is_audited_as_such(shop: Stage, sink: MemorySink, version: str) -> None:
    for method, hidden, absent in HIDDEN[:2] + HIDDEN[3:4]:
        sink.clear()
        for params in (hidden, absent):
            await ask(shop, shop.token(), method, params, version)
        assert [event.code for event in sink.entries(outcome=Outcome.REFUSED)] == [
            "permission_denied", "unknown_action"
        ]  # fmt: skip


@WIRES
async def test_looking_for_what_is_hidden_is_as_much_work_as_for_what_is_absent(
    shop: Stage, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    matched: list[str] = []
    match = UriTemplate.match

    def counted(self: UriTemplate, uri: str) -> Any:
        matched.append(uri)
        return match(self, uri)

    monkeypatch.setattr(UriTemplate, "match", counted)
    for uri in ("orders://secret", "orders://absent", "secrets://7", "nothing://7"):
        await ask(shop, shop.token(), "resources/read", {"uri": uri}, version)
    assert len({matched.count(uri) for uri in matched}) == 1 and len(set(matched)) == 4


NEEDS_SCOPES: list[tuple[str, dict[str, object]]] = [
    ("resources/read", {"uri": "orders://scoped"}),
    ("resources/read", {"uri": "orders://late"}),
    ("prompts/get", {"name": "write-scoped", "arguments": {"topic": "rain"}}),
    ("prompts/get", {"name": "write-late"}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "write-scoped"},
                             "argument": {"name": "topic", "value": ""}}),
    ("completion/complete", {"ref": {"type": "ref/resource", "uri": "orders://scoped"},
                             "argument": {"name": "topic", "value": ""}}),
]  # fmt: skip


@WIRES
@pytest.mark.parametrize(("method", "params"), NEEDS_SCOPES)
async def test_a_missing_scope_is_an_http_403_that_names_all_of_them(
    shop: Stage, sink: MemorySink, method: str, params: dict[str, object], version: str
) -> None:
    response = await ask(shop, shop.token(), method, params, version)
    assert response.status_code == 403
    challenge = challenge_of(response)
    assert (challenge["error"], challenge["scope"]) == ("insufficient_scope", "toy.extra toy.read toy.write")
    assert sink.entries()[-1].code == "insufficient_scope"
    stepped = await ask(shop, shop.token(scopes=list(SCOPES)), method, params, version)
    assert stepped.status_code == 200 and "result" in stepped.json()


@WIRES
async def test_everything_that_is_read_is_in_the_minutes(shop: Stage, sink: MemorySink, version: str) -> None:
    await ask(shop, shop.token(), "resources/read", {"uri": "orders://mine"}, version)
    await ask(shop, shop.token(), "prompts/get", {"name": "write", "arguments": {"topic": "private"}}, version)
    events = [event for event in sink.entries() if event.source != "auth"]
    assert [(e.source, e.tool, e.outcome) for e in events] == [
        ("delegation:toy", "mine", Outcome.SUCCESS),
        ("resource", "mine", Outcome.SUCCESS),
        ("prompt", "write", Outcome.SUCCESS),
    ]
    assert "private" not in repr(events)


@WIRES
async def test_what_fails_says_a_code_and_nothing_private(shop: Stage, version: str) -> None:
    for method, params in (
        ("resources/read", {"uri": "orders://crash"}),
        ("resources/read", {"uri": "orders://no-json"}),
        ("prompts/get", {"name": "write-crash"}),
    ):
        error = (await ask(shop, shop.token(), method, params, version)).json()["error"]
        assert (error["code"], error["data"]["code"]) == (types.INTERNAL_ERROR, "internal")
        assert "hunter2" not in str(error) and error["data"]["requestId"] in error["message"]
    error = (await ask(shop, shop.token(), "resources/read", {"uri": "orders://by/many"}, version)).json()["error"]
    assert (error["code"], error["data"]["code"]) == (types.INVALID_PARAMS, "invalid_parameters")
    assert "many" not in str(error)


@MODES
async def test_only_what_is_there_is_announced(serve: Serve, mode: Mode) -> None:
    async with serve() as bare, bare.client(bare.token(), mode) as client:
        told = client.server_capabilities
        assert told.tools is not None and not told.tools.list_changed
        assert told.resources is None and told.prompts is None and told.completions is None
    async with serve(prepare=furnish) as full, full.client(full.token(), mode) as client:
        told = client.server_capabilities
        assert told.resources is not None and told.prompts is not None and told.completions is not None
        assert bool(told.resources.subscribe) is (mode == "auto")  # the old wire's would need a session here
        assert not told.resources.list_changed and not told.prompts.list_changed


@WIRES
async def test_lists_are_the_same_every_time_and_for_nobody_else_to_keep(shop: Stage, version: str) -> None:
    for method in ("resources/list", "resources/templates/list", "prompts/list"):
        first = await shop.post(shop.token(), method, version=version)
        again = await shop.post(shop.token(), method, version=version)
        assert first.content == again.content
        if version == MODERN:
            assert first.json()["result"]["cacheScope"] == "private"
        guest = (await shop.post(shop.token("guest"), method, version=version)).json()["result"]
        assert [value for value in guest.values() if isinstance(value, list)] == [[]]


async def test_a_subscription_tells_of_what_one_may_read_and_ends_with_the_server(serve: Serve) -> None:
    async with serve(prepare=furnish) as shop, shop.client(shop.token()) as client:
        wanted = ["orders://mine", "orders://secret", "orders://absent", "orders://by/7", "secrets://7"]
        async with client.listen(resource_subscriptions=wanted, tools_list_changed=True) as subscription:
            assert subscription.honored.resource_subscriptions == ["orders://mine", "orders://by/7"]
            assert not subscription.honored.tools_list_changed
            for uri in wanted:
                await shop.server.resource_updated(uri)
            stopping = asyncio.create_task(shop.server.stop())
            events = [event async for event in subscription]
        assert events == [ResourceUpdated("orders://mine"), ResourceUpdated("orders://by/7")]
        await stopping


async def test_a_subscription_ends_when_its_session_is_revoked_and_others_go_on(serve: Serve) -> None:
    async with serve(prepare=furnish) as shop:
        tokens = [shop.token("alice", claims={"sid": sid}) for sid in ("s1", "s2")]
        async with shop.client(tokens[0]) as first, shop.client(tokens[1]) as second:
            async with (
                first.listen(resource_subscriptions=["orders://mine"]) as ending,
                second.listen(resource_subscriptions=["orders://mine"]) as going_on,
            ):
                shop.server.core_context.authenticator.revoke(session="s1")
                async with asyncio.timeout(10):
                    assert [event async for event in ending] == []
                await shop.server.resource_updated("orders://mine")
                async for event in going_on:
                    assert event == ResourceUpdated("orders://mine")
                    break


async def test_a_subscription_needs_the_scopes_of_all_it_is_about(shop: Stage, sink: MemorySink) -> None:
    params = {"notifications": {"resourceSubscriptions": ["orders://mine", "orders://scoped"]}}
    response = await shop.post(shop.token(), "subscriptions/listen", params)
    assert (response.status_code, challenge_of(response)["scope"]) == (403, "toy.extra toy.read toy.write")
    assert (sink.entries()[-1].source, sink.entries()[-1].code) == ("subscription", "insufficient_scope")


async def test_a_subscription_to_thousands_of_things_is_refused(shop: Stage) -> None:
    params = {"notifications": {"resourceSubscriptions": ["orders://mine"] * 1001}}
    error = (await shop.post(shop.token(), "subscriptions/listen", params)).json()["error"]
    assert error["code"] == types.INVALID_PARAMS


def test_a_declaration_that_cannot_work_is_refused() -> None:
    for uri, parameters, problem in (
        ("orders", Order, "is no URI"),
        ("://x", Order, "is no URI"),
        ("orders://{", Order, "no template"),
        ("orders://{other}", Order, "each variable needs its field"),
        ("orders://x", Order, "each variable needs its field"),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            Resource(uri, action("x", parameters=parameters), mine)
    with pytest.raises(ConfigurationError, match="no field of its parameters"):
        Prompt(action("x"), write, completions={"topic": numbers})


def test_parameters_that_no_schema_can_say_are_refused_at_once() -> None:
    guards = ResourceGuard(pipeline := Pipeline(DelegationRegistry(), Audit(MemorySink()))), PromptGuard(pipeline)
    with pytest.raises(ConfigurationError, match=r"the resource by-x: .*Nowhere"):
        guards[0].add([Resource("x://{text}", action("by-x", parameters=Impossible), mine)])
    with pytest.raises(ConfigurationError, match=r"the prompt by-x: .*Nowhere"):
        guards[1].add([Prompt(action("by-x", parameters=Impossible), late)])
    assert [len(each) for each in guards] == [0, 0]


@MODES
async def test_a_prompt_may_be_written_as_messages_of_the_sdk(serve: Serve, mode: Mode) -> None:
    said = types.PromptMessage(role="assistant", content=types.TextContent(type="text", text="Yes?"))

    async def talk(call: DelegationCall, pipeline: Pipeline) -> object:
        return [said, {"role": "user", "content": {"type": "text", "text": call.session.username}}]

    async def one(call: DelegationCall, pipeline: Pipeline) -> object:
        return said

    def furnished(server: MCPOAuthServer) -> None:
        server.register_prompt(Prompt(action("talk"), talk))
        server.register_prompt(Prompt(action("one"), one))

    async with serve(prepare=furnished) as shop, shop.client(shop.token(), mode) as client:
        messages = (await client.get_prompt("talk")).messages
        assert [(each.role, each.content.text) for each in messages] == [  # type: ignore[union-attr]  # texts
            ("assistant", "Yes?"), ("user", "alice")
        ]  # fmt: skip
        assert (await client.get_prompt("one")).messages == [said]


async def test_two_of_a_name_are_refused_and_so_is_one_that_comes_late(serve: Serve) -> None:
    def twice(server: MCPOAuthServer) -> None:
        furnish(server)
        with pytest.raises(ConfigurationError, match="two resources"):
            server.register_resource(Resource("orders://mine", action("else"), mine))
        with pytest.raises(ConfigurationError, match="two prompts"):
            server.register_prompt(Prompt(action("write"), late))

    async with serve(prepare=twice) as shop:
        with pytest.raises(ConfigurationError, match="before the server starts"):
            shop.server.register_prompt(Prompt(action("late"), late))


@MODES
async def test_a_module_is_read_in_five_lines(serve: Serve, mode: Mode) -> None:
    def five(server: MCPOAuthServer) -> None:
        server.register_resource(
            create_delegation_resource(
                "toys://{number}", "toys", "Toys.", module="toy", action="say", parameters=Order,
                arguments=lambda call: {"text": f"{call.parameters.number}"},
            )
        )  # fmt: skip

    async with serve(prepare=five) as shop, shop.client(shop.token(), mode) as client:
        assert (await client.read_resource("toys://3")).contents[0].text == "3"  # type: ignore[union-attr]
    async with serve(prepare=five) as shop, shop.client(shop.token("guest"), mode) as client:
        with pytest.raises(MCPError, match="permission_denied"):
            await client.read_resource("toys://3")


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_roles_and_can_access_hide_resources_and_prompts_too(serve: Serve, version: str) -> None:
    def furnished(server: MCPOAuthServer) -> None:
        for name, more in (
            ("by-role", {"roles": frozenset({"admin"})}),
            ("by-function", {"can_access": lambda session: session.username == "bob"}),
            ("by-crash", {"can_access": lambda session: 1 / 0}),
        ):
            server.register_resource(Resource(f"orders://{name}", action(name, None, **more), mine))
            server.register_prompt(Prompt(action(name, None, **more), late))

    async with serve(prepare=furnished) as shop:
        for user, seen in (("alice", []), ("bob", ["by-role", "by-function"])):
            token = shop.token(user)
            resources = (await shop.post(token, "resources/list", version=version)).json()["result"]["resources"]
            prompts = (await shop.post(token, "prompts/list", version=version)).json()["result"]["prompts"]
            assert [each["name"] for each in resources] == [each["name"] for each in prompts] == seen
        alice = shop.token()
        absent = await ask(shop, alice, "resources/read", {"uri": "orders://absent"}, version)
        for name in ("by-role", "by-function", "by-crash"):
            hidden = await ask(shop, alice, "resources/read", {"uri": f"orders://{name}"}, version)
            assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content)
