"""The official suite of the MCP project, ``@modelcontextprotocol/conformance``, through the door.

Everything that a revision of the specification requires of a server is scored and must pass. What the suite runs
besides, extensions and checks that its own server does not pass, must end as it does without the door.
"""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from actas.core import MemorySink
from actas.core.roles import Permissions, RoleMappings
from actas.mcp import AuthSettings, McpSettings, Policy, ProtectedServer, Rule, Settings
from actas.testing._postgres_programs import free_port
from actas.testing.fixtures import needed_in_ci
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.node import packages

from . import everything
from .injector import injecting, served
from .our_server import PERMISSION, our_server
from .suite import HANDSHAKE, MODERN, PROJECT, Report, run

pytestmark = pytest.mark.filterwarnings("ignore:The logging capability is deprecated")

SCORED = {HANDSHAKE: 30, MODERN: 37}
"""How many scenarios each revision requires of a server: fewer would be a suite that was not run."""
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
    bare, behind = (but_tasks(report) for report in reports(revision))
    assert behind == bare


def but_tasks(report: Report) -> dict[str, Counter[tuple[str, str]]]:
    """Without the tasks extension: neither server has it, and what is asked of its tools is a matter of what an
    unknown tool is answered with. The SDK makes a tool's result of that, we the protocol error that MCP has for it."""
    return {name: found for name, found in report.checks.items() if not name.startswith("tasks-")}


OURS = {
    HANDSHAKE: {
        "server-initialize",
        "ping",
        "completion-complete",
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "resources-list",
        "resources-read-text",
        "resources-templates-read",
        "prompts-list",
        "prompts-get-simple",
        "prompts-get-with-args",
        "dns-rebinding-protection",
    },
    MODERN: {
        "completion-complete",
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "server-sse-multiple-streams",
        "resources-list",
        "resources-read-text",
        "resources-templates-read",
        "sep-2164-resource-not-found",
        "prompts-list",
        "prompts-get-simple",
        "prompts-get-with-args",
        "dns-rebinding-protection",
        "caching",
        "input-required-result-unsupported-methods",
    },
}
"""The scenarios about what a server of ours has: it answers at once, in text and JSON, and asks nothing back."""


@pytest.mark.parametrize("revision", [HANDSHAKE, MODERN])
def test_a_server_of_our_own_passes_what_it_has_something_for(idp: IdentityProvider, revision: str) -> None:
    port = free_port()
    server = our_server(settings(idp, port))
    with served(server.asgi_app(port=port), port), injecting(port, idp.issue("alice")) as origin:
        report = run(f"{origin}/mcp", revision)
    assert OURS[revision] - report.passed == set(), report.complaints
    stateless = [each for each in report.complaints if each.startswith("server-stateless: ")]
    assert [each for each in stateless if "FAILURE: Not testable: server does not list" not in each] == []
