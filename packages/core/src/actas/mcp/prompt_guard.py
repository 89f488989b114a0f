"""Which prompts a caller sees, and filling them in. One that he may not see does not exist."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel

from actas.core import ActasError, ConfigurationError, PermissionDenied, Pipeline, Session, UnknownAction
from actas.mcp.completion import suggestions
from actas.mcp.prompts import Prompt
from actas.mcp.receipts import proof
from actas.mcp.schema import adapter
from actas.mcp.visibility import hidden

_Json = dict[str, Any]  # Any: JSON as the MCP schema has it

UNKNOWN = "Unknown prompt. List the prompts to see what there is."


class PromptGuard:
    """Holds the prompts; answers what a session sees and fills in what it asks for."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._prompts: dict[str, Prompt] = {}

    def __len__(self) -> int:
        return len(self._prompts)

    def add(self, prompts: Iterable[Prompt]) -> None:
        """Add prompts, all or none. Raises ConfigurationError: a name is taken, or the arguments are impossible."""
        known = dict(self._prompts)
        for prompt in prompts:
            name = prompt.action.name
            if name in known:
                raise ConfigurationError(f"two prompts are called {name}")
            try:
                adapter(prompt.action.parameters)
            except TypeError as error:
                raise ConfigurationError(f"the prompt {name}: {error}") from error
            known[name] = prompt
        self._prompts = known

    def scopes(self) -> set[str]:
        """All scopes that any prompt asks for."""
        return {scope for prompt in self._prompts.values() for scope in prompt.action.scopes}

    @property
    def completes(self) -> bool:
        """Whether any has suggestions."""
        return any(prompt.completions for prompt in self._prompts.values())

    async def listing(self, session: Session) -> list[_Json]:
        """The prompts that ``session`` sees, by entitlement, as ``prompts/list`` shows them."""
        return [prompt.listed() for prompt, why in await self._judged(session) if why is None]

    async def get(self, session: Session, name: str, arguments: Mapping[str, object]) -> _Json:
        """A ``GetPromptResult``.

        Raises:
            UnknownAction: there is no such prompt, for this caller. Recorded.
            ActasError: as the pipeline does.
        """
        prompt, pipeline = await self._seen(session, "get", name), self._pipeline
        result = await pipeline.call(
            session, prompt.action, arguments, lambda call: prompt.function(call, pipeline), source="prompt"
        )
        return {
            "description": prompt.action.description,
            "messages": _messages(result.data),
            "resultType": "complete",
            "_meta": proof(result.receipt),
        }

    async def complete(self, session: Session, name: str, argument: str, typed: Mapping[str, object]) -> _Json:
        """A ``CompleteResult`` for one argument. Raises as :meth:`get` does."""
        prompt = await self._seen(session, "complete", name)
        return await suggestions(
            self._pipeline, session, prompt.action, prompt.completions, argument, typed, source="prompt"
        )

    async def _seen(self, session: Session, method: str, name: str) -> Prompt:
        """The caller is told the same of a prompt that is hidden and of one that is not there; the minutes differ."""
        named = [(prompt, why) for prompt, why in await self._judged(session) if prompt.action.name == name]
        error: ActasError = UnknownAction(detail="there is no such prompt")
        for prompt, why in named:
            if why is None:
                return prompt
            error = PermissionDenied(detail=why)
        await self._pipeline.refuse(session, method, error, tool=name, source="prompt")
        raise UnknownAction(UNKNOWN)

    async def _judged(self, session: Session) -> list[tuple[Prompt, str | None]]:
        """All of them, each with why it is hidden from ``session``."""
        prompts = list(self._prompts.values())
        actions = [prompt.action for prompt in prompts]
        return list(zip(prompts, await hidden(self._pipeline, session, actions, source="prompt"), strict=True))


def _messages(data: object) -> list[object]:
    if isinstance(data, str):
        return [{"role": "user", "content": {"type": "text", "text": data}}]
    messages = cast("list[object]", data) if isinstance(data, list) else [data]
    return [
        each.model_dump(mode="json", by_alias=True, exclude_none=True) if isinstance(each, BaseModel) else each
        for each in messages
    ]
