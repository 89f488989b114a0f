"""Several modules beside each other: which of their tools there are, and whose users may use them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from actas.core import (
    Action,
    ConfigurationError,
    CredentialUse,
    DelegationRegistry,
    MemorySink,
    ModuleKind,
    PermissionDenied,
    Pipeline,
    Secret,
    Session,
)
from actas.core.audit import Audit
from actas.mcp import AuthSettings, MCPOAuthServer, McpSettings, Settings, create_delegation_tool
from actas.mcp.config_modules import ConfiguredModule, whose_users_told
from actas.mcp.patterns import chosen
from actas.mcp.schema import Problems, read_settings
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.exchange.settings import ExchangeSettings
from actas.oauth.settings import TrustedIssuer
from actas.testing.idp import IdentityProvider

from .conftest import PERMISSIONS, ROLES, USERS, Toy
from .serving import Served

pytestmark = pytest.mark.anyio

ACTIONS = [
    Action(name="query", tool="delegate", description="x"),
    Action(name="schema", description="x"),
    Action(name="table-details", description="x"),
]


@pytest.mark.parametrize(
    ("written", "left"),
    [
        (None, "query schema table-details"),
        ([], ""),
        (["hr-delegate"], "query"),
        (["delegate"], "query"),
        (["query", "schema"], "query schema"),
        (["hr-*"], "query schema table-details"),
        (["*a*"], "query schema table-details"),
        (["table-*"], "table-details"),
        (["!hr-delegate"], "schema table-details"),
        (["!query", "!s*"], "table-details"),
        (["hr-*", "!*delegate"], "schema table-details"),
        (["!*"], ""),
    ],
)
def test_tools_are_chosen_by_name_or_pattern(written: list[str] | None, left: str) -> None:
    assert " ".join(action.name for action in chosen(ACTIONS, written, prefix="hr", path="p")) == left


EXCHANGE = ExchangeSettings(idp="ours", client=ClientCredentials(id="gateway", secret=Secret("x")), audience=["api"])
BY_NAME = ModuleKind("sql", dict, lambda name, settings: Toy(), CredentialUse.OPTIONAL, by_name=True)


@pytest.mark.parametrize(
    ("idps", "kind", "module", "told"),
    [
        (2, BY_NAME, {}, True),
        (2, BY_NAME, {"tickets_from": "corp"}, True),
        (1, BY_NAME, {}, False),
        (2, BY_NAME, {"providers": frozenset({"ours"})}, False),
        (2, BY_NAME, {"providers": frozenset({"ours", "theirs"})}, False),
        (2, BY_NAME, {"exchange": EXCHANGE}, True),
        (2, replace(BY_NAME, credential=CredentialUse.REQUIRED), {"exchange": EXCHANGE}, True),
        (2, replace(BY_NAME, by_name=False), {}, False),
        (0, BY_NAME, {}, False),
    ],
)
def test_with_several_providers_a_module_that_knows_names_must_say_whose(
    idps: int, kind: ModuleKind, module: dict[str, Any], told: bool
) -> None:
    trusted = [
        {"name": name, "issuer": f"https://{name}.example", "audience": "a"} for name in ("ours", "theirs")[:idps]
    ]
    settings = read_settings(Settings, {"auth": {"trusted_idps": trusted}}, "", Problems())
    problems = Problems()
    configured = ConfiguredModule("hr", kind, "hr", None, None, {})
    whose_users_told([replace(configured, **module)], settings, problems)
    assert [problem.partition(";")[0] for problem in problems] == [
        "delegation.modules.hr.providers: is required: the module knows users by name, and namesakes at ours and theirs"
        " would be one user"
    ] * told


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (["hr-delegat"], "p: no tool 'hr-delegat'; did you mean hr-delegate?"),
        (["!hr-shema"], "p: no tool 'hr-shema'; did you mean hr-schema?"),
        (["xyzzy-*"], "p: no tool 'xyzzy-*'; there are hr-delegate, hr-schema, hr-table-details"),
        ([""], "p: no tool ''; there are"),
        (["crm-delegate"], "p: no tool 'crm-delegate'; did you mean hr-delegate?"),
    ],
)
def test_what_fits_no_tool_is_refused_with_the_nearest(written: list[str], told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        chosen(ACTIONS, written, prefix="hr", path="p")
    assert refused.value.message.startswith(told)


@pytest.fixture
def other_idp() -> Iterator[IdentityProvider]:
    with IdentityProvider(users=USERS, audience="https://mcp.test/mcp") as provider:
        yield provider


async def test_a_modules_tools_are_for_its_providers_users_alone(
    idp: IdentityProvider, other_idp: IdentityProvider
) -> None:
    ours, theirs, sink = Toy(), Toy(), MemorySink()
    issuers = [
        TrustedIssuer(name=name, issuer=each.issuer, audience=["https://mcp.test/mcp"], role_mappings=ROLES)
        for name, each in (("ours", idp), ("theirs", other_idp))
    ]
    settings = Settings(
        auth=AuthSettings(trusted_idps=issuers, permissions=PERMISSIONS),
        mcp=McpSettings(port=0, resource="https://mcp.test/mcp"),
    )
    server = MCPOAuthServer(settings, audit_sink=sink)
    server.register_delegation_module("one", ours, providers=["ours"])
    server.register_delegation_module("two", theirs, providers=["theirs"], tools=["say"])
    # A tool of one's own that forgets to ask whose token it is.
    server.register_tool(create_delegation_tool("round", "Round.", module="two", action="say", arguments={"text": "x"}))
    await server.start()
    served = Served(server, server.url.removesuffix("/mcp"), None)  # type: ignore[arg-type]  # only its client is used
    try:
        async with served.client(idp.issue("alice")) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "one-say" in names
            assert not any(name.startswith("two-") for name in names)
            with pytest.raises(Exception, match="Unknown tool"):
                await client.call_tool("two-say", {"text": "x"})
            round_about = await client.call_tool("round", {})
            assert round_about.is_error
            assert "permission_denied" in str(round_about.content)
        async with served.client(other_idp.issue("alice")) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {name for name in names if "-say" in name} == {"two-say"}
            assert not (await client.call_tool("two-say", {"text": "x"})).is_error
    finally:
        await server.stop()
    assert theirs.calls == ["say"]
    assert ours.calls == []
    reasons = [event.reason for event in sink.entries() if event.code == "permission_denied"]
    assert reasons == ["needs a token from the provider theirs"] * 3


async def test_the_road_itself_asks_whose_token_it_is() -> None:
    toy, registry = Toy(), DelegationRegistry()
    registry.register("toy", toy, providers=frozenset({"ours"}))
    pipeline = Pipeline(registry, Audit(MemorySink()))

    def session(provider: str) -> Session:
        allowed = frozenset({"toy:use"})
        return Session(issuer="i", subject="s", username="alice", provider=provider, permissions=allowed)

    with pytest.raises(PermissionDenied):
        await pipeline.delegate(session("theirs"), "toy", "data", {})
    await pipeline.delegate(session("ours"), "toy", "data", {})
    assert toy.calls == ["data"]


def test_who_restricts_an_action_twice_lets_in_whom_both_let_in() -> None:
    action = Action(name="x", description="x", providers=frozenset({"a", "b"}))
    assert action.only_for(frozenset({"b", "c"})).providers == {"b"}
    assert action.only_for(frozenset({"c"})).providers == frozenset()
    assert action.only_for(None) is action


async def test_two_modules_whose_tools_clash_are_refused_naming_both() -> None:
    issuer = TrustedIssuer(name="a", issuer="https://a.example", audience=["https://mcp.test/mcp"])
    server = MCPOAuthServer(Settings(auth=AuthSettings(trusted_idps=[issuer])))
    server.register_delegation_module("hr", Toy())
    with pytest.raises(ConfigurationError) as refused:
        server.register_delegation_module("crm", Toy(), prefix="hr")
    assert refused.value.message == (
        "two tools are called hr-say: from delegation.modules.hr and from delegation.modules.crm"
    )
    await server.release()
