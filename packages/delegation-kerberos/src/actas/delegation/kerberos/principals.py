"""From a session to a Kerberos principal. Names come from tokens, so from whoever may edit a profile somewhere: what is
not plainly one user's name is refused, never repaired."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Session
from actas.delegation.kerberos.settings import KerberosSettings

_USER = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?"
"""One component: no ``/`` (another account of hers, or a service), no ``@`` (another realm), no ``\\`` (an escape), no
``$`` (a machine), and nothing beyond ASCII, where names look alike that are not."""
_PLACE = "{user}"
_REALM = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_SUFFIX = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_PRINCIPAL_FORM = re.compile(r"[A-Za-z0-9._-]*\{user\}[A-Za-z0-9._-]*(?:@(?P<realm>[^@]+))?")
_GATEWAY = re.compile(
    r"(?P<name>[A-Za-z0-9_$][A-Za-z0-9_.$-]{0,62}(?:/[A-Za-z0-9][A-Za-z0-9.-]{0,253})?)@(?P<realm>.+)"
)
_ESCAPED = re.compile(r"\\.")
"""In a principal as the library writes it, a sign that separates nothing."""
_LONGEST = 256
_SERVICE_ACCOUNTS = frozenset({"krbtgt", "kadmin", "kiprop", "changepw"})
"""The KDC's own; they belong to nobody who could call."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom the KDC is asked about."""

    name: str
    """``alice@EXAMPLE.COM``; ``alice.liddell@example.com`` where it is an enterprise name."""
    enterprise: bool = False
    """Whether the KDC is to find out whose name it is (RFC 6806 section 5)."""


class Principals:
    """Names the principals of sessions, as ``settings`` say.

    Settings with :func:`problems` make no sense; they are looked for first.
    """

    def __init__(self, settings: KerberosSettings) -> None:
        self._claim = settings.users.claim
        realm = realm_of(settings.principal)
        self._own = settings.principal.casefold()
        self._forms = [(_reader(form), _with_realm(meant, realm)) for form, meant in settings.users.forms.items()]
        self._suffixes = [suffix.casefold() for suffix in settings.users.upn_suffixes]
        self._upn = re.compile(rf"(?P<user>{_USER})@(?P<suffix>{_SUFFIX.pattern})")

    def of(self, session: Session) -> Principal:
        """The principal of ``session``'s user.

        Raises:
            PrincipalUnavailable: there is no name, or none that fits. Only ``detail`` says why.
        """
        name = session.legacy_username if self._claim is None else session.claims.get(self._claim)
        if session.application:
            raise PrincipalUnavailable(detail="an application has no Kerberos principal: no user is behind it")
        if not isinstance(name, str) or not name:
            raise PrincipalUnavailable(detail=f"the session has no {self._claim or 'legacy_username'}")
        if len(name) > _LONGEST:
            raise PrincipalUnavailable(detail="the name is too long for a principal")
        upn = self._upn.fullmatch(name)
        if upn and upn["suffix"].casefold() in self._suffixes:
            return Principal(self._allowed(upn["user"], name), enterprise=True)
        for reader, meant in self._forms:
            written = reader.fullmatch(name)
            if written:
                return Principal(self._allowed(written["user"], meant.replace(_PLACE, written["user"])))
        raise PrincipalUnavailable(detail="the name has none of the forms that users.forms and users.upn_suffixes give")

    def _allowed(self, user: str, principal: str) -> str:
        local = principal.partition("@")[0].casefold()
        if {user.casefold(), local} & _SERVICE_ACCOUNTS or principal.casefold() == self._own:
            raise PrincipalUnavailable(detail="the name is that of a service of the realm, or of this gateway")
        return principal


def is_users(found: str, gateway: str) -> bool:
    """Whether ``found``, as which a KDC knows an enterprise name, can be a user's: accounts of services, of machines
    and of ``gateway`` have such names too."""
    local = _ESCAPED.sub("", found.rpartition("@")[0])
    return not (
        "/" in local
        or local.endswith("$")
        or local.casefold() in _SERVICE_ACCOUNTS
        or found.casefold() == gateway.casefold()
    )


def realm_of(principal: str) -> str:
    """The part after the last ``@``."""
    return principal.rpartition("@")[2]


def problems(settings: KerberosSettings) -> Iterator[str]:
    """What is wrong with how sessions become principals, each problem with its path."""
    gateway = _GATEWAY.fullmatch(settings.principal)
    if not gateway or not _REALM.fullmatch(gateway["realm"]):
        yield "principal: must be the gateway's name with its realm, gateway/mcp.example.com@EXAMPLE.COM"
    for realm in settings.realms:
        if not _REALM.fullmatch(realm):
            yield f"realms: {realm!r} is no realm such as OTHER.EXAMPLE.COM"
    realms = {realm_of(settings.principal), *settings.realms}
    for form, meant in settings.users.forms.items():
        if form.count(_PLACE) != 1 or not form.isascii() or not form.isprintable():
            yield f"users.forms: {form!r} must have {_PLACE} once, and be plain ASCII besides"
        fits = _PRINCIPAL_FORM.fullmatch(meant)
        if not fits:
            yield f"users.forms: {meant!r} is no principal with {_PLACE}, such as {_PLACE}@EXAMPLE.COM"
        elif fits["realm"] is not None and fits["realm"] not in realms:
            yield f"users.forms: {meant!r} is in a realm that is neither the gateway's nor among realms"
    for suffix in settings.users.upn_suffixes:
        if not _SUFFIX.fullmatch(suffix):
            yield f"users.upn_suffixes: {suffix!r} is no suffix such as example.com"
    if not settings.users.forms and not settings.users.upn_suffixes:
        yield "users: without forms and upn_suffixes nobody has a principal"
    if settings.users.claim is not None and not settings.users.claim:
        yield "users.claim: must be the name of a claim"


def _reader(form: str) -> re.Pattern[str]:
    before, _, after = form.partition(_PLACE)
    return re.compile(f"(?i:{re.escape(before)})(?P<user>{_USER})(?i:{re.escape(after)})", re.ASCII)


def _with_realm(meant: str, realm: str) -> str:
    return meant if "@" in meant else f"{meant}@{realm}"
