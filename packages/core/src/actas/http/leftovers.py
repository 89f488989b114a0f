"""What a server sent beyond its answer must not become the answer to somebody else's request.

The library keeps a connection although bytes are left in its buffer, and reads the next answer from there. Whoever can
make a server send two answers for one (a header that is not escaped, a length that lies) would write the answer that
the next user gets. There is no public way to look: where the way that there is leads nowhere, the connection is closed
too.
"""

from actas.http.library import httpx

_WAY = ("stream", "_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state", "trailing_data")
"""From a response to what h11 has not used yet, and whether the connection ended there."""


async def close_if_dirty(response: "httpx.Response") -> None:
    """Close the connection of ``response``, whose body was read to its end, unless nothing came after it."""
    found: object = response
    for step in _WAY:
        found = getattr(found, step, None)
    if not isinstance(found, tuple) or found[0]:
        await response.extensions["network_stream"].aclose()
