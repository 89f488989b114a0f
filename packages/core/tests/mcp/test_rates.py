"""Rates as they are written, and counting in this process."""

import limits
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actas.mcp.rates import Rate, Windows
from actas.mcp.settings import LimitSettings

pytestmark = pytest.mark.anyio


@given(st.integers(1, 999_999_999), st.sampled_from(["second", "minute", "hour", "day"]))
def test_a_rate_is_read_as_the_library_for_the_shared_store_reads_it(amount: int, unit: str) -> None:
    rate, item = Rate.parse(f"{amount}/{unit}"), limits.parse(f"{amount}/{unit}")
    assert (rate.amount, rate.seconds) == (item.amount, item.get_expiry())


@given(st.one_of(st.text(), st.from_regex(r"[0-9]*\s*/\s*[0-9]*\s*[a-z]+s?", fullmatch=True)))
def test_whatever_else_is_written_is_refused_and_never_half_understood(text: str) -> None:
    try:
        rate = Rate.parse(text)
    except ValueError:
        return
    assert 1 <= rate.amount <= 999_999_999
    assert text == f"{rate.amount}/{ {1: 'second', 60: 'minute', 3600: 'hour', 86_400: 'day'}[rate.seconds] }"


@pytest.mark.parametrize(
    "bad",
    ["", "0/minute", "-1/minute", "1/minutes", "1/0minute", "1 per minute", "1/minute;2/hour", "1e9/second", "01/day",
     "9" * 10_000 + "/second", "\u0661/minute", "1/minute\n", "600", "/minute", "1/MINUTE", "1/year", "1.5/hour"],
)  # fmt: skip
def test_a_rate_with_a_mistake_is_refused_with_its_name(bad: str) -> None:
    for settings in ({"per_user": bad}, {"per_issuer": bad}, {"failed_authentications_per_address": bad}):
        with pytest.raises(ValueError, match=f"{next(iter(settings))} must be a number above 0"):
            LimitSettings(**settings)
    with pytest.raises(ValueError, match=r"per_tool\.x must be"):
        LimitSettings(per_tool={"x": bad})


@pytest.mark.parametrize("name", ["concurrent_per_user", "concurrent", "connections"])
def test_no_bound_can_be_switched_off(name: str) -> None:
    for number in (0, -1, 1_000_001):
        with pytest.raises(ValueError, match=f"{name} must be between"):
            LimitSettings(**{name: number})


def test_the_oldest_window_makes_room_and_ended_ones_go_first() -> None:
    now = [0.0]
    windows = Windows(10, most=3, clock=lambda: now[0])
    for key in "abc":
        assert windows.hit(key).count == 1
        now[0] += 1
    assert windows.hit("a").count == 2
    windows.hit("d")
    assert (len(windows), windows.count("a"), windows.count("b")) == (3, 0, 1)
    now[0] = 12.5
    windows.hit("e")
    assert (windows.count("b"), windows.count("c"), windows.count("d")) == (0, 0, 1)
    assert len(windows) == 2
    assert windows.left("e") == 10
    assert windows.left("nothing") == 0
    now[0] = 22.5
    assert (windows.hit("e").count, windows.left("e")) == (1, 10)
