"""An identity provider inside the process: real keys, real signatures, real HTTP. For tests and the demo.

It gives a token to whoever names a user, without any password; therefore it listens on the loopback
only, and answers nobody who calls it by another name (a web page could, through DNS rebinding).
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock, Thread
from typing import Any, Self

from actas.core.secret import Secret
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.settings import IntrospectionSettings, TrustedIssuer
from actas.testing.idp_clients import DemoClient
from actas.testing.idp_exchange import ExchangeDesk
from actas.testing.idp_http import HOST, Answer, Request, Server, handler_for
from actas.testing.idp_opaque import OpaqueTokens
from actas.testing.tokens import PublishedKey, SigningKey, generate_key, sign

_NOT_FOUND = Answer(404, b'{"error":"not_found"}')


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoUser:
    """What the provider knows about a user: ``roles``, scopes, and ``claims`` besides; all of it goes into the user's
    tokens."""

    roles: Sequence[str] = ()
    scopes: Sequence[str] = ()
    """Granted when no scope is asked for, and the most that is granted."""
    claims: Mapping[str, object] = field(default_factory=dict[str, object])


class IdentityProvider:
    """Serves from a thread of its own on a port of the system's choice between :meth:`start` and :meth:`stop`.

    ``audience`` is what tokens are for when nobody says otherwise. ``clock`` gives seconds since the epoch.
    ``algorithms``: one key is made for each; the first one signs by default.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, DemoUser] | None = None,
        audience: str = "https://mcp.example/mcp",
        algorithms: Sequence[str] = ("RS256",),
        port: int = 0,
        path: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.users = dict(users or {})
        """By name; may be changed while it serves."""
        self.audience = audience
        self.requests: Counter[str] = Counter()
        """Requests so far, per path."""
        self.answers: dict[str, bytes] = {}
        """Bodies to answer with instead, per path: for providers that talk rubbish."""
        self.hidden: set[str] = set()
        """Paths that answer 404."""
        self.delay = 0.0
        """Seconds to wait before each answer."""
        self.down = False
        """While True, every path answers 503."""
        self._path = path
        self.clock = clock
        self.opaque = OpaqueTokens(lambda: self.issuer, self.key, lambda: self.clock())
        """Tokens that are no JWT, and who may ask about them."""
        self._asker = self.opaque.clients.add(DemoClient("resource-server", secret=uuid.uuid4().hex))
        self.exchanges = ExchangeDesk(self.opaque.clients, self.issue, lambda: self.keys)
        """Who may exchange tokens, and what for."""
        self._lock = Lock()
        self._default_algorithm = algorithms[0]
        self.keys: list[PublishedKey] = []
        """What its JWK Set has."""
        for algorithm in algorithms:
            self.rotate(algorithm)
        self._server = Server((HOST, port), handler_for(self.answer))
        self._thread: Thread | None = None

    def start(self) -> Self:
        """Begin to serve. Returns itself."""
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="identity-provider", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port. May be called twice."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://{HOST}:{self._server.server_port}"

    @property
    def issuer(self) -> str:
        """The issuer identifier."""
        return self.origin + self._path

    @property
    def jwks_path(self) -> str:
        """The path of the JWK Set, as :attr:`requests` counts it."""
        return f"{self._path}/jwks"

    @property
    def token_endpoint(self) -> str:
        """``POST user=alice`` (and ``scope``, ``audience`` or ``resource``) gives a token."""
        return f"{self.issuer}/token"

    @property
    def introspection_path(self) -> str:
        """The path of the introspection endpoint (RFC 7662), as :attr:`requests` counts it."""
        return f"{self._path}/introspect"

    @property
    def metadata_paths(self) -> tuple[str, str]:
        """The paths of the RFC 8414 and the OpenID Connect document, as :attr:`requests` counts them."""
        return f"/.well-known/oauth-authorization-server{self._path}", f"{self._path}/.well-known/openid-configuration"

    def trusted(self, name: str = "demo", **fields: Any) -> TrustedIssuer:  # Any: TrustedIssuer's own fields
        """Settings that trust this provider for its default audience; ``fields`` add to them or replace them."""
        return replace(TrustedIssuer(name=name, issuer=self.issuer, audience=[self.audience]), **fields)

    def introspection(self, **fields: Any) -> IntrospectionSettings:  # Any: IntrospectionSettings' own fields
        """Settings that ask this provider about opaque tokens, as a client that it knows."""
        client = ClientCredentials(id=self._asker.id, secret=Secret(self._asker.secret or ""))
        return replace(IntrospectionSettings(client=client), **fields)

    def key(self, algorithm: str | None = None) -> PublishedKey:
        """The newest key that is published for ``algorithm``.

        Raises:
            LookupError: there is none.
        """
        wanted = algorithm or self._default_algorithm
        with self._lock:
            for key in reversed(self.keys):
                if key.algorithm == wanted:
                    return key
        raise LookupError(f"no key for {wanted}: name it in algorithms, or rotate() one in")

    def rotate(self, algorithm: str | None = None) -> str:
        """Publish a new key and sign with it from now on; older ones stay published. Returns its ``kid``."""
        name = algorithm or self._default_algorithm
        key = PublishedKey(uuid.uuid4().hex, name, generate_key(name))
        with self._lock:
            self.keys.append(key)
        return key.key_id

    def retire(self, key_id: str) -> None:
        """Publish that key no longer."""
        with self._lock:
            self.keys = [key for key in self.keys if key.key_id != key_id]

    @contextmanager
    def outage(self) -> Generator[None, None, None]:
        """Every path answers 503 meanwhile."""
        self.down = True
        try:
            yield
        finally:
            self.down = False

    def claims(self, subject: str = "alice", **changed: object) -> dict[str, object]:
        """The claims of an ordinary access token (RFC 9068 section 2.2); ``changed`` on top, None takes one out."""
        user = self.users.get(subject, DemoUser())
        now = int(self.clock())
        ordinary: dict[str, object] = {
            "iss": self.issuer,
            "sub": subject,
            "aud": self.audience,
            "exp": now + 300,
            "iat": now,
            "jti": uuid.uuid4().hex,
            "client_id": "demo-client",
            "preferred_username": subject,
            "scope": " ".join(user.scopes),
            "roles": list(user.roles),
            **user.claims,
        }
        return {name: value for name, value in {**ordinary, **changed}.items() if value is not None}

    def issue(
        self,
        subject: str = "alice",
        *,
        audience: str | list[str] | None = None,
        scopes: Iterable[str] | None = None,
        roles: Iterable[str] | None = None,
        expires_in: float | None = None,
        claims: Mapping[str, object] | bytes | None = None,
        headers: Mapping[str, object] | bytes | None = None,
        algorithm: str | None = None,
        key: SigningKey | None = None,
    ) -> str:
        """A signed access token, ordinary in everything that the arguments don't change.

        ``claims`` and ``headers`` come on top, None takes one out; as bytes they are the whole of it.
        ``algorithm`` chooses how to sign, ``key`` another key than the published one. ``expires_in`` in seconds.
        """
        changed: dict[str, object] = {}
        if audience is not None:
            changed["aud"] = audience
        if scopes is not None:
            changed["scope"] = " ".join(scopes)
        if roles is not None:
            changed["roles"] = list(roles)
        if expires_in is not None:
            changed["exp"] = int(self.clock() + expires_in)
        payload = claims if isinstance(claims, bytes) else self.claims(subject, **{**changed, **(claims or {})})
        published = self.key(algorithm)
        header = headers
        if not isinstance(header, bytes):
            usual = {"alg": published.algorithm, "typ": "at+jwt", "kid": published.key_id, **(header or {})}
            header = {name: value for name, value in usual.items() if value is not None}
        return sign(header, payload, algorithm=published.algorithm, key=key or published.key)

    def issue_opaque(self, subject: str = "alice", *, prefix: str = "", **changed: object) -> str:
        """An opaque token for the claims of an ordinary one, ``changed`` on top; None takes one out."""
        return self.opaque.issue(self.claims(subject, **{"token_type": "Bearer", **changed}), prefix)

    def metadata(self) -> dict[str, object]:
        """What both metadata documents say."""
        with self._lock:
            algorithms = sorted({key.algorithm for key in self.keys})
        return {
            "issuer": self.issuer,
            "token_endpoint": self.token_endpoint,
            "jwks_uri": self.origin + self.jwks_path,
            "introspection_endpoint": self.origin + self.introspection_path,
            "revocation_endpoint": f"{self.issuer}/revoke",
            "response_types_supported": ["token"],
            "token_endpoint_auth_methods_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
            "scopes_supported": sorted({scope for user in self.users.values() for scope in user.scopes}),
        }

    def jwks(self) -> dict[str, object]:
        """The JWK Set (RFC 7517), public parts only."""
        with self._lock:
            return {"keys": [key.public() for key in self.keys]}

    def answer(self, request: Request) -> Answer:
        """What is answered to one request."""
        method, path = request.method, request.path
        with self._lock:
            self.requests[path] += 1
        if self.delay:
            time.sleep(self.delay)
        if self.down:
            return Answer(503, b'{"error":"temporarily_unavailable"}')
        if path in self.hidden:
            return _NOT_FOUND
        if path in self.answers:
            return Answer(200, self.answers[path])
        if method == "GET" and path in self.metadata_paths:
            return Answer(200, json.dumps(self.metadata()).encode())
        if method == "GET" and path == self.jwks_path:
            return Answer(200, json.dumps(self.jwks()).encode())
        if method == "POST" and path == f"{self._path}/token":
            return (
                self.exchanges.exchange(request) if self.exchanges.handles(request.form) else self._token(request.form)
            )
        if method == "POST" and path == self.introspection_path:
            return self.opaque.introspect(request)
        if method == "POST" and path == f"{self._path}/revoke":
            return self.opaque.revoke(request)
        return _NOT_FOUND

    def _token(self, form: Mapping[str, str]) -> Answer:
        name = form.get("user", "")
        user = self.users.get(name)
        if user is None:
            return Answer(400, b'{"error":"invalid_grant","error_description":"no such user"}')
        asked = form["scope"].split() if form.get("scope") else user.scopes
        scopes = [scope for scope in asked if scope in user.scopes]
        token = self.issue(name, audience=form.get("audience") or form.get("resource"), scopes=scopes)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": " ".join(scopes)}
        return Answer(200, json.dumps(answer).encode())
