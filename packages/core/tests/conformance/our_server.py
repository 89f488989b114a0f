"""A server of our own with what it can have of what the suite asks for."""

from dataclasses import dataclass

from actas.core import (
    Action,
    DelegationCall,
    DelegationResult,
    DownstreamUnavailable,
    Health,
    MemorySink,
    Pipeline,
    Receipt,
    Session,
)
from actas.mcp import (
    MCPOAuthServer,
    Prompt,
    Settings,
    create_delegation_resource,
    create_delegation_tool,
)

PERMISSION = "everything:use"


@dataclass(frozen=True)
class Content:
    """What to return."""

    value: object
    """Text or JSON."""


@dataclass(frozen=True)
class Data:
    """Which data."""

    id: str
    """Its name."""


@dataclass(frozen=True)
class Arguments:
    """Of the prompt that has some."""

    arg1: str
    """The first."""
    arg2: str
    """The second."""


class Words:
    """Delegates to nobody."""

    actions = (
        Action(name="say", description="Says it.", parameters=Content, permission=PERMISSION),
        Action(name="fail", description="Fails.", permission=PERMISSION),
    )

    async def initialize(self) -> None: ...

    def principal(self, session: Session) -> str:
        return session.username

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        if not isinstance(call.parameters, Content):
            raise DownstreamUnavailable()
        return DelegationResult(
            data=call.parameters.value, receipt=Receipt(identity=call.session.username, method="none")
        )

    async def health_check(self) -> Health:
        return Health(healthy=True)

    async def destroy(self) -> None: ...


def our_server(settings: Settings) -> MCPOAuthServer:
    """It is not started."""
    server = MCPOAuthServer(settings, audit_sink=MemorySink(10_000))
    server.register_delegation_module("words", Words(), tools=[])
    text = {"value": "This is a simple text response for testing."}
    server.register_tool(
        create_delegation_tool("test_simple_text", "Text.", module="words", action="say", arguments=text)
    )
    server.register_tool(
        create_delegation_tool("test_error_handling", "Fails.", module="words", action="fail", arguments={})
    )
    _add_resources(server)
    _add_prompts(server)
    return server


def _add_resources(server: MCPOAuthServer) -> None:
    server.register_resource(
        create_delegation_resource(
            "test://static-text",
            "static-text",
            "Text.",
            module="words",
            action="say",
            arguments={"value": "This is the content of the static text resource."},
            mime_type="text/plain",
        )
    )
    server.register_resource(
        create_delegation_resource(
            "test://template/{id}/data",
            "template",
            "Data by its name.",
            module="words",
            action="say",
            arguments=_data,
            parameters=Data,
            mime_type="application/json",
        )
    )


def _data(call: DelegationCall) -> dict[str, object]:
    assert isinstance(call.parameters, Data)
    id = call.parameters.id
    return {"value": {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}}


def _add_prompts(server: MCPOAuthServer) -> None:
    async def simple(call: DelegationCall, _: Pipeline) -> str:
        return "This is a simple prompt for testing."

    async def filled_in(call: DelegationCall, _: Pipeline) -> str:
        assert isinstance(call.parameters, Arguments)
        return f"Prompt with arguments: arg1='{call.parameters.arg1}', arg2='{call.parameters.arg2}'"

    async def complete(call: DelegationCall, *_: object) -> list[str]:
        return ["test"]

    plain = Action(name="test_simple_prompt", description="Text.", permission=PERMISSION)
    with_arguments = Action(
        name="test_prompt_with_arguments", description="Text.", parameters=Arguments, permission=PERMISSION
    )
    server.register_prompt(Prompt(plain, simple))
    server.register_prompt(Prompt(with_arguments, filled_in, completions={"arg1": complete}))
