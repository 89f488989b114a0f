"""The MCP server: door, guard, tools.

What is listed here is public. The way of a request: :mod:`actas.mcp.door` (who is it?),
:mod:`actas.mcp.endpoint` (the MCP protocol), :mod:`actas.mcp.guard` (what may he see and call?),
:mod:`actas.core.pipeline` (carry it out as him).
"""

from actas.mcp.server import MCPOAuthServer
from actas.mcp.settings import (
    AuditSettings,
    AuthSettings,
    DelegationSettings,
    DpopSettings,
    McpSettings,
    ProxySettings,
    Settings,
    TlsSettings,
)
from actas.mcp.tools import Tool, create_delegation_tool

__all__ = [
    "AuditSettings",
    "AuthSettings",
    "DelegationSettings",
    "DpopSettings",
    "MCPOAuthServer",
    "McpSettings",
    "ProxySettings",
    "Settings",
    "TlsSettings",
    "Tool",
    "create_delegation_tool",
]
