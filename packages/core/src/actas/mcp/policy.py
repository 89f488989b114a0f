"""Who may use what of a server that was written without us: a small table, and nothing is allowed but by it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from actas.core import Action, ConfigurationError
from actas.mcp.patterns import fits

_MOST_REMEMBERED = 4096
"""Names, which callers choose."""

Kind = Literal["tool", "resource", "prompt", "method"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a caller needs."""

    permission: str | None
    """Whoever lacks it does not see what the rule is about. None, which must be said: every admitted session has it."""
    scopes: frozenset[str] = frozenset()
    """Whoever lacks one sees it and is told to step up."""
    roles: frozenset[str] = frozenset()
    """Whoever has none of these does not see it either. Empty: any role will do."""
    timeout: float | None = None
    """Seconds that a call may take; None takes ``mcp.tool_timeout``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one server: for each kind, a name or a pattern (``*`` stands for anything) and its rule.

    The first pattern that fits decides, so the narrower ones come first. What no pattern fits is hidden and refused.

    Raises:
        ConfigurationError: a pattern is empty, or can never be reached because an earlier one covers it.
    """

    tools: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    """By the tool's name."""
    resources: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    """By the resource's URI. A template is listed where a pattern fits it as it is written."""
    prompts: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    """By the prompt's name."""
    methods: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    """By the name of a method that MCP itself does not have: an extension's."""
    _actions: dict[tuple[Kind, str], Action] = field(
        default_factory=dict[tuple[Kind, str], Action], init=False, repr=False, compare=False
    )
    """The same action for the same name each time: decisions are remembered by it."""

    def __post_init__(self) -> None:
        problems = [
            problem
            for kind in ("tools", "resources", "prompts", "methods")
            for problem in _unreachable(kind, list(getattr(self, kind)))
        ]
        if problems:
            raise ConfigurationError(problems)

    def action(self, kind: Kind, name: str) -> Action | None:
        """What ``name`` needs, as an action; None where no rule fits it, or where it depends on how it is read."""
        if kind == "resource":
            rule = _agreed(self.resources, name)
        else:
            rule = _first({"tool": self.tools, "prompt": self.prompts, "method": self.methods}[kind], name)
        if rule is None:
            return None
        action = self._actions.get((kind, name))
        if action is None:
            if len(self._actions) >= _MOST_REMEMBERED:
                self._actions.clear()
            action = self._actions[kind, name] = Action(
                name=name,
                description="",
                permission=rule.permission,
                scopes=frozenset(rule.scopes),
                roles=frozenset(rule.roles),
                timeout=rule.timeout,
            )
        return action

    def scopes(self) -> list[str]:
        """All scopes that any rule asks for, sorted: for the resource's metadata."""
        tables = (self.tools, self.resources, self.prompts, self.methods)
        return sorted({scope for table in tables for rule in table.values() for scope in rule.scopes})


def _agreed(table: Mapping[str, Rule], uri: str) -> Rule | None:
    """The rule for ``uri``, if it is the same however a server reads it: percent-encoded or not.

    Otherwise ``files://%73ecret`` would be under another rule than the ``files://secret`` that it reads.
    """
    read = unquote(uri)
    if any(segment in (".", "..") for segment in re.split(r"[/\\]", read)):
        return None
    rule = _first(table, uri)
    return rule if rule is _first(table, read) else None


def _first(table: Mapping[str, Rule], name: str) -> Rule | None:
    for pattern, rule in table.items():
        if fits(pattern, name):
            return rule
    return None


def _unreachable(kind: str, patterns: list[str]) -> list[str]:
    problems: list[str] = []
    for index, pattern in enumerate(patterns):
        if not pattern:
            problems.append(f"policy.{kind}: an empty pattern is no name")
        for earlier in patterns[:index]:
            if fits(earlier, pattern):
                problems.append(f"policy.{kind}: {pattern!r} is never reached: {earlier!r} before it covers it")
                break
    return problems
