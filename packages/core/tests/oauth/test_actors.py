"""What is left of a user's rights when an agent acts, and who may act at all. Real signatures."""

from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core.errors import AuthenticationError
from actas.core.models import UNASSIGNED, Actor, Session
from actas.core.roles import RoleMappings
from actas.oauth import Authenticator, KnownActor
from actas.oauth.actors import KnownActors, Rights
from actas.oauth.claims import MAX_ACTORS, actors_of
from actas.oauth.settings import TrustedIssuer
from actas.testing.idp import IdentityProvider

from .conftest import ROLES

pytestmark = pytest.mark.anyio

Refused = Callable[[Authenticator, str], Awaitable[str]]
Make = Callable[..., Authenticator]

READER = KnownActor(subject="reader", permissions=["sql:read", "sql:write"], scopes=["a", "c"], roles=["auditor"])
MUTE = KnownActor(subject="mute")
FOREIGN = KnownActor(subject="reader", issuer="https://agents.example", permissions=["log:read"])


@pytest.fixture
def guarded(idp: IdentityProvider, make: Make) -> Authenticator:
    """Knows three actors."""
    return make(idp.trusted(role_mappings=ROLES, actors=[READER, MUTE, FOREIGN], introspection=idp.introspection()))


async def session_of(authenticator: Authenticator, idp: IdentityProvider, act: object, **more: object) -> Session:
    """alice, who is staff and auditor, through that actor."""
    claims: dict[str, object] = {"roles": ["staff", "audit"], "scope": "a b", "act": act, **more}
    return await authenticator.authenticate(idp.issue("alice", claims=claims))


async def test_an_agent_has_what_both_the_user_and_it_may_do(guarded: Authenticator, idp: IdentityProvider) -> None:
    alone = await session_of(guarded, idp, None)
    assert (alone.permissions, alone.scopes) == ({"sql:read", "log:read"}, {"a", "b"})
    assert (alone.role, alone.custom_roles, alone.actors) == ("user", ("auditor",), ())
    acted = await session_of(guarded, idp, {"sub": "reader"})
    assert not acted.rejected
    assert (acted.subject, acted.permissions, acted.scopes) == ("alice", {"sql:read"}, {"a"})
    assert (acted.role, acted.custom_roles) == (UNASSIGNED, ("auditor",))
    assert acted.actors == (Actor(subject="reader"),)


async def test_an_agent_gives_the_user_nothing(guarded: Authenticator, idp: IdentityProvider) -> None:
    guest = await session_of(guarded, idp, {"sub": "reader"}, roles=[], scope="")
    assert (guest.permissions, guest.scopes, guest.custom_roles) == (frozenset(), frozenset(), ())


async def test_an_actor_without_a_list_may_do_nothing_by_permission_or_role(
    guarded: Authenticator, idp: IdentityProvider
) -> None:
    mute = await session_of(guarded, idp, {"sub": "mute"})
    assert (mute.rejected, mute.permissions, mute.role, mute.custom_roles) == (False, frozenset(), UNASSIGNED, ())
    assert mute.scopes == {"a", "b"}


async def test_an_actor_that_may_use_the_role_keeps_it(idp: IdentityProvider, make: Make) -> None:
    authenticator = make(idp.trusted(role_mappings=ROLES, actors=[KnownActor(subject="agent", roles=["user"])]))
    session = await session_of(authenticator, idp, {"sub": "agent"})
    assert (session.role, session.custom_roles, session.permissions) == ("user", (), frozenset())


@pytest.mark.parametrize(
    "act",
    [
        {"sub": "stranger"},
        {"sub": "Reader"},
        {"sub": "reader", "iss": "https://evil.example"},
        {"sub": "mute", "iss": "https://agents.example"},
        {"sub": "stranger", "act": {"sub": "reader"}},
    ],
)
async def test_an_unknown_actor_is_admitted_to_nothing(
    guarded: Authenticator, idp: IdentityProvider, act: dict[str, object]
) -> None:
    session = await session_of(guarded, idp, act)
    assert session.rejected
    assert str(session.rejection_reason).startswith("unknown_actor: ")
    assert (session.permissions, session.scopes, session.role) == (frozenset(), frozenset(), UNASSIGNED)
    assert session.actors[0].subject == act["sub"]


async def test_without_known_actors_every_actor_is_unknown(authenticator: Authenticator, idp: IdentityProvider) -> None:
    assert (await session_of(authenticator, idp, {"sub": "reader"})).rejected


async def test_the_actors_issuer_counts_and_is_the_providers_where_it_is_not_said(
    guarded: Authenticator, idp: IdentityProvider
) -> None:
    own = await session_of(guarded, idp, {"sub": "reader", "iss": idp.issuer})
    foreign = await session_of(guarded, idp, {"sub": "reader", "iss": "https://agents.example"})
    assert (own.permissions, foreign.permissions) == ({"sql:read"}, {"log:read"})


async def test_who_acted_before_neither_gives_nor_takes(guarded: Authenticator, idp: IdentityProvider) -> None:
    inner: dict[str, object] = {"sub": "mute", "act": {"sub": "never-heard-of"}}
    session = await session_of(guarded, idp, {"sub": "reader", "act": inner})
    assert (session.rejected, session.permissions) == (False, {"sql:read"})
    assert [actor.subject for actor in session.actors] == ["reader", "mute", "never-heard-of"]


async def test_an_opaque_token_with_an_actor_is_treated_alike(guarded: Authenticator, idp: IdentityProvider) -> None:
    known = await guarded.authenticate(idp.issue_opaque(act={"sub": "reader"}, scope="a b"))
    unknown = await guarded.authenticate(idp.issue_opaque(act={"sub": "stranger"}))
    assert (known.permissions, known.scopes, unknown.rejected) == ({"sql:read"}, {"a"}, True)


async def test_who_may_act_one_day_says_nothing_about_now(guarded: Authenticator, idp: IdentityProvider) -> None:
    session = await session_of(guarded, idp, None, may_act={"sub": "stranger"})
    assert (session.rejected, session.actors, session.role) == (False, (), "user")


async def test_the_chain_of_actors_is_read_and_bounded(
    guarded: Authenticator, idp: IdentityProvider, refused: Refused
) -> None:
    long: dict[str, object] = {"sub": "a"}
    for _ in range(MAX_ACTORS):
        long = {"sub": "a", "act": long}
    assert await refused(guarded, idp.issue(claims={"act": long})) == "malformed_claim"
    malformed: list[object] = ["agent", [], 5, True, {"sub": 5}, {"sub": "a", "act": "b"}, {"sub": "a\n"}]
    malformed += [{"sub": "reader", "iss": 5}, {"sub": "reader", "iss": ""}, [{"sub": "reader"}]]
    for wrong in malformed:
        assert await refused(guarded, idp.issue(claims={"act": wrong})) == "malformed_claim"
    for wrong in ({}, {"iss": "x"}, {"client_id": "reader"}):
        assert await refused(guarded, idp.issue(claims={"act": wrong})) == "missing_claim"


async def test_actors_of_one_provider_are_strangers_to_another(idp: IdentityProvider, make: Make) -> None:
    knowing = idp.trusted("first", role_mappings=RoleMappings(user=["staff"]), actors=[READER])
    authenticator = make(knowing, idp.trusted("second", audience=["https://two.example"], role_mappings=ROLES))
    assert not (await session_of(authenticator, idp, {"sub": "reader"})).rejected
    assert (await session_of(authenticator, idp, {"sub": "reader"}, aud="https://two.example")).rejected


@pytest.mark.parametrize(
    "actors",
    [
        [KnownActor(subject="a"), KnownActor(subject="a", permissions=["x"])],
        [KnownActor(subject="a"), KnownActor(subject="a", issuer="https://idp.example")],
    ],
)
def test_an_actor_that_is_there_twice_is_a_mistake(actors: list[KnownActor]) -> None:
    with pytest.raises(ValueError, match="twice"):
        TrustedIssuer(name="x", issuer="https://idp.example", audience=["a"], actors=actors)


def test_an_actor_must_have_a_name() -> None:
    for fields in ({"subject": ""}, {"subject": "a", "issuer": ""}):
        with pytest.raises(ValueError, match="subject must name"):
            KnownActor(**fields)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just("reader"),
    lambda children: (
        st.lists(children, max_size=2)
        | st.dictionaries(st.sampled_from(["sub", "iss", "act", "x"]), children, max_size=3)
    ),
    max_leaves=12,
)
_TRUSTED = TrustedIssuer(name="x", issuer="https://idp.example", audience=["a"], actors=[READER, MUTE, FOREIGN])
_names = st.frozensets(st.sampled_from(["a", "b", "c", "sql:read", "sql:write", "sql:admin", "auditor", "user"]))


@given(act=_json, permissions=_names, scopes=_names, roles=_names)
def test_no_act_claim_gives_more_than_the_user_has(
    act: object, permissions: frozenset[str], scopes: frozenset[str], roles: frozenset[str]
) -> None:
    rights = Rights(role="user", custom_roles=tuple(roles), permissions=permissions, scopes=scopes)
    try:
        chain = actors_of(act)
    except AuthenticationError as error:
        assert error.reason in ("malformed_claim", "missing_claim")
        return
    limited = KnownActors(_TRUSTED).limited(rights, chain)
    if act is None:
        assert limited == rights
    elif limited is not None:
        assert chain[0].subject in ("reader", "mute")
        assert limited.permissions <= permissions & {"sql:read", "sql:write", "log:read"}
        assert limited.scopes <= scopes
        assert set(limited.custom_roles) <= roles
        assert limited.role == UNASSIGNED
