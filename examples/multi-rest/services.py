"""Two services that know their users by tokens made for them. Yours are written in anything."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from actas.core import Permissions
from actas.oauth.authentication import Authenticator
from actas.oauth.receiving import ReceivingMiddleware
from actas.oauth.settings import KnownActor, TrustedIssuer

ORDERS = {"alice": ["laptop"], "bob": ["desk"]}
TICKETS = {"alice": ["printer on fire"], "bob": ["keyboard lost"]}


def service(path: str, owned: dict[str, list[str]], issuer: str, audience: str) -> ReceivingMiddleware:
    """Answers each user what is theirs: ``actas.session`` is who the verified token is about."""

    async def answer(request: Request) -> JSONResponse:
        session = request.scope["actas.session"]
        through = session.actors[0].subject
        return JSONResponse({"user": session.subject, "through": through, path: owned[session.subject]})

    trusted = TrustedIssuer(name="acme", issuer=issuer, audience=[audience], actors=[KnownActor(subject="gateway")])
    app = Starlette(routes=[Route(f"/{path}", answer)])
    return ReceivingMiddleware(app, Authenticator([trusted], Permissions()))


@asynccontextmanager
async def serving(app: ReceivingMiddleware) -> AsyncGenerator[str]:
    """The URL of ``app``, on a port of the system's choice."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
