"""From the roles in a token to a role here, and from a role to permissions. Never raises."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from actas.core.models import UNASSIGNED

GUEST = "guest"
_BUILT_IN = ("admin", "user", GUEST)
_RESERVED = frozenset({*_BUILT_IN, UNASSIGNED, ""})


def _refuse_reserved(custom: Iterable[str]) -> None:
    taken = sorted(_RESERVED.intersection(custom))
    if taken:
        raise ValueError(f"custom: {', '.join(map(repr, taken))} cannot be a role of your own: the name has a meaning")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleMappings:
    """Which of a provider's roles mean which role here."""

    admin: list[str] = field(default_factory=list[str])
    """The provider's roles that mean `admin`."""
    user: list[str] = field(default_factory=list[str])
    """The provider's roles that mean `user`."""
    guest: list[str] = field(default_factory=list[str])
    """The provider's roles that mean `guest`."""
    custom: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Roles of your own, each with the provider's roles that mean it; the first that matches wins."""
    default_role: str = GUEST
    """The role of a user none of whose roles is mapped."""
    reject_unmapped_roles: bool = False
    """Refuse, with HTTP 403, a user none of whose roles is mapped, instead of giving `default_role`."""

    def __post_init__(self) -> None:
        _refuse_reserved(self.custom)
        if any("" in theirs for theirs in (self.admin, self.user, self.guest, *self.custom.values())):
            raise ValueError("an empty string is no role of a provider: name one, or leave the list empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What each role may do: permissions are plain names such as `sql:read`."""

    admin: list[str] = field(default_factory=list[str])
    """Permissions of the role `admin`. None come by themselves."""
    user: list[str] = field(default_factory=list[str])
    """Permissions of the role `user`."""
    guest: list[str] = field(default_factory=list[str])
    """Permissions of the role `guest`."""
    custom: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Permissions of each role of your own."""

    def __post_init__(self) -> None:
        _refuse_reserved(self.custom)

    def of(self, roles: Iterable[str]) -> frozenset[str]:
        """The union over ``roles``; an unknown role adds nothing."""
        return frozenset(permission for role in roles for permission in self._given_to(role))

    def givers(self, permission: str, roles: Iterable[str]) -> list[str]:
        """Those of ``roles`` that give ``permission``, in their order."""
        return [role for role in roles if permission in self._given_to(role)]

    def _given_to(self, role: str) -> list[str]:
        table = {"admin": self.admin, "user": self.user, GUEST: self.guest, **self.custom}
        return table.get(role, [])


@dataclass(frozen=True, slots=True)
class MappedRoles:
    """What a token's roles come to. ``rejection`` is set exactly where ``role`` is unassigned.

    ``custom_roles`` are the other roles of one's own that fit.
    """

    role: str
    custom_roles: tuple[str, ...] = ()
    rejection: str | None = None


class RoleMapper:
    """Maps with one provider's :class:`RoleMappings`: admin, user, guest, then custom in order, then the default."""

    def __init__(self, mappings: RoleMappings) -> None:
        self._custom = {role: frozenset(theirs) for role, theirs in mappings.custom.items()}
        built_in = {"admin": mappings.admin, "user": mappings.user, GUEST: mappings.guest}
        self._ordered = {role: frozenset(built_in[role]) for role in _BUILT_IN} | self._custom
        refuse = mappings.reject_unmapped_roles or mappings.default_role in ("", UNASSIGNED)
        self._default = None if refuse else mappings.default_role

    def map(self, claimed: object) -> MappedRoles:
        """Map the value of the roles claim.

        A string is one role, or several divided by spaces; a list of strings is several; None is
        none. Anything else, and any list with something else in it, is ``unassigned``.
        """
        matches = self.matches(claimed)
        if matches is None:
            return MappedRoles(UNASSIGNED, rejection="the roles claim is neither a string nor a list of strings")
        ours = list(matches)
        primary = ours[0] if ours else self._default
        if primary is None:
            return MappedRoles(UNASSIGNED, rejection="none of the token's roles is mapped")
        return MappedRoles(primary, tuple(role for role in ours if role in self._custom and role != primary))

    def matches(self, claimed: object) -> dict[str, list[str]] | None:
        """Each role here that something in the roles claim means, in the order of mapping, with what means it.

        None where the claim is neither a string nor a list of strings.
        """
        theirs = _as_roles(claimed)
        if theirs is None:
            return None
        return {role: sorted(names & theirs) for role, names in self._ordered.items() if names & theirs}


def _as_roles(claimed: object) -> frozenset[str] | None:
    if claimed is None:
        return frozenset()
    # The exact types that JSON gives: a subclass could run code of its own, and raise, when looked at.
    if type(claimed) is str:
        return frozenset(claimed.split()) | {claimed}
    if type(claimed) is list and all(type(role) is str for role in claimed):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- JSON
        return frozenset(claimed)  # pyright: ignore[reportUnknownArgumentType] -- every item was just checked
    return None
