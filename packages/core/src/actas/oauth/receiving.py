"""For the service behind: nobody gets in without a token that was made for it, and it sees for whom and by whom."""

import json

from actas.core.errors import ActasError, AuthenticationError, AuthenticationUnavailable, SessionRejected
from actas.core.models import SCOPE_KEY, Session
from actas.oauth.asgi import ASGIApp, Headers, Message, Receive, Scope, Send, respond
from actas.oauth.authentication import Authenticator
from actas.oauth.credentials import credentials, token68
from actas.oauth.reasons import Reason


class ReceivingMiddleware:
    """ASGI middleware: verifies the bearer token of each request, and puts its session into the scope.

    ::

        app = ReceivingMiddleware(app, Authenticator([issuer], Permissions()))

    The application finds ``scope["actas.session"]``: ``subject`` is the user, ``actors`` who acts for the user. Who may
    act is said in the issuer's ``actors``. WebSockets are refused; tokens that are bound to a key are too. Where the
    server speaks ASGI's lifespan protocol, the authenticator is closed at its end.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing(send))
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            try:
                scope[SCOPE_KEY] = await self._session(scope["headers"])
            except ActasError as error:
                await _refuse(send, error)
                return
            await self._app(scope, receive, send)

    def _closing(self, send: Send) -> Send:
        """``send``, which closes the authenticator when the application has stopped."""

        async def closing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._authenticator.aclose()
            await send(message)

        return closing

    async def _session(self, headers: Headers) -> Session:
        found = credentials([(name.lower(), value) for name, value in headers])
        if found is None:
            raise AuthenticationError(Reason.MALFORMED)
        token, has_proof = found
        session = await self._authenticator.authenticate(token68(token))
        if has_proof or "cnf" in session.claims:
            raise AuthenticationError(Reason.MALFORMED, detail="bound to a key, and no proof is looked at here")
        if session.rejected:
            raise SessionRejected(detail=session.rejection_reason)
        return session


async def _refuse(send: Send, error: ActasError) -> None:
    status = 403
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if isinstance(error, AuthenticationUnavailable):
        status = 503
    elif isinstance(error, AuthenticationError):
        status = 401
        headers.append((b"www-authenticate", b'Bearer error="invalid_token"'))
    body = json.dumps({"error": error.code, "error_description": error.message}).encode()
    await respond(send, status, headers, body)
