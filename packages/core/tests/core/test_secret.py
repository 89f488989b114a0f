"""A Secret never prints itself."""

import copy
import json
import pickle
import traceback
from dataclasses import dataclass

import pytest

from actas.core import Secret

VALUE = "hunter2-xyzzy"


@dataclass
class Holder:
    key: Secret


def test_reveal_gives_the_string_itself() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_no_way_of_printing_shows_the_value() -> None:
    secret = Secret(VALUE)
    printed = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:>40}",
        "%s %r" % (secret, secret),  # noqa: UP031 -- this way of printing is what is tested
        "{:s}".format(secret),  # noqa: UP032 -- likewise
        repr([secret]),
        repr({"key": secret}),
        repr(Holder(secret)),
        repr(Exception(secret)),
    ]
    assert not [text for text in printed if VALUE in text]


def test_it_is_neither_pickled_nor_copied_nor_made_json() -> None:
    secret = Secret(VALUE)
    for send in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as caught:
            send(secret)
        assert VALUE not in str(caught.value)


def test_it_is_absent_from_a_traceback_that_shows_local_variables() -> None:
    def fail(secret: Secret) -> None:
        raise ValueError(secret)

    with pytest.raises(ValueError) as caught:
        fail(Secret(VALUE))
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "secret = Secret(…)" in text
    assert VALUE not in text


def test_equal_secrets_are_equal_and_others_are_not() -> None:
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_half_a_character_as_json_may_carry_it_is_compared_without_an_exception() -> None:
    assert Secret("\ud800") == Secret("\ud800")
    assert Secret("\ud800") != Secret("?")
