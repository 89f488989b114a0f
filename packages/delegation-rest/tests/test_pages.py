"""Answers that go on: collected within limits, and never from another place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_gateway import Gateway, gateway_to
from rest_service import Reply, Seen, Service

from actas.delegation.rest.failures import AnswerTooLarge, UnexpectedAnswer
from actas.delegation.rest.pages import next_query
from actas.delegation.rest.settings import LimitSettings, OperationSettings, PageSettings

pytestmark = pytest.mark.anyio

URL = "https://api.example/v1/orders?limit=2"
LINKED = PageSettings()
BY_CURSOR = PageSettings(next="cursor", cursor="meta.next", items="data")
LIST = {"list": OperationSettings(path="/orders", description="All orders.", query=["limit"])}


def link(target: str) -> str | None:
    return next_query(LINKED, URL, f'<{target}>; rel="next"', [])


@pytest.mark.parametrize(
    ("header", "query"),
    [
        ('<https://api.example/v1/orders?page=2>; rel="next"', "page=2"),
        ("</v1/orders?page=2>; rel=next", "page=2"),
        ("<?page=2>;rel=next", "page=2"),
        ('<?page=1>; rel="prev", <?page=3&a=b%20c>; title="x, y"; rel="last NEXT"', "page=3&a=b%20c"),
        ('<?page=1>; rel="prev"', None),
        ("", None),
        ("rubbish", None),
        ("<?page=1>", None),
    ],
)
def test_the_next_page_is_what_the_link_says(header: str, query: str | None) -> None:
    assert next_query(LINKED, URL, header, []) == query


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/v1/orders?page=2", "http://api.example/v1/orders?page=2",
        "//[", "//evil.example/v1/orders?page=2",
        "https://api.example:444/v1/orders", "https://api.example@evil.example/v1/orders", "/admin?page=2",
        "/v1/orders/../admin", "/v1/orders/", "https://api.example/", "orders?page=2", "javascript:alert(1)",
        "?a=b c", "?a=é", "?a=\\", "?access_token=stolen", "?acce%73s_token=stolen", "?a=1&_method=DELETE",
    ],
)  # fmt: skip
def test_a_next_page_elsewhere_is_not_asked_for(target: str) -> None:
    with pytest.raises(UnexpectedAnswer):
        link(target)


@given(st.text(max_size=80))
def test_whatever_the_header_says_the_next_page_is_a_query_or_none(header: str) -> None:
    for written in (header, f"<{header}>; rel=next"):
        try:
            query = next_query(LINKED, URL, written, [])
        except UnexpectedAnswer:
            continue
        except ValueError:
            raise AssertionError("a link broke us") from None
        assert query is None or (query.isascii() and not set(query) & set(" #\r\n\\"))


def test_a_cursor_is_a_parameter_and_nothing_else() -> None:
    body: dict[str, Any] = {"meta": {"next": "a&b=c"}}
    assert next_query(BY_CURSOR, URL, "", body) == "limit=2&cursor=a%26b%3Dc"
    assert next_query(BY_CURSOR, f"{URL}&cursor=old", "", {"meta": {"next": 7}}) == "limit=2&cursor=7"
    for last in (None, "", False):
        assert next_query(BY_CURSOR, URL, "", {"meta": {"next": last}}) is None
    assert next_query(BY_CURSOR, URL, "", {"meta": []}) is None
    for wrong in ({}, [1], "x" * 3000, 1.5):
        with pytest.raises(UnexpectedAnswer):
            next_query(BY_CURSOR, URL, "", {"meta": {"next": wrong or {"a": 1}}})


def pages_of(service: Service, last: int, *, circle: bool = False) -> None:
    def reply(seen: Seen) -> Reply:
        number = int(seen.target.partition("page=")[2] or 1)
        following = 1 if circle and number == last else number + 1
        more = {"link": f'<?page={following}>; rel="next"'} if number < last or circle else {}
        return Reply([{"page": number, "who": seen.subject}], 200, more)

    service.replies["/v1/orders"] = reply


async def collected(gateway: Gateway, **parameters: object) -> dict[str, Any]:
    return await gateway.call("list", **parameters)


async def test_all_pages_become_one_answer_and_each_is_asked_for_as_the_user(service: Service) -> None:
    pages_of(service, 3)
    async with gateway_to(service, operations=LIST, pages={"list": PageSettings()}) as opened:
        answer = await collected(opened, limit="1")
    assert [item["page"] for item in answer["items"]] == [1, 2, 3] and answer["truncated"] is False
    assert {seen.subject for seen in service.seen} == {"alice"}
    assert service.seen[0].target == "/v1/orders?limit=1"


async def test_pages_end_where_the_setting_says_and_that_is_told(service: Service) -> None:
    pages_of(service, 1000)
    async with gateway_to(service, operations=LIST, pages={"list": PageSettings(most=2)}) as opened:
        answer = await collected(opened)
    assert len(answer["items"]) == 2 and answer["truncated"] is True and len(service.seen) == 2


async def test_pages_by_cursor(service: Service) -> None:
    service.replies["/v1/orders"] = lambda seen: Reply(
        {"data": [seen.target], "meta": {"next": None if "cursor" in seen.target else "x"}}
    )
    async with gateway_to(service, operations=LIST, pages={"list": BY_CURSOR}) as opened:
        assert (await collected(opened))["items"] == ["/v1/orders", "/v1/orders?cursor=x"]


async def test_pages_in_a_circle_too_many_bytes_and_no_list_are_refused(service: Service) -> None:
    pages_of(service, 2, circle=True)
    async with gateway_to(service, operations=LIST, pages={"list": PageSettings()}) as opened:
        with pytest.raises(UnexpectedAnswer):
            await collected(opened)
        for reply in (Reply({"no": "list"}), Reply(b"x", 200, {"content-type": "text/plain"})):
            service.replies["/v1/orders"] = reply
            with pytest.raises(UnexpectedAnswer):
                await collected(opened)
    pages_of(service, 100)
    limits = LimitSettings(response_bytes=100)
    async with gateway_to(service, operations=LIST, pages={"list": PageSettings()}, limits=limits) as opened:
        with pytest.raises(AnswerTooLarge):
            await collected(opened)
