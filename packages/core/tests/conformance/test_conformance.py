"""The official suite of the MCP project, ``@modelcontextprotocol/conformance``, through the door.

Everything that a revision of the specification requires of a server is scored and must pass. What the suite runs
besides, extensions and checks that its own server does not pass, must end as it does without the door.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from actas.core import (
    Action,
    DelegationCall,
    DelegationResult,
    DownstreamUnavailable,
    Health,
    MemorySink,
    Receipt,
    Session,
)
from actas.core.roles import Permissions, RoleMappings
from actas.mcp import (
    AuthSettings,
    MCPOAuthServer,
    McpSettings,
    Policy,
    ProtectedServer,
    Rule,
    Settings,
    create_delegation_tool,
)
from actas.testing._postgres_programs import free_port
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.node import packages

from . import everything
from .injector import injecting, served
from .suite import HANDSHAKE, MODERN, PROJECT, Report, run

pytestmark = pytest.mark.filterwarnings("ignore:The logging capability is deprecated")

SCORED = {HANDSHAKE: 30, MODERN: 37}
"""How many scenarios each revision requires of a server: fewer would be a suite that was not run."""
PERMISSION = "everything:use"
RULE = Rule(permission=PERMISSION)
EVERYTHING = Policy(tools={"*": RULE}, resources={"*": RULE}, prompts={"*": RULE}, methods={"*": RULE})


@pytest.fixture(scope="module", autouse=True)
def suite() -> None:
    with needed_in_ci():
        packages(PROJECT)


@pytest.fixture(scope="module")
def idp() -> Iterator[IdentityProvider]:
    with IdentityProvider(users={"alice": DemoUser(roles=["staff"])}) as provider:
        yield provider


def settings(idp: IdentityProvider, port: int) -> Settings:
    """The suite comes as a web page of this machine would, once."""
    trusted = idp.trusted(role_mappings=RoleMappings(user=["staff"]))
    return Settings(
        auth=AuthSettings(trusted_idps=[trusted], permissions=Permissions(user=[PERMISSION])),
        mcp=McpSettings(port=port, allowed_origins=["http://127.0.0.1:*"]),
    )


Reports = Callable[[str], tuple[Report, Report]]


@pytest.fixture(scope="module")
def reports(idp: IdentityProvider) -> Reports:
    """What the suite says of a server of the SDK's, per revision: without a door, and through ours."""
    known: dict[str, tuple[Report, Report]] = {}

    def of(revision: str) -> tuple[Report, Report]:
        if revision not in known:
            bare, port = free_port(), free_port()
            protected = ProtectedServer(
                everything.server(), settings(idp, port), EVERYTHING, audit_sink=MemorySink(10_000)
            )
            with (
                served(everything.server().streamable_http_app(), bare),
                served(protected, port),
                injecting(port, idp.issue("alice")) as origin,
            ):
                known[revision] = run(f"http://127.0.0.1:{bare}/mcp", revision), run(f"{origin}/mcp", revision)
        return known[revision]

    return of


@pytest.mark.parametrize("revision", [HANDSHAKE, MODERN])
def test_everything_that_is_scored_passes_through_the_door(reports: Reports, revision: str) -> None:
    _, report = reports(revision)
    assert report.scored - report.passed == set(), report.complaints
    assert len(report.scored) == SCORED[revision]
    assert report.accepted


@pytest.mark.parametrize("revision", [HANDSHAKE, MODERN])
def test_the_door_changes_no_check_scored_or_not(reports: Reports, revision: str) -> None:
    bare, behind = reports(revision)
    assert behind.checks == bare.checks, behind.complaints


@dataclass
class Texts:
    """Delegates to nobody: what our own server has of what the suite asks for."""

    actions = (
        Action(name="text", description="Text.", permission=PERMISSION),
        Action(name="fail", description="Fails.", permission=PERMISSION),
    )

    async def initialize(self) -> None: ...

    def principal(self, session: Session) -> str:
        return session.username

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        if call.action.name == "fail":
            raise DownstreamUnavailable()
        data = "This is a simple text response for testing."
        return DelegationResult(data=data, receipt=Receipt(identity=call.session.username, method="none"))

    async def health_check(self) -> Health:
        return Health(healthy=True)

    async def destroy(self) -> None: ...


OURS = {
    HANDSHAKE: {
        "server-initialize",
        "ping",
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "dns-rebinding-protection",
    },
    MODERN: {
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "dns-rebinding-protection",
        "server-sse-multiple-streams",
        "input-required-result-unsupported-methods",
    },
}
"""The scenarios about what a server of ours has: tools that answer at once. It asks nothing back."""


@pytest.mark.parametrize("revision", [HANDSHAKE, MODERN])
def test_a_server_of_our_own_passes_what_it_has_something_for(idp: IdentityProvider, revision: str) -> None:
    port = free_port()
    server = MCPOAuthServer(settings(idp, port), audit_sink=MemorySink(10_000))
    server.register_delegation_module("texts", Texts(), tools=[])
    server.register_tool(
        create_delegation_tool("test_simple_text", "Text.", module="texts", action="text", arguments={})
    )
    server.register_tool(
        create_delegation_tool("test_error_handling", "Fails.", module="texts", action="fail", arguments={})
    )
    with served(server.asgi_app(port=port), port), injecting(port, idp.issue("alice")) as origin:
        report = run(f"{origin}/mcp", revision)
    assert OURS[revision] - report.passed == set(), report.complaints
    stateless = [each for each in report.complaints if each.startswith("server-stateless: ")]
    assert [each for each in stateless if "FAILURE: Not testable: server does not list" not in each] == []
