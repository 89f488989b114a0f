"""The MCP server: door, guard, tools.

What is listed here is public. The way of a request: :mod:`actas.mcp.door` (who is it?),
:mod:`actas.mcp.endpoint` (the MCP protocol), :mod:`actas.mcp.guard` (what may he see and call?),
:mod:`actas.core.pipeline` (carry it out as him).
"""

from actas.mcp.caller import current_pipeline, current_session
from actas.mcp.existing_server import ProtectedServer
from actas.mcp.middleware import DoorMiddleware
from actas.mcp.policy import Policy, Rule
from actas.mcp.policy_guard import step_up
from actas.mcp.prompts import Prompt
from actas.mcp.requirement import requires
from actas.mcp.resources import Resource, create_delegation_resource
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
    "DoorMiddleware",
    "DpopSettings",
    "MCPOAuthServer",
    "McpSettings",
    "Policy",
    "Prompt",
    "ProtectedServer",
    "ProxySettings",
    "Resource",
    "Rule",
    "Settings",
    "TlsSettings",
    "Tool",
    "create_delegation_resource",
    "create_delegation_tool",
    "current_pipeline",
    "current_session",
    "requires",
    "step_up",
]
