"""The service: one client, one origin, a time for everything, and again only what may be repeated."""

import asyncio
import random
import re
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from actas.core.errors import DelegationTimeout
from actas.core.models import Credential
from actas.delegation.rest.failures import from_http, from_status
from actas.delegation.rest.operations import Target
from actas.delegation.rest.paths import Template
from actas.delegation.rest.settings import RestSettings
from actas.http import (
    AddressGuard,
    AddressRefused,
    HttpClient,
    HttpError,
    HttpResponse,
    HttpSettings,
    InsecureUrl,
    ResponseTooLarge,
    UnexpectedResponse,
    present,
)

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
_BUSY = frozenset({429, 502, 503, 504})
_FINAL = (InsecureUrl, AddressRefused, ResponseTooLarge, UnexpectedResponse)
"""Asking again would change nothing."""
_PAUSE = 0.1
"""Seconds before the second attempt, twice that before the third, each give or take half."""
_LONGEST_PAUSE = 5.0
"""Seconds for which we wait where the service asks us to (Retry-After)."""
_PROBE_SECONDS = 4.0


class Upstream:
    """The service at ``settings.base_url``.

    Raises:
        ConfigurationError: the CA file cannot be read.
        ValueError: the base URL is none, or a network is none; says which.
    """

    def __init__(self, settings: RestSettings) -> None:
        self.base = base_of(settings.base_url)
        limits = settings.limits
        self._seconds = limits.seconds
        self._attempts = limits.attempts
        guard = AddressGuard(settings.networks, loopback=urlsplit(self.base).hostname in _LOOPBACK)
        self._http = HttpClient(
            HttpSettings(
                connect_timeout=limits.connect_seconds,
                total_timeout=limits.seconds,
                max_response_bytes=limits.response_bytes,
                max_connections=limits.connections,
                ca_file=settings.ca_file,
            ),
            guard=guard,
        )

    def url(self, target: Target) -> str:
        """Where ``target`` goes; always below the base URL."""
        return f"{self.base}{target.path}?{target.query}" if target.query else f"{self.base}{target.path}"

    async def ask(
        self,
        target: Target,
        headers: Mapping[str, str],
        credential: Credential,
        *,
        deadline: float,
        repeatable: bool,
        request_id: str,
    ) -> HttpResponse:
        """One request, with ``credential`` and no other, and its answer, a success (2xx).

        Raises:
            CredentialRejected: the service did not take the token (401).
            PrincipalUnavailable: the credential is none that can be shown.
            DelegationTimeout: the deadline passed, on :func:`time.monotonic`'s clock.
            ActasError: as :mod:`.failures` has it.
        """
        attempts = self._attempts if repeatable else 1
        attempt = 0
        while True:
            attempt += 1
            pause = _PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 -- jitter
            try:
                response = await self._once(target, headers, credential, deadline)
            except HttpError as error:
                if isinstance(error, _FINAL) or attempt == attempts or not _time_for(pause, deadline):
                    raise from_http(error) from None
            else:
                if response.status // 100 == 2:
                    return response
                wanted = _wanted_pause(response, pause)
                if response.status not in _BUSY or attempt == attempts or not _time_for(wanted, deadline):
                    raise from_status(response.status, request_id)
                pause = wanted
            await asyncio.sleep(pause)

    async def answers(self, path: str) -> bool:
        """Whether the service answers at ``path``, to somebody without any token: with anything below 500."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                # A connection of its own: one that stands already says little of who comes next.
                headers = {"accept": "*/*", "connection": "close"}
                response = await self._http.request("GET", f"{self.base}{path}", headers=headers)
        except (ResponseTooLarge, UnexpectedResponse) as error:
            return error.status is not None and error.status < 500
        except (HttpError, TimeoutError, RuntimeError):  # RuntimeError: the client was closed
            return False
        return response.status < 500

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _once(
        self, target: Target, headers: Mapping[str, str], credential: Credential, deadline: float
    ) -> HttpResponse:
        try:
            async with asyncio.timeout(min(self._seconds, deadline - time.monotonic())):
                return await present(
                    self._http,
                    target.method,
                    self.url(target),
                    credential,
                    headers=headers,
                    content=target.content,
                )
        except TimeoutError:
            raise DelegationTimeout(detail="the service did not answer in time") from None
        except RuntimeError:
            raise HttpError(detail="the client was closed") from None


def base_of(url: str) -> str:
    """``url`` without a slash at its end. Raises ValueError where it is no base for requests."""
    try:
        parts = urlsplit(url)
        good = parts.port != 0 and _HOST.fullmatch(parts.hostname or "") is not None
    except ValueError:
        raise ValueError("base_url: its host or port is none") from None
    if parts.scheme not in ("https", "http") or not good:
        raise ValueError("base_url: must begin with https:// and name a host, in ASCII")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("base_url: https is needed; plain http only to the loopback")
    if parts.username is not None or parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("base_url: has no place for credentials, a query or a fragment")
    path = parts.path.rstrip("/")
    try:
        if path and Template(path).names:
            raise ValueError("it has no parameters")
    except ValueError as error:
        raise ValueError(f"base_url: its path is not one: {error}") from None
    return f"{parts.scheme}://{parts.netloc}{path}"


def _wanted_pause(response: HttpResponse, otherwise: float) -> float:
    said = response.headers.get("retry-after", "")
    return float(said) if said.isdecimal() and len(said) < 6 else otherwise


def _time_for(pause: float, deadline: float) -> bool:
    return pause <= _LONGEST_PAUSE and time.monotonic() + pause < deadline
