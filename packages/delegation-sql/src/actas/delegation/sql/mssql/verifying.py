"""Tries whether FreeTDS verifies certificates, in a process of its own.

pymssql keeps what servers said to failed logins in one place for the whole process and never clears it, so that where
many failed before, what is said now may not be seen any more. A new process has heard nothing.
"""

import json
import math
import secrets
import subprocess
import sys

from actas.core.errors import ConfigurationError, DownstreamUnavailable
from actas.delegation.sql.mssql.settings import MssqlSettings
from actas.delegation.sql.mssql.tls import section, stranger

_TRY = """
import json, sys, pymssql
given = json.load(sys.stdin)
try:
    pymssql.connect(**given).close()
    print("let in")
except pymssql.Error as error:
    print("got to the login" if given["user"] in repr(error) else "kept away")
"""
_MORE_SECONDS = 15.0
"""For the process to start."""


def check_verification(settings: MssqlSettings) -> None:
    """See that towards an authority that has signed nothing it does not get to the login. Blocks: it is for a thread.

    Raises:
        ConfigurationError: it got there, or it could not be tried.
        DownstreamUnavailable: there was no answer.
    """
    seconds = math.ceil(settings.pool.connect_seconds)
    attempt = {
        "server": section(settings.host, settings.port, stranger()),
        "port": str(settings.port),
        "user": f"actas-{secrets.token_hex(8)}",  # a login that failed is told by its name
        "password": secrets.token_hex(8),
        "database": settings.database,
        "login_timeout": seconds,
    }
    command = [sys.executable, "-P", "-c", _TRY]
    try:
        run = subprocess.run(  # noqa: S603 -- this very interpreter, and a program of ours
            command, input=json.dumps(attempt), capture_output=True, text=True, timeout=seconds + _MORE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise DownstreamUnavailable(detail="SQL Server, trying whether certificates are verified: no answer") from None
    match run.stdout.strip():
        case "kept away":
            return
        case "let in" | "got to the login":
            raise ConfigurationError("this FreeTDS does not verify certificates: install pymssql from PyPI")
        case _:
            raise ConfigurationError("whether this FreeTDS verifies certificates cannot be tried", detail=run.stderr)
