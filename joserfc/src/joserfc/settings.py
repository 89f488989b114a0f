"""What an operator can set. The docstring under each field is what they read."""

from dataclasses import dataclass


# EDIT 2: your settings. Whatever may grow has a bound; a password is an actas.core.Secret, never a str.
@dataclass(frozen=True, kw_only=True)
class JoserfcSettings:
    """The table of a module of the kind ``joserfc``."""

    longest: int = 1000
    """Characters of a note that a caller is given."""

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise ValueError("longest must be greater than 0")
