"""Where a test KDC keeps principals, and who may delegate to whom. MIT's plain database has no place for the latter."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Protocol

from actas.testing.missing import ServerMissing
from actas.testing.slapd import Slapd
from actas.testing.slapd_lines import SUFFIX

Pairs = Iterable[tuple[str, str]]
"""Two principals each, with their realms."""
_COMPILE_SECONDS = 60


class KdcDatabase(Protocol):
    """One database of principals."""

    create_command: tuple[str, ...]
    """What makes it, but for realm and master password."""

    def configuration(self, folder: Path) -> str:
        """The body of its section in ``kdc.conf``; its own files go into ``folder``."""
        ...

    def write_lists(self, classic: Pairs, resource: Pairs, names: Pairs) -> None:
        """Who may delegate to whom from now on: services to targets, and targets for services; and enterprise names
        with the principals whose they are."""
        ...


class ListedDatabase:
    """MIT's own ``db2`` with lists beside it, compiled here: no other server, both ways of delegation.

    Raises:
        ServerMissing: there is no compiler, or there are no headers.
    """

    create_command: tuple[str, ...] = ("kdb5_util", "create", "-s", "-P")

    def __init__(self) -> None:
        self._lists: Path | None = None

    def configuration(self, folder: Path) -> str:
        """Compile it, and say where it is."""
        self._lists = folder / "delegation"
        self._lists.touch()
        original = next(iter(Path("/usr/lib").glob("*/krb5/plugins/kdb/db2.so")), None)
        if original is None:
            raise ServerMissing("The KDC is missing: apt-get install --no-install-recommends krb5-kdc")
        plugins = folder / "plugins"
        plugins.mkdir()
        compile_c("kdc_delegation.c", plugins / "listed.so", LISTS=str(self._lists), DB2=str(original))
        return f"db_library = listed\n    database_name = {folder}/principal"

    def write_lists(self, classic: Pairs, resource: Pairs, names: Pairs) -> None:
        """Replace the file that the KDC reads for each question."""
        if self._lists is None:
            raise RuntimeError("the KDC was not set up")
        lines = [f"to {service} {target}\n" for service, target in classic]
        lines += [f"from {target} {service}\n" for target, service in resource]
        lines += [f"is {name} {principal}\n" for name, principal in names]
        new = self._lists.with_suffix(".new")
        new.write_text("".join(lines))
        new.replace(self._lists)


class LdapDatabase:
    """Debian's ``krb5-kdc-ldap`` on a :class:`Slapd` with ``kerberos_schema=True``; no resource-based delegation."""

    def __init__(self, slapd: Slapd, realm: str) -> None:
        self._slapd = slapd
        self._realm = realm
        self._known: dict[str, set[str]] = {}
        self.create_command: tuple[str, ...] = (
            *("kdb5_ldap_util", "-H", slapd.ldapi_url, "create", "-subtrees", SUFFIX, "-sscope", "SUB"),
            *("-s", "-P"),
        )

    def configuration(self, folder: Path) -> str:
        """Where the directory is, and that the account of the tests administers it."""
        return (
            f"db_library = kldap\n    ldap_servers = {self._slapd.ldapi_url}\n"
            f"    ldap_kerberos_container_dn = cn=krbContainer,{SUFFIX}\n"
            "    ldap_kdc_sasl_mech = EXTERNAL\n    ldap_kadmind_sasl_mech = EXTERNAL"
        )

    def write_lists(self, classic: Pairs, resource: Pairs, names: Pairs) -> None:
        """Replace ``krbAllowedToDelegateTo`` of the services whose list changed.

        Raises:
            ValueError: ``resource`` or ``names`` has something.
        """
        if list(resource) or list(names):
            raise ValueError(
                "with MIT's LDAP database there is no resource-based delegation, and here no enterprise name"
            )
        wanted: dict[str, set[str]] = {service: set() for service in self._known}
        for service, target in classic:
            wanted.setdefault(service, set()).add(target)
        for service, targets in wanted.items():
            if targets != self._known.get(service, set()):
                where = f"krbPrincipalName={service},cn={self._realm},cn=krbContainer,{SUFFIX}"
                lines = [f"dn: {where}", "changetype: modify", "replace: krbAllowedToDelegateTo"]
                lines += [f"krbAllowedToDelegateTo: {target}" for target in sorted(targets)]
                self._slapd.modify("\n".join([*lines, ""]))
        self._known = wanted


def compile_c(source: str, library: Path, **defined: str) -> None:
    """Make a shared library of a C file beside this one.

    Raises:
        ServerMissing: the compiler or Kerberos' headers are not installed.
    """
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/kdb.h").exists():
        raise ServerMissing("A C compiler with Kerberos is missing: apt-get install gcc libc6-dev libkrb5-dev")
    macros = [f'-D{name}="{value}"' for name, value in defined.items()]
    with as_file(files("actas.testing") / source) as path:
        command = [
            compiler,
            "-shared",
            "-fPIC",
            "-O1",
            *macros,
            "-o",
            str(library),
            str(path),
            "-lkdb5",
            "-lkrb5",
            "-ldl",
        ]
        subprocess.run(  # noqa: S603 -- fixed program, no shell
            command,
            check=True,
            timeout=_COMPILE_SECONDS,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
