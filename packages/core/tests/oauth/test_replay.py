"""The memory of used proofs: bounded, and never wrong in the one direction that matters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.oauth.replay import MemoryReplayStore, Use

from .conftest import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(clock: Clock) -> MemoryReplayStore:
    store = MemoryReplayStore(clock, 8)
    clock.now += 1
    return store


async def use(store: MemoryReplayStore, clock: Clock, proof_id: str, key: str = "k", *, ago: float = 0) -> Use:
    return await store.use(key, proof_id, clock.now - ago, clock.now - ago + 60)


async def test_an_id_counts_once_for_each_key(store: MemoryReplayStore, clock: Clock) -> None:
    assert await use(store, clock, "a") is Use.FIRST
    assert await use(store, clock, "a") is Use.REPEATED
    assert await use(store, clock, "a", "other") is Use.FIRST
    clock.now += 30
    assert await use(store, clock, "a") is Use.REPEATED  # also where it says that it is younger


async def test_what_would_not_be_accepted_any_more_is_forgotten(store: MemoryReplayStore, clock: Clock) -> None:
    for number in range(4):
        await use(store, clock, "a", f"k{number}")
    clock.now += 59.5
    assert await use(store, clock, "a", "k0") is Use.REPEATED
    clock.now += 0.5
    assert await use(store, clock, "a", "k0") is Use.REPEATED  # looked through once a second
    clock.now += 0.5
    assert await use(store, clock, "b") is Use.FIRST
    assert len(store) == 1


async def test_a_second_is_forgotten_when_the_last_of_its_proofs_has_ended(
    store: MemoryReplayStore, clock: Clock
) -> None:
    for proof_id, lives in (("long", 120), ("short", 60)):
        assert await store.use("k", proof_id, clock.now, clock.now + lives) is Use.FIRST
    clock.now += 119
    assert await use(store, clock, "long") is Use.REPEATED


async def test_what_is_older_than_the_memory_is_not_taken_for_new(clock: Clock) -> None:
    store = MemoryReplayStore(clock, 8)
    assert await use(store, clock, "a", ago=0.1) is Use.UNKNOWN
    assert await use(store, clock, "a") is Use.FIRST


async def test_a_full_memory_forgets_the_oldest_and_takes_nothing_as_old_for_new(
    store: MemoryReplayStore, clock: Clock
) -> None:
    for number in range(8):
        clock.now += 1
        assert await use(store, clock, "a", f"k{number}") is Use.FIRST
    clock.now += 1
    assert await use(store, clock, "b", "x") is Use.FIRST
    assert len(store) == 8
    assert await use(store, clock, "a", "k0", ago=8) is Use.UNKNOWN  # it was forgotten
    assert await use(store, clock, "new", "y", ago=8) is Use.UNKNOWN
    assert await use(store, clock, "a", "k1", ago=7) is Use.REPEATED  # it was not


async def test_a_memory_that_is_full_of_the_present_takes_nothing_more(store: MemoryReplayStore, clock: Clock) -> None:
    for number in range(8):
        await use(store, clock, "a", f"k{number}")
    assert await use(store, clock, "b", "x", ago=-0.5) is Use.UNKNOWN
    clock.now += 1
    assert await use(store, clock, "b", "x") is Use.FIRST


async def test_one_key_has_a_quarter_of_the_memory_and_takes_nothing_from_others(
    store: MemoryReplayStore, clock: Clock
) -> None:
    assert [await use(store, clock, str(number)) for number in range(4)] == [Use.FIRST] * 2 + [Use.UNKNOWN] * 2
    assert await use(store, clock, "0", "other") is Use.FIRST
    clock.now += 60
    assert await use(store, clock, "9") is Use.FIRST


@given(
    st.lists(
        st.tuples(
            st.sampled_from("kl"), st.sampled_from("abcd"), st.floats(-5, 60), st.sampled_from([0.0, 0.3, 1.0, 30.0])
        ),
        max_size=60,
    ),
    st.integers(1, 9),
)
async def test_no_proof_ever_counts_twice(uses: list[tuple[str, str, float, float]], most: int) -> None:
    clock = Clock()
    store = MemoryReplayStore(clock, most)
    counted: set[tuple[str, str, float]] = set()
    for key, proof_id, ago, pause in uses:
        clock.now += pause
        created = float(int(clock.now - ago))
        if created + 60 <= clock.now:
            continue  # the verifier does not ask for those
        if await store.use(key, proof_id, created, created + 60) is Use.FIRST:
            assert (key, proof_id, created) not in counted
            counted.add((key, proof_id, created))
        assert len(store) <= most
