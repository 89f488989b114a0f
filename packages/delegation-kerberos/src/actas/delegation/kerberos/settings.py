"""What an operator may write."""

from dataclasses import dataclass, field
from typing import Literal

from actas.delegation.kerberos.smb_settings import SmbSettings

HttpMethod = Literal["GET", "POST"]


@dataclass(frozen=True, kw_only=True)
class UserSettings:
    """How a session becomes a Kerberos principal. A name that fits nothing here is nobody's."""

    claim: str | None = None
    """Claim of the caller's token that has the name, such as `upn`. None: the `legacy_username` that the provider's
    `claim_mappings` set."""
    forms: dict[str, str] = field(default_factory=lambda: {"{user}": "{user}"})
    """How a name is written, and the principal that it means: `{ 'CORP\\{user}' = "{user}@CORP.EXAMPLE.COM" }`.
    `{user}` stands for letters, digits and `._-`, all else for itself, in upper or lower case. A principal without a
    realm is in the gateway's own. The first form that fits decides."""
    upn_suffixes: list[str] = field(default_factory=list[str])
    """Names `alice@SUFFIX` with one of these suffixes go to the KDC as they are (enterprise names), and it says whose
    they are. For Active Directory, whose user principal names need not be those of the realm."""


@dataclass(frozen=True, kw_only=True)
class HttpServiceSettings:
    """A web service that is called as the user with `Negotiate`; becomes the tool `PREFIX-http-NAME`."""

    base_url: str
    """Where it is: `https://intranet.example.com/app`. Every request goes there; plain `http` to the loopback only."""
    description: str
    """What it is good for, for the model that chooses it."""
    allow: list[str]
    """What may be requested: `GET /reports/{id}`; `{id}` stands for one segment, `**` at the end for one or more.
    GET and POST."""
    target: str | None = None
    """Its service principal name. None: `HTTP/` and the host of `base_url`. It must be among the `targets` too."""
    permission: str = "kerberos:http"
    """Who lacks it does not see the tool."""
    scopes: list[str] = field(default_factory=list[str])
    """Scopes that the caller's token needs."""
    networks: list[str] = field(default_factory=list[str])
    """Networks besides the public internet in which it may be, `10.2.0.0/16`."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust *instead of* the system's."""
    seconds: float = 20.0
    """Time of one request."""
    request_bytes: int = 1_000_000
    """Size of a body that is sent."""
    response_bytes: int = 1_000_000
    """Size of an answer; a larger one is refused."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """Bounds of what is asked of the KDC, and of what is kept."""

    threads: int = 8
    """Exchanges with the KDC at the same time, a quarter of them one user's. One that hangs takes one of them until the
    Kerberos library gives up."""
    kdc_seconds: float = 5.0
    """How long a call waits for the KDC; a shorter time that the caller has left wins."""
    ticket_seconds: int = 300
    """How long a ticket is used again. So long a user who was disabled, or a target that the KDC no longer allows, may
    go on."""
    tickets: int = 2_000
    """Tickets that are kept, all users and targets together; the one that was not used for longest goes first."""
    calls_per_user: int = 20
    """Calls of one user at the same time; others of the same user's wait."""


@dataclass(frozen=True, kw_only=True)
class KerberosSettings:
    """Kerberos services as the user, by constrained delegation. The gateway has a service account with a keytab; its
    realm's KDC says for which users and services it may obtain tickets, and `targets` says it again."""

    principal: str
    """The gateway's own principal, with its realm: `gateway/mcp.example.com@EXAMPLE.COM`."""
    keytab: str
    """File with its keys. It may be replaced while the server runs."""
    targets: list[str]
    """Services for which tickets may be obtained, each by its whole name: `HTTP/intranet.example.com`. There is no
    pattern, and no default."""
    users: UserSettings = field(default_factory=UserSettings)
    """How a session becomes a principal."""
    realms: list[str] = field(default_factory=list[str])
    """Realms besides the gateway's own in which users and targets may be."""
    permission: str = "kerberos:delegate"
    """Who lacks it does not see the tools that obtain tickets: `s4u2self`, `s4u2proxy`, `delegate`."""
    http: dict[str, HttpServiceSettings] = field(default_factory=dict[str, HttpServiceSettings])
    """Web services, by name."""
    smb: SmbSettings = field(default_factory=SmbSettings)
    """Files on SMB shares."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """Bounds."""
