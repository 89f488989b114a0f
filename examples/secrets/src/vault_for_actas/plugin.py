"""A secret provider: names that begin with ``vault.`` are what the command in ``VAULT_COMMAND`` prints for them."""

import os
import shlex
import subprocess
from collections.abc import Iterable

from actas.core import Secret
from actas.core.hookspecs import hookimpl
from actas.core.protocols import SecretProvider

PREFIX = "vault."
SECONDS = 10.0
"""How long the command may take: a start that hangs says nothing."""


class Vault:
    """Asks the command, once for each secret, when the server starts and when it reads its configuration anew."""

    name = "vault"

    def get(self, name: str) -> Secret | None:
        """What the command prints, without its last line's end; None where the name is none of ours.

        Raises:
            KeyError: ``VAULT_COMMAND`` is not set.
            subprocess.SubprocessError: the command failed, or took too long. The server says that it did, and no more.
        """
        if not name.startswith(PREFIX):
            return None
        command = [*shlex.split(os.environ["VAULT_COMMAND"]), name.removeprefix(PREFIX)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=SECONDS, text=True)
        return Secret(done.stdout.removesuffix("\n"))


@hookimpl
def actas_secret_providers() -> Iterable[SecretProvider]:
    """The one provider."""
    return [Vault()]
