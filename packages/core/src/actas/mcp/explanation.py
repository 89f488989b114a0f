"""Why is this caller allowed, or refused? The same rules as on the road, asked one by one and told to the operator.

Nothing here is for callers: it names roles, permissions and policies. Nothing is called, and nothing recorded.
"""

import time
from collections.abc import Mapping
from typing import cast

from actas.core import ActasError, Decision, InvalidParameters, Pipeline, RoleMapper, Session, UnknownAction
from actas.mcp.builtin import describe
from actas.mcp.guard import Guard
from actas.mcp.schema import validate_parameters
from actas.mcp.settings import Settings
from actas.mcp.tools import Tool
from actas.oauth.claims import ClaimPath
from actas.oauth.settings import TrustedIssuer

Arguments = Mapping[str, object]
"""What a tool would be called with."""

_DEPENDS = Decision.refuse("on its arguments, which the authorizers look at")


async def explain(
    pipeline: Pipeline, guard: Guard, settings: Settings, session: Session, arguments: Mapping[str, Arguments]
) -> dict[str, object]:
    """From claims to roles, permissions, tools and downstream identities.

    ``allowed`` of a tool is None where authorisers would look at arguments that are not given.

    Args:
        arguments: for each tool, by name: what it would be called with, for rules that look at it.
    """
    roles = (session.role, *session.custom_roles)
    hidden = await guard.hidden(session)
    return {
        "session": describe(session),
        "rejected": session.rejection_reason if session.rejected else None,
        "roles": _roles(settings, session),
        "permissions": {each: settings.auth.permissions.givers(each, roles) for each in sorted(session.permissions)},
        "tools": {
            name: await _tool(pipeline, session, tool, hidden[name], arguments.get(name))
            for name, tool in guard.tools.items()
        },
        "token_exchange": _exchanges(pipeline, session),
        "tickets": _tickets(pipeline, session),
        "becomes": {name: principal(pipeline, name, session) for name in pipeline.registry.names()},
    }


def principal(pipeline: Pipeline, module: str, session: Session) -> dict[str, str]:
    """Who ``session`` is to ``module``, or why it is nobody there."""
    try:
        return {"principal": pipeline.registry.get(module).principal(session)}
    except ActasError as error:
        return {"code": error.code, "why": error.detail or error.message}


def _exchanges(pipeline: Pipeline, session: Session) -> dict[str, object]:
    """What each module's downstream gets in place of the caller's token; modules that get none are left out."""
    sources = {name: pipeline.registry.credentials(name) for name in pipeline.registry.names()}
    return {name: dict(source.plan(session)) for name, source in sources.items() if source is not None}


def _tickets(pipeline: Pipeline, session: Session) -> dict[str, object]:
    """Whose tickets each module would present; modules that present none are left out."""
    lenders = {name: pipeline.registry.granter(name) for name in pipeline.registry.names()}
    names = {id(module): name for name, module in pipeline.registry.items()}
    return {
        name: {"from": names[id(lender)], **principal(pipeline, names[id(lender)], session)}
        for name, lender in lenders.items()
        if id(lender) in names
    }


def unknown(name: str) -> dict[str, object]:
    """What there is to say of a tool that is not there."""
    return {"visible": False, "allowed": False, "code": UnknownAction.code, "reason": f"there is no tool {name}"}


def _roles(settings: Settings, session: Session) -> dict[str, object]:
    issuer = next(each for each in settings.auth.trusted_idps if each.name == session.provider)
    claimed = ClaimPath(issuer.claim_mappings.roles).find(dict(session.claims))
    matched = RoleMapper(issuer.role_mappings).matches(claimed) or {}
    return {
        "claim": issuer.claim_mappings.roles,
        "value": claimed,
        "matched": matched,
        "because": _because(issuer, session, matched),
    }


def _because(issuer: TrustedIssuer, session: Session, matched: Mapping[str, list[str]]) -> str:
    if session.rejected:
        return session.rejection_reason or "the session is rejected"
    if session.role in matched:
        custom = "custom." if session.role in issuer.role_mappings.custom else ""
        return f"role_mappings.{custom}{session.role} has {', '.join(matched[session.role])}"
    if matched:
        return "the current actor may not use the roles that the user has"
    return "none of the token's roles is mapped: default_role"


async def _tool(
    pipeline: Pipeline, session: Session, tool: Tool, hidden: str | None, arguments: Arguments | None
) -> dict[str, object]:
    decision, verdicts = await _decided(pipeline, session, tool, hidden, arguments)
    becomes = None if tool.module is None else principal(pipeline, tool.module, session)
    if decision.allowed and becomes is not None and "why" in becomes:
        decision = Decision.refuse(f"{tool.module}: {becomes['why']}", code=becomes["code"])
    return {
        "visible": hidden is None,
        "allowed": None if decision is _DEPENDS else decision.allowed,
        "code": decision.code,
        "reason": decision.reason,
        "scopes": sorted(decision.scopes or tool.action.scopes),
        "missing_scopes": sorted(decision.missing),
        "authorizers": verdicts,
        "module": tool.module,
        "action": tool.action.name,
        "becomes": becomes,
    }


async def _decided(
    pipeline: Pipeline, session: Session, tool: Tool, hidden: str | None, arguments: Arguments | None
) -> tuple[Decision, dict[str, object]]:
    """The decision about a call, and each authoriser's own word, in the road's order."""
    authority = pipeline.authority
    decision = authority.decide(session, tool.action, now=time.time())
    if not decision.allowed and not decision.missing:
        return decision, {}
    listing = _told(await authority.verdicts(tool.question(session)))
    if hidden is not None:
        return Decision.refuse(hidden), {"list": listing}
    if not decision.allowed:
        return decision, {"list": listing}
    try:
        parameters = validate_parameters(tool.action, arguments or {})
    except InvalidParameters as error:
        if arguments is not None:
            return Decision.refuse(error.detail or error.message, code=error.code), {"list": listing}
        return (_DEPENDS, {"list": listing}) if authority.authorizers else (decision, {})
    question = tool.question(session, parameters)
    (answer,) = await authority.ask([question])
    if answer.allowed and answer.reason:
        answer = Decision.allow(f"{decision.reason}; {answer.reason}")
    verdicts = {"list": listing, "call": _told(await authority.verdicts(question))} if authority.authorizers else {}
    return (answer if authority.authorizers else decision), cast("dict[str, object]", verdicts)


def _told(verdicts: Mapping[str, Decision]) -> dict[str, object]:
    return {name: {"allowed": each.allowed, "reason": each.reason} for name, each in verdicts.items()}
