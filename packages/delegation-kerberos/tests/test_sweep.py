"""Files with tickets that a killed process left behind."""

import asyncio
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kerberos_stage import ALICE, WEB, settings_for

from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.settings import KerberosSettings
from actas.testing.kdc import KerberosRealm

KILLED = """
import asyncio, os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_sweep import in_a_file

asyncio.run(in_a_file(sys.argv[2], sys.argv[3], lambda path: (print(path, flush=True), os.kill(os.getpid(), 9))))
"""


async def in_a_file(principal: str, keytab: str, inside: object) -> None:
    """Obtain a ticket, and call ``inside`` while it is in a file."""
    module = KerberosDelegation(KerberosSettings(principal=principal, keytab=keytab, targets=[WEB]))
    ticket = await module.ticket(ALICE, WEB, deadline=float("inf"))
    with ticket.cache_file() as path:
        assert callable(inside)
        inside(path)
    await module.destroy()


async def started(settings: KerberosSettings) -> None:
    module = KerberosDelegation(settings)
    await module.initialize()
    await module.destroy()


def test_the_next_process_removes_what_a_killed_one_left_and_nothing_else(realm: KerberosRealm) -> None:
    settings = settings_for(realm)
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), settings.principal, settings.keytab]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    left = Path(killed.stdout.strip())
    assert left.is_file(), killed.stderr
    foreign = Path("/dev/shm/actas-ticket-of-somebody")
    foreign.mkdir(mode=0o700)
    try:
        asyncio.run(in_a_file(settings.principal, settings.keytab, lambda path: _swept(settings, path, left)))
        assert foreign.exists()
    finally:
        shutil.rmtree(foreign)


def _swept(settings: KerberosSettings, own: Path, left: Path) -> None:
    with ThreadPoolExecutor(1) as pool:  # an event loop runs in this thread
        pool.submit(asyncio.run, started(settings)).result()
    assert own.exists() and not left.exists() and not left.parent.exists()
