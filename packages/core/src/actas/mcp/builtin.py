"""The tools that every server has: ``user-info`` and ``health-check``."""

from dataclasses import dataclass
from typing import cast

from actas.core import Action, DelegationCall, DelegationModule, Pipeline, Question, Session
from actas.core.authorization import entitled
from actas.core.errors import InvalidParameters
from actas.mcp.tools import Tool


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What to ask."""

    module: str | None = None
    """One module's name; all of them where it is left out."""


async def _user_info(call: DelegationCall, pipeline: Pipeline) -> dict[str, object]:
    return describe(call.session)


def describe(session: Session) -> dict[str, object]:
    """A session as JSON, without its token and its other claims."""
    return {
        "provider": session.provider,
        "issuer": session.issuer,
        "subject": session.subject,
        "username": session.username,
        "legacy_username": session.legacy_username,
        "role": session.role,
        "custom_roles": list(session.custom_roles),
        "permissions": sorted(session.permissions),
        "scopes": sorted(session.scopes),
        "client_id": session.client_id,
        "application": session.application,
        "actors": [actor.subject for actor in session.actors],
    }


async def _health_check(call: DelegationCall, pipeline: Pipeline) -> dict[str, object]:
    parameters = cast("HealthCheck", call.parameters)  # the validator made it
    modules = [
        name
        for name, module in pipeline.registry.items()
        if await _knows(pipeline, call.session, name, module) and parameters.module in (None, name)
    ]
    if parameters.module is not None and not modules:
        raise InvalidParameters("module: there is no such module. Leave it out to see all of them.")
    health = await pipeline.registry.health_check_all(modules)
    return {
        "healthy": all(each.healthy for each in health.values()),
        "modules": {name: {"healthy": each.healthy, "message": each.message} for name, each in health.items()},
    }


async def _knows(pipeline: Pipeline, session: Session, name: str, module: DelegationModule) -> bool:
    """Whether ``session`` may know that there is this module: it could see a tool of it."""
    known = [action for action in module.actions if entitled(session, action)]
    questions = [
        Question(session=session, tool=f"{name}-{action.tool or action.name}", module=name, action=action)
        for action in known
    ]
    answers = await pipeline.authority.ask(questions)
    return any(answer.allowed or answer.missing for answer in answers)


USER_INFO = Tool.own(
    Action(name="user-info", description="Who you are to this server: identity, roles, permissions and scopes."),
    _user_info,
)

HEALTH_CHECK = Tool.own(
    Action(
        name="health-check",
        description="Whether the systems behind the tools that you can see answer.",
        parameters=HealthCheck,
    ),
    _health_check,
)
