"""The server: what the configuration says, and a tool and a resource of its own."""

from pathlib import Path

from actas.core import Action, AuditSink, DelegationCall, Pipeline
from actas.mcp import MCPOAuthServer, Resource, create_delegation_tool

ORDERS = {"sql": "SELECT item, price FROM orders ORDER BY item"}


async def summary(call: DelegationCall, pipeline: Pipeline) -> dict[str, object]:
    """Several calls of one user, put together."""
    found = await pipeline.delegate(call.session, "orders", "query", ORDERS, tool="order-summary")
    rows = found.data["rows"]
    return {"orders": len(rows), "total": sum(price for _, price in rows)}


def made(audit_sink: AuditSink | None = None) -> MCPOAuthServer:
    """The server, not yet running."""
    server = MCPOAuthServer(Path(__file__).with_name("actas.toml"), audit_sink=audit_sink)
    server.register_tool(
        create_delegation_tool(
            "my-orders",
            "Your orders, with prices.",
            module="orders",
            action="query",
            arguments=ORDERS,
            permission="orders:read",
        )
    )
    about = Action(name="order-summary", description="How many orders, and for how much.", permission="orders:read")
    server.register_resource(Resource("orders://summary", about, summary))
    return server


if __name__ == "__main__":
    made().run()
