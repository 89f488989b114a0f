"""A healthy plug-in with a kind of authoriser that notes what it is asked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from actas.core.errors import ConfigurationError
from actas.core.hookspecs import hookimpl
from actas.core.models import Decision, Question
from actas.core.protocols import Authorizer, AuthorizerKind

LOG: list[object] = []
"""``initialize`` and ``close``, and for each time that it was asked: the tools, and whether it was about a call."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    closed: list[str] = field(default_factory=list)
    """Tools that nobody may see."""
    word: str = "nothing"
    """What no text parameter may be."""
    scope: dict[str, str] = field(default_factory=dict)
    """Scopes that tools need besides their own."""
    broken: bool = False
    """Whether it fails when it is asked."""
    refuses_to_start: bool = False


class Hours:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def initialize(self) -> None:
        LOG.append("initialize")
        if self.settings.refuses_to_start:
            raise ConfigurationError("word: is not a word")

    async def decide(self, questions: Sequence[Question]) -> Sequence[Decision]:
        LOG.append(([each.tool for each in questions], questions[0].parameters is not None if questions else None))
        if self.settings.broken:
            raise RuntimeError("out of order")
        return [self._decide(each) for each in questions]

    def _decide(self, question: Question) -> Decision:
        if question.tool in self.settings.closed or question.module in self.settings.closed:
            return Decision.refuse("SECRET closing time")
        if getattr(question.parameters, "text", None) == self.settings.word:
            return Decision.refuse("SECRET word")
        scope = self.settings.scope.get(question.tool)
        if scope and scope not in question.session.scopes:
            return Decision.step_up(frozenset({scope}), question.session.scopes)
        return Decision.allow("open")

    async def close(self) -> None:
        LOG.append("close")


def create(settings: Settings) -> Authorizer:
    if settings.word == "invalid":
        raise ConfigurationError("word: is invalid")
    return Hours(settings)


@hookimpl
def actas_authorizer_kinds() -> Iterable[AuthorizerKind]:
    return [AuthorizerKind(name="hours", settings=Settings, create=create)]
