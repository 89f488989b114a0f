"""Questions about a session: soft ones answer, hard ones raise. What is decided without asking anybody."""

import logging
from collections.abc import Callable, Iterable

from actas.core.errors import (
    AuthorizationError,
    AuthorizerUnavailable,
    InsufficientScope,
    PermissionDenied,
    SessionExpired,
    SessionRejected,
    places,
)
from actas.core.models import Action, Decision, Session
from actas.core.roles import Permissions

logger = logging.getLogger(__name__)


class Authorization:
    """``has_…`` answers True or False; ``require_…`` returns None or raises.

    A rejected session has nothing, whatever its fields say. Refusals never name the role or the
    permission that is missing to the caller: that goes into the error's private detail.
    """

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def has_role(self, role: str) -> bool:
        """Whether ``role`` is the primary role or one of the custom ones."""
        session = self._session
        return not session.rejected and (session.role == role or role in session.custom_roles)

    def has_any_role(self, roles: Iterable[str]) -> bool:
        """Whether at least one of ``roles`` is there."""
        return any(self.has_role(role) for role in roles)

    def has_all_roles(self, roles: Iterable[str]) -> bool:
        """Whether every one of ``roles`` is there."""
        return not self._session.rejected and all(self.has_role(role) for role in roles)

    def has_permission(self, permission: str) -> bool:
        """Whether the session's roles give ``permission``."""
        return not self._session.rejected and permission in self._session.permissions

    def has_scope(self, scope: str) -> bool:
        """Whether the token carries ``scope``."""
        return not self._session.rejected and scope in self._session.scopes

    def has_any_scope(self, scopes: Iterable[str]) -> bool:
        """Whether the token carries at least one of ``scopes``."""
        return any(self.has_scope(scope) for scope in scopes)

    def has_all_scopes(self, scopes: Iterable[str]) -> bool:
        """Whether the token carries every one of ``scopes``."""
        return not self._session.rejected and all(self.has_scope(scope) for scope in scopes)

    def require_role(self, role: str) -> None:
        """Raises PermissionDenied where :meth:`has_role` is False."""
        self._require(self.has_role(role), f"needs the role {role}")

    def require_any_role(self, roles: Iterable[str]) -> None:
        """Raises PermissionDenied where :meth:`has_any_role` is False."""
        roles = tuple(roles)
        self._require(self.has_any_role(roles), f"needs one of the roles {', '.join(roles)}")

    def require_all_roles(self, roles: Iterable[str]) -> None:
        """Raises PermissionDenied where :meth:`has_all_roles` is False."""
        roles = tuple(roles)
        self._require(self.has_all_roles(roles), f"needs all the roles {', '.join(roles)}")

    def require_permission(self, permission: str) -> None:
        """Raises PermissionDenied where :meth:`has_permission` is False."""
        self._require(self.has_permission(permission), f"needs the permission {permission}")

    def require_scope(self, scope: str) -> None:
        """Raises InsufficientScope where :meth:`has_scope` is False."""
        self.require_all_scopes((scope,))

    def require_any_scope(self, scopes: Iterable[str]) -> None:
        """Raises InsufficientScope where :meth:`has_any_scope` is False."""
        scopes = frozenset(scopes)
        if not self.has_any_scope(scopes):
            raise InsufficientScope(scopes)

    def require_all_scopes(self, scopes: Iterable[str]) -> None:
        """Raises InsufficientScope, which names all of ``scopes``, where one is missing."""
        scopes = frozenset(scopes)
        if not self.has_all_scopes(scopes):
            raise InsufficientScope(scopes)

    def _require(self, granted: bool, detail: str) -> None:
        if not granted:
            raise PermissionDenied(detail=detail)


def entitled(session: Session, action: Action) -> bool:
    """Whether ``session`` may know that ``action`` exists: by provider, permission, role, ``can_access``; not by scope.

    Hiding by scope would hide from a client that it could step up.
    """
    return hidden_because(session, action) is None


def hidden_because(session: Session, action: Action) -> str | None:
    """Why ``session`` may not know that ``action`` exists, for the operator; None where it may."""
    if session.rejected:
        return session.rejection_reason or "the session is rejected"
    if action.providers is not None and session.provider not in action.providers:
        return f"needs a token from the provider {' or '.join(sorted(action.providers))}"
    if action.permission is not None and action.permission not in session.permissions:
        return f"needs the permission {action.permission}"
    if action.roles and session.role not in action.roles and action.roles.isdisjoint(session.custom_roles):
        return f"needs one of the roles {', '.join(sorted(action.roles))}"
    return None if action.can_access is None else _barred(session, action.name, action.can_access)


def _barred(session: Session, name: str, can_access: Callable[[Session], object]) -> str | None:
    """What ``can_access`` has against ``session``. It is foreign code: only True lets in."""
    try:
        answer = can_access(session)
    except Exception as error:  # whatever it raises, it did not say yes
        logger.error("can_access of %s raised %s", name, places(error))
        return f"can_access raised {type(error).__name__}"
    if answer is True:
        return None
    if answer is not False:
        logger.error("can_access of %s answered with a %s, not True or False", name, type(answer).__name__)
        return f"can_access answered with a {type(answer).__name__}"
    return "can_access said no"


def objection(session: Session, action: Action, *, now: float) -> Decision | None:
    """What stands against ``session`` carrying out ``action`` at ``now`` (seconds since the epoch); None: nothing.

    The order is fixed: a rejected session, an expired token, no entitlement, too few scopes.
    """
    if session.rejected:
        return Decision.refuse(session.rejection_reason or "the session is rejected", code=SessionRejected.code)
    if not now < session.expires_at:  # in this form NaN has expired
        return Decision.refuse("the token expired after it was verified", code=SessionExpired.code)
    hidden = hidden_because(session, action)
    if hidden is not None:
        return Decision.refuse(hidden)
    if not action.scopes <= session.scopes:
        return Decision.step_up(action.scopes, session.scopes)
    return None


def grounds(action: Action, permissions: Permissions, roles: tuple[str, ...]) -> str:
    """Why somebody with ``roles``, whom nothing stands against, may: ``permission sql:read by role user``."""
    parts = [] if action.providers is None else ["provider"]
    if action.permission is not None:
        givers = permissions.givers(action.permission, roles)
        parts.append(f"permission {action.permission}" + (f" by role {', '.join(givers)}" if givers else ""))
    if action.roles:
        parts.append(f"role {', '.join(role for role in roles if role in action.roles)}")
    if action.can_access is not None:
        parts.append("can_access")
    if action.scopes:
        parts.append(f"scope {' '.join(sorted(action.scopes))}")
    return "; ".join(parts) or "open to every admitted session"


def error_of(decision: Decision) -> AuthorizationError:
    """The error that a refusal becomes: permission_denied, where its code is none of ours."""
    if decision.code == InsufficientScope.code:
        return InsufficientScope(decision.scopes, detail=decision.reason)
    plain = (SessionRejected, SessionExpired, AuthorizerUnavailable)
    kind = next((each for each in plain if each.code == decision.code), PermissionDenied)
    return kind(detail=decision.reason)
