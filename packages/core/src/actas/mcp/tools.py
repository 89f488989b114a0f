"""Tools: what an MCP client sees of actions. All of them are carried out by the pipeline.

:func:`module_tools` makes them from a module's actions, :class:`Tool.own` from a function of one's
own, :func:`create_delegation_tool` from a module's action and a few lines.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from actas.core import (
    Action,
    ConfigurationError,
    DelegationCall,
    DelegationModule,
    DelegationResult,
    Effect,
    NoParameters,
    Pipeline,
    Question,
    Session,
)
from actas.mcp.patterns import chosen

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
"""Tool names as the MCP specification wants them (2025-11-25, Tools, tool names)."""

ToolFunction = Callable[[DelegationCall, Pipeline], Awaitable[object]]
"""A tool of one's own. Gets the validated call, and the pipeline to delegate with; returns JSON data
or a :class:`DelegationResult`."""

_Run = Callable[[Pipeline, Session, Mapping[str, object]], Awaitable[DelegationResult]]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: its public ``name``, what it declares, and its way through the pipeline, ``run``."""

    name: str
    action: Action
    """Permission, scopes, parameters and description of the tool."""
    origin: str
    """Where it comes from, for error messages."""
    run: _Run
    module: str | None = None
    """The module whose action it is; None for a tool of one's own."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"{self.origin}: {self.name!r} is no tool name: up to 128 letters, digits, and _ . - are allowed"
            )

    def question(self, session: Session, parameters: object = None) -> Question:
        """What authorisers are asked about this tool; without ``parameters``: whether it may be seen."""
        return Question(session=session, tool=self.name, module=self.module, action=self.action, parameters=parameters)

    @classmethod
    def own(cls, action: Action, function: ToolFunction) -> Self:
        """A tool that runs ``function`` in this process, under ``action``'s permission and scopes."""

        async def run(pipeline: Pipeline, session: Session, parameters: Mapping[str, object]) -> DelegationResult:
            return await pipeline.call(session, action, parameters, lambda call: function(call, pipeline))

        return cls(action.name, action, f"the tool {action.name}", run)


def module_tools(
    name: str,
    module: DelegationModule,
    *,
    prefix: str | None = None,
    only: Sequence[str] | None = None,
    providers: frozenset[str] | None = None,
) -> list[Tool]:
    """A tool for each action of ``module``, called ``<prefix>-<tool>``.

    Args:
        name: the module's name in the registry.
        prefix: the module's name where None.
        only: which actions become tools, see :func:`~.patterns.chosen`; all where None.
        providers: whose users may know of them; everybody's where None.

    Raises:
        ConfigurationError: ``only`` names what the module does not have.
    """
    public = prefix or name
    actions = chosen(module.actions, only, prefix=public, path=f"delegation.modules.{name}.tools")
    return [_module_tool(name, action.only_for(providers), public) for action in actions]


def _module_tool(module: str, action: Action, prefix: str) -> Tool:
    tool_name = f"{prefix}-{action.tool or action.name}"

    async def run(pipeline: Pipeline, session: Session, parameters: Mapping[str, object]) -> DelegationResult:
        return await pipeline.delegate(session, module, action.name, parameters, tool=tool_name)

    return Tool(tool_name, action, f"delegation.modules.{module}", run, module)


def create_delegation_tool(
    name: str,
    description: str,
    *,
    module: str,
    action: str,
    arguments: Mapping[str, object] | Callable[[DelegationCall], Mapping[str, object]],
    parameters: type = NoParameters,
    permission: str | None = None,
    roles: Iterable[str] = (),
    can_access: Callable[[Session], bool] | None = None,
    scopes: Iterable[str] = (),
    effect: Effect = Effect.READ,
) -> Tool:
    """A tool of one's own that delegates to a module.

    The caller needs both what is asked for here and what the module's action asks for.

    Args:
        arguments: what the action gets: fixed, or made from the call (``call.parameters`` is an
            instance of ``parameters``, ``call.session`` is the caller).
        parameters: a dataclass of what the model fills in; each field's docstring describes it.
        permission: who lacks it does not see the tool.
        roles: who has none of them does not see the tool.
        can_access: who it does not answer True for does not see the tool; it does no I/O.
        scopes: who lacks one sees the tool and is told to step up.
    """
    own = Action(
        name=name,
        description=description,
        parameters=parameters,
        permission=permission,
        roles=frozenset(roles),
        can_access=can_access,
        scopes=frozenset(scopes),
        effect=effect,
    )

    async def delegate(call: DelegationCall, pipeline: Pipeline) -> DelegationResult:
        made = arguments(call) if callable(arguments) else arguments
        return await pipeline.delegate(call.session, module, action, made, tool=name)

    return Tool.own(own, delegate)
