from actas.mcp import MCPOAuthServer, create_delegation_tool

sql = {"sql": "SELECT * FROM orders"}
server = MCPOAuthServer("actas.toml")
server.register_tool(create_delegation_tool("my-orders", "Your orders.", module="sql", action="query", arguments=sql))
server.run()
