"""What a policy can know: principal, action, resource and context, made from what an authoriser is asked.

The model and the token's issuer choose some of the text here. Cedar's JSON has objects that are more than
data (``__entity``, ``__extn``); no text of theirs may become one.
"""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import cast

from actas.core.models import Action, Question, Session
from actas.policy.cedar.engine import Json

LIST, CALL = "list", "call"
"""The two actions."""

_RESERVED = frozenset({"__entity", "__extn", "__expr"})
_DEEPEST = 32
_MOST_PARTS = 2_000
"""Values of one record at any depth. Cedar takes 3 µs for each, and everybody waits."""
_LONG = 2**63


class Untellable(ValueError):
    """Something that Cedar cannot be told without changing what it means. The text holds no value."""


def principal_id(session: Session) -> Json:
    """``User::"provider/subject"``. The subject alone is unique with its issuer only."""
    return {"type": "User", "id": f"{session.provider}/{session.subject}"}


def principal(session: Session) -> Json:
    """The user as an entity, in the role's entities."""
    attributes: dict[str, object] = {
        "provider": session.provider,
        "issuer": session.issuer,
        "subject": session.subject,
        "username": session.username,
        "legacy_username": session.legacy_username,
        "role": session.role,
        "roles": [session.role, *session.custom_roles],
        "permissions": sorted(session.permissions),
        "scopes": sorted(session.scopes),
        "client_id": session.client_id,
        "application": session.application,
        "actor": session.actors[0].subject if session.actors else None,
        "actors": [actor.subject for actor in session.actors],
        "claims": session.claims,
    }
    parents = [{"type": "Role", "id": role} for role in (session.role, *session.custom_roles)]
    return {"uid": principal_id(session), "attrs": told(attributes), "parents": parents}


def resource_id(question: Question) -> Json:
    """``Tool::"sql-delegate"``."""
    return {"type": "Tool", "id": question.tool}


def resource(question: Question) -> Json:
    """The tool as an entity, in its module's entity."""
    module, action = question.module, question.action
    parents = [] if module is None else [{"type": "Module", "id": module}]
    return {"uid": resource_id(question), "attrs": told(_about(module, action)), "parents": parents}


def _about(module: str | None, action: Action) -> dict[str, object]:
    return {"module": module, "action": action.name, "effect": action.effect, "permission": action.permission}


def request(question: Question, now: float) -> Json:
    """What is asked, at ``now`` (seconds since the epoch)."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    context: Json = {"now": {"__extn": {"fn": "datetime", "arg": moment}}}
    if question.parameters is not None:
        context["parameters"] = told(question.parameters)
    return {
        "principal": principal_id(question.session),
        "action": {"type": "Action", "id": LIST if question.parameters is None else CALL},
        "resource": resource_id(question),
        "context": context,
    }


def told(value: object) -> object:
    """``value`` as Cedar's JSON: what is None is left out, numbers that are no 64-bit integers become their text.

    Raises:
        Untellable: it is nested too deeply or has too many parts, or a name in it means something else to Cedar.
    """
    return _Telling().tell(value, 0)


class _Telling:
    """One value on its way; counts its parts."""

    def __init__(self) -> None:
        self._parts = 0

    def tell(self, value: object, depth: int) -> object:
        self._parts += 1
        if depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise Untellable(f"nested more than {_DEEPEST} deep, or of more than {_MOST_PARTS} parts")
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, str | bool):
            return value
        if isinstance(value, int):
            return value if -_LONG <= value < _LONG else str(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return self._record(cast("Mapping[object, object]", value), depth)
        if isinstance(value, list | tuple | set | frozenset):
            items = cast("list[object]", value)
            return [self.tell(item, depth + 1) for item in items if item is not None]
        return str(value)

    def _record(self, value: Mapping[object, object], depth: int) -> Json:
        record = {str(key): self.tell(item, depth + 1) for key, item in value.items() if item is not None}
        if not _RESERVED.isdisjoint(record):
            raise Untellable("a name in it is reserved: __entity, __extn or __expr")
        return record
