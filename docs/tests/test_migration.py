"""The page for people who come from fastmcp-oauth: the configuration in its spelling is one of ours."""

import json

import pytest
from docs_blocks import blocks

from actas.core import MemorySink
from actas.mcp import MCPOAuthServer

pytestmark = pytest.mark.anyio

PAGE = "docs/how-to/migrate-from-fastmcp-oauth.md"


async def test_the_configuration_in_camel_case_is_good_as_it_stands() -> None:
    (block,) = [each for each in blocks(PAGE) if each.title == "actas.json"]
    server = MCPOAuthServer(json.loads(block.text), audit_sink=MemorySink())
    try:
        (issuer,) = server.settings.auth.trusted_idps
        assert (issuer.audience, issuer.claim_mappings.legacy_username) == (["mcp-server"], "legacy_sam_account")
        assert issuer.role_mappings.admin == ["admin", "administrator"]
        assert server.core_context.registry.names() == ["sql"]
    finally:
        await server.release()
