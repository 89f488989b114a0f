"""Names of actions, made of what others call their operations."""

import pytest

from actas.core.naming import LONGEST, hyphenated, words


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("getCustomerById", "get-customer-by-id"),
        ("GET_ORDERS_2", "get-orders-2"),
        ("listHTTPServers", "list-http-servers"),
        ("get /customers/{id}", "get-customers-id"),
        ("!", ""),
    ],
)
def test_an_identifier_becomes_its_words(identifier: str, name: str) -> None:
    assert hyphenated(words(identifier)) == name


def test_a_name_is_cut_and_ends_with_a_word() -> None:
    assert hyphenated(["a" * (LONGEST - 1), "bc"]) == "a" * (LONGEST - 1)
    assert len(hyphenated(["a" * 200])) == LONGEST
