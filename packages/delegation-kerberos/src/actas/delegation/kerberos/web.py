"""Web services as the user: requests below one address, each with ``Negotiate`` and a ticket of the caller's own.

Every request has a connection of its own. Some servers take who signed in for the one who asks whatever else comes
over the same connection.
"""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from actas.core.errors import DelegationTimeout, InvalidParameters, LimitExceeded, UnknownAction
from actas.core.models import Action, DelegationCall, DelegationResult, Effect
from actas.core.tickets import Tickets
from actas.delegation.kerberos.answers import data
from actas.delegation.kerberos.failures import TicketRejected, from_http, from_status
from actas.delegation.kerberos.negotiation import Negotiation
from actas.delegation.kerberos.principals import Principal
from actas.delegation.kerberos.services import receipt
from actas.delegation.kerberos.settings import HttpMethod, HttpServiceSettings, KerberosSettings
from actas.delegation.kerberos.targets import Targets
from actas.http import HttpError, HttpResponse, HttpSettings, RequestRefused, base_of, client_to, network_problems
from actas.http.paths import AllowList
from actas.http.query import as_json, encoded, pairs

Scalar = str | int | float | bool | None

_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_METHODS: tuple[HttpMethod, ...] = ("GET", "POST")
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """Parameters of ``http-NAME``."""

    path: str
    """The path, as the description lists them, with plain values for {…}: /reports/March 2026. Nothing in it is
    percent-encoded; the query goes into query."""
    method: HttpMethod = "GET"
    """The HTTP method."""
    query: dict[str, Scalar | list[Scalar]] = field(default_factory=dict[str, Scalar | list[Scalar]])
    """Query parameters by name; a list repeats its name."""
    body: dict[str, object] | list[object] | None = None
    """The JSON body, for POST."""


class WebServices:
    """All that are configured. Settings with :func:`problems` make no sense; they are looked for first."""

    def __init__(self, settings: KerberosSettings) -> None:
        sites = [_Site(name, written) for name, written in settings.http.items()]
        self._sites = {site.action.name: site for site in sites}
        self._targets = Targets(settings)

    @property
    def actions(self) -> Sequence[Action]:
        """One for each service."""
        return tuple(site.action for site in self._sites.values())

    async def delegate(self, call: DelegationCall, principal: Principal, tickets: Tickets) -> DelegationResult:
        """One request as ``principal``.

        Raises:
            RequestRefused, InvalidParameters: nothing was sent.
            TicketRejected: the service did not take the ticket (401), and did nothing.
            TargetUnproven: it did not prove who it is; its answer is thrown away.
            ActasError: as :mod:`.failures` has it.
        """
        site = self._sites.get(call.action.name)
        if site is None or not isinstance(call.parameters, Request):
            raise UnknownAction
        url, content = site.prepared(call.parameters)
        ticket = await tickets.obtain(site.target)
        negotiation = Negotiation(ticket)
        response = await site.ask(call, call.parameters.method, url, content, negotiation.authorization())
        challenge = response.headers.get("www-authenticate", "")
        if response.status == 401:
            raise TicketRejected(detail=f"status 401, Kerberos error {negotiation.complaint(challenge)}")
        if response.status // 100 != 2:
            raise from_status(response.status)
        negotiation.prove(challenge)
        proof = receipt(principal, ticket, "kerberos:negotiate", status=str(response.status))
        return DelegationResult(data=data(response), receipt=proof)

    async def destroy(self) -> None:
        """Close all connections."""
        for site in self._sites.values():
            await site.close()


class _Site:
    def __init__(self, name: str, written: HttpServiceSettings) -> None:
        self._written = written
        self._base = base_of(written.base_url)
        self._allowed = AllowList(written.allow, _METHODS)
        self.target = target_of(written)
        self._http = client_to(
            self._base,
            written.networks,
            HttpSettings(
                total_timeout=written.seconds, max_response_bytes=written.response_bytes, ca_file=written.ca_file
            ),
        )
        self.action = Action(
            name=f"http-{name}",
            description=f"{written.description} As yourself. Allowed are: {'; '.join(written.allow)}.",
            parameters=Request,
            permission=written.permission,
            scopes=frozenset(written.scopes),
            effect=Effect.WRITE if "POST" in self._allowed.methods else Effect.READ,
        )

    def prepared(self, request: Request) -> tuple[str, bytes | None]:
        """Where the request goes, always below the base URL, and with which body."""
        path = self._allowed.encoded(request.method, request.path)
        query = encoded(pair for name, value in request.query.items() for pair in pairs(name, value, "repeated"))
        url = f"{self._base}{path}?{query}" if query else f"{self._base}{path}"
        if request.body is None:
            return url, None
        if request.method == "GET":
            raise RequestRefused("GET has no body.", detail="a body with GET")
        try:
            content = as_json(request.body).encode()
        except UnicodeEncodeError:
            raise InvalidParameters("A value is not JSON.", detail="half a character") from None
        if len(content) > self._written.request_bytes:
            raise LimitExceeded("The body is too large. Send less at once.", detail="larger than request_bytes")
        return url, content

    async def ask(
        self, call: DelegationCall, method: HttpMethod, url: str, content: bytes | None, authorization: str
    ) -> HttpResponse:
        """One request, and its answer, whatever it is."""
        headers = {"accept": "application/json, */*;q=0.5", "connection": "close", "authorization": authorization}
        if content is not None:
            headers["content-type"] = "application/json"
        if _SAFE_ID.fullmatch(call.request_id):
            headers["x-request-id"] = call.request_id
        try:
            async with asyncio.timeout(call.remaining(time.monotonic())):
                return await self._http.request(method, url, headers=headers, content=content)
        except TimeoutError:
            raise DelegationTimeout(detail="the service did not answer in time") from None
        except HttpError as error:
            raise from_http(error) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


def target_of(written: HttpServiceSettings) -> str:
    """The service principal name that ``written`` gives, or means."""
    return written.target or f"HTTP/{urlsplit(written.base_url).hostname}"


def web(settings: KerberosSettings, wrong: list[str]) -> WebServices | None:
    """The web services; None where there are none. What is wrong is added to ``wrong``."""
    found = list(problems(settings))
    wrong += found
    return WebServices(settings) if settings.http and not found else None


def problems(settings: KerberosSettings) -> Iterator[str]:
    """What is wrong with the web services, each problem with its path."""
    listed = Targets(settings)
    for name, written in settings.http.items():
        path = f"http.{name}"
        if not _NAME.fullmatch(name):
            yield f"{path}: write names like intranet: small letters, digits and -"
        if len(written.description.split()) < 2:
            yield f"{path}.description: say in a sentence what it is good for; a model chooses by it"
        if not written.permission:
            yield f"{path}.permission: missing; nothing is open by itself"
        try:
            base_of(written.base_url)
        except ValueError as error:
            yield f"{path}.base_url: {error}"
        else:
            if not listed.has(target_of(written)):
                yield f"{path}.target: {target_of(written)!r} is not among targets"
        try:
            if not written.allow:
                raise ValueError("name at least one method and path")
            AllowList(written.allow, _METHODS)
        except ValueError as error:
            yield f"{path}.allow: {error}"
        for problem in network_problems(written.networks):
            yield f"{path}.networks: {problem}"
        for limit in ("seconds", "request_bytes", "response_bytes"):
            if not getattr(written, limit) > 0:
                yield f"{path}.{limit}: must be more than 0"
