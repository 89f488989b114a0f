"""Debian's PostgreSQL with a keytab: users of a Kerberos realm log in with tickets of their own (GSSAPI)."""

import shutil
from pathlib import Path

from actas.testing.kdc import KerberosRealm
from actas.testing.postgres import DebianPostgres
from actas.testing.postgres_lines import KERBEROS_ENCRYPTED_HBA, KERBEROS_HBA

SERVICE = "postgres/localhost"
"""The server's principal."""


class KerberosPostgres(DebianPostgres):
    """Lets members of ``app_users`` in who have a ticket of ``realm`` for :data:`SERVICE`, over TLS or encrypted by it.

    Raises:
        ServerMissing: PostgreSQL is not installed.
    """

    def __init__(self, realm: KerberosRealm) -> None:
        self._realm = realm
        if not realm.keytab(SERVICE).exists():
            realm.add_service(SERVICE)
        lines = (KERBEROS_HBA + KERBEROS_ENCRYPTED_HBA).format(realm=realm.realm)
        super().__init__(hba=lines, environment=realm.environment)

    @property
    def keytab(self) -> Path:
        """The server's own copy of its keytab, which it reads at each login."""
        return self.folder / "server.keytab"

    def take_keytab(self) -> None:
        """Copy what the realm wrote: after a key was changed."""
        new = self.keytab.with_suffix(".new")
        shutil.copyfile(self._realm.keytab(SERVICE), new)
        self._give(new)
        new.chmod(0o600)
        new.replace(self.keytab)

    def _configure(self) -> None:
        self.take_keytab()
        line = f"krb_server_keyfile = '{self.keytab}'\n"
        if line not in self._settings:  # a standby takes them too
            self._settings += line
        super()._configure()
