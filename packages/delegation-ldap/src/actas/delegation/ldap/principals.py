"""From a session to what the directory calls its user."""

import re
from functools import lru_cache

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Session
from actas.delegation.ldap.names import NotAName, escaped, parsed
from actas.delegation.ldap.settings import LdapSettings

_PLACE = "{}"
_KEPT = 4096
"""Names of late, so that they are not put together for each call."""
_SAFE = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.@-]| (?! )){0,62}[A-Za-z0-9_.@-]|[A-Za-z0-9_]", re.ASCII)


class Template:
    """An authorization identity with one place for a name.

    Raises:
        ValueError: it is no such template.
    """

    def __init__(self, written: str) -> None:
        kind, _, rest = written.partition(":")
        if kind not in ("dn", "u") or rest.count(_PLACE) != 1:
            raise ValueError("must be dn: or u: and a name, with {} where the user's own belongs")
        self._kind = kind
        self._before, self._after = rest.split(_PLACE)
        if kind == "u":
            if not re.fullmatch(r"[A-Za-z0-9_.@\\-]*", self._before + self._after, re.ASCII):
                raise ValueError("u: takes letters, digits and _ . @ \\ - besides {}")
            return
        try:
            name = parsed(rest.replace(_PLACE, "actas"))
        except NotAName as error:
            raise ValueError(f"is no distinguished name: {error}") from None
        if [value for part in name.parts for _, value in part].count("actas") != 1:
            raise ValueError("{} must be the whole value of one attribute")

    @property
    def is_name(self) -> bool:
        """Whether it makes distinguished names."""
        return self._kind == "dn"

    def of(self, name: str) -> str:
        """The identity of ``name``. Escaped, whatever it is; that it is safe is :func:`safe`'s to say."""
        value = escaped(name) if self.is_name else name
        return f"{self._kind}:{self._before}{value}{self._after}"


def safe(name: str) -> bool:
    """Whether a user may be called so: up to 64 ASCII letters, digits and ``_ . @ -``, with single blanks inside."""
    return _SAFE.fullmatch(name) is not None


class Principals:
    """Names users by the configuration's templates."""

    def __init__(self, settings: LdapSettings) -> None:
        self._field = settings.principal
        self._known_as = Template(settings.authzid)
        self._asked_as = Template(settings.asked_as or settings.authzid)
        self._service = parsed(settings.service.dn).key if settings.service else None
        self._known = lru_cache(_KEPT)(self._made)

    def of(self, session: Session) -> str:
        """What the directory calls the session's user: ``dn:…`` or ``u:…``.

        Raises:
            PrincipalUnavailable: it has no name, or an unsafe one, or it would be the gateway itself.
        """
        return self.known_as(self._name(session))

    def known_as(self, name: str) -> str:
        """What the directory calls ``name``. Raises PrincipalUnavailable."""
        return self._known(name)

    def _made(self, name: str) -> str:
        made = self._known_as.of(name)
        if self._known_as.is_name and parsed(made.partition(":")[2]).key == self._service:
            raise PrincipalUnavailable(detail="the name is the gateway's own")
        return made

    def asked_as(self, session: Session) -> str:
        """How the directory is asked for the session's user. Raises PrincipalUnavailable."""
        return self._asked_as.of(self._name(session))

    def asked_as_name(self, name: str) -> str:
        """How the directory is asked for ``name``."""
        return self._asked_as.of(name)

    def _name(self, session: Session) -> str:
        name: str | None = getattr(session, self._field)
        if not name:
            raise PrincipalUnavailable(detail=f"the session has no {self._field}")
        if not safe(name):
            raise PrincipalUnavailable(detail=f"the session's {self._field} is no safe name")
        return name
