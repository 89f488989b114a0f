"""How the server is made to say who we are, before the user's statement, in commands that nobody can forge.

All of them are utility commands: no planner, no function, no operator, nothing that is looked up in a schema, and sent
unnamed each time. ``SET LOCAL SESSION AUTHORIZATION "alice"`` succeeds only in alice's own login (a superuser's apart,
who is everybody anyway) and ends whatever role was set; ``SHOW`` then is the server's word for the receipt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

NO_ROLE = "none"
"""What ``SHOW role`` says where no role was set: the current user is the session's."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What comes between BEGIN and the statement, and what the server must say to it."""

    principal: str
    """Who the call is for."""
    become: bytes
    """Fails, and with it all that follows, where the session may not be the principal's."""
    session_user: str
    """What ``SHOW session_authorization`` must say."""
    role: str
    """What ``SHOW role`` must say."""
    settings: tuple[bytes, ...] = ()
    """The session's settings, where they could not be given when it started."""
    seen: Mapping[str, str] = field(default_factory=dict[str, str])
    """What else the server saw at the login, for the receipt."""
    session_is_shared: bool = False
    """Between transactions the session is a pooler's: nothing can be kept in it, and cleaning it is not ours."""


def own_login(principal: str) -> Frame:
    """For a session that was opened by logging in as ``principal``."""
    return Frame(principal, b"SET LOCAL SESSION AUTHORIZATION " + quoted(principal).encode(), principal, NO_ROLE)


def taken_role(principal: str, login: str) -> Frame:
    """For a session of ``login``, which is granted the role ``principal``."""
    return Frame(principal, b"SET LOCAL ROLE " + quoted(principal).encode(), login, principal)


def quoted(name: str) -> str:
    """``name`` as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """``value`` as a string; ``standard_conforming_strings`` is on, and none of ours has a backslash."""
    return "'" + value.replace("'", "''") + "'"
