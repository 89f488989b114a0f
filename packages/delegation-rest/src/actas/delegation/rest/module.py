"""The delegation module: parameters, a request below the base URL, the user's own token, an answer, a receipt."""

from collections.abc import Sequence

from actas.core.errors import LimitExceeded, PrincipalUnavailable, UnknownAction
from actas.core.models import Action, Credential, DelegationCall, DelegationResult, Health, Receipt, Session
from actas.core.shares import Shares
from actas.delegation.rest.answers import at, data, is_json, parsed
from actas.delegation.rest.declared import operations
from actas.delegation.rest.failures import AnswerTooLarge, UnexpectedAnswer
from actas.delegation.rest.headers import HeaderRules
from actas.delegation.rest.operations import Operation, Target
from actas.delegation.rest.pages import next_query
from actas.delegation.rest.settings import PageSettings, RestSettings
from actas.delegation.rest.upstream import Upstream
from actas.http import HttpResponse, subject


class RestDelegation:
    """One REST service, called with the token that was exchanged for the caller's.

    Raises:
        ConfigurationError: the settings make no sense, or the OpenAPI document cannot be used as they say.
    """

    def __init__(self, settings: RestSettings) -> None:
        self._operations = {each.action.name: each for each in operations(settings)}
        self._actions = tuple(each.action for each in self._operations.values())
        self._headers = HeaderRules(settings)
        self._upstream = Upstream(settings)
        self._shares = Shares(settings.limits.calls_per_user)
        self._settings = settings

    @property
    def actions(self) -> Sequence[Action]:
        """The operations, ``request`` (the tool ``delegate``) where it is configured, and ``health``."""
        return self._actions

    async def initialize(self) -> None:
        """Does nothing: a service that does not answer stops no start; it shows in :meth:`health_check`."""

    def principal(self, session: Session) -> str:
        """The session's subject: the exchange proved that the token is about it."""
        return subject(session)

    async def health_check(self) -> Health:
        """Ask the service for its health without any token; 4 s at most."""
        if await self._upstream.answers(self._settings.health.path):
            return Health(healthy=True)
        return Health(healthy=False, message="The service does not answer.")

    async def destroy(self) -> None:
        """Close all connections."""
        await self._upstream.close()

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Make the request as ``principal(call.session)``.

        Raises:
            RequestRefused, InvalidParameters, PrincipalUnavailable: nothing was sent.
            CredentialRejected: the service did not take the token, and did nothing.
            DelegationError: as :mod:`.failures` has it.
        """
        who = self.principal(call.session)
        operation = self._operations.get(call.action.name)
        if operation is None:
            raise UnknownAction
        if call.credential is None:
            raise PrincipalUnavailable(detail="there is no exchanged token: token_exchange is not configured")
        target = operation.request(call.parameters)
        if target.content is not None and len(target.content) > self._settings.limits.request_bytes:
            raise LimitExceeded("The body is too large. Send less at once.", detail="larger than limits.request_bytes")
        async with self._shares.one_of(call.session):
            answer = await self._answer(call, operation, target, call.credential)
        details = {"token_subject": call.credential.subject, "status": str(answer["status"])}
        receipt = Receipt(identity=who, method="token:exchange", details=details)
        return DelegationResult(data=answer, receipt=receipt)

    async def _answer(
        self, call: DelegationCall, operation: Operation, target: Target, credential: Credential
    ) -> dict[str, object]:
        response = await self._asked(call, target, credential)
        if operation.pages is None:
            return data(response, self._settings.content_types)
        return await self._collected(call, operation.pages, target, credential, response)

    async def _asked(self, call: DelegationCall, target: Target, credential: Credential) -> HttpResponse:
        headers = self._headers.made(
            call.session,
            target.method,
            call.request_id,
            target.headers,
            content_type=None if target.content is None else target.content_type,
        )
        return await self._upstream.ask(
            target,
            headers,
            credential,
            deadline=call.deadline,
            repeatable=self._headers.repeatable(target.method),
            request_id=call.request_id,
        )

    async def _collected(
        self, call: DelegationCall, pages: PageSettings, first: Target, credential: Credential, response: HttpResponse
    ) -> dict[str, object]:
        """The items of all pages, as far as limits allow; ``truncated`` says that there are more."""
        items: list[object] = []
        seen: set[str] = set()
        target, size = first, 0
        for _ in range(pages.most):
            size += len(response.body)
            if size > self._settings.limits.response_bytes:
                raise AnswerTooLarge(detail="the pages together are larger than limits.response_bytes")
            body = self._json(response)
            listed = at(body, pages.items)
            if not isinstance(listed, list):
                raise UnexpectedAnswer(detail="a page has no list where pages.items says")
            items += listed  # pyright: ignore[reportUnknownArgumentType] -- JSON
            seen.add(target.query)
            query = next_query(pages, self._upstream.url(target), response.headers.get("link", ""), body)
            if query is None:
                return {"status": response.status, "items": items, "truncated": False}
            if query in seen:
                raise UnexpectedAnswer(detail="the pages lead in a circle")
            if len(seen) < pages.most:
                target = target.on(query)
                response = await self._asked(call, target, credential)
        return {"status": response.status, "items": items, "truncated": True}

    def _json(self, response: HttpResponse) -> object:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not is_json(kind):
            raise UnexpectedAnswer(detail="a page is no JSON")
        return parsed(response.body)
