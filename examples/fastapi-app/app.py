"""An application that was there before. The door is one line, and each route says what it wants to see."""

from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from actas.core import Session
from actas.mcp import DoorMiddleware, current_pipeline, requires

Reader = Annotated[Session, Depends(requires("sql:read"))]
Writer = Annotated[Session, Depends(requires("sql:read", scopes={"orders.write"}))]

app = FastAPI()
app.add_middleware(DoorMiddleware, configuration=Path(__file__).with_name("actas.toml"), public=["/health"])


@app.get("/orders")
async def orders(request: Request, session: Reader) -> list[str]:
    """Whose orders these are, PostgreSQL decides: it was logged in to as the caller."""
    query = {"sql": "SELECT item FROM orders"}
    result = await current_pipeline(request).delegate(session, "sql", "query", query, tool="GET /orders")
    return [item for (item,) in result.data["rows"]]


@app.post("/orders")
async def order(session: Writer) -> str:
    """Only with the scope; without it the answer tells a client to ask for it."""
    return f"{session.username} may write"


@app.get("/health")
async def health() -> str:
    """Public: needs no token, and has no session."""
    return "well"
