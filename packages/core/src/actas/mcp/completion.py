"""Suggestions for an argument of a prompt, or for a variable of a resource's template, while it is typed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

from actas.core import Action, ConfigurationError, DelegationCall, Pipeline, Session

MOST = 100
"""Suggestions in one answer (MCP, Completion)."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed so far: the parameters of a call that completes."""

    value: str
    """The beginning of the argument that is asked about."""
    others: dict[str, str] = field(default_factory=dict[str, str])
    """Arguments that have been filled in already."""


Completer = Callable[[DelegationCall, Pipeline], Awaitable[Sequence[str]]]
"""Suggests values: ``call.parameters`` is a :class:`Typed`, ``call.session`` is the caller, in whose name the pipeline
can delegate."""


def checked(origin: str, action: Action, completions: Mapping[str, Completer]) -> None:
    """Raises ConfigurationError: there are suggestions for something that is no parameter."""
    names = {each.name for each in fields(cast("Any", action.parameters))}  # Any: a dataclass
    for name in completions:
        if name not in names:
            raise ConfigurationError(f"{origin}: completions for {name!r}, which is no field of its parameters")


async def suggestions(
    pipeline: Pipeline,
    session: Session,
    action: Action,
    completions: Mapping[str, Completer],
    argument: str,
    typed: Mapping[str, object],
    *,
    source: str,
) -> dict[str, object]:
    """A ``CompleteResult``: under the permission and scopes of what is completed, and recorded like it.

    Raises:
        ActasError: as the pipeline does.
    """

    async def step(call: DelegationCall) -> object:
        completer = completions.get(argument)
        return [] if completer is None else [str(value) for value in await completer(call, pipeline)]

    asked = replace(action, parameters=Typed)
    result = await pipeline.call(session, asked, typed, step, source=source)
    values = cast("list[str]", result.data)
    completion = {"values": values[:MOST], "total": len(values), "hasMore": len(values) > MOST}
    return {"completion": completion, "resultType": "complete"}
