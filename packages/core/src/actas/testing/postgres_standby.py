"""A hot standby of a real PostgreSQL server: it streams from it, answers what only reads, and can take its place."""

from actas.testing._postgres_programs import free_port
from actas.testing.postgres import PostgresServer


class StandbyPostgres(PostgresServer):
    """A standby of ``primary``, with the same users, lines and certificates, on a socket and a port of its own."""

    def __init__(self, primary: PostgresServer) -> None:
        source = f"host={primary.socket_folder} port={primary.port} user=postgres"
        super().__init__(
            primary._binaries, hba="", settings=f"{primary._settings}primary_conninfo = '{source}'\nhot_standby = on\n"
        )
        if "listen_addresses = ''" not in primary._settings:
            self.port = free_port()
        where = ["-h", str(primary.socket_folder), "-p", str(primary.port), "-U", "postgres"]
        self._run("pg_basebackup", "-D", str(self._data), *where, "-X", "stream", "-c", "fast", "--no-sync")
        self._configure()
        self._write("standby.signal", "")
        self.start()

    def promote(self) -> None:
        """Become a primary, and return when it is one."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")
