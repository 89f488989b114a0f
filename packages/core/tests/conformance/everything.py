"""An MCP server with one of everything that the official suite asks for, written with the SDK and without us.

The names are the suite's: its scenarios say which tool does what.
"""

import asyncio
import base64
import json
import struct
import zlib
from typing import Annotated, Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.tools import Tool
from mcp_types import (
    AudioContent,
    CallToolResult,
    Completion,
    CompletionArgument,
    CompletionContext,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    PromptReference,
    RequestParams,
    ResourceTemplateReference,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

from . import questions

PAUSE = 0.05
"""Seconds between two notifications of one call, as the scenarios want it."""
WHOLE_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""Of JSON Schema 2020-12 what a list of tools must not lose on its way; given by the suite."""


def server() -> MCPServer[Any]:
    """A new one."""
    made = MCPServer[Any]("everything", version="1.0", log_level="ERROR", tools=[_with_a_whole_schema()])
    _add_contents(made)
    _add_notifications(made)
    _add_resources(made)
    _add_prompts(made)
    _add_old_methods(made)
    questions.add(made)
    return made


def png() -> str:
    """One red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0\xff\0\0")
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    return base64.b64encode(image).decode()


def wav() -> str:
    """One silent sample."""
    form = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data" + struct.pack("<IH", 2, 0)
    return base64.b64encode(b"RIFF" + struct.pack("<I", len(form)) + form).decode()


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def _add_contents(made: MCPServer[Any]) -> None:
    @made.tool()
    def test_simple_text() -> str:
        """Text."""
        return "This is a simple text response for testing."

    @made.tool()
    def test_image_content() -> CallToolResult:
        """An image."""
        return CallToolResult(content=[ImageContent(type="image", data=png(), mime_type="image/png")])

    @made.tool()
    def test_audio_content() -> CallToolResult:
        """A sound."""
        return CallToolResult(content=[AudioContent(type="audio", data=wav(), mime_type="audio/wav")])

    @made.tool()
    def test_embedded_resource() -> CallToolResult:
        """A resource inside a result."""
        return CallToolResult(
            content=[_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]
        )

    @made.tool()
    def test_multiple_content_types() -> CallToolResult:
        """Several things at once."""
        return CallToolResult(
            content=[
                _text("Multiple content types test:"),
                ImageContent(type="image", data=png(), mime_type="image/png"),
                _embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
            ]
        )

    @made.tool()
    def test_custom_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        """A parameter that clients repeat in a header."""
        return region

    @made.tool()
    def test_error_handling() -> str:
        """Fails."""
        raise ToolError("This tool intentionally returns an error for testing")


def _with_a_whole_schema() -> Tool:
    """A tool whose schema no function signature would give."""

    def json_schema_2020_12_tool() -> str:
        """Takes what its schema says."""
        return "taken"

    return Tool.from_function(json_schema_2020_12_tool).model_copy(update={"parameters": WHOLE_SCHEMA})


def _add_notifications(made: MCPServer[Any]) -> None:
    @made.tool()
    async def test_tool_with_logging(ctx: Context[Any, Any]) -> str:
        """Says what it does."""
        await ctx.info("Tool execution started")
        await asyncio.sleep(PAUSE)
        await ctx.info("Tool processing data")
        await asyncio.sleep(PAUSE)
        await ctx.info("Tool execution completed")
        return "logged"

    @made.tool()
    async def test_logging_tool(ctx: Context[Any, Any]) -> str:
        """Says something to whoever wants to hear it."""
        await ctx.info("heard")
        return "said"

    @made.tool()
    async def test_tool_with_progress(ctx: Context[Any, Any]) -> str:
        """Says how far it is."""
        for progress in (0, 50, 100):
            await ctx.report_progress(progress, 100)
            await asyncio.sleep(PAUSE)
        return "done"

    @made.tool()
    async def test_reconnection(ctx: Context[Any, Any]) -> str:
        """Hangs up in the middle of a call."""
        await ctx.close_sse_stream()
        await asyncio.sleep(PAUSE)
        return "Reconnection test completed"

    @made.tool()
    async def test_trigger_tool_change(ctx: Context[Any, Any]) -> str:
        """Tells that the tools have changed."""
        await ctx.notify_tools_changed()
        return "told"

    @made.tool()
    async def test_trigger_prompt_change(ctx: Context[Any, Any]) -> str:
        """Tells that the prompts have changed."""
        await ctx.notify_prompts_changed()
        return "told"


def _add_resources(made: MCPServer[Any]) -> None:
    @made.resource("test://static-text", description="Text.", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @made.resource("test://static-binary", description="An image.", mime_type="image/png")
    def static_binary() -> bytes:
        return base64.b64decode(png())

    @made.resource("test://template/{id}/data", description="Data by id.", mime_type="application/json")
    def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @made.resource("test://watched-resource", description="One to subscribe to.", mime_type="text/plain")
    def watched() -> str:
        return "Watched resource content"


def _add_prompts(made: MCPServer[Any]) -> None:
    @made.prompt()
    def test_simple_prompt() -> UserMessage:
        """A prompt."""
        return UserMessage("This is a simple prompt for testing.")

    @made.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> UserMessage:
        """A prompt with arguments."""
        return UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")

    @made.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """A prompt with a resource inside."""
        resource = _embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
        return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]

    @made.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """A prompt with an image."""
        image = ImageContent(type="image", data=png(), mime_type="image/png")
        return [UserMessage(image), UserMessage("Please analyze the image above.")]

    @made.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        values = [word for word in ("paris", "park", "party", "test") if word.startswith(argument.value)]
        return Completion(values=values, total=len(values), has_more=False)


def _add_old_methods(made: MCPServer[Any]) -> None:
    """What 2026-07-28 has no more; the SDK wants them on its low-level server, and answers only the old wire."""

    async def accept(_: ServerRequestContext[Any, Any], params: RequestParams) -> EmptyResult:
        return EmptyResult()

    low = made._lowlevel_server
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, accept)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, accept)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, accept)
