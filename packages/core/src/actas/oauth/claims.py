"""Reading claims: by path, as a name, as scopes, as a chain of actors."""

from typing import cast

from actas.core.errors import AuthenticationError
from actas.core.models import Actor
from actas.oauth.reasons import Reason

MAX_NAME_LENGTH = 255
"""Characters of a subject or any other name (OpenID Connect Core section 2)."""

MAX_ACTORS = 8
"""Links of an ``act`` chain."""


class ClaimPath:
    """Finds a claim: by its exact name first (so that URLs work), then through nested objects at the dots."""

    __slots__ = ("_parts", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._parts = tuple(path.split("."))

    def find(self, claims: dict[str, object]) -> object:
        """The claim's value, None where there is none. Never raises."""
        if (exact := claims.get(self._path)) is not None:
            return exact
        if len(self._parts) == 1:
            return None
        value: object = claims
        for part in self._parts:
            value = _member(value, part)
        return value


def _member(value: object, name: str) -> object:
    return cast(dict[str, object], value).get(name) if isinstance(value, dict) else None


def is_name(value: object) -> bool:
    """Whether ``value`` may stand for somebody: a string, not blank, bounded, all of it printable."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH and value.isprintable() and not value.isspace()


def name_or_none(value: object, claim: str) -> str | None:
    """``value`` as a name; None where the claim is absent.

    Raises:
        AuthenticationError: the claim is there and is no name.
    """
    if value is None:
        return None
    if not is_name(value):
        raise AuthenticationError(Reason.MALFORMED_CLAIM, detail=claim)
    return cast(str, value)


def demanded_name(value: object, claim: str) -> str:
    """``value`` as a name.

    Raises:
        AuthenticationError: the claim is absent or is no name.
    """
    name = name_or_none(value, claim)
    if name is None:
        raise AuthenticationError(Reason.MISSING_CLAIM, detail=claim)
    return name


def scopes_of(value: object) -> frozenset[str]:
    """Scopes from a string divided by spaces (RFC 9068 section 2.2.3) or from a list of such strings.

    Raises:
        AuthenticationError: it is something else.
    """
    if value is None:
        return frozenset()
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list):
        items = cast(list[object], value)
        if all(isinstance(item, str) for item in items):
            return frozenset(scope for item in cast(list[str], items) for scope in item.split())
    raise AuthenticationError(Reason.MALFORMED_CLAIM, detail="scope")


def actors_of(value: object) -> tuple[Actor, ...]:
    """The ``act`` chain, the current actor first (RFC 8693 section 4.1).

    Raises:
        AuthenticationError: a link is no object, has no subject, or there are more than :data:`MAX_ACTORS`.
    """
    chain: list[Actor] = []
    while value is not None:
        if not isinstance(value, dict) or len(chain) == MAX_ACTORS:
            raise AuthenticationError(Reason.MALFORMED_CLAIM, detail="act")
        link = cast(dict[str, object], value)
        chain.append(Actor(subject=demanded_name(link.get("sub"), "act"), issuer=name_or_none(link.get("iss"), "act")))
        value = link.get("act")
    return tuple(chain)
