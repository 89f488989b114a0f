"""Signed JSON Web Tokens: taken apart strictly, judged by one provider's rules (RFC 7519, RFC 8725, RFC 9068).

Nothing here knows a key. The work done on a token before its signature is looked at grows with the token's
length alone.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass
from typing import cast

import orjson

from actas.core.errors import AuthenticationError
from actas.http import strict_json
from actas.oauth.claims import is_name
from actas.oauth.reasons import Reason
from actas.oauth.settings import UNTYPED, TrustedIssuer, canonical_algorithm, canonical_type

MAX_HEADER_BYTES = 8192
"""Of the encoded header; room for a certificate chain, which is not used."""

MAX_CLAIMS = 256
"""Claims in a token, members in a header."""

MAX_DEPTH = 16
"""Nesting of a token's JSON."""

MAX_KEY_ID_LENGTH = 1024

_HEADERS_REMEMBERED = 1024
_LATEST_TIME = 2.0**40

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD = bytes(
    ord("+") if byte == ord("-") else ord("/") if byte == ord("_") else byte if byte in _ALPHABET else ord("!")
    for byte in range(256)
)
_PADDING = (b"", b"!", b"==", b"=")
_FINAL = (frozenset(_ALPHABET), frozenset[int](), frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))

_OTHER_KINDS = frozenset({"id", "refresh", "offline", "logout", "bearer-only"})
_CLAIMS_OF_OTHER_KINDS = ("at_hash", "c_hash", "events", "token_introspection")
_ACCESS_USES = frozenset({"access", "access_token"})


@dataclass(frozen=True, slots=True)
class ProtectedHeader:
    """What matters of a JOSE header. ``jku``, ``jwk``, ``x5u`` and ``x5c`` don't: a token never brings its own key."""

    algorithm: str
    key_id: str | None
    token_type: str


@dataclass(slots=True)
class UnverifiedToken:
    """A token taken apart. Nothing in it is true before its signature was checked."""

    header: ProtectedHeader
    claims: dict[str, object]
    signing_input: bytes
    signature: bytes
    encoded_header: bytes


def decode_base64url(segment: bytes) -> bytes:
    """Strict base64url (RFC 7515 section 2): no padding, no other character, one spelling per value.

    Raises:
        ValueError: it is not.
    """
    tail = len(segment) & 3
    if segment and segment[-1] not in _FINAL[tail]:
        raise ValueError("not canonical base64url")
    return a2b_base64(segment.translate(_TO_STANDARD) + _PADDING[tail], strict_mode=True)


def decode_object(text: bytes) -> dict[str, object]:
    """A JSON object, strictly.

    The fast parser is believed where writing its result again gives the very same bytes: then no name
    occurred twice and no number lost anything. Everything else goes through the strict parser.

    Raises:
        ValueError: not strict JSON, or no object.
        OverflowError: too deep, or too many members.
    """
    value: object = orjson.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and not strict_json.within_depth(value, MAX_DEPTH):  # pyright: ignore[reportUnknownArgumentType] -- JSON
        raise OverflowError("nested too deep")
    if orjson.dumps(value) != text:
        value = strict_json.loads(text, max_depth=MAX_DEPTH)
    result = cast(dict[str, object], value)
    if len(result) > MAX_CLAIMS:
        raise OverflowError("too many members")
    return result


class TokenReader:
    """Takes tokens apart, and remembers the headers of those that turned out genuine."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.remembered: dict[bytes, ProtectedHeader] = {}
        """Headers of genuine tokens, by their encoded form."""

    def read(self, token: bytes) -> UnverifiedToken:
        """Take ``token`` apart.

        Raises:
            AuthenticationError: too large, malformed, or with a header that no token here may have.
        """
        if len(token) > self._max_bytes:
            raise AuthenticationError(Reason.TOO_LARGE)
        signing_input, _, encoded_signature = token.rpartition(b".")
        encoded_header, _, encoded_claims = signing_input.partition(b".")
        try:
            header = self.remembered.get(encoded_header) or _read_header(encoded_header)
            claims = decode_object(decode_base64url(encoded_claims))
            signature = decode_base64url(encoded_signature)
        except (ValueError, Base64Error):
            raise AuthenticationError(Reason.MALFORMED) from None
        except OverflowError:
            raise AuthenticationError(Reason.TOO_LARGE) from None
        return UnverifiedToken(header, claims, signing_input, signature, encoded_header)

    def remember(self, token: UnverifiedToken) -> None:
        """Call for tokens with a good signature only: a stranger must not fill the memory."""
        if token.encoded_header not in self.remembered:
            if len(self.remembered) >= _HEADERS_REMEMBERED:
                self.remembered.clear()
            self.remembered[token.encoded_header] = token.header


def _read_header(encoded: bytes) -> ProtectedHeader:
    if len(encoded) > MAX_HEADER_BYTES:
        raise OverflowError("header too large")
    header = decode_object(decode_base64url(encoded))
    if "crit" in header:
        raise AuthenticationError(Reason.CRITICAL_HEADER)
    algorithm, key_id, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or not isinstance(key_id, str | None) or not isinstance(typ, str | None):
        raise ValueError("alg must, kid and typ may be there, and all are strings")
    if key_id is not None and len(key_id) > MAX_KEY_ID_LENGTH:
        raise OverflowError("kid too large")
    return ProtectedHeader(canonical_algorithm(algorithm), key_id, UNTYPED if typ is None else canonical_type(typ))


class TokenPolicy:
    """One provider's rules, ready to be applied."""

    def __init__(self, issuer: TrustedIssuer) -> None:
        rules = issuer.security
        self.audience = frozenset(issuer.audience)
        self._algorithms = frozenset(map(canonical_algorithm, issuer.algorithms))
        self._types = frozenset(map(canonical_type, rules.token_types))
        self._parties = frozenset(issuer.authorized_parties)
        self._tolerance = rules.clock_tolerance
        self._max_age = rules.max_token_age or None
        self._require_nbf = rules.require_nbf
        self._max_bytes = rules.max_token_bytes

    def check(self, token: UnverifiedToken, now: float) -> float:
        """Everything but issuer, audience and signature. ``now`` and the result are seconds since the epoch.

        Returns:
            When the token starts to be refused.

        Raises:
            AuthenticationError: a rule is broken.
        """
        if len(token.signing_input) + len(token.signature) * 4 // 3 > self._max_bytes:
            raise AuthenticationError(Reason.TOO_LARGE)
        self.check_algorithm(token.header)
        kind = token.header.token_type
        if kind not in self._types:
            raise AuthenticationError(Reason.WRONG_TYPE)
        return self.check_claims(token.claims, now, typed=kind == "at+jwt")

    def check_algorithm(self, header: ProtectedHeader) -> None:
        """Raises AuthenticationError where the provider does not sign with the header's ``alg``."""
        if header.algorithm not in self._algorithms:
            raise AuthenticationError(Reason.WRONG_ALGORITHM)

    def check_claims(self, claims: dict[str, object], now: float, *, typed: bool) -> float:
        """What :meth:`check` checks of the claims alone, be they of a JWT or of an introspected token.

        Args:
            typed: whether a header said that this is an access token; else the claims must not speak against it.

        Raises:
            AuthenticationError: a rule is broken.
        """
        if not typed:
            _check_kind(claims)
        if not is_name(claims.get("sub")):
            reason = Reason.MISSING_CLAIM if claims.get("sub") is None else Reason.MALFORMED_CLAIM
            raise AuthenticationError(reason, detail="sub")
        if self._parties:
            self._check_party(claims)
        return self._check_times(claims, now)

    def _check_party(self, claims: dict[str, object]) -> None:
        stated = [claims[name] for name in ("client_id", "azp") if claims.get(name) is not None]
        if not stated or not all(isinstance(party, str) and party in self._parties for party in stated):
            raise AuthenticationError(Reason.WRONG_PARTY)

    def _check_times(self, claims: dict[str, object], now: float) -> float:
        latest, max_age = now + self._tolerance, self._max_age
        ends = _time(claims, "exp", True) + self._tolerance
        if now >= ends:
            raise AuthenticationError(Reason.EXPIRED)
        if _time(claims, "nbf", self._require_nbf) > latest:
            raise AuthenticationError(Reason.NOT_YET_VALID)
        issued = _time(claims, "iat", max_age is not None)
        if issued > latest:
            raise AuthenticationError(Reason.NOT_YET_VALID)
        if max_age is not None:
            ends = min(ends, issued + max_age + self._tolerance)
            if now >= ends:
                raise AuthenticationError(Reason.TOO_OLD)
        return ends


def _check_kind(claims: dict[str, object]) -> None:
    stated = claims.get("typ")
    if isinstance(stated, str) and stated.lower() in _OTHER_KINDS:
        raise AuthenticationError(Reason.WRONG_TYPE)
    use = claims.get("token_use", "access")  # Cognito, whose tokens have no typ at all; Hydra
    if not isinstance(use, str) or use not in _ACCESS_USES:
        raise AuthenticationError(Reason.WRONG_TYPE)
    if any(name in claims for name in _CLAIMS_OF_OTHER_KINDS):
        raise AuthenticationError(Reason.WRONG_TYPE)
    if "nonce" in claims and stated != "Bearer":  # an ID token's; older Keycloaks also put it beside typ: Bearer
        raise AuthenticationError(Reason.WRONG_TYPE)


def names_any(claimed: object, ours: frozenset[str]) -> bool:
    """Whether ``aud``, a string or a list of them (RFC 7519 section 4.1.3), names one of ``ours``."""
    if isinstance(claimed, str):
        return claimed in ours
    if not isinstance(claimed, list):
        return False
    audiences = cast(list[object], claimed)
    return all(isinstance(audience, str) for audience in audiences) and not ours.isdisjoint(audiences)


def _time(claims: dict[str, object], name: str, demanded: bool) -> float:
    value = claims.get(name)
    if (type(value) is int or type(value) is float) and 0 <= value <= _LATEST_TIME:
        return value
    if name in claims:
        raise AuthenticationError(Reason.MALFORMED_CLAIM, detail=name)
    if demanded:
        raise AuthenticationError(Reason.MISSING_CLAIM, detail=name)
    return 0.0
