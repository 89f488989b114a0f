"""What is kept, for whom, how long; and what an intruder gets who has everything but the caller's token."""

import gc
import os
import pickle
from dataclasses import replace
from types import MappingProxyType

import pytest

from actas.core.models import Actor, Credential, Session
from actas.core.secret import Secret
from actas.oauth.denylist import DeniedClaim, Revocation
from actas.oauth.exchange.sealing import Sealer, seal, unseal
from actas.oauth.exchange.store import MemoryStore
from actas.oauth.exchange.vault import _HEAD, Vault, owner_of

PURPOSE = b"p" * 32
OTHER_PURPOSE = b"q" * 32
NOW = 1_000.0


def session(subject: str = "alice", token: str = "alices-token", **claims: object) -> Session:
    return Session(
        issuer="https://idp.example",
        subject=subject,
        username=subject,
        provider="idp",
        token=Secret(token),
        claims=MappingProxyType(claims),
    )


def credential(token: str = "exchanged", expires_at: float = NOW + 300) -> Credential:
    return Credential(token=Secret(token), subject="alice", expires_at=expires_at)


def put(vault: Vault, who: Session, what: Credential, *, purpose: bytes = PURPOSE, until: float = NOW + 60) -> None:
    vault.put(vault.labels(purpose, who)[0], who, what, NOW, until)


def get(vault: Vault, who: Session, *, purpose: bytes = PURPOSE, now: float = NOW) -> Credential | None:
    found = vault.get(vault.labels(purpose, who), now)
    return None if found is None else found.credential


def test_what_was_put_in_is_got_out_whole() -> None:
    vault = Vault()
    put(vault, session(), credential())
    assert get(vault, session()) == credential()
    assert (vault.metrics.hits, vault.metrics.misses) == (1, 0)


def test_another_user_misses() -> None:
    vault = Vault()
    put(vault, session(), credential())
    assert get(vault, session("bob", "bobs-token")) is None


def test_the_same_token_string_under_another_subject_or_issuer_misses() -> None:
    vault = Vault()
    put(vault, session(), credential())
    assert get(vault, session("bob", "alices-token")) is None
    assert get(vault, Session(issuer="https://other", subject="alice", username="a", provider="o",
                              token=Secret("alices-token"))) is None  # fmt: skip


def test_another_token_of_the_same_user_misses() -> None:
    vault = Vault()
    put(vault, session(), credential())
    assert get(vault, session(token="alices-next-token")) is None


def test_another_purpose_misses() -> None:
    vault = Vault()
    put(vault, session(), credential())
    assert get(vault, session(), purpose=OTHER_PURPOSE) is None


def test_an_entry_ends_when_its_time_is_up() -> None:
    vault = Vault()
    put(vault, session(), credential(), until=NOW + 60)
    assert get(vault, session(), now=NOW + 59.9) is not None
    assert get(vault, session(), now=NOW + 60) is None
    assert len(vault) == 0


def test_what_is_over_before_it_is_kept_is_not_kept() -> None:
    vault = Vault()
    put(vault, session(), credential(), until=NOW)
    assert len(vault) == 0


def test_an_entry_is_due_when_most_of_its_time_is_gone() -> None:
    vault = Vault()
    put(vault, session(), credential(), until=NOW + 100)
    labels = vault.labels(PURPOSE, session())
    early, late = vault.get(labels, NOW + 79), vault.get(labels, NOW + 80)
    assert early is not None and not early.due
    assert late is not None and late.due


def test_a_session_without_a_token_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="nothing to exchange"):
        Vault().labels(PURPOSE, Session(issuer="i", subject="s", username="s", provider="p"))


def test_the_least_recently_used_leaves_first() -> None:
    vault = Vault(most=2, most_each=10)
    for name in ("a", "b"):
        put(vault, session(name, name), credential(name))
    assert get(vault, session("a", "a")) is not None
    put(vault, session("c", "c"), credential("c"))
    assert [get(vault, session(name, name)) is not None for name in "abc"] == [True, False, True]
    assert (len(vault), vault.sessions) == (2, 2)


def test_one_user_cannot_push_out_the_others() -> None:
    vault = Vault(most=100, most_each=3)
    put(vault, session("bob", "bobs-token"), credential("bobs"))
    for number in range(500):
        put(vault, session(token=f"token-{number}"), credential(str(number)))
    assert len(vault) == 4
    assert get(vault, session("bob", "bobs-token")) is not None
    assert get(vault, session(token="token-496")) is None
    assert get(vault, session(token="token-499")) is not None


def test_putting_the_same_entry_again_takes_its_place() -> None:
    vault = Vault(most_each=2)
    for number in range(5):
        put(vault, session(), credential(str(number)))
    assert len(vault) == 1
    assert get(vault, session()) == credential("4")


def revoked(claim: DeniedClaim, value: str) -> list[Revocation]:
    return [Revocation(claim=claim, value=value)]


def test_sign_out_and_revocation_purge_what_they_are_about_and_nothing_else() -> None:
    vault = Vault()
    sessions = {
        "alice": session(sid="s1", jti="t1", sub="a-1"),
        "again": session(token="second", sid="s2", jti="t2", sub="a-1"),
        "bob": session("bob", "bobs-token", sid="s3", jti="t3", sub="b-1"),
    }
    names = {vault.labels(PURPOSE, each)[0].name: who for who, each in sessions.items()}
    cases: list[tuple[list[Revocation], set[str]]] = [
        (revoked("sub", "alice"), {"alice", "again"}),
        (revoked("sub", "a-1"), {"alice", "again"}),
        (revoked("sid", "s2"), {"again"}),
        (revoked("jti", "t3"), {"bob"}),
        (revoked("jti", "s2"), set()),
        (revoked("sub", "t3"), set()),
        ([*revoked("jti", "t1"), *revoked("sub", "bob")], {"alice", "bob"}),
    ]
    for what, gone in cases:
        for each in sessions.values():
            put(vault, each, credential())
        before = vault.metrics.purged
        assert {names[name] for name in vault.forget(what)} == gone
        assert {who for who, each in sessions.items() if get(vault, each) is None} == gone
        assert vault.metrics.purged - before == len(gone)
        vault.clear()


def test_what_an_agent_obtained_is_purged_with_anybody_who_may_be_the_agent() -> None:
    vault = Vault()
    through_an_agent = replace(session("bob", "bobs-token"), actors=(Actor(subject="agent"),))
    put(vault, session(), credential())
    put(vault, through_an_agent, credential())
    vault.forget(revoked("jti", "agent"))
    assert len(vault) == 2
    vault.forget(revoked("sub", "agent"))
    assert get(vault, session()) is not None and get(vault, through_an_agent) is None


def test_a_token_without_sid_and_jti_is_not_purged_with_an_empty_one() -> None:
    vault = Vault()
    put(vault, session(), credential())
    put(vault, session("bob", "bobs-token", jti=5, sid=None, sub=["x"]), credential())
    assert vault.forget([*revoked("sid", "s"), *revoked("jti", "j")]) == []
    assert vault.forget([*revoked("sid", "\udc80"), *revoked("sub", "\udc80")]) == []


def test_a_rotated_secret_opens_what_the_old_one_sealed_until_it_is_dropped() -> None:
    old, new = os.urandom(32), os.urandom(32)
    sealer = Sealer([old])
    label = sealer.labels(PURPOSE, b"alice", b"token")[0]
    sealed = seal(label, b"plain", b"")
    rotated = Sealer([new, old]).labels(PURPOSE, b"alice", b"token")
    assert rotated[1] == label and unseal(rotated[1], sealed, b"") == b"plain"
    assert unseal(rotated[0], sealed, b"") is None
    assert label not in Sealer([new]).labels(PURPOSE, b"alice", b"token")


@pytest.mark.parametrize("secrets", [[], [b"short"], [os.urandom(32), b""], [bytes(65)]])
def test_no_secret_or_a_short_one_is_refused(secrets: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 to 64 bytes"):
        Sealer(secrets)


def test_every_byte_of_an_entry_is_authenticated() -> None:
    vault = Vault()
    put(vault, session(), credential())
    name = vault.labels(PURPOSE, session())[0].name
    entry = vault._store.get(name)
    assert entry is not None
    for place in range(len(entry)):
        changed = entry[:place] + bytes([entry[place] ^ 1]) + entry[place + 1 :]
        vault._store.put(name, owner_of("https://idp.example", "alice"), changed)
        assert get(vault, session()) is None, place


def test_an_entry_moved_to_another_users_place_does_not_open() -> None:
    vault = Vault()
    put(vault, session(), credential())
    alice, bob = vault.labels(PURPOSE, session())[0], vault.labels(PURPOSE, session("bob", "bobs-token"))[0]
    entry = vault._store.get(alice.name)
    assert entry is not None
    vault._store.put(bob.name, owner_of("https://idp.example", "bob"), entry)
    assert get(vault, session("bob", "bobs-token")) is None
    assert vault.metrics.unreadable == 1


def test_an_intruder_with_the_store_and_the_secret_reads_no_token() -> None:
    secret = os.urandom(32)
    vault = Vault([secret])
    token, exchanged = "caller-" + os.urandom(16).hex(), "exchanged-" + os.urandom(16).hex()
    put(vault, session(token=token, sid="the-session", jti="the-jti"), credential(exchanged))
    dumped = repr([(name, entry) for name, entry in vault._store._entries.items()]) + repr(vault.__dict__)
    for text in (token, exchanged, "the-session", "the-jti", "alice"):
        assert text not in dumped
    # All he can compute without the caller's token: labels for tokens that he guesses.
    for guess in ("", "alice", "caller-"):
        assert get(Vault([secret]), session(token=guess)) is None
        labels = vault.labels(PURPOSE, session(token=guess))
        entry = next(iter(vault._store._entries.values()))[16:]
        assert unseal(labels[0], entry[_HEAD.size :], entry[: _HEAD.size]) is None
    own = vault.labels(PURPOSE, session(token=token))[0]
    assert exchanged in (unseal(own, entry[_HEAD.size :], entry[: _HEAD.size]) or b"").decode(), "that is the place"


def test_nothing_that_a_person_prints_holds_a_key_or_token() -> None:
    vault = Vault()
    label = vault.labels(PURPOSE, session())[0]
    assert label.key.hex() not in repr(label) and repr(label.key) not in repr(label)
    assert "exchanged" not in repr(credential())
    with pytest.raises(TypeError):
        pickle.dumps(credential())


def test_clearing_forgets_everything() -> None:
    vault = Vault()
    put(vault, session(), credential())
    vault.clear()
    gc.collect()
    assert len(vault) == 0 and vault.sessions == 0 and get(vault, session()) is None


def test_dropping_what_is_not_there_changes_nothing() -> None:
    store = MemoryStore(10, 10)
    store.drop(b"nobody")
    assert store.drop_where(lambda owner, entry: True) == [] and len(store) == 0
