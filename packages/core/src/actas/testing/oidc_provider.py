"""The npm library ``oidc-provider`` as an authorization server: one that is certified, and not ours.

It does what :class:`actas.testing.idp.IdentityProvider` does not: authorization code with PKCE through real
redirects, refresh, dynamic registration (RFC 7591), opaque tokens and introspection (RFC 7662), DPoP (RFC 9449),
revocation (RFC 7009) and token exchange (RFC 8693).
"""

import base64
import hashlib
import secrets
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

from actas.oauth.settings import TrustedIssuer
from actas.testing.idp import DemoUser
from actas.testing.node_process import NodeProcess

AGENT = "agent"
"""A public client: authorization code with PKCE, and refresh."""
SERVICE = "service"
"""A confidential client: client credentials, introspection, and token exchange where the policy lets it."""
SERVICE_SECRET = "service-secret-of-no-importance"  # noqa: S105 -- of a provider that lives for a test
REDIRECT_URI = "http://127.0.0.1/callback"
"""Of :data:`AGENT`; never asked for anything: who logs in here only looks where he is sent."""

_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 -- a name
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 -- a name
_MOST_REDIRECTS = 20
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody. There is no TLS on the loopback, and a context that could be of use takes a tenth of a second."""
_CLIENTS = (
    {
        "client_id": AGENT,
        "token_endpoint_auth_method": "none",
        "application_type": "native",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "redirect_uris": [REDIRECT_URI],
    },
    {
        "client_id": SERVICE,
        "client_secret": SERVICE_SECRET,
        "grant_types": ["client_credentials", "exchange"],
        "response_types": [],
        "redirect_uris": [],
    },
)


class ProviderRefused(RuntimeError):
    """The provider answered with an OAuth error; :attr:`code` is its ``error``."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What tokens may be for (RFC 8707)."""

    scopes: Sequence[str] = ()
    """That exist there."""
    opaque: bool = False
    """Whether its tokens are random strings instead of JWTs. Only such can be introspected and revoked here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the token endpoint gave."""

    access_token: str = field(repr=False)
    scopes: frozenset[str]
    token_type: str
    refresh_token: str | None = field(default=None, repr=False)
    id_token: str | None = field(default=None, repr=False)


class OidcProvider:
    """A process of its own on a free port of the loopback, between :meth:`start` and :meth:`stop`.

    Args:
        users: who can log in. Their scopes are the most that is granted.
        resources: what tokens may be for, by resource identifier.
        clients: registered besides :data:`AGENT` and :data:`SERVICE` (RFC 7591 metadata).
        exchange: per client id ``{"from": [audiences], "to": [resources]}``.
        algorithm: signs.
        token_seconds: how long access tokens live.

    Raises:
        ServerMissing: Node or the library is missing and cannot be installed.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, DemoUser] | None = None,
        resources: Mapping[str, Resource] | None = None,
        clients: Sequence[Mapping[str, object]] = (),
        exchange: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
        algorithm: str = "ES256",
        token_seconds: int = 300,
    ) -> None:
        self.users = dict(users or {})
        self.resources = dict(resources or {})
        self.issuer = ""
        self.keys: list[str] = []
        """Key ids, the newest first."""
        self.exchanges = dict(exchange or {})
        self._fixed = {"clients": [*_CLIENTS, *clients], "algorithm": algorithm, "seconds": token_seconds}
        self._process: NodeProcess | None = None

    def start(self) -> Self:
        """Begin to serve; returns itself when requests are answered."""
        self._process = NodeProcess(Path(str(files("actas.testing") / "oidc")), "provider.mjs")
        try:
            self._tell({**self._fixed, **self._changing()})
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the process. May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def changed(self) -> None:
        """Make what was done to :attr:`users` and :attr:`resources` known to the provider."""
        self._tell({"do": "change", "settings": self._changing()})

    def allow_exchange(self, client: str, audiences: Sequence[str], resources: Sequence[str]) -> None:
        """``client`` may from now on exchange tokens for ``audiences`` into tokens for ``resources``, and no others."""
        self.exchanges[client] = {"from": audiences, "to": resources}
        self.changed()

    def demand_dpop_nonce(self, demanded: bool = True) -> None:
        """Whether proofs must carry a nonce of the provider's (RFC 9449 section 8)."""
        self._tell({"do": "change", "settings": {"dpopNonce": demanded}})

    def rotate(self) -> str:
        """Sign with a new key from now on; older ones stay published. Returns its ``kid``."""
        self._tell({"do": "rotate"})
        return self.keys[0]

    def retire(self) -> None:
        """Publish the newest key only."""
        self._tell({"do": "retire"})

    def trusted(self, name: str = "oidc-provider", **fields: Any) -> TrustedIssuer:  # Any: TrustedIssuer's own fields
        """Settings that trust this provider for all its resources; ``fields`` add to them or replace them."""
        return replace(TrustedIssuer(name=name, issuer=self.issuer, audience=list(self.resources)), **fields)

    def sign_in(self, authorization_url: str, user: str) -> str:
        """Follow an authorization request as ``user``'s browser would. Returns where it ends: the redirect URI with
        ``code`` and ``state``, or with ``error``."""
        home = urlsplit(self.issuer).netloc
        at = f"{authorization_url}&{urlencode({'login_hint': user})}"
        with httpx.Client(verify=_NO_TLS) as browser:
            for _ in range(_MOST_REDIRECTS):
                answer = browser.get(at)
                if not answer.is_redirect:
                    raise ProviderRefused("no_redirect", f"HTTP {answer.status_code}")
                at = urljoin(at, answer.headers["location"])
                if urlsplit(at).netloc != home:
                    return at
        raise ProviderRefused("no_end", "too many redirects")

    def log_in(
        self, user: str, resource: str, scopes: Sequence[str] = (), *, proof: str | None = None, offline: bool = False
    ) -> Grant:
        """Authorization code with PKCE (RFC 7636) for :data:`AGENT`; ``proof`` is a DPoP proof for the token endpoint.

        Raises:
            ProviderRefused: with the provider's own error.
        """
        verifier = secrets.token_urlsafe(48)
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        query = {
            "response_type": "code",
            "client_id": AGENT,
            "redirect_uri": REDIRECT_URI,
            "resource": resource,
            "scope": " ".join(["openid", *scopes]),
            "code_challenge": digest.decode(),
            "code_challenge_method": "S256",
            "state": secrets.token_urlsafe(8),
        }
        if offline:
            query |= {"scope": f"{query['scope']} offline_access", "prompt": "consent"}
        landed = parse_qs(urlsplit(self.sign_in(f"{self.issuer}/auth?{urlencode(query)}", user)).query)
        if "error" in landed:
            raise ProviderRefused(landed["error"][0], landed.get("error_description", [""])[0])
        form = {"grant_type": "authorization_code", "code": landed["code"][0], "redirect_uri": REDIRECT_URI}
        return self.ask({**form, "client_id": AGENT, "code_verifier": verifier, "resource": resource}, proof=proof)

    def refresh(self, refresh_token: str) -> Grant:
        """Another access token (RFC 6749 section 6) for :data:`AGENT`. Raises ProviderRefused."""
        return self.ask({"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": AGENT})

    def client_credentials(self, resource: str, scopes: Sequence[str] = (), *, proof: str | None = None) -> Grant:
        """A token of :data:`SERVICE` itself, with no user in it. Raises ProviderRefused."""
        form = {"grant_type": "client_credentials", "resource": resource, "scope": " ".join(scopes)}
        return self.ask({name: value for name, value in form.items() if value}, as_service=True, proof=proof)

    def exchange(self, subject_token: str, resource: str, scopes: Sequence[str] = ()) -> Grant:
        """A token for ``resource`` in exchange for a user's (RFC 8693), by :data:`SERVICE`. Raises ProviderRefused."""
        form = {"grant_type": _TOKEN_EXCHANGE, "resource": resource, "scope": " ".join(scopes)}
        form |= {"subject_token": subject_token, "subject_token_type": _ACCESS_TOKEN}
        return self.ask({name: value for name, value in form.items() if value}, as_service=True)

    def introspect(self, token: str) -> dict[str, object]:
        """What the provider says of an opaque token to :data:`SERVICE` (RFC 7662)."""
        return dict(self._post("/token/introspection", {"token": token}, as_service=True).json())

    def revoke(self, token: str) -> None:
        """Withdraw a token of :data:`AGENT` (RFC 7009)."""
        self._post("/token/revocation", {"token": token, "client_id": AGENT})

    def ask(self, form: Mapping[str, str], *, as_service: bool = False, proof: str | None = None) -> Grant:
        """Any request to the token endpoint. Raises ProviderRefused."""
        answer = self._post("/token", form, as_service=as_service, proof=proof).json()
        return Grant(
            access_token=answer["access_token"],
            scopes=frozenset(answer.get("scope", "").split()),
            token_type=answer["token_type"],
            refresh_token=answer.get("refresh_token"),
            id_token=answer.get("id_token"),
        )

    def _post(
        self, path: str, form: Mapping[str, str], *, as_service: bool = False, proof: str | None = None
    ) -> httpx.Response:
        answer = httpx.post(
            self.issuer + path,
            data=dict(form),
            auth=(SERVICE, SERVICE_SECRET) if as_service else None,
            headers={"dpop": proof} if proof else {},
            verify=_NO_TLS,
        )
        if answer.is_error:
            said = answer.json()
            raise ProviderRefused(said["error"], said.get("error_description", ""))
        return answer

    def _changing(self) -> dict[str, object]:
        users = {
            name: {"roles": list(user.roles), "scopes": list(user.scopes), "claims": dict(user.claims)}
            for name, user in self.users.items()
        }
        resources = {
            name: {"scopes": list(resource.scopes), "opaque": resource.opaque}
            for name, resource in self.resources.items()
        }
        return {"users": users, "resources": resources, "exchange": self.exchanges}

    def _tell(self, message: Mapping[str, object]) -> None:
        if self._process is None:
            raise RuntimeError("the provider is not running: call start() first")
        answer = self._process.ask(message)
        self.issuer, self.keys = answer["issuer"], answer["keys"]
