"""For a Strawberry service of your own, behind :class:`actas.oauth.receiving.ReceivingMiddleware`."""

from collections.abc import Mapping
from typing import Any, cast

from strawberry.permission import BasePermission
from strawberry.types import Info

from actas.core.models import SCOPE_KEY, Session


class IsActingUser(BasePermission):
    """Lets in requests whose token was verified: ``permission_classes=[IsActingUser]``."""

    message = "Not allowed."
    error_extensions = {"code": "FORBIDDEN"}  # noqa: RUF012 -- as Strawberry declares it

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:  # Any: as Strawberry declares it
        """Whether the request has a session."""
        return _found(info) is not None


def acting_user(info: Info) -> Session:
    """The session of the request: ``subject`` is the user, ``actors`` who acts for the user.

    Raises:
        PermissionError: there is none: the middleware is missing.
    """
    session = _found(info)
    if session is None:
        raise PermissionError("no verified token")
    return session


def _found(info: Info) -> Session | None:
    context: Any = info.context  # Any: a mapping or an object, as the integration makes it
    request: Any = (
        cast("Mapping[str, Any]", context).get("request") if isinstance(context, Mapping) else context.request
    )
    session = request.scope.get(SCOPE_KEY)
    return session if isinstance(session, Session) else None
