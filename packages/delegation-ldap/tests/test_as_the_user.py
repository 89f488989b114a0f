"""What the directory sees and decides: a real slapd, whose own rules say who may what."""

import asyncio
import random

import pytest
from ldap_directory import ENTRIES, MANY, NAME, ask, code, data, dn, find, module_for, uids, user

from actas.core import IdentityMismatch, InvalidParameters, PrincipalUnavailable
from actas.delegation.ldap.actions import Change, ChangeOwn, Compare, Groups, Modify, Read, WhoAmI
from actas.delegation.ldap.failures import AccessRefused, AssumptionRefused, NoSuchEntry, RequestFailed
from actas.delegation.ldap.module import LdapDelegation
from actas.testing.slapd import Slapd
from actas.testing.slapd_lines import GATEWAY, SUFFIX

pytestmark = pytest.mark.anyio


async def test_alice_cannot_read_bobs_private_attribute_and_bob_can(module: LdapDelegation) -> None:
    seen = {who: (await data(module, who, Read(entry=dn("bob"))))["attributes"] for who in ("alice", "bob")}
    assert seen["bob"]["homePhone"] == ["secret-bob"]
    assert "homePhone" not in seen["alice"] and seen["alice"]["mobile"] == ["of-bob"]


async def test_a_filter_finds_nothing_by_what_its_user_may_not_read(module: LdapDelegation) -> None:
    what = {"attribute": "homePhone", "equals": "secret-bob"}
    assert uids(await data(module, "alice", find(filter=what))) == []
    assert uids(await data(module, "bob", find(filter=what))) == ["bob"]


async def test_the_receipt_is_what_the_directory_said(module: LdapDelegation) -> None:
    result = await ask(module, "alice", WhoAmI())
    assert result.data == {"seen_as": f"dn:{dn('alice')}"}
    assert result.receipt.identity == f"dn:{dn('alice')}" and result.receipt.method == "proxied_authorization"


async def test_a_user_who_is_not_in_the_directory_is_refused(module: LdapDelegation) -> None:
    with pytest.raises(AssumptionRefused):
        await ask(module, "nobody", find())


async def test_the_gateway_itself_is_nobodys_name(directory: Slapd) -> None:
    module = module_for(directory, authzid=f"dn:cn={{}},ou=services,{SUFFIX}")
    with pytest.raises(PrincipalUnavailable, match="account"):
        module.principal(user("GateWay"))
    assert module.principal(user("another")) != f"dn:{GATEWAY}"


async def test_a_name_for_which_the_directory_means_somebody_else_is_a_mismatch(directory: Slapd) -> None:
    module = module_for(directory, authzid=NAME, asked_as="u:{}")
    await module.initialize()
    assert (await ask(module, "alice", WhoAmI())).data == {"seen_as": f"dn:{dn('alice')}"}
    await module.destroy()
    wrong = module_for(directory, authzid=f"dn:uid={{}},ou=elsewhere,{SUFFIX}", asked_as="u:{}")
    with pytest.raises(IdentityMismatch):
        await ask(wrong, "alice", WhoAmI())
    await wrong.destroy()


async def test_compare_asks_without_reading_and_as_the_user(module: LdapDelegation) -> None:
    asked = Compare(entry=dn("bob"), attribute="homePhone", value="secret-bob")
    assert await data(module, "bob", asked) == {"equal": True}
    with pytest.raises(AccessRefused):
        await ask(module, "alice", asked)
    asked = Compare(entry=dn("bob"), attribute="mobile", value="another")
    assert await data(module, "alice", asked) == {"equal": False}


async def test_an_entry_that_is_not_there_is_told(module: LdapDelegation) -> None:
    with pytest.raises(NoSuchEntry):
        await ask(module, "alice", Read(entry=dn("nobody")))
    with pytest.raises(NoSuchEntry):
        await ask(module, "alice", find(base=f"ou=nowhere,{SUFFIX}"))


async def test_groups_are_followed_upwards_and_each_is_told_once(module: LdapDelegation) -> None:
    nested = await data(module, "alice", Groups())
    names = [each["attributes"]["cn"][0] for each in nested["groups"]]
    assert names == ["inner", "middle", "outer"] and nested["truncated"] is False, "the last is in a circle"
    direct = await data(module, "bob", Groups(entry=dn("alice"), nested=False))
    assert [each["attributes"]["cn"][0] for each in direct["groups"]] == ["inner"]


async def test_groups_have_bounds_and_say_so(directory: Slapd) -> None:
    from actas.delegation.ldap.settings import GroupSettings

    base = f"ou=groups,{SUFFIX}"
    for bounded in (GroupSettings(base=base, most=2), GroupSettings(base=base, deepest=2)):
        module = module_for(directory, groups=bounded)
        found = await data(module, "alice", Groups())
        assert len(found["groups"]) == 2 and found["truncated"] is True and found["notice"]
        await module.destroy()


async def test_two_thousand_entries_come_in_pages_under_the_control(module: LdapDelegation) -> None:
    wanted = find(base=ENTRIES, filter="(objectClass=applicationProcess)", limit=500, attributes=["cn"])
    seen: list[str] = []
    cursor, calls = None, 0
    while True:
        page = await data(module, "alice", find(**{**vars_of(wanted), "cursor": cursor}))
        seen += [entry["attributes"]["cn"][0] for entry in page["entries"]]
        calls += 1
        cursor = page.get("cursor")
        assert page["truncated"] is (cursor is not None)
        if cursor is None:
            break
    assert sorted(seen) == sorted(f"e{n}" for n in range(MANY)) and calls in (4, 5)


async def test_one_call_collects_several_pages_past_the_servers_own_limit(directory: Slapd) -> None:
    from actas.delegation.ldap.settings import LimitSettings

    module = module_for(directory, limits=LimitSettings(entries=5000, page=100))
    found = await data(module, "alice", find(base=ENTRIES, filter="(cn=*)", limit=5000, attributes=["cn"]))
    assert found["count"] == MANY and not found["truncated"]
    cut = await data(module, "alice", find(base=ENTRIES, filter="(cn=*)", limit=150, attributes=["cn"]))
    assert cut["count"] == 150 and cut["truncated"] and cut["notice"]
    assert (await data(module, "bob", find(filter="(uid=bob)")))["count"] == 1, "the same connection is good"
    await module.destroy()


async def test_a_cursor_is_good_for_its_user_and_its_search_only(module: LdapDelegation) -> None:
    wanted = find(base=ENTRIES, filter="(cn=*)", limit=10)
    cursor = (await data(module, "alice", wanted))["cursor"]
    assert await code(module, "bob", find(**{**vars_of(wanted), "cursor": cursor})) == "invalid_parameters"
    for other in ({"filter": "(cn=e*)"}, {"base": SUFFIX}, {"scope": "one_level"}, {"attributes": ["cn"]}):
        assert await code(module, "alice", find(**{**vars_of(wanted), **other, "cursor": cursor})) != "done"
    for broken in ("", "x", cursor[:-1], cursor[:-4] + "AAA=", "A" * 64, "ä"):
        assert await code(module, "alice", find(**{**vars_of(wanted), "cursor": broken})) == "invalid_parameters"


async def test_a_result_is_cut_by_its_size_and_goes_on(directory: Slapd) -> None:
    from actas.delegation.ldap.settings import LimitSettings

    module = module_for(directory, limits=LimitSettings(bytes=60_000))
    wanted = find(base=ENTRIES, filter="(cn=*)", limit=500)
    first = await data(module, "alice", wanted)
    assert first["truncated"] and 100 < first["count"]
    await module.destroy()
    module = module_for(directory, limits=LimitSettings(bytes=3000))
    first = await data(module, "alice", find(base=ENTRIES, filter="(cn=*)", limit=50))
    second = await data(module, "alice", find(base=ENTRIES, filter="(cn=*)", limit=50, cursor=first["cursor"]))
    assert first["count"] < 50
    names = [entry["entry"] for page in (first, second) for entry in page["entries"]]
    assert len(set(names)) == len(names) == first["count"] + second["count"]
    await module.destroy()


async def test_many_users_at_once_are_never_mixed_up(module: LdapDelegation) -> None:
    users = ["alice", "bob", "probe", "odd"] * 60
    random.Random(7).shuffle(users)

    async def one(who: str) -> None:
        found = await data(module, who, find(filter={"attribute": "homePhone", "present": True}))
        assert uids(found) == ([] if who == "odd" else [who])

    for at in range(0, len(users), 24):
        await asyncio.gather(*(one(who) for who in users[at : at + 24]))


async def test_changes_are_the_users_own_and_the_directory_decides(own_directory: Slapd) -> None:
    module = module_for(own_directory, writable=["mobile", "description"])
    change = [Change(operation="replace", attribute="mobile", values=["+49 1"])]
    await ask(module, "alice", Modify(changes=change))
    with pytest.raises(AccessRefused):
        await ask(module, "alice", Modify(entry=dn("bob"), changes=change))
    assert "mobile: +49 1" in own_directory.search("uid=alice") and "mobile: of-bob" in own_directory.search("uid=bob")
    add = [Change(operation="add", attribute="description", values=["a", "b"])]
    await ask(module, "alice", Modify(changes=add))
    with pytest.raises(RequestFailed):
        await ask(module, "alice", Modify(changes=add))
    await ask(module, "alice", Modify(changes=[Change(operation="delete", attribute="description")]))
    assert "description" not in own_directory.search("uid=alice")
    await module.destroy()


async def test_only_listed_attributes_can_be_changed(own_directory: Slapd) -> None:
    module = module_for(own_directory, writable=["mobile"])
    for attribute in ("homePhone", "userPassword", "authzTo", "mobile:", "mobile\n", "", "MOBILE;x-y"):
        asked = Modify(changes=[Change(operation="add", attribute=attribute, values=["x"])])
        assert await code(module, "alice", asked) != "done", attribute
    for changes in ([], [Change(operation="add", attribute="mobile")]):
        with pytest.raises(InvalidParameters):
            await ask(module, "alice", Modify(changes=changes))
    assert "mobile: of-alice" in own_directory.search("uid=alice")
    await module.destroy()


async def test_a_user_changes_the_own_password_and_nobody_elses(own_directory: Slapd) -> None:
    module = module_for(own_directory, password_change=True)
    with pytest.raises(AccessRefused):
        await ask(module, "alice", ChangeOwn(old="wrong", new="next"))
    before = own_directory.search("uid=bob", "userPassword")
    await ask(module, "alice", ChangeOwn(old="alice-password", new="next"))
    await ask(module, "alice", ChangeOwn(old="next", new="last"))
    assert own_directory.search("uid=bob", "userPassword") == before
    for old, new in (("", "x"), ("last", "")):
        with pytest.raises(InvalidParameters):
            await ask(module, "alice", ChangeOwn(old=old, new=new))
    await module.destroy()


async def test_binary_values_are_base64_and_odd_text_is_itself(module: LdapDelegation) -> None:
    read = await data(module, "alice", Read(entry=dn("odd")))
    assert read["base64"] == ["jpegPhoto"] and read["attributes"]["jpegPhoto"] == ["/9j/2wA="]
    assert read["attributes"]["description"] == ["a(b)*\\c"]
    assert read["attributes"]["cn;lang-de"] == ["seltsam"]


async def test_passwords_are_never_returned_searched_or_compared_even_where_the_directory_would(
    own_directory: Slapd,
) -> None:
    own_directory.modify(
        "dn: olcDatabase={-1}frontend,cn=config\nchangetype: modify\nadd: olcAccess\nolcAccess: {0}to * by * manage\n"
    )
    module = module_for(own_directory, attributes=["name", "cn"], searchable=["objectClass", "uid"])
    read = await data(module, "alice", Read(entry=dn("bob")))
    assert set(read["attributes"]) == {"cn"}, "sn is a kind of name, and came: it is not on the list"
    for asked in (
        Read(attributes=["userPassword"]),
        Read(attributes=["*"]),
        Read(attributes=["+"]),
        Read(attributes=["2.5.4.35"]),
        find(filter="(userPassword=*)"),
        find(filter="(|(uid=a)(userpassword;x-a=x))"),
        find(filter="(:caseExactMatch:=x)"),
        Compare(entry=dn("bob"), attribute="userPassword", value="bob-password"),
    ):
        assert await code(module, "alice", asked) == "invalid_parameters"
    await module.destroy()


async def test_matching_rules_are_listed_and_each_part_names_its_attribute(directory: Slapd) -> None:
    module = module_for(directory, matching_rules=["caseExactMatch"])
    assert uids(await data(module, "alice", find(filter="(uid:caseExactMatch:=alice)"))) == ["alice"]
    structure = {"attribute": "uid", "rule": "caseExactMatch", "matches": "alice"}
    assert uids(await data(module, "alice", find(filter=structure))) == ["alice"]
    for asked in ("(:caseExactMatch:=alice)", "(uid:caseIgnoreMatch:=alice)", "(:dn:caseExactMatch:=alice)"):
        assert await code(module, "alice", find(filter=asked)) == "invalid_parameters"
    await module.destroy()


async def test_only_listed_bases_can_be_looked_at(directory: Slapd) -> None:
    module = module_for(directory, bases=[f"ou=people,{SUFFIX}"])
    for base in (
        SUFFIX,
        f"ou=services,{SUFFIX}",
        f"ou=xpeople,{SUFFIX}",
        f"ou=groups\\,ou=people,{SUFFIX}",
        "cn=config",
    ):
        for asked in (find(base=base), Read(entry=base), Compare(entry=base, attribute="cn", value="x")):
            assert await code(module, "alice", asked) == "ldap_access_refused", base
    for base in (f"OU=People , {SUFFIX.upper()}", f"uid=alice,ou=people,{SUFFIX}", f"ou=peo\\70le,{SUFFIX}"):
        assert await code(module, "alice", find(base=base)) == "done", base
    for base in ("", "people", "ou=people,", "#", "ou=#0406,dc=x"):
        assert await code(module, "alice", find(base=base)) == "invalid_parameters", base
    await module.destroy()


def vars_of(asked: object) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(asked)  # type: ignore[call-overload] -- one of the parameters' dataclasses
