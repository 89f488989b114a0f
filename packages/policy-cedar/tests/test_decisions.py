"""What policies can know of a session and a call, and what they say; nobody can write himself into another."""

import dataclasses
import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core.models import Action, Actor, Decision, Effect, NoParameters, Question, Session
from actas.policy.cedar.authorizer import CedarAuthorizer
from actas.policy.cedar.entities import Untellable, told
from actas.policy.cedar.policies import read_policies

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC).timestamp()
ALICE = Session(
    issuer="https://idp.example",
    subject="s-1",
    username="alice",
    provider="acme",
    role="user",
    custom_roles=("auditor",),
    permissions=frozenset({"sql:read"}),
    scopes=frozenset({"read", "mfa"}),
    client_id="desktop",
    actors=(Actor(subject="agent"), Actor(subject="broker")),
    claims={"department": "finance", "level": 3, "nested": {"list": ["a", "b"]}, "none": None},
)


@dataclass(frozen=True)
class Query:
    sql: str = "SELECT 1"
    limit: float = 1.5
    flags: list[object] = dataclasses.field(default_factory=list[object])


QUERY = Action(name="query", description="", parameters=Query, permission="sql:read", effect=Effect.DESTRUCTIVE)
Made = Callable[[str], CedarAuthorizer]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(text: str) -> CedarAuthorizer:
        (tmp_path / "p.cedar").write_text(text)
        return CedarAuthorizer(read_policies([str(tmp_path / "p.cedar")]), clock=lambda: NOON)

    return make


def question(parameters: object = None, session: Session = ALICE, tool: str = "sql-delegate") -> Question:
    return Question(session=session, tool=tool, module="sql", action=QUERY, parameters=parameters)


async def decided(authorizer: CedarAuthorizer, asked: Question) -> Decision:
    (decision,) = await authorizer.decide([asked])
    return decision


@pytest.mark.parametrize(
    "condition",
    [
        'principal == User::"acme/s-1"',
        'principal in Role::"user"',
        'principal in Role::"auditor"',
        'principal.provider == "acme" && principal.issuer == "https://idp.example" && principal.subject == "s-1"',
        'principal.username == "alice" && principal.role == "user" && principal.client_id == "desktop"',
        'principal.roles.containsAll(["user", "auditor"]) && principal.permissions.contains("sql:read")',
        'principal.scopes.contains("mfa")',
        'principal.actor == "agent" && principal.actors.contains("broker")',
        "!principal.application",
        '!(principal has legacy_username) && principal.claims.department == "finance"',
        'principal.claims.level > 2 && principal.claims.nested.list.contains("b") && !(principal.claims has none)',
        'resource == Tool::"sql-delegate" && resource in Module::"sql"',
        'resource.module == "sql" && resource.action == "query" && resource.effect == "destructive"',
        'resource.permission == "sql:read"',
        'action == Action::"call"',
        'context.now.toTime() >= duration("12h") && context.now.toTime() < duration("12h1s")',
        'context.now > datetime("2026-11-25") && context.now < datetime("2026-11-26")',
        'context.parameters.sql == "SELECT 1" && context.parameters.limit == "1.5"',
    ],
)
async def test_a_policy_can_know(made: Made, condition: str) -> None:
    authorizer = made(f"permit(principal, action, resource) when {{ {condition} }};")
    place = authorizer._policies.places["policy0"]
    assert await decided(authorizer, question(Query())) == Decision.allow(f"permitted by {place}")
    opposite = made(f"permit(principal, action, resource) unless {{ {condition} }};")
    assert not (await decided(opposite, question(Query()))).allowed


async def test_an_application_is_told_apart_from_a_user(made: Made) -> None:
    authorizer = made("permit(principal, action, resource) when { principal.application };")
    assert (await decided(authorizer, question(session=replace(ALICE, application=True)))).allowed
    assert not (await decided(authorizer, question())).allowed


async def test_a_list_has_no_parameters_and_another_action(made: Made) -> None:
    authorizer = made('permit(principal, action == Action::"list", resource) unless { context has parameters };')
    assert (await decided(authorizer, question())).allowed
    assert not (await decided(authorizer, question(Query()))).allowed


async def test_a_call_without_parameters_is_a_call_all_the_same(made: Made) -> None:
    authorizer = made('permit(principal, action == Action::"call", resource) when { context has parameters };')
    assert (await decided(authorizer, question(NoParameters()))).allowed


async def test_what_no_policy_permits_is_refused_and_a_forbid_wins(made: Made) -> None:
    nobody = made('permit(principal == User::"other/s-1", action, resource);')
    assert await decided(nobody, question()) == Decision.refuse("no policy permits it")
    both = made('@id("all") permit(principal, action, resource);\n@id("none") forbid(principal, action, resource);')
    decision = await decided(both, question())
    assert not decision.allowed
    assert decision.reason.startswith("forbidden by none (") and decision.reason.endswith("p.cedar:2)")


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("forbid(principal, action, resource) when { principal.nothing == 1 };", "the attribute `nothing`"),
        ('forbid(principal, action, resource) when { context.parameters.sql == "x" };', "the attribute `parameters`"),
        ("forbid(principal, action, resource) when { principal.claims.level };", "expected bool, got long"),
        ("forbid(principal, action, resource) when { principal.claims.level * 9223372036854775807 > 0 };", ""),
    ],
)
async def test_a_policy_that_cannot_be_evaluated_refuses_also_one_that_forbids(
    made: Made, policy: str, told: str
) -> None:
    decision = await decided(made(f"permit(principal, action, resource);\n{policy}"), question())
    assert not decision.allowed
    assert "p.cedar:2 cannot be evaluated" in decision.reason and told in decision.reason
    assert "9223372036854775807" not in decision.reason


HOSTILE = [
    {"__entity": {"type": "User", "id": "acme/s-1"}},
    {"__extn": {"fn": "ip", "arg": "10.0.0.1"}},
    {"__expr": "true"},
    {"deep": [{"__entity": {"type": "Role", "id": "admin"}}]},
]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_nobody_writes_an_entity_or_an_extension_into_parameters_or_claims(made: Made, hostile: object) -> None:
    authorizer = made("permit(principal, action, resource);")
    decision = await decided(authorizer, question(Query(flags=[hostile])))
    assert not decision.allowed and "is reserved" in decision.reason
    decision = await decided(authorizer, question(session=replace(ALICE, claims={"x": hostile})))
    assert not decision.allowed


@pytest.mark.parametrize("text", ['alice"', 'a", "b', "a\nb", 'x" }; permit(principal, action, resource);', "\\", "\0"])
async def test_text_that_looks_like_policy_stays_text(made: Made, text: str) -> None:
    quoted = json.dumps("acme/" + text).replace("\\u0000", "\\0")
    authorizer = made(
        f"permit(principal == User::{quoted}, action, resource) when {{ principal.username == principal.subject }};"
    )
    session = replace(ALICE, subject=text, username=text)
    assert (await decided(authorizer, question(session=session))).allowed
    assert not (await decided(authorizer, question(session=replace(session, subject=text + "x")))).allowed


async def test_what_the_engine_cannot_read_is_refused(made: Made) -> None:
    decision = await decided(made("permit(principal, action, resource);"), question(Query(sql="\ud800")))
    assert decision == Decision.refuse("the engine did not understand the request")


async def test_several_questions_get_their_answers_in_order_also_of_several_sessions(made: Made) -> None:
    authorizer = made('permit(principal in Role::"auditor", action, resource == Tool::"b");')
    other = replace(ALICE, subject="s-2", custom_roles=())
    asked = [question(session=who, tool=tool) for who in (ALICE, other, ALICE) for tool in "ab"]
    assert [each.allowed for each in await authorizer.decide(asked)] == [False, True, False, False, False, True]
    assert await authorizer.decide([]) == []


async def test_it_needs_no_start_and_no_end(made: Made) -> None:
    authorizer = made("permit(principal, action, resource);")
    await authorizer.initialize()
    await authorizer.close()
    await authorizer.close()


class Colour(enum.Enum):
    RED = "red"


def test_values_become_what_cedar_can_hold() -> None:
    assert told({"a": None, "b": [None, 1, True], "c": Colour.RED, "d": 2**63, "e": 0.5, "f": (1,), "g": {"h": 1}}) == {
        "b": [1, True],
        "c": "red",
        "d": str(2**63),
        "e": "0.5",
        "f": [1],
        "g": {"h": 1},
    }
    assert told(-(2**63)) == -(2**63)


async def test_claims_that_the_engine_cannot_read_are_refused_without_a_word_of_them(made: Made) -> None:
    session = replace(ALICE, claims={"x": "secret \ud800"})
    decision = await decided(made("permit(principal, action, resource);"), question(session=session))
    assert decision == Decision.refuse("the engine did not understand the session")


async def test_principals_are_kept_in_bounded_memory_and_never_mixed_up(made: Made) -> None:
    authorizer = made('permit(principal == User::"acme/7", action, resource);')
    for number in range(3000):
        session = replace(ALICE, subject=str(number % 10))
        for _ in range(2):
            assert (await decided(authorizer, question(session=session))).allowed == (number % 10 == 7)
    assert len(authorizer._principals) == 1024


async def test_too_many_values_are_refused_instead_of_making_everybody_wait(made: Made) -> None:
    authorizer = made("permit(principal, action, resource);")
    many: list[object] = [{"a": number} for number in range(1500)]
    decision = await decided(authorizer, question(Query(flags=many)))
    assert not decision.allowed and "more than 2000 parts" in decision.reason
    assert (await decided(authorizer, question(Query(flags=many[:500])))).allowed


def test_what_is_nested_too_deeply_is_not_told() -> None:
    deep: object = "x"
    for _ in range(40):
        deep = [deep]
    with pytest.raises(Untellable):
        told(deep)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(value=JSON)
async def test_no_parameter_breaks_a_decision(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a model sends: the one that the policy is about decides, or the call is refused."""
    file = tmp_path_factory.getbasetemp() / "constant.cedar"
    file.write_text('permit(principal, action, resource) when { context.parameters.sql == "good" };')
    authorizer = CedarAuthorizer(read_policies([str(file)]))
    for sql, allowed in (("good", True), ("bad", False)):
        decision = await decided(authorizer, question(Query(sql=sql, flags=[value])))
        assert decision.allowed in (allowed, False)
        assert decision.reason
