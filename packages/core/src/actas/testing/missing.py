"""What is said when a real part for tests is not installed."""


class ServerMissing(RuntimeError):
    """The server is not installed. The message names the package that has it."""
