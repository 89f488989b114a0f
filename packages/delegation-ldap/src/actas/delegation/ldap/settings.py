"""What an operator may write. Plain dataclasses: no driver is imported here."""

from dataclasses import dataclass, field
from typing import Literal

from actas.core.secret import Secret

Identity = Literal["proxied_authorization", "sasl_external", "kerberos"]


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The gateway's own entry. It may act as the users and needs no other right."""

    dn: str
    """Its distinguished name."""
    password: Secret
    """Its password: it crosses no connection without TLS."""


@dataclass(frozen=True, kw_only=True)
class CertificateSettings:
    """The client certificate with which the gateway says who it is."""

    certificate: str
    """PEM file of the certificate."""
    key: str
    """PEM file of its private key."""


@dataclass(frozen=True, kw_only=True)
class PermissionSettings:
    """Which permission allows what."""

    read: str = "ldap:read"
    """To search, read, compare, see groups, and ask who one is."""
    write: str = "ldap:write"
    """To change entries, where `writable` names attributes."""
    password: str = "ldap:password"  # noqa: S105 -- a permission's name
    """To change one's own password, where `password_change` is on."""


@dataclass(frozen=True, kw_only=True)
class GroupSettings:
    """How groups name their members."""

    attribute: str = "member"
    """The attribute with the members' names: `member`, `uniqueMember`."""
    base: str | None = None
    """Where groups are. None: below the first of `bases`."""
    in_chain: bool = False
    """Active Directory: let it follow nested groups itself (matching rule 1.2.840.113556.1.4.1941)."""
    most: int = 500
    """Groups that are returned at most; what is left out is told."""
    deepest: int = 10
    """Levels of nested groups that are followed."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What one call may take."""

    entries: int = 500
    """Entries returned; a longer result is cut, says so and has a cursor."""
    bytes: int = 1_000_000
    """Size of the answers of one call; a bigger result is cut, says so and has a cursor."""
    seconds: float = 20.0
    """Time of one call; a shorter time that the caller has left wins."""
    page: int = 500
    """Entries that are asked for at once (RFC 2696). Not more than the directory allows."""
    passed_over: int = 10_000
    """Entries that a cursor may pass over."""
    calls_per_user: int = 10
    """Calls of one user at the same time; others of the same user's wait."""


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """Connections. With `proxied_authorization` all are the gateway's own, otherwise each is one user's."""

    total: int = 20
    """Connections in all, and threads."""
    waiting: int = 200
    """Calls that may wait for a connection; further ones are refused at once."""
    wait_seconds: float = 5.0
    """How long a call waits for a connection before it is refused."""
    connect_seconds: float = 3.0
    """Time to reach a server, for each step: to connect, to begin TLS, to be let in."""
    idle_seconds: float = 60.0
    """After this time an unused connection is closed."""
    lifetime_seconds: float = 600.0
    """After this time a connection is not used again."""


@dataclass(frozen=True, kw_only=True)
class LdapSettings:
    """A directory in which every call is made as the user who made it. The directory's own rules decide what that
    user may see; there is no filtering of ours in their place."""

    urls: list[str]
    """The servers of the directory, tried in this order: `ldaps://ldap.example.com`, `ldap://…` (which begins TLS by
    StartTLS), `ldapi://%2Frun%2Fslapd%2Fldapi`."""
    identity: Identity
    """How the directory comes to see the user. `proxied_authorization`: by a critical control with each operation
    (RFC 4370). `sasl_external`: connections of the user's own, by the gateway's certificate. `kerberos`: connections of
    the user's own, by his own ticket; the way for Active Directory. Needs `tickets_from`."""
    authzid: str
    """What the directory calls a user, with `{}` where the name belongs: `dn:uid={},ou=people,dc=example,dc=com`, or
    `u:EXAMPLE\\{}` for Active Directory. It is compared with what the directory itself says, for each call."""
    bases: list[str]
    """Where tools may look: these entries and all below them."""
    attributes: list[str]
    """Attributes that tools may return. Passwords and keys are refused here."""
    asked_as: str | None = None
    """How a user is named to the directory, if not as in `authzid`: `u:{}`, which the directory must map itself."""
    principal: Literal["legacy_username", "username", "subject"] = "legacy_username"
    """Which of the session's names is the user's."""
    service: ServiceSettings | None = None
    """The gateway's own entry, for `proxied_authorization` by a password."""
    certificate: CertificateSettings | None = None
    """The gateway's certificate, for `sasl_external`, or for `proxied_authorization` in place of `service`."""
    probe: str | None = None
    """The name of a user who exists, such as one made for the purpose: the start proves with it that the directory
    switches to that user, and not to one who does not exist. Needed but for `kerberos`."""
    proof: Literal["whoami", "principal_name"] = "whoami"
    """How the directory says whom it sees: by Who am I? (RFC 4532), or by `msDS-PrincipalName` of the root entry, which
    Active Directory has."""
    searchable: list[str] = field(default_factory=lambda: ["objectClass"])
    """Attributes that filters may ask about besides `attributes`; they are not returned."""
    matching_rules: list[str] = field(default_factory=list[str])
    """Matching rules that filters may name, such as `1.2.840.113556.1.4.803`."""
    writable: list[str] = field(default_factory=list[str])
    """Attributes that the tool `modify` may change. Empty: there is no such tool."""
    password_change: bool = False
    """Whether there is a tool with which users change their own passwords (RFC 3062). Active Directory has no such
    operation."""
    permissions: PermissionSettings = field(default_factory=PermissionSettings)
    """Which permission allows what."""
    groups: GroupSettings = field(default_factory=GroupSettings)
    """How groups name their members."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust *instead of* the system's."""
    unencrypted: bool = False
    """Let `ldap://` to the loopback do without TLS."""
    cursor_key: Secret | None = None
    """Key of the cursors with which a long result goes on, at least 32 bytes: the same in all processes that serve the
    module. Without it, a cursor is good only in the process that made it."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """Bounds of one call."""
    pool: PoolSettings = field(default_factory=PoolSettings)
    """Bounds of the connections."""
