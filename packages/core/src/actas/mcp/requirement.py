"""What one route of a web application asks of its caller."""

import time
from collections.abc import Iterable

from starlette.requests import Request

from actas.core import Action, AuthorizationError, Question, Session
from actas.mcp.caller import current_pipeline, current_session, exchange_of


class Requirement:
    """Lets a request pass, or makes the door refuse it; made by :func:`requires`."""

    def __init__(self, action: Action) -> None:
        self._action = action

    async def __call__(self, request: Request) -> Session:
        """The caller's session.

        Raises:
            AuthorizationError: he may not. The door answers it: HTTP 403, with a challenge where a scope is missing.
            LookupError: the request did not come through the door, as on a public path.
        """
        session, authority = current_session(request), current_pipeline(request).authority
        action = self._action
        try:
            granted = authority.authorize(session, action, now=time.time())
            if authority.authorizers:
                await authority.confirm(
                    granted, Question(session=session, tool=action.name, module=None, action=action)
                )
        except AuthorizationError as error:
            exchange = exchange_of(request.scope)
            if exchange is not None and not exchange.refuse(error):
                exchange.refusal, exchange.error = exchange.challenges.rejected(error), error
            raise
        return session


def requires(
    permission: str | None = None, scopes: Iterable[str] = (), *, roles: Iterable[str] = (), name: str = "route"
) -> Requirement:
    """What a route asks for.

    In FastAPI it is a dependency, ``Annotated[Session, Depends(requires("orders:read"))]``; in Starlette it is called:
    ``session = await ORDERS(request)``.

    Args:
        permission: whoever lacks it is answered 403. None: every admitted session has it.
        scopes: whoever lacks one is answered 403 with a challenge that names all of them, to step up from.
        roles: whoever has none of them is answered 403. Empty: any role will do.
        name: what authorisers are asked about, as a tool's name.
    """
    return Requirement(
        Action(name=name, description="", permission=permission, scopes=frozenset(scopes), roles=frozenset(roles))
    )
