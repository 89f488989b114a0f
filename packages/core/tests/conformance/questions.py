"""Tools that ask back: over the open stream on the handshake wire, in several rounds on the modern one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer, Resolve, Sample
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import (
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, Field

Rounds = CallToolResult | InputRequiredResult

TITLED = [{"const": f"value{number}", "title": f"Option {number}"} for number in (1, 2, 3)]
PLAIN = ["option1", "option2", "option3"]


class Person(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


class Enums(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": list(PLAIN)})
    titledSingle: str = Field(json_schema_extra={"oneOf": list(TITLED)})
    legacyEnum: str = Field(json_schema_extra={"enum": list(PLAIN), "enumNames": ["One", "Two", "Three"]})
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": list(PLAIN)}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": list(TITLED)}})


def add(made: MCPServer[Any]) -> None:
    """All of them."""
    _add_asked_meanwhile(made)
    _add_asked_in_rounds(made)
    _add_stateful(made)


def form(message: str, **properties: str) -> ElicitRequest:
    """A form to fill in: each property with its JSON type."""
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def question(text: str, max_tokens: int = 100) -> CreateMessageRequest:
    """Something for the client's model to answer."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def said(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)])


def filled(ctx: Context[Any, Any], key: str, name: str) -> object:
    """What was filled in at ``key``; None where there is no such answer, or another kind of one."""
    answer = (ctx.input_responses or {}).get(key)
    return (answer.content or {}).get(name) if isinstance(answer, ElicitResult) else None


def ask(state: str | None = None, **requests: InputRequest) -> InputRequiredResult:
    return InputRequiredResult(input_requests=dict(requests), request_state=state)


def text_of(result: CreateMessageResult) -> str:
    return result.content.text if isinstance(result.content, TextContent) else "no text"


def _sample_of(prompt: str) -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text=prompt))], max_tokens=100)


def _sample() -> Sample:
    return _sample_of("Anything.")


def _add_asked_meanwhile(made: MCPServer[Any]) -> None:
    @made.tool()
    async def test_sampling(prompt: str, answer: Annotated[CreateMessageResult, Resolve(_sample_of)]) -> str:
        """Asks the client's model."""
        return f"LLM response: {text_of(answer)}"

    @made.tool()
    async def test_missing_capability(answer: Annotated[CreateMessageResult, Resolve(_sample)]) -> str:
        """Cannot do without the client's model."""
        return text_of(answer)

    async def elicit(ctx: Context[Any, Any], message: str, schema: type[BaseModel]) -> str:
        outcome = await ctx.elicit(message, schema)
        content = outcome.data.model_dump() if outcome.action == "accept" else {}
        return f"action={outcome.action}, content={content}"

    @made.tool()
    async def test_elicitation(message: str, ctx: Context[Any, Any]) -> str:
        """Asks the user."""
        return f"User response: {await elicit(ctx, message, Person)}"

    @made.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context[Any, Any]) -> str:
        """Asks the user, with defaults."""
        return f"Elicitation completed: {await elicit(ctx, 'Who are you?', Defaults)}"

    @made.tool()
    async def test_elicitation_sep1330_enums(ctx: Context[Any, Any]) -> str:
        """Asks the user to choose."""
        return f"Elicitation completed: {await elicit(ctx, 'What do you choose?', Enums)}"


def _add_asked_in_rounds(made: MCPServer[Any]) -> None:
    @made.tool()
    async def test_input_required_result_elicitation(ctx: Context[Any, Any]) -> Rounds:
        """Asks the user's name."""
        name = filled(ctx, "user_name", "name")
        return said(f"Hello, {name}!") if name else ask(user_name=form("What is your name?", name="string"))

    @made.tool()
    async def test_streaming_elicitation(ctx: Context[Any, Any]) -> Rounds:
        """Says how far it is before it asks."""
        await ctx.report_progress(50, 100)
        return ask(user_name=form("What is your name?", name="string"))

    @made.tool()
    async def test_input_required_result_sampling(ctx: Context[Any, Any]) -> Rounds:
        """Asks the client's model."""
        answer = (ctx.input_responses or {}).get("capital_question")
        if isinstance(answer, CreateMessageResult):
            return said(text_of(answer))
        return ask(capital_question=question("What is the capital of France?"))

    @made.tool()
    async def test_input_required_result_list_roots(ctx: Context[Any, Any]) -> Rounds:
        """Asks for the client's roots."""
        answer = (ctx.input_responses or {}).get("client_roots")
        if isinstance(answer, ListRootsResult):
            return said(" ".join(str(root.uri) for root in answer.roots))
        return ask(client_roots=ListRootsRequest())

    @made.tool()
    async def test_input_required_result_capabilities(ctx: Context[Any, Any]) -> Rounds:
        """Asks only what the client can answer."""
        able = ctx.client_capabilities
        asked: dict[str, InputRequest] = {}
        if able is not None and able.sampling is not None:
            asked["model"] = question("Anything.")
        if able is not None and able.elicitation is not None:
            asked["user"] = form("Anything?", answer="string")
        return ask(**asked) if asked else said("nobody to ask")

    @made.prompt()
    async def test_input_required_result_prompt(ctx: Context[Any, Any]) -> UserMessage | InputRequiredResult:
        """A prompt that asks first."""
        context = filled(ctx, "user_context", "context")
        if context:
            return UserMessage(f"In the context of {context}.")
        return ask(user_context=form("What context should the prompt use?", context="string"))


def _add_stateful(made: MCPServer[Any]) -> None:
    confirm: Mapping[str, InputRequest] = {"confirm": form("Please confirm", ok="boolean")}

    @made.tool()
    async def test_input_required_result_request_state(ctx: Context[Any, Any]) -> Rounds:
        """Remembers nothing: the client carries its state, sealed."""
        if ctx.request_state == "asked" and filled(ctx, "confirm", "ok") is not None:
            return said("state-ok")
        return ask("asked", **confirm)

    @made.tool()
    async def test_input_required_result_tampered_state(ctx: Context[Any, Any]) -> Rounds:
        """The SDK refuses a seal that was broken, before anything is asked here."""
        return said("untouched") if ctx.request_state == "sealed" else ask("sealed", **confirm)

    @made.tool()
    async def test_input_required_result_multiple_inputs(ctx: Context[Any, Any]) -> Rounds:
        """Asks everybody at once."""
        answers = ctx.input_responses or {}
        if ctx.request_state == "asked" and {"user_name", "greeting", "client_roots"} <= answers.keys():
            return said(f"Hello, {filled(ctx, 'user_name', 'name')}!")
        return ask(
            "asked",
            user_name=form("What is your name?", name="string"),
            greeting=question("Generate a greeting", 50),
            client_roots=ListRootsRequest(),
        )

    @made.tool()
    async def test_input_required_result_multi_round(ctx: Context[Any, Any]) -> Rounds:
        """Asks one thing after the other."""
        name, color = filled(ctx, "step1", "name"), filled(ctx, "step2", "color")
        if ctx.request_state == "named" and color:
            return said(f"You like {color}.")
        if ctx.request_state == "begun" and name:
            return ask("named", step2=form("Step 2: What is your favorite color?", color="string"))
        return ask("begun", step1=form("Step 1: What is your name?", name="string"))
