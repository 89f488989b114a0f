"""gRPC services as the user, each method a tool."""
