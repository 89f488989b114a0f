"""Questions about a session: soft ones answer, hard ones raise."""

from collections.abc import Iterable

from actas.core.errors import InsufficientScope, PermissionDenied, SessionExpired, SessionRejected
from actas.core.models import Action, Session


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
    """Whether ``session`` may know that ``action`` exists: by permission, never by scope.

    Hiding by scope would hide from a client that it could step up.
    """
    return not session.rejected and (action.permission is None or action.permission in session.permissions)


def authorize(session: Session, action: Action, *, now: float) -> None:
    """The one decision whether ``session`` may carry out ``action`` at ``now`` (seconds since the epoch).

    Raises:
        SessionRejected, SessionExpired, PermissionDenied, InsufficientScope: in this order.
    """
    if session.rejected:
        raise SessionRejected(detail=session.rejection_reason)
    if not now < session.expires_at:  # in this form NaN has expired
        raise SessionExpired(detail="the token expired after it was verified")
    if not entitled(session, action):
        raise PermissionDenied(detail=f"needs the permission {action.permission}")
    if not action.scopes <= session.scopes:
        raise InsufficientScope(action.scopes)
