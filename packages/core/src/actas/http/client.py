"""The client. Made once per purpose and kept: a fresh one costs some 20 ms of CPU."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import cast

import anyio

from actas.core.errors import ConfigurationError
from actas.http import strict_json
from actas.http.addresses import LOOPBACK, AddressGuard, GuardedTransport
from actas.http.errors import HttpError, HttpTimeout, InsecureUrl, ResponseTooLarge, UnexpectedResponse
from actas.http.leftovers import close_if_dirty
from actas.http.library import httpx
from actas.http.settings import HttpSettings

_MAX_JSON_DEPTH = 32
_DEFAULTS = HttpSettings()


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """Who we are to servers that want to see a certificate: PEM files."""

    certificate: str
    """The certificate, with those between it and the authority behind it."""
    key: str | None = None
    """Its private key, without a passphrase; None: in the same file."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer, read completely and within the limit: ``status``, ``headers`` and ``body``."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """Seconds for which the server wants to be left alone (RFC 9110 section 10.2.3); None where it does not say so,
        or in a date."""
        said = self.headers.get("retry-after", "")
        return float(said) if said.isascii() and said.isdecimal() and len(said) < 6 else None

    def json(self) -> dict[str, object]:
        """The body as a JSON object.

        Raises:
            UnexpectedResponse: not strict JSON, no object, or nested too deep.
        """
        try:
            value = strict_json.loads(self.body, max_depth=_MAX_JSON_DEPTH)
        except ValueError:
            raise UnexpectedResponse(status=self.status, detail="the body is not strict JSON") from None
        if not isinstance(value, dict):
            raise UnexpectedResponse(status=self.status, detail="the body is not a JSON object")
        return cast(dict[str, object], value)


class HttpClient:
    """https only (the loopback and ``insecure_hosts`` apart), no redirects, no proxies, no cookies; all bounded.

    Belongs to the event loop that it is first used in.

    Args:
        settings: limits and trust.
        guard: says which addresses may be connected to; any where None.
        identity: what servers that ask for a certificate are shown; nothing where None.

    Raises:
        ConfigurationError: the CA file, or the certificate, cannot be read.
    """

    def __init__(
        self,
        settings: HttpSettings = _DEFAULTS,
        *,
        guard: AddressGuard | None = None,
        identity: TlsIdentity | None = None,
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._others: list[HttpClient] = []
        self._plain_hosts = LOOPBACK | {host.lower() for host in settings.insecure_hosts}
        trust = _trust(settings.ca_file, identity)
        limits = httpx.Limits(max_connections=settings.max_connections, keepalive_expiry=30.0)
        self._client = httpx.AsyncClient(
            transport=None if guard is None else GuardedTransport(guard, verify=trust, limits=limits),
            verify=trust,
            timeout=httpx.Timeout(settings.total_timeout, connect=settings.connect_timeout),
            limits=limits,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
        )

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> HttpResponse:
        """One exchange. Any status is an answer, a redirect too.

        Raises:
            InsecureUrl, AddressRefused: nothing was sent.
            HttpTimeout, ResponseTooLarge, HttpError: nothing usable came back.
        """
        target = self._checked(url)
        sent = {"user-agent": "actas", **(headers or {}), "accept-encoding": "identity"}
        try:
            with anyio.fail_after(self._settings.total_timeout):
                async with self._client.stream(method, target, headers=sent, content=content) as response:
                    body = await self._read(response)
                    await close_if_dirty(response)
                    return HttpResponse(response.status_code, dict(response.headers), body)
        except (TimeoutError, httpx.TimeoutException):
            raise HttpTimeout(detail="the exchange took too long") from None
        except (httpx.HTTPError, OSError, ValueError, ExceptionGroup) as error:
            raise HttpError(detail=type(error).__name__) from None

    async def get_json(self, url: str) -> dict[str, object]:
        """GET a JSON object.

        Raises:
            UnexpectedResponse: the status is not 200, or the body is not a JSON object.
            HttpError: as :meth:`request`.
        """
        response = await self.request("GET", url, headers={"accept": "application/json"})
        if response.status != 200:
            raise UnexpectedResponse(status=response.status, detail="200 was needed")
        return response.json()

    def presenting(self, identity: TlsIdentity) -> "HttpClient":
        """Another client, with the same settings and guard and a certificate of its own; it is closed with this one.

        Raises:
            ConfigurationError: the certificate cannot be read.
        """
        other = HttpClient(self._settings, guard=self._guard, identity=identity)
        self._others.append(other)
        return other

    async def aclose(self) -> None:
        """Close all connections. May be called twice."""
        for other in self._others:
            await other.aclose()
        await self._client.aclose()

    def _checked(self, url: str) -> "httpx.URL":
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise InsecureUrl(detail="this is not a URL") from None
        if not target.host or target.userinfo:
            raise InsecureUrl(detail="a URL needs a host and must not carry credentials")
        if target.scheme != "https" and not (target.scheme == "http" and target.host.lower() in self._plain_hosts):
            raise InsecureUrl(detail="https is needed; plain http only to the loopback or to a host in insecure_hosts")
        return target

    async def _read(self, response: "httpx.Response") -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnexpectedResponse(status=response.status_code, detail="a compressed body was not asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._settings.max_response_bytes:
                raise ResponseTooLarge(
                    status=response.status_code, detail="the answer is larger than max_response_bytes"
                )
        return bytes(body)


def _trust(ca_file: str | None, identity: TlsIdentity | None) -> ssl.SSLContext | bool:
    if ca_file is None and identity is None:
        return True
    try:
        trust = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the CA file {ca_file} cannot be read as PEM: {type(error).__name__}") from None
    if identity is not None:
        try:
            trust.load_cert_chain(identity.certificate, identity.key, password=lambda: "")  # never asks a terminal
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigurationError(
                f"the certificate {identity.certificate} or its key cannot be read as PEM: {type(error).__name__}"
            ) from None
    return trust
