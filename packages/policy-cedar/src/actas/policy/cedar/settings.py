"""What an operator may write."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CedarSettings:
    """Policies in Cedar. What no policy permits is refused, as Cedar has it."""

    policies: list[str]
    """Files of policies, at least one. Read when the server starts; together they are one set."""

    def __post_init__(self) -> None:
        if not self.policies or not all(self.policies):
            raise ValueError("policies must name at least one file")
