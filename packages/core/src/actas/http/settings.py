"""How outgoing HTTP is done."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Limits and trust of outgoing HTTP. Redirects and proxy variables are never followed."""

    connect_timeout: float = 3.0
    """Seconds to reach the server, TLS included."""
    total_timeout: float = 10.0
    """Seconds for a whole exchange, however slowly the answer drips in."""
    max_response_bytes: int = 1_048_576
    """Largest answer that is read; a larger one is refused while it arrives."""
    max_connections: int = 20
    """Connections open at the same time."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust *instead of* the system's."""
    insecure_hosts: list[str] = field(default_factory=list[str])
    """Host names to which plain `http:` is allowed, besides the loopback. Whoever sits on the way to them can
    replace signing keys: for closed test networks only."""

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "total_timeout", "max_response_bytes", "max_connections"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0")
