"""Services that modules call: which URLs they may have, who calls, when to ask again, and how much JSON is read."""

from dataclasses import replace

import pytest

from actas.core import PrincipalUnavailable
from actas.http import (
    BUSY,
    AddressRefused,
    HttpError,
    HttpResponse,
    HttpSettings,
    client_to,
    network_problems,
    pause_after,
    service_url,
    subject,
)
from actas.http.strict_json import separators
from actas.testing.tokens import make_session


@pytest.mark.parametrize(
    "url", ["https://api.example/v1", "http://127.0.0.1:8000/", "http://[::1]:1/", "http://localhost"]
)
def test_a_service_is_reached_by_https_or_on_the_loopback(url: str) -> None:
    assert service_url(url).hostname


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://api.example/", "https is needed"),
        ("ftp://api.example/", "must begin with https"),
        ("api.example", "must begin with https"),
        ("https://", "name a host"),
        ("https://api.exämple/", "in ASCII"),
        ("https://api.example:99999/", "host or port"),
        ("https://api.example:0/", "name a host"),
        ("https://[::1", "host or port"),
        ("https://user:pw@api.example/", "no place for credentials"),
        ("https://api.example\\@evil.example/", "no place for credentials"),
        ("https://api.example/#", "a fragment"),
        ("https://api.example/ä", "plain ASCII"),
        ("https://api.example/\x7f", "plain ASCII"),
    ],
)
def test_a_url_that_no_token_may_be_sent_to_is_refused_and_not_repeated(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        service_url(url)
    assert "example" not in str(caught.value)


def test_each_network_that_is_none_is_told() -> None:
    assert [each.partition(" ")[0] for each in network_problems(["10.0.0.0/8", "10.0.0.1/8", "x"])] == [
        "'10.0.0.1/8'",
        "'x'",
    ]


@pytest.mark.anyio
async def test_the_loopback_is_reached_where_the_url_names_it_and_nowhere_else() -> None:
    settings = HttpSettings(total_timeout=3.0, insecure_hosts=["api.test"])
    for url, reached in (("http://127.0.0.1:1/", True), ("https://api.test/", False)):
        client = client_to(url, [], settings)
        try:
            with pytest.raises(HttpError) as caught:  # nobody listens there: how far it came is what is asked
                await client.request("GET", "http://127.0.0.1:1/")
        finally:
            await client.aclose()
        assert isinstance(caught.value, AddressRefused) is not reached


def test_pauses_double_and_no_two_callers_come_back_together() -> None:
    for attempt, usual in ((1, 0.1), (2, 0.2), (3, 0.4)):
        pauses = [pause_after(attempt) for _ in range(200)]
        assert usual * 0.5 <= min(pauses) < usual < max(pauses) <= usual * 1.5
    assert BUSY == {429, 502, 503, 504}


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("999999", None),
        ("\u0667", None),
        ("Thu, 26 Nov 2026 00:00:00 GMT", None),
    ],
)
def test_a_server_says_in_seconds_how_long_it_wants_to_be_left_alone(said: str | None, seconds: float | None) -> None:
    headers = {} if said is None else {"retry-after": said}
    assert HttpResponse(503, headers, b"").retry_after == seconds


def test_the_subject_must_be_one_that_both_sides_can_write_down() -> None:
    alice = make_session()
    assert subject(replace(alice, subject="auth0|5f7c~x@y.example")) == "auth0|5f7c~x@y.example"
    for odd in ("", "a b", "a\n", "ä", 'a"b', "a,b", "x" * 256):
        with pytest.raises(PrincipalUnavailable):
            subject(replace(alice, subject=odd))


def test_values_are_counted_from_above_before_they_are_made() -> None:
    assert separators(b'[1,2,{"a":3,"b":4}]') == 5
    assert separators(b"7") == 0
