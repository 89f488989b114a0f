"""Credential caches of the Kerberos library: in memory, each with a name that nobody guesses, gone when nobody holds
them; and as files, for as long as another library needs one.

Whatever is called here makes a library context of its own: they take 5 µs, and belong to one thread each.
"""

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import gssapi
import krb5

from actas.core.errors import InternalError

KERBEROS = gssapi.MechType.kerberos
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
NO_KEYTAB = "MEMORY:actas-no-keys"
"""What credentials are told is their keytab: where a cache has nothing to offer, the library would else sign in as
whoever the machine's own keytab is for."""
_PREFIX = "actas-ticket-"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of our own, 0700, is made in it


class _Credentials(gssapi.Credentials):
    """They know their cache by its name alone: these have the cache itself, which stays for as long as they do."""


class MemoryCache:
    """A credential cache in memory. The library wipes its keys when nobody holds this object any more."""

    def __init__(self, client: krb5.Principal, credentials: Iterable[krb5.Creds]) -> None:
        context = krb5.init_context()
        cache = krb5.cc_new_unique(context, b"MEMORY")
        self.name = f"MEMORY:{(cache.name or b'').decode()}"
        self.wipe = weakref.finalize(self, _destroy, self.name)
        krb5.cc_initialize(context, cache, client)
        for each in credentials:
            krb5.cc_store_cred(context, cache, each)

    def credentials(
        self, principal: str | None = None, mechanisms: Iterable[gssapi.OID] = (KERBEROS,)
    ) -> gssapi.Credentials:
        """Fresh credentials that use what is in it. Without ``principal`` nothing is looked at until they are used.

        Raises:
            GSSError: it was wiped, or is not ``principal``'s.
        """
        name = None if principal is None else gssapi.Name(principal, gssapi.NameType.kerberos_principal)
        store: dict[str | bytes, str | bytes] = {"ccache": self.name, "client_keytab": NO_KEYTAB}
        made = _Credentials(name=name, usage="initiate", store=store, mechs=mechanisms)
        vars(made)["cache"] = self
        return made

    def content(self) -> list[krb5.Creds]:
        """All that is in it."""
        context = krb5.init_context()
        return list(krb5.cc_resolve(context, self.name.encode()))


def stored(credentials: gssapi.Credentials) -> list[krb5.Creds]:
    """The tickets that ``credentials`` have come to hold; there is no other way to see them."""
    context = krb5.init_context()
    cache = krb5.cc_new_unique(context, b"MEMORY")
    name = f"MEMORY:{(cache.name or b'').decode()}"
    try:
        credentials.store(store={"ccache": name}, usage="initiate", overwrite=True)
        return list(cache)
    finally:
        _destroy(name)


def alone(granted: krb5.Creds) -> krb5.Creds:
    """``granted`` without the ticket that was shown to get it, which names the gateway and is nobody's concern.

    The last thing in MIT's format for one credential is that ticket, after its length.
    """
    context = krb5.init_context()
    written, shown = krb5.marshal_credentials(context, granted), granted.second_ticket
    end = len(shown).to_bytes(4, "big") + shown
    if not written.endswith(end):
        raise InternalError(detail="the Kerberos library writes credentials in another format than MIT's")
    return krb5.unmarshal_credentials(context, written.removesuffix(end) + bytes(4))


@contextmanager
def cache_file(client: krb5.Principal, credentials: Iterable[krb5.Creds]) -> Generator[Path]:
    """A file with ``credentials``, in shared memory where the system has it: nothing reaches a disk."""
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=_folder()) as folder:
        path = Path(folder) / "ccache"
        context = krb5.init_context()
        cache = krb5.cc_resolve(context, f"FILE:{path}".encode())
        krb5.cc_initialize(context, cache, client)  # the library makes it 0600
        for each in credentials:
            krb5.cc_store_cred(context, cache, each)
        yield path


def sweep() -> None:
    """Remove files that processes of ours left behind because they were killed."""
    for left in (_folder() or Path(tempfile.gettempdir())).glob(f"{_PREFIX}*"):
        process = left.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            if process.isdecimal() and left.stat().st_uid == os.geteuid() and not Path(f"/proc/{process}").exists():
                shutil.rmtree(left)


def _folder() -> Path | None:
    """Shared memory; None, for the system's own choice, where there is none."""
    return _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None


def supported() -> bool:
    """Whether the library is MIT's, 1.20 or newer."""
    return hasattr(krb5, "marshal_credentials")


def _destroy(name: str) -> None:
    context = krb5.init_context()
    krb5.cc_destroy(context, krb5.cc_resolve(context, name.encode()))
