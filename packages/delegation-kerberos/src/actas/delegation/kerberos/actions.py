"""The actions that obtain tickets, and with which parameters. The fields' docstrings are what a model reads."""

from dataclasses import dataclass
from typing import Literal

from actas.core.models import Action


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """Parameters of ``s4u2proxy``."""

    target: str
    """The service, by its principal name as the description lists it: HTTP/intranet.example.com."""


@dataclass(frozen=True, kw_only=True)
class Delegate:
    """Parameters of ``delegate``."""

    action: Literal["obtain-ticket", "s4u2self", "s4u2proxy"]
    """s4u2self (or obtain-ticket) asks whether the realm knows you, s4u2proxy whether you can be taken to a service."""
    targetSPN: str | None = None  # as the system before this one called it
    """The service for s4u2proxy, by its principal name: HTTP/intranet.example.com."""


SELF, PROXY, DELEGATE = "s4u2self", "s4u2proxy", "delegate"


def actions(permission: str, targets: frozenset[str]) -> tuple[Action, ...]:
    """The three of them; whoever lacks ``permission`` does not see them."""
    listed = ", ".join(sorted(targets))
    return (
        Action(
            name=SELF,
            description="Ask the Kerberos realm whether it knows you, and may let this server act as you.",
            permission=permission,
        ),
        Action(
            name=PROXY,
            description=(
                "Obtain your Kerberos ticket for a service, to see whether you can be taken there; the ticket stays"
                f" with this server. Services: {listed}."
            ),
            parameters=Proxy,
            permission=permission,
        ),
        Action(
            name=DELEGATE,
            description=(
                "Obtain a Kerberos ticket as yourself: s4u2self asks whether the realm knows you, s4u2proxy whether you"
                f" can be taken to a service. The ticket stays with this server. Services: {listed}."
            ),
            parameters=Delegate,
            permission=permission,
        ),
    )
