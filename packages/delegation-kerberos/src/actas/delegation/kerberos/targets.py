"""The services for which tickets may be obtained: a list, and whole names."""

import re
from collections.abc import Iterator

from actas.delegation.kerberos.failures import TargetRefused
from actas.delegation.kerberos.principals import realm_of
from actas.delegation.kerberos.settings import KerberosSettings

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
_TARGET = re.compile(
    rf"[A-Za-z][A-Za-z0-9_-]{{0,31}}/{_HOST}(?::[A-Za-z0-9_]{{1,16}})?(?:/{_HOST})?(?:@(?P<realm>{_HOST}))?", re.ASCII
)
"""``HTTP/host``, ``MSSQLSvc/host:1433``, ``ldap/host/domain``; with a realm or without."""


class Targets:
    """What may be reached. Settings with :func:`problems` make no sense; they are looked for first."""

    def __init__(self, settings: KerberosSettings) -> None:
        self._realm = realm_of(settings.principal)
        self._listed = frozenset(self._whole(target) for target in settings.targets)

    @property
    def listed(self) -> frozenset[str]:
        """All of them, with their realms."""
        return self._listed

    def has(self, target: str) -> bool:
        """Whether ``target`` is on the list."""
        return self._whole(target) in self._listed

    def found(self, target: str) -> str:
        """``target`` with its realm.

        Raises:
            TargetRefused: it is not on the list. What is no service's name at all is not either.
        """
        whole = self._whole(target)
        if whole not in self._listed:
            raise TargetRefused(detail="the target is not among targets")
        return whole

    def _whole(self, target: str) -> str:
        return target if "@" in target else f"{target}@{self._realm}"


def problems(settings: KerberosSettings) -> Iterator[str]:
    """What is wrong with the list, each problem with its path."""
    if not settings.targets:
        yield "targets: name the services that may be reached; without a list there is none"
    realms = {realm_of(settings.principal), *settings.realms}
    for target in settings.targets:
        written = _TARGET.fullmatch(target)
        if not written:
            yield f"targets: {target!r} is no service's name such as HTTP/web.example.com; there are no patterns"
        elif target.partition("/")[0].casefold() in ("krbtgt", "kadmin"):
            yield f"targets: {target!r} is the KDC's own; whoever has a ticket for it has all"
        elif written["realm"] is not None and written["realm"] not in realms:
            yield f"targets: {target!r} is in a realm that is neither the gateway's nor among realms"
