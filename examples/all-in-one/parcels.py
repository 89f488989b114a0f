"""A service that knows its users by tokens made for it. Yours is written in anything."""

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

PARCELS = {"alice": ["to Lisbon", "to Oslo"], "bob": []}


async def parcels(request: Request) -> JSONResponse:
    """What the user of the verified token has to send."""
    return JSONResponse(PARCELS[request.scope["actas.session"].subject])


@asynccontextmanager
async def serving(issuer: str) -> AsyncGenerator[str]:
    """The URL of the service, on a port of the system's choice."""
    trusted = TrustedIssuer(
        name="acme",
        issuer=issuer,
        audience=["https://parcels.example.com"],
        actors=[KnownActor(subject="gateway")],
    )
    app = ReceivingMiddleware(Starlette(routes=[Route("/parcels", parcels)]), Authenticator([trusted], Permissions()))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
