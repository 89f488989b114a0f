"""A server that lies, floods, mixes up or says too much: nothing of it reaches a caller, and nothing grows."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap_directory import PEOPLE, ask, data, find, gateway, user
from ldap_peers import HostileServer, Listening, Said, entry, message, page, result, text, tlv

from actas.core import ActasError, IdentityMismatch, InvalidParameters
from actas.delegation.ldap import messages
from actas.delegation.ldap.actions import Change, ChangeOwn, Groups, Modify, Read, WhoAmI
from actas.delegation.ldap.failures import ConnectionLost, ServerAway, UnexpectedAnswer
from actas.delegation.ldap.messages import Answer, Malformed
from actas.delegation.ldap.module import LdapDelegation
from actas.delegation.ldap.settings import GroupSettings, LdapSettings, LimitSettings, PoolSettings

pytestmark = pytest.mark.anyio

SECRET = "hunter2 of the directory"


def module_for(server: Listening, **more: object) -> LdapDelegation:
    wanted: dict[str, object] = {
        "urls": [server.url],
        "identity": "proxied_authorization",
        "authzid": f"dn:uid={{}},{PEOPLE}",
        "bases": ["dc=example,dc=com"],
        "attributes": ["uid", "cn"],
        "service": gateway(),
        "probe": "probe",
        "unencrypted": True,
        "writable": ["cn"],
        "password_change": True,
        "limits": LimitSettings(seconds=2, bytes=100_000),
        **more,
    }
    return LdapDelegation(LdapSettings(**wanted))  # type: ignore[arg-type] -- tests write what they mean


def found(its: int, *more: bytes) -> Iterator[bytes]:
    yield message(its, entry(f"uid=x,{PEOPLE}", uid=[b"x"]))
    yield from more
    yield message(its, result(0x65))


def after_done(its: int, tag: int, body: bytes) -> Iterator[bytes]:
    yield b"".join(found(its)) + message(its, entry("uid=late", uid=[b"late"]))  # in one packet, or it would be late


def cut(its: int, tag: int, body: bytes) -> Iterator[bytes]:
    whole_answer = b"".join(found(its))
    yield whole_answer[:-3] + b"\x30\x84\xff\xff\xff\xff"


SAYS: dict[str, Said] = {
    "garbage": lambda its, tag, body: iter([b"HTTP/1.1 200 OK\r\n\r\n"]),
    "another number": lambda its, tag, body: found(its + 1000),
    "goodbye": lambda its, tag, body: iter([message(0, result(0x78, 52, text("1.3.6.1.4.1.1466.20036", 0x8A)))]),
    "an endless length": lambda its, tag, body: iter([b"\x30\x84\x7f\xff\xff\xff", b"x" * 1000]),
    "an indefinite length": lambda its, tag, body: iter([b"\x30\x80\x00\x00"]),
    "something after the end": after_done,
    "a broken element": cut,
    "an entry without a name": lambda its, tag, body: found(its, message(its, tlv(0x64))),
    "a name that is no text": lambda its, tag, body: found(its, message(its, tlv(0x64, tlv(4, b"\xff"), tlv(0x30)))),
    "a flood": lambda its, tag, body: found(its, *[message(its, entry("uid=x", uid=[b"x" * 9000]))] * 60),
    "silence": lambda its, tag, body: iter([]),
    "half an answer": lambda its, tag, body: iter([b"".join(found(its))[:-5]]),
    "two ends": lambda its, tag, body: iter([b"".join(found(its, message(its, result(0x65))))]),
    "a request": lambda its, tag, body: found(its, message(its, tlv(0x77, text("1.2.3", 0x80)))),
}


@pytest.mark.parametrize("says", SAYS.values(), ids=SAYS)
async def test_what_is_no_answer_gives_an_error_of_ours_in_time_and_the_connection_is_not_used_again(
    says: Said,
) -> None:
    good: list[bool] = []

    def once(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        yield from found(its) if good else says(its, tag, body)

    with HostileServer(once) as server:
        module = module_for(server, limits=LimitSettings(seconds=0.7, bytes=100_000))
        started = time.monotonic()
        with pytest.raises(ActasError) as caught:
            await ask(module, "alice", Read())
        assert time.monotonic() - started < 5 and caught.value.code.startswith(("ldap_", "timeout"))
        good.append(True)
        assert (await data(module, "bob", Read()))["attributes"] == {"uid": ["x"]}
        await module.destroy()


@pytest.mark.parametrize(
    "login",
    [
        "300c0201016107e6010004000400",
        "30080201016103020103",
        "300b020101610604036162630a",
        "300e02010064090a0101040178040179",
    ],
)
async def test_an_answer_to_the_login_that_is_none_is_a_server_that_is_away(login: str) -> None:
    """Where ldap3 has a KeyError or its like for it, the next server is not asked, and nothing at all starts."""

    class Odd(Listening):
        def serve(self, taken: socket.socket) -> None:
            while taken.recv(4096):
                taken.sendall(bytes.fromhex(login))

    with Odd() as odd, HostileServer(lambda its, tag, body: found(its)) as good:
        alone = module_for(odd, pool=PoolSettings(connect_seconds=1))
        with pytest.raises(ServerAway):
            await alone.initialize()
        with pytest.raises(ActasError) as caught:
            await ask(alone, "alice", Read())
        assert caught.value.code == "ldap_server_away"
        await alone.destroy()
        both = module_for(odd, urls=[odd.url, good.url], pool=PoolSettings(connect_seconds=1))
        assert (await data(both, "bob", Read()))["attributes"] == {"uid": ["x"]}
        await both.destroy()


@pytest.mark.parametrize(
    "sees",
    [
        lambda asked: "dn:uid=bob," + PEOPLE,
        lambda asked: "",
        lambda asked: "dn:",
        lambda asked: "u:alice",
        lambda asked: asked + ",dc=more",
        lambda asked: "dn:cn=gateway,ou=services,dc=example,dc=com",
        lambda asked: "\0",
    ],
)
async def test_who_is_seen_as_somebody_else_gets_nothing_and_changes_nothing(sees: object) -> None:
    seen: list[int] = []

    def says(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        seen.append(tag)
        yield from found(its) if tag == 0x63 else iter([message(its, result(tag + 1))])

    with HostileServer(says, sees=sees) as server:  # type: ignore[arg-type] -- lambdas of the list above
        module = module_for(server)
        for asked in (Read(), find(), Groups(), WhoAmI()):
            with pytest.raises(IdentityMismatch):
                await ask(module, "alice", asked)
        assert server.bound == 4, "a connection that is somebody else's is not used again"
        seen.clear()
        for change in (
            Modify(changes=[Change(operation="add", attribute="cn", values=["x"])]),
            ChangeOwn(old="a", new="b"),
        ):
            with pytest.raises(IdentityMismatch):
                await ask(module, "alice", change)
        assert seen == [], "a change is not even sent"
        await module.destroy()


async def test_a_late_answer_is_nobody_elses() -> None:
    """It comes when the next user has asked, on the connection that is everybody's."""
    before: list[int] = []

    def says(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        for earlier in before:
            yield message(earlier, entry("uid=alice", uid=[b"alice's"])) + message(earlier, result(0x65))
            return
        before.append(its)
        yield from found(its)

    with HostileServer(says) as server:
        module = module_for(server)
        await ask(module, "alice", Read())
        with pytest.raises(UnexpectedAnswer):
            await ask(module, "bob", Read())
        await module.destroy()


@pytest.mark.parametrize("lives", [2, 3])
async def test_a_connection_that_breaks_when_it_is_used_again_costs_another_one_and_no_change_is_made_twice(
    lives: int,
) -> None:
    """One packet lets us in, one reads; a change takes two, and the first of them only asks whom the server sees."""
    changed: list[bytes] = []

    def says(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        if tag == 0x66:
            changed.append(body)
            yield message(its, result(0x67))
        else:
            yield from found(its)

    with HostileServer(says, lives=lives) as server:
        module = module_for(server)
        for _ in range(4):
            assert await data(module, "alice", Read())
        assert server.bound == (4 if lives == 2 else 2)
        change = Modify(changes=[Change(operation="add", attribute="cn", values=["x"])])
        if lives == 3:
            await ask(module, "alice", change)
            assert len(changed) == 1
        await module.destroy()


async def test_a_change_that_may_have_been_made_is_not_repeated() -> None:
    changed: list[bytes] = []

    def says(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        changed.append(body)
        raise OSError  # and ends the connection

    with HostileServer(says) as server:
        module = module_for(server)
        with pytest.raises(ConnectionLost) as caught:
            await ask(module, "alice", Modify(changes=[Change(operation="add", attribute="cn", values=["x"])]))
        assert "read before you repeat it" in caught.value.message and len(changed) == 1
        await module.destroy()


async def test_what_was_not_asked_for_is_not_passed_on() -> None:
    named = {
        "userPassword": [b"{SSHA}x"],
        "userpassword;x-a": [b"x"],
        "unicodePwd": [b"x"],
        "sn": [b"x"],
        "cn;binary": [b"y"],
    }
    sent = entry("uid=x", uid=[b"x"], **named)
    with HostileServer(lambda its, tag, body: iter([message(its, sent), message(its, result(0x65))])) as server:
        module = module_for(server)
        assert set((await data(module, "alice", Read()))["attributes"]) == {"uid", "cn;binary"}
        await module.destroy()


async def test_active_directory_is_asked_to_follow_groups_itself() -> None:
    asked: list[bytes] = []

    def says(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        asked.append(body)
        yield message(its, entry("cn=staff,dc=example,dc=com", cn=[b"staff"]))
        yield message(its, result(0x65))

    with HostileServer(says) as server:
        module = module_for(server, groups=GroupSettings(in_chain=True))
        groups = (await data(module, "alice", Groups()))["groups"]
        assert groups == [{"entry": "cn=staff,dc=example,dc=com", "attributes": {"cn": ["staff"]}}]
        rule, value = tlv(0x81, b"1.2.840.113556.1.4.1941"), tlv(0x83, f"uid=alice,{PEOPLE}".encode())
        assert len(asked) == 1 and rule + tlv(0x82, b"member") + value in asked[0]
        await data(module, "alice", Groups(nested=False))
        assert rule not in asked[1]
        await module.destroy()


async def test_references_are_told_of_and_never_given() -> None:
    elsewhere = text("ldap://evil.example/dc=x")
    with HostileServer(lambda its, tag, body: found(its, message(its, tlv(0x73, elsewhere)))) as server:
        module = module_for(server)
        result_of = await data(module, "alice", find())
        assert result_of["elsewhere"] and "evil" not in repr(result_of)
        await module.destroy()
    refers = result(0x65, 10, tlv(0xA3, elsewhere))
    with HostileServer(lambda its, tag, body: iter([message(its, refers)])) as server:
        module = module_for(server)
        with pytest.raises(ActasError) as caught:
            await ask(module, "alice", find())
        assert "evil" not in caught.value.message and "another server" in caught.value.message
        await module.destroy()


async def test_pages_without_end_or_with_too_much_end_at_the_limit() -> None:
    def says(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        yield message(its, entry("uid=x", uid=[b"x" * 1000]))
        yield message(its, result(0x65), page(b"more"))

    with HostileServer(says) as server:
        module = module_for(server, limits=LimitSettings(seconds=5, bytes=100_000, page=10))
        got = await data(module, "alice", find(limit=20))
        assert got["count"] == 20 and got["truncated"]
        assert server.pages[0] == 10 and server.pages[-1] == 0, "what is left is given up"
        got = await data(module, "alice", find(limit=500))
        assert got["truncated"] and got["count"] < 101, "limits.bytes"
        await module.destroy()


async def test_a_directory_that_heeds_no_limit_is_cut() -> None:
    def says(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        yield b"".join(message(its, entry(f"uid={n}", uid=[b"x"])) for n in range(50))
        yield message(its, result(0x65))

    with HostileServer(says) as server:
        module = module_for(server)
        got = await data(module, "alice", find(limit=20))
        assert got["count"] == 20 and got["truncated"]
        rest = await data(module, "alice", find(limit=50))
        assert rest["count"] == 50 and not rest["truncated"]
        await module.destroy()


@pytest.mark.parametrize("code", [1, 2, 3, 7, 8, 10, 11, 12, 16, 19, 21, 32, 49, 50, 51, 53, 65, 68, 80, 123, 4096])
async def test_no_word_of_the_directory_is_in_a_message(code: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    def says(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        yield message(its, result({0x63: 0x65, 0x66: 0x67, 0x77: 0x78}[tag], code, diagnostic=SECRET))

    with HostileServer(says) as server:
        module = module_for(server)
        for asked in (Read(), find(), ChangeOwn(old="o1d-pass", new="n3w-pass")):
            with pytest.raises(ActasError) as caught:
                await ask(module, "alice", asked)
            assert SECRET not in caught.value.message and SECRET in (caught.value.detail or "")
            assert caught.value.code != "error" and len(caught.value.message) > 20
            assert "pass" not in f"{caught.value!r} {caught.value.detail}".replace("password", "")
        assert SECRET not in caplog.text and "gateway-password" not in repr(vars(module)) + caplog.text
        await module.destroy()


@pytest.mark.parametrize("code", [0, 2, 52])
async def test_a_server_that_does_not_begin_tls_gets_no_password(code: int) -> None:
    """Also one that says that it does, and goes on in the clear."""
    seen: list[bytes] = []

    def says(its: int, tag: int, body: bytes) -> Iterator[bytes]:
        seen.append(body)
        yield message(its, result(0x78, code))

    with HostileServer(says) as server:
        module = module_for(server, unencrypted=False, pool=PoolSettings(connect_seconds=1))
        with pytest.raises(ServerAway):
            await ask(module, "alice", Read())
        await module.destroy()
    assert len(seen) == 1 and b"1.3.6.1.4.1.1466.20037" in seen[0] and b"gateway-password" not in b"".join(seen)
    assert server.bound == 0


async def test_a_thousand_attributes_are_too_many() -> None:
    with HostileServer(lambda its, tag, body: found(its)) as server:
        module = module_for(server)
        with pytest.raises(InvalidParameters):
            await ask(module, "alice", Read(attributes=[f"cn;x-{number}" for number in range(1000)]))
        await module.destroy()


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_malformed(junk: bytes) -> None:
    its = tlv(2, b"\x02")
    for sent in (junk, tlv(0x30, junk), tlv(0x30, its, junk), tlv(0x30, its, tlv(0x64, junk))):
        try:
            size = messages.size_of(sent)
            messages.take(sent[:size], {2: Answer()})
        except Malformed:
            pass


async def test_the_principal_is_pure(module: LdapDelegation) -> None:
    assert {module.principal(user("alice")) for _ in range(3)} == {f"dn:uid=alice,{PEOPLE}"}


class Dripping(Listening):
    """Says a little all the time, and never all of it: an answer without an end to whatever comes first."""

    def __init__(self) -> None:
        self.left = threading.Event()
        super().__init__()

    def serve(self, taken: socket.socket) -> None:
        taken.recv(65536)
        try:
            taken.sendall(b"\x30\x84\x7f\xff\xff\xff")
            while True:
                taken.sendall(b"x")
                time.sleep(0.02)
        finally:
            self.left.set()


@pytest.mark.parametrize("unencrypted", [True, False], ids=["to being let in", "to StartTLS"])
async def test_an_answer_that_drips_while_a_link_is_opened_holds_no_thread(unencrypted: bool) -> None:
    with Dripping() as server:
        pool = PoolSettings(connect_seconds=0.3)
        module = module_for(server, unencrypted=unencrypted, pool=pool)
        with pytest.raises(ActasError):
            await ask(module, "alice", WhoAmI())
        left = await asyncio.to_thread(server.left.wait, 20)
        await module.destroy()
    assert left
