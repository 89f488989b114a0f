"""Token exchange at the embedded identity provider (RFC 8693, RFC 7523): real checks, and what a test wants wrong."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from joserfc import jwt
from joserfc.errors import JoseError

from actas.testing.dpop import proved
from actas.testing.idp_clients import Clients
from actas.testing.idp_http import Answer, Request

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 -- a name
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 -- a name


@dataclass
class ExchangeDesk:
    """Exchanges tokens for clients that prove who they are.

    What is issued is about the subject token's user, for the audience or resource that was asked for, with the
    scopes that were asked for, and names the client in ``act``. ``claims``, ``headers`` and ``answer`` change that:
    they come on top, None takes one out.
    """

    clients: Clients
    issue: Callable[..., str]
    """Signs an access token: :meth:`IdentityProvider.issue`."""
    keys: Callable[[], list[Any]]  # Any: the published keys
    claims: dict[str, object] = field(default_factory=dict[str, object])
    headers: dict[str, object] = field(default_factory=dict[str, object])
    answer: dict[str, object] = field(default_factory=dict[str, object])
    token: str | None = None
    """Issued in the place of any other."""
    error: tuple[int, str] | None = None
    """Status and error code to refuse with."""
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """The forms of all requests so far."""
    lifetime: float = 300.0
    nonce: str | None = None
    """What DPoP proofs must have; told to whoever lacks it (RFC 9449 section 8)."""

    def handles(self, form: Mapping[str, str]) -> bool:
        """Whether this is an exchange."""
        return form.get("grant_type") in (TOKEN_EXCHANGE, JWT_BEARER)

    def exchange(self, request: Request) -> Answer:
        """What is answered to one request at the token endpoint."""
        form = request.form
        self.asked.append(dict(form))
        client = self.clients.authenticated(request.headers, form, request.certificate)
        if client is None:
            return _refused(401, "invalid_client")
        if self.error is not None:
            return _refused(*self.error)
        user = self._user(form.get("subject_token") or form.get("assertion") or "")
        if user is None:
            return _refused(400, "invalid_grant")
        proof = request.headers.get("dpop")
        try:
            bound = None if proof is None else proved(proof, "POST")
        except ValueError:
            return _refused(400, "invalid_dpop_proof")
        if bound is not None and self.nonce is not None and bound.get("nonce") != self.nonce:
            return replace(_refused(400, "use_dpop_nonce"), headers={"dpop-nonce": self.nonce})
        wanted = form.get("requested_token_type", _ACCESS_TOKEN)
        token = self.token or self._issued(form, user, client, {} if bound is None else {"cnf": {"jkt": bound["jkt"]}})
        kind = "N_A" if wanted == _ID_JAG else "Bearer" if bound is None else "DPoP"
        given: dict[str, object] = {
            "access_token": token,
            "token_type": kind,
            "expires_in": int(self.lifetime),
            "refresh_token": None,
        }
        if form["grant_type"] == TOKEN_EXCHANGE:
            given["issued_token_type"] = wanted
        changed = {**given, **self.answer}
        return Answer(200, json.dumps({name: value for name, value in changed.items() if value is not None}).encode())

    def _issued(self, form: Mapping[str, str], user: str, client: str, binding: Mapping[str, object]) -> str:
        actor = self._user(form["actor_token"]) if "actor_token" in form else client
        claims: dict[str, object] = {"act": {"sub": actor}, "client_id": client, **binding, **self.claims}
        return self.issue(
            user,
            audience=form.get("audience") or form.get("resource") or form.get("scope", "").removesuffix("/.default"),
            scopes=form.get("scope", "").split(),
            expires_in=self.lifetime,
            claims=claims,
            headers=self.headers,
        )

    def _user(self, token: str) -> str | None:
        """Whom ``token`` is about, where it was signed here."""
        for key in self.keys():
            try:
                decoded = jwt.decode(token, key.key, algorithms=[key.algorithm])
            except (JoseError, ValueError):
                continue
            return cast(str, decoded.claims["sub"])
        return None


def _refused(status: int, error: str) -> Answer:
    return Answer(status, json.dumps({"error": error, "error_description": "a secret of the provider's"}).encode())
