"""``tickets_from``: which module lends which one its users' tickets, and every mistake named with its path."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actas.core import ConfigurationError, MemorySink
from actas.mcp import MCPOAuthServer
from actas.mcp.config import parse
from actas.mcp.explanation import explain
from actas.testing.tokens import make_session

pytestmark = pytest.mark.anyio

IDP: dict[str, Any] = {"name": "main", "issuer": "https://idp.example", "audience": ["https://mcp.example/mcp"]}
OTHER = {**IDP, "name": "other", "issuer": "https://other.example"}
PLUGIN = """
from dataclasses import dataclass
from actas.core import Action, CredentialUse, DelegationResult, Health, ModuleKind, Receipt
from actas.core.hookspecs import hookimpl

ORDER = []

@dataclass(frozen=True)
class Nothing:
    pass

class Module:
    actions = (Action(name="act", description="Act."),)
    async def initialize(self): ORDER.append(type(self).__name__)
    def principal(self, session): return session.username + "@EXAMPLE.COM"
    async def delegate(self, call):
        ticket = await call.tickets.obtain("service/host")
        return DelegationResult(data=ticket, receipt=Receipt(identity=self.principal(call.session), method="ticket"))
    async def health_check(self): return Health(healthy=True)
    async def destroy(self): ORDER.append("-" + type(self).__name__)

class Lender(Module):
    async def ticket(self, session, target, *, deadline): return f"{session.username} for {target}"
    async def discard(self, session, target): pass

class Presenter(Module): pass

@hookimpl
def actas_module_kinds():
    return [ModuleKind(name="NAME", settings=Nothing, create=lambda name, settings: CLASS(), FLAGS)]
"""
KINDS = {
    "lends": ("Lender", "grants_tickets=True"),
    "presents": ("Presenter", "tickets=CredentialUse.REQUIRED"),
    "deaf": ("Presenter", "credential=CredentialUse.OPTIONAL"),
    "either": ("Presenter", "credential=CredentialUse.OPTIONAL, tickets=CredentialUse.OPTIONAL"),
    "pretends": ("Presenter", "grants_tickets=True"),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, (kind, flags) in KINDS.items():
        source = PLUGIN.replace("NAME", name).replace("CLASS", kind).replace("FLAGS", flags)
        (tmp_path / f"{name}.py").write_text(source)
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[actas]\n{name} = {name}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in KINDS:
        sys.modules.pop(name, None)


def written(**modules: dict[str, Any]) -> dict[str, Any]:
    return {"auth": {"trusted_idps": [IDP, OTHER]}, "delegation": {"modules": modules}}


def test_who_lends_stands_before_who_presents() -> None:
    made = parse(written(presents={"ticketsFrom": "corp"}, corp={"kind": "lends"}))
    assert [(module.name, module.tickets_from) for module in made.modules] == [("corp", None), ("presents", "corp")]


def test_whoever_may_not_use_the_lender_may_not_use_its_tickets() -> None:
    made = parse(
        written(
            lends={"providers": ["main"]},
            presents={"tickets_from": "lends"},
            either={"tickets_from": "lends", "providers": ["main", "other"]},
        )
    )
    assert [module.providers for module in made.modules] == [frozenset({"main"})] * 3


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        ({"presents": {}}, "delegation.modules.presents: tickets_from is required"),
        ({"presents": {"tickets_from": "corp"}}, "presents.tickets_from: 'corp' is no module that lends tickets"),
        ({"presents": {"tickets_from": "deaf"}, "deaf": {}}, "those that do: none is configured"),
        ({"presents": {"tickets_from": "lend"}, "lends": {}}, "those that do: lends"),
        ({"presents": {"tickets_from": "presents"}}, "'presents' is no module that lends tickets"),
        ({"presents": {"tickets_from": 1}, "lends": {}}, "presents.tickets_from: must be the name of a module"),
        ({"deaf": {"tickets_from": "lends"}, "lends": {}}, "a module of the kind deaf has no use for tickets"),
        ({"lends": {"tickets_from": "lends"}}, "a module of the kind lends has no use for tickets"),
        (
            {"either": {"tickets_from": "lends", "token_exchange": {}}, "lends": {}},
            "either.tickets_from: a module acts by an exchanged token or by tickets, not by both",
        ),
    ],
)
def test_each_mistake_is_named_with_its_path(modules: dict[str, dict[str, Any]], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(written(**modules))
    assert any(problem in line for line in caught.value.problems), caught.value.problems


def test_a_kind_that_says_it_lends_must() -> None:
    with pytest.raises(ConfigurationError, match=r"delegation\.modules\.pretends: Presenter is no TicketGranter"):
        MCPOAuthServer(written(pretends={}), audit_sink=MemorySink())


async def test_a_module_gets_what_the_other_one_lends_its_own_caller() -> None:
    server = MCPOAuthServer(written(presents={"tickets_from": "lends"}, lends={}), audit_sink=MemorySink())
    context = server.core_context
    session = replace(make_session("alice"), provider="main")
    try:
        result = await context.pipeline.delegate(session, "presents", "act", {})
        assert result.data == "alice for service/host"
        told = await explain(context.pipeline, server._sites.current.guard, server.settings, session, {})
        assert told["tickets"] == {"presents": {"from": "lends", "principal": "alice@EXAMPLE.COM"}}
    finally:
        await server.stop()
