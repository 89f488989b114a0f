"""From a token's roles to ours: the order, and that nothing whatever raises."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.core import UNASSIGNED, MappedRoles, Permissions, RoleMapper, RoleMappings

MAPPINGS = RoleMappings(
    admin=["idp-admin"],
    user=["idp-user", "staff"],
    guest=["idp-guest"],
    custom={"auditor": ["idp-audit"], "writer": ["idp-write", "staff"]},
)
MAPPER = RoleMapper(MAPPINGS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
THEIRS = st.sampled_from(["idp-admin", "idp-user", "staff", "idp-guest", "idp-audit", "idp-write", "else", ""])


class Trap(str):
    """A string that fights back when it is looked at."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise RuntimeError("looked at")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("looked at")


class TrapList(list[Any]):  # Any: what it holds is never seen
    def __iter__(self) -> Any:  # Any: it never returns
        raise RuntimeError("looked at")


class TrapObject:
    @property  # type: ignore[misc]  # the point
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride] -- the point
        raise RuntimeError("looked at")

    def __bool__(self) -> bool:
        raise RuntimeError("looked at")


@pytest.mark.parametrize(
    ("claimed", "role", "custom"),
    [
        (["idp-guest", "idp-user", "idp-admin"], "admin", ()),
        (["idp-guest", "idp-user"], "user", ()),
        (["idp-audit", "idp-guest"], "guest", ("auditor",)),
        (["idp-write", "idp-audit"], "auditor", ("writer",)),
        (["idp-write"], "writer", ()),
        (["staff", "idp-audit"], "user", ("auditor", "writer")),
        (["something else"], "guest", ()),
        ([], "guest", ()),
        (None, "guest", ()),
        ("idp-admin", "admin", ()),
        ("idp-audit idp-user", "user", ("auditor",)),
        ("", "guest", ()),
    ],
)
def test_admin_comes_before_user_before_guest_before_custom_before_the_default(
    claimed: object, role: str, custom: tuple[str, ...]
) -> None:
    assert MAPPER.map(claimed) == MappedRoles(role, custom)


def test_of_the_custom_roles_the_first_that_is_configured_wins() -> None:
    for order in (["one", "two"], ["two", "one"]):
        mapper = RoleMapper(RoleMappings(custom={name: ["theirs"] for name in order}))
        assert mapper.map(["theirs"]) == MappedRoles(order[0], (order[1],))


def test_a_provider_role_with_a_space_in_it_is_matched_as_a_whole() -> None:
    assert RoleMapper(RoleMappings(admin=["Domain Admins"])).map("Domain Admins").role == "admin"


def test_roles_are_compared_exactly() -> None:
    for near in ("IDP-ADMIN", "idp-admin ", "idp-admin\n", "idp-admi", "idp-administrator"):
        assert MAPPER.map([near]).role == "guest"


@pytest.mark.parametrize(
    "claimed",
    [1, True, 1.5, {"roles": ["idp-admin"]}, ["idp-admin", 1], [["idp-admin"]], ["idp-admin", None], b"idp-admin", ()],
)
def test_a_claim_of_a_wrong_type_is_unassigned_with_a_reason(claimed: object) -> None:
    mapped = MAPPER.map(claimed)
    assert (mapped.role, mapped.custom_roles) == (UNASSIGNED, ())
    assert mapped.rejection


def test_unmapped_roles_are_rejected_where_the_operator_says_so() -> None:
    mapper = RoleMapper(RoleMappings(user=["idp-user"], reject_unmapped_roles=True))
    assert mapper.map(["idp-user"]) == MappedRoles("user")
    for claimed in (["else"], [], None, ""):
        assert mapper.map(claimed).role == UNASSIGNED
        assert mapper.map(claimed).rejection


@pytest.mark.parametrize("default", ["", UNASSIGNED])
def test_a_default_that_is_no_role_rejects_instead_of_admitting_without_a_role(default: str) -> None:
    assert RoleMapper(RoleMappings(default_role=default)).map([]).rejection


def test_the_default_may_be_a_role_of_ones_own() -> None:
    assert RoleMapper(RoleMappings(default_role="visitor")).map(["else"]) == MappedRoles("visitor")


@given(st.one_of(JSON, THEIRS, st.lists(THEIRS), st.lists(THEIRS).map(" ".join), st.binary(), st.sets(st.text())))
def test_no_input_whatever_raises_and_every_answer_is_consistent(claimed: object) -> None:
    for mapper in (MAPPER, RoleMapper(RoleMappings(reject_unmapped_roles=True))):
        mapped = mapper.map(claimed)
        assert mapped.role in {"admin", "user", "guest", "auditor", "writer", UNASSIGNED}
        assert (mapped.role == UNASSIGNED) == (mapped.rejection is not None)
        assert mapped.role not in mapped.custom_roles
        assert set(mapped.custom_roles) <= {"auditor", "writer"}


def test_objects_that_raise_when_looked_at_are_unassigned() -> None:
    # Not parametrised: pytest would look at them.
    hostile: list[object] = [Trap("idp-admin"), [Trap("idp-admin")], TrapList(["idp-admin"]), TrapObject()]
    roles = [MAPPER.map(claimed).role for claimed in hostile]
    assert roles == [UNASSIGNED] * 4


@given(st.lists(THEIRS))
def test_the_order_in_the_token_means_nothing(claimed: list[str]) -> None:
    assert MAPPER.map(claimed) == MAPPER.map(claimed[::-1]) == MAPPER.map(claimed * 2)


def test_permissions_are_the_union_over_the_roles() -> None:
    permissions = Permissions(admin=["a"], user=["u", "x"], guest=["g"], custom={"auditor": ["x", "log"]})
    assert permissions.of(["user", "auditor"]) == {"u", "x", "log"}
    assert permissions.of(["admin"]) == {"a"}
    assert permissions.of(["guest"]) == {"g"}
    assert permissions.of([]) == frozenset()
    assert permissions.of(["nobody configured this"]) == frozenset()


def test_unassigned_never_has_permissions() -> None:
    everything = Permissions(admin=["p"], user=["p"], guest=["p"], custom={"auditor": ["p"]})
    assert everything.of([UNASSIGNED]) == frozenset()


@pytest.mark.parametrize("name", ["admin", "user", "guest", UNASSIGNED, ""])
def test_a_role_of_ones_own_cannot_take_a_name_that_has_a_meaning(name: str) -> None:
    with pytest.raises(ValueError, match="custom"):
        RoleMappings(custom={name: ["idp-user"]})
    with pytest.raises(ValueError, match="custom"):
        Permissions(custom={name: ["sql:admin"]})


@pytest.mark.parametrize(
    "make",
    [
        lambda: RoleMappings(admin=[""]),
        lambda: RoleMappings(user=["", "x"]),
        lambda: RoleMappings(guest=[""]),
        lambda: RoleMappings(custom={"own": [""]}),
    ],
)
def test_an_empty_provider_role_cannot_be_mapped(make: Any) -> None:  # Any: a lambda without a type of its own
    with pytest.raises(ValueError, match="empty"):
        make()
