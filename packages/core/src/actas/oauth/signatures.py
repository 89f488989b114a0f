"""The one place where a signature is checked against a provider's key."""

from joserfc.jws import JWSRegistry

from actas.core.errors import AuthenticationError
from actas.oauth.jwks import KeySource
from actas.oauth.jwt import UnverifiedToken
from actas.oauth.reasons import Reason
from actas.oauth.settings import SUPPORTED_ALGORITHMS

_REGISTRY = JWSRegistry(algorithms=SUPPORTED_ALGORITHMS)
_ALGORITHMS = {name: _REGISTRY.get_alg(name) for name in SUPPORTED_ALGORITHMS}


async def check_signature(token: UnverifiedToken, keys: KeySource) -> bool:
    """Return where ``token`` was signed with one of ``keys``; its ``alg`` must have been allowed before.

    Returns:
        Whether that took no waiting: else time has passed since the claims were judged.

    Raises:
        AuthenticationError: it was not, or there is no such key.
    """
    header = token.header
    key = keys.peek(header.key_id, header.algorithm)
    at_hand = key is not None
    if key is None:
        key = await keys.obtain(header.key_id, header.algorithm)
    if not _ALGORITHMS[header.algorithm].verify(token.signing_input, token.signature, key):
        raise AuthenticationError(Reason.BAD_SIGNATURE)
    return at_hand
