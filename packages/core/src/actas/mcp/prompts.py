"""Prompts: messages that a user picks, filled in as that user."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actas.core import Action, DelegationCall, Pipeline
from actas.mcp.completion import Completer, checked
from actas.mcp.schema import json_schema

PromptFunction = Callable[[DelegationCall, Pipeline], Awaitable[object]]
"""Fills a prompt in. Gets the call, whose parameters are the prompt's arguments, and the pipeline to delegate with;
returns a text, which becomes the user's message, or a list of messages as MCP has them: ``role`` and ``content``."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt; ``function`` gets the call and the pipeline, and returns its text or messages.

    Raises:
        ConfigurationError: completions name something that is no argument.
    """

    action: Action
    """Name, description, permission, scopes, and the arguments as parameters: text, or what is written as text."""
    function: PromptFunction
    completions: Mapping[str, Completer] = field(default_factory=dict[str, Completer])
    """For arguments: what suggests values for them."""

    def __post_init__(self) -> None:
        checked(f"the prompt {self.action.name}", self.action, self.completions)

    def listed(self) -> dict[str, Any]:  # Any: JSON as the MCP schema has it
        """The prompt as ``prompts/list`` shows it."""
        schema = json_schema(self.action.parameters)
        required = schema.get("required", [])
        return {
            "name": self.action.name,
            "description": self.action.description,
            "arguments": [
                {"name": name, "description": each.get("description", ""), "required": name in required}
                for name, each in schema.get("properties", {}).items()
            ],
        }
