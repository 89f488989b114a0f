"""What the module can do, and with which parameters. The fields' docstrings are what a model reads."""

from dataclasses import dataclass, field
from typing import Literal

from actas.core.models import Action, Effect
from actas.delegation.ldap.settings import LdapSettings


@dataclass(frozen=True, kw_only=True)
class Search:
    """Parameters of ``search``."""

    filter: str | dict[str, object]
    """What to find: {"attribute": "cn", "begins_with": "Jan"}, with equals, at_least, at_most, sounds_like,
    begins_with, contains, ends_with, or present: true; combined by {"and": [...]}, {"or": [...]}, {"not": {...}}. Or an
    LDAP filter as text (RFC 4515), with values escaped."""
    base: str | None = None
    """Where to look: an entry's distinguished name. Without it, the directory's usual place."""
    scope: Literal["subtree", "one_level", "base"] = "subtree"
    """The base and all below it, only the entries right below it, or only the base itself."""
    attributes: list[str] = field(default_factory=list[str])
    """Attributes to return; all that are allowed where it is empty."""
    limit: int = 100
    """How many entries to return at most."""
    cursor: str | None = None
    """To go on where a result was cut: the cursor of that answer, with everything else as before."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """Parameters of ``read``."""

    entry: str | None = None
    """The entry's distinguished name; your own where it is left out."""
    attributes: list[str] = field(default_factory=list[str])
    """Attributes to return; all that are allowed where it is empty."""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Parameters of ``compare``."""

    entry: str
    """The entry's distinguished name."""
    attribute: str
    """The attribute."""
    value: str
    """Whether the attribute has this value."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Parameters of ``groups``."""

    entry: str | None = None
    """Whose groups: an entry's distinguished name; your own where it is left out."""
    nested: bool = True
    """Also the groups that these groups are in."""


@dataclass(frozen=True, kw_only=True)
class WhoAmI:
    """``whoami`` takes none."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of an entry."""

    operation: Literal["add", "delete", "replace"]
    """Add values, delete them (all of them where values is empty), or put them in the place of those there are."""
    attribute: str
    """The attribute."""
    values: list[str] = field(default_factory=list[str])
    """The values, as text."""


@dataclass(frozen=True, kw_only=True)
class Modify:
    """Parameters of ``modify``."""

    changes: list[Change]
    """What to change, all of it or nothing."""
    entry: str | None = None
    """The entry's distinguished name; your own where it is left out."""


@dataclass(frozen=True, kw_only=True)
class ChangeOwn:
    """Parameters of ``change-password``."""

    old: str
    """Your present one."""
    new: str
    """The one that you want."""


def actions(settings: LdapSettings) -> tuple[Action, ...]:
    """Those that the settings allow."""
    may = settings.permissions
    found = [
        Action(
            name="search",
            description="Find entries in the directory. You find what you yourself may see there.",
            parameters=Search,
            permission=may.read,
        ),
        Action(
            name="read",
            description="Read one entry of the directory by its distinguished name, or your own.",
            parameters=Read,
            permission=may.read,
        ),
        Action(
            name="compare",
            description="Ask whether an entry of the directory has a value, without reading it.",
            parameters=Compare,
            permission=may.read,
        ),
        Action(
            name="groups",
            description="The groups of the directory that an entry, or you yourself, belongs to.",
            parameters=Groups,
            permission=may.read,
        ),
        Action(name="whoami", description="As whom the directory sees you.", parameters=WhoAmI, permission=may.read),
    ]
    if settings.writable:
        found.append(
            Action(
                name="modify",
                description="Change attributes of an entry of the directory, where you yourself may do that.",
                parameters=Modify,
                permission=may.write,
                effect=Effect.DESTRUCTIVE,
            )
        )
    if settings.password_change:
        found.append(
            Action(
                name="change-password",
                description="Change your own password in the directory.",
                parameters=ChangeOwn,
                permission=may.password,
                effect=Effect.DESTRUCTIVE,
            )
        )
    return tuple(found)
