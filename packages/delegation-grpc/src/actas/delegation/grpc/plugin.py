"""The entry point: says that there is a kind ``grpc``."""
