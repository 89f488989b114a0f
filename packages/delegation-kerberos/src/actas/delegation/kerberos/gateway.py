"""The gateway's own credential: signed in with its keytab, renewed ahead, and anew when the keytab is replaced."""

import logging
import os
import threading
import time
from dataclasses import dataclass

import gssapi
import krb5

from actas.core.errors import ActasError
from actas.delegation.kerberos.caches import MemoryCache
from actas.delegation.kerberos.failures import GatewayRefused, of_gateway

logger = logging.getLogger(__name__)

_RENEWED_AFTER = 0.5
"""Part of its life after which a new one is obtained: what is obtained with it lives no longer than it does."""
_SPARE = 60.0
"""Seconds before its end at which it is not used any more."""
_PAUSE = 10.0
"""Seconds for which the present one serves on where there is no new one to be had."""

Stamp = tuple[int, int, int]
"""Tells one keytab from another: inode, size, time of change."""


@dataclass(frozen=True, slots=True)
class _SignedIn:
    cache: MemoryCache
    stamp: Stamp
    renew_at: float
    ends_at: float


class Gateway:
    """Who we are to the KDC. Its methods block, and may be called from several threads.

    Args:
        principal: with its realm.
        keytab: a file; it is read again for each sign-in.
    """

    def __init__(self, principal: str, keytab: str) -> None:
        self.principal = principal
        self._keytab = keytab
        self._held: _SignedIn | None = None
        self._signing_in = threading.Lock()

    def credentials(self) -> gssapi.Credentials:
        """Credentials for one thread: signed in already where they are good, else now.

        Raises:
            GatewayRefused, KdcUnavailable, ClockSkew: there are none.
        """
        return self._signed_in().cache.credentials()

    def sign_in(self) -> None:
        """Sign in now, whether or not that was done before: this is what shows whether it can be.

        Raises:
            GatewayRefused, KdcUnavailable, ClockSkew: it cannot; what there was serves on.
        """
        with self._signing_in:
            self._held = self._sign_in(self._stamp())

    def renew(self) -> None:
        """Forget the present credential: the KDC does not take it any more."""
        self._held = None

    close = renew

    def _signed_in(self) -> _SignedIn:
        held, stamp, now = self._held, self._stamp(), time.time()
        if held is not None and now < held.renew_at and stamp in (held.stamp, None):
            return held
        usable = held if held is not None and now < held.ends_at - _SPARE else None
        if not self._signing_in.acquire(blocking=usable is None):
            assert usable is not None  # noqa: S101 -- else the lock was waited for
            return usable  # somebody is at it
        try:
            if self._held is not held and self._held is not None:
                return self._held  # somebody was
            self._held = self._sign_in(stamp)
        except ActasError as error:
            if usable is None:
                raise
            logger.warning("the gateway's ticket could not be renewed, the present one serves on: %s", error.detail)
            self._held = _SignedIn(usable.cache, stamp or usable.stamp, now + _PAUSE, usable.ends_at)
            return self._held
        finally:
            self._signing_in.release()
        return self._held

    def _sign_in(self, stamp: Stamp | None) -> _SignedIn:
        if stamp is None:
            raise GatewayRefused(detail="the keytab cannot be read")
        context = krb5.init_context()
        try:
            client = krb5.parse_name_flags(context, self.principal.encode())
            keytab = krb5.kt_resolve(context, f"FILE:{self._keytab}".encode())
            options = krb5.get_init_creds_opt_alloc(context)
            # Whatever krb5.conf says: of a ticket that is not forwardable, no user's is either.
            krb5.get_init_creds_opt_set_forwardable(options, True)
            granted = krb5.get_init_creds_keytab(context, client, options, keytab=keytab)
        except krb5.Krb5Error as error:
            raise of_gateway(error.err_code) from None
        begins, ends = granted.times.starttime or granted.times.authtime, granted.times.endtime
        renew_at = begins + (ends - begins) * _RENEWED_AFTER
        return _SignedIn(MemoryCache(client, [granted]), stamp, renew_at, ends)

    def _stamp(self) -> Stamp | None:
        try:
            found = os.stat(self._keytab)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
