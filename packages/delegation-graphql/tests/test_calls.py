"""What a call comes to: the service sees the user, and the answer is made safe."""

from pathlib import Path

import pytest
from graphql_gateway import ALICE, BOB, Gateway, gateway_to
from graphql_schema import STACK
from graphql_service import AUDIENCE, Reply, Service

from actas.core import (
    ActasError,
    CredentialRejected,
    DelegationTimeout,
    DownstreamUnavailable,
    InvalidParameters,
    Outcome,
    PrincipalUnavailable,
)
from actas.delegation.graphql.failures import (
    AnswerTooLarge,
    BadAnswer,
    DocumentInvalid,
    DocumentRefused,
    OperationFailed,
    ServiceBusy,
    ServiceRefused,
)

pytestmark = pytest.mark.anyio


async def test_each_user_is_answered_with_what_is_theirs_by_a_token_that_the_service_verified(
    gateway: Gateway, service: Service
) -> None:
    for session, items in ((ALICE, ["laptop", "lamp"]), (BOB, ["desk"])):
        answer = await gateway.query("{ me { name orders { item } } }", session)
        assert answer == {"data": {"me": {"name": session.subject, "orders": [{"item": item} for item in items]}}}
    assert [seen.subject for seen in service.seen] == ["alice", "bob"]
    assert all("the-callers-own" not in str(seen) for seen in service.seen)
    assert gateway.sink.entries()[-1].receipt is not None
    assert dict(gateway.sink.entries()[-1].receipt.details) == {"token_subject": "bob"}


async def test_a_mutation_is_carried_out_as_the_user(gateway: Gateway, service: Service) -> None:
    answer = await gateway.mutate("mutation ($i: String!) { addOrder(item: $i) { item } }", BOB, i='a"b} { x')
    assert answer == {"data": {"addOrder": {"item": 'a"b} { x'}}}
    assert (service.shop.rows[-1].owner, service.shop.rows[-1].item) == ("bob", 'a"b} { x')


async def test_operations_on_file_are_tools_with_their_variables_for_parameters(
    gateway: Gateway, service: Service
) -> None:
    assert (await gateway.call("my-orders", first=1))["data"] == {
        "orders": [{"id": "1", "item": "laptop", "buyer": {"name": "alice"}}]
    }
    assert (await gateway.call("place-order", item="pen"))["data"] == {"addOrder": {"id": "4"}}
    assert [seen.sent["variables"] for seen in service.seen] == [{"first": 1}, {"item": "pen"}]
    assert "pen" not in service.seen[1].sent["query"]


async def test_what_is_sent_is_one_document_its_variables_and_no_more(gateway: Gateway, service: Service) -> None:
    await gateway.query("# a comment\nquery A($x: ID!) { order(id: $x) { id } }", x="1")
    (seen,) = service.seen
    assert seen.sent == {"query": "query A($x: ID!) {\n  order(id: $x) {\n    id\n  }\n}", "variables": {"x": "1"}}
    assert (seen.method, seen.path, seen.header("content-type")) == ("POST", "/graphql", "application/json")
    assert seen.header("cookie") is None


async def test_health_asks_as_the_user(gateway: Gateway, service: Service) -> None:
    assert await gateway.call("health", BOB) == {"data": {"__typename": "Query"}}
    assert service.seen[-1].subject == "bob"


async def test_the_servers_own_check_asks_without_a_token(gateway: Gateway, service: Service) -> None:
    assert (await gateway.module.health_check()).healthy
    assert service.seen[-1].header("authorization") is None
    for broken in (Reply({}, 503), Reply({}, 404)):
        service.reply = broken
        assert not (await gateway.module.health_check()).healthy
    service.reply = Reply(b"x" * 100_000)
    assert (await gateway.module.health_check()).healthy
    await gateway.module.destroy()
    assert not (await gateway.module.health_check()).healthy
    with pytest.raises(DownstreamUnavailable):
        await gateway.query("{ me { name } }")


async def test_the_schema_can_be_looked_up_without_asking_the_service(gateway: Gateway, service: Service) -> None:
    top = await gateway.call("schema")
    assert top["query"]["orders(first, filter)"] == "[Order!]!" and "addOrder(item, quantity)" in top["mutation"]
    assert "enum State" in (await gateway.call("schema", type="State"))["type"]
    with pytest.raises(InvalidParameters):
        await gateway.call("schema", type="Nothing")
    assert service.seen == []


async def test_without_a_file_the_service_is_asked_for_its_schema_without_a_token(
    service: Service, tmp_path: Path
) -> None:
    service.tells_schema = True
    async with gateway_to(service, tmp_path, schema_file=None, operations=None) as opened:
        assert service.seen[-1].header("authorization") is None
        assert await opened.query("{ me { name } }") == {"data": {"me": {"name": "alice"}}}


async def test_a_service_that_keeps_its_schema_to_itself_needs_a_file(service: Service, tmp_path: Path) -> None:
    for reply in (None, Reply({"data": {}}), Reply(b"<html>"), Reply(b"x" * 17_000_000)):
        service.reply = reply
        with pytest.raises(ActasError, match="schema_file: needed"):
            async with gateway_to(service, tmp_path, schema_file=None, operations=None):
                pass
    service.reply = Reply({}, 503)
    with pytest.raises(DownstreamUnavailable):
        async with gateway_to(service, tmp_path, schema_file=None, operations=None):
            pass
    gone = "http://127.0.0.1:1/graphql"
    with pytest.raises(DownstreamUnavailable):
        async with gateway_to(service, tmp_path, url=gone, schema_file=None, operations=None):
            pass


async def test_a_module_that_was_not_initialised_answers_nothing(service: Service, tmp_path: Path) -> None:
    from graphql_gateway import settings_for

    opened = Gateway(service, settings_for(service, tmp_path, schema_file=None, operations=None))
    with pytest.raises(DownstreamUnavailable):
        await opened.query("{ me { name } }")
    await opened.module.destroy()
    assert service.seen == []


async def test_a_token_that_is_not_taken_is_exchanged_anew_once(gateway: Gateway, service: Service) -> None:
    await gateway.query("{ me { name } }")
    service.refused.add((await gateway.source.obtain(ALICE)).token.reveal())
    await gateway.mutate('mutation { addOrder(item: "x") { id } }')
    assert gateway.source.issued == 2 and len(service.shop.rows) == 4
    service.reply = Reply({}, 401)
    with pytest.raises(CredentialRejected):
        await gateway.query("{ me { name } }")
    assert len(service.seen) == 5


async def test_a_partial_answer_is_told_as_one_and_has_no_stack_trace(gateway: Gateway) -> None:
    answer = await gateway.query("{ orders(first: 1) { id margin } }")
    assert answer["data"] == {"orders": [{"id": "1", "margin": None}]}
    assert answer["errors"] == [{"path": "orders.0.margin", "code": "ERROR"}]
    assert "in part" in answer["notice"] and "hunter2" not in str(answer)


async def test_an_answer_of_errors_alone_is_an_error_without_the_services_words(gateway: Gateway) -> None:
    with pytest.raises(OperationFailed) as caught:
        await gateway.query("{ broken }")
    assert "broken ERROR" in caught.value.message
    for text in (str(caught.value), repr(caught.value), caught.value.detail or "", str(gateway.sink.entries())):
        assert "hunter2" not in text and "Traceback" not in text
    with pytest.raises(ServiceRefused, match="ledger FORBIDDEN"):
        await gateway.query("{ ledger }", BOB)
    assert gateway.sink.entries()[-1].outcome is Outcome.REFUSED
    assert await gateway.query("{ ledger }") == {"data": {"ledger": "all is well"}}


async def test_a_mutation_that_failed_may_have_happened_and_says_so(gateway: Gateway, service: Service) -> None:
    for reply in (None, Reply(b"<html>"), Reply({}, 500), Reply(b"x" * 2_000_000), Reply({}, delay=4)):
        service.reply = reply
        with pytest.raises(ActasError, match="look before you try again"):
            await gateway.mutate("mutation { fail }")
    assert len(service.seen) == 5, "a mutation is never sent again"


async def test_messages_are_passed_on_where_the_operator_wants_them(service: Service, tmp_path: Path) -> None:
    async with gateway_to(service, tmp_path, show_messages=True) as opened:
        with pytest.raises(ServiceRefused, match="bob may not"):
            await opened.query("{ ledger }", BOB)
        service.reply = Reply({"errors": [{"message": "a\x1b[2J\n" + "b" * 1000}]})
        with pytest.raises(OperationFailed) as caught:
            await opened.query("{ ledger }")
    assert len(caught.value.message) < 300 and "\x1b" not in caught.value.message and "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply({}, 403), ServiceRefused),
        (Reply({"errors": [{"extensions": {"code": c}} for c in ("access-denied", "FORBIDDEN")]}), ServiceRefused),
        (Reply({"errors": [{"extensions": {"code": "FORBIDDEN"}}, {"message": STACK}]}), OperationFailed),
        (Reply({}, 429), ServiceBusy),
        (Reply({"errors": [{"message": STACK}]}, 500), DownstreamUnavailable),
        (Reply({"errors": [{"message": STACK}]}, 400), OperationFailed),
        (Reply({}, 404), BadAnswer),
        (Reply({}, 302, {"location": "http://127.0.0.1:1/elsewhere"}), BadAnswer),
        (Reply({"data": {"me": None}}, 201), BadAnswer),
        (Reply(b"<html>hunter2</html>", headers={"content-type": "text/html"}), BadAnswer),
        (Reply(b""), BadAnswer),
        (Reply([1]), BadAnswer),
        (Reply({}), BadAnswer),
        (Reply({"data": [1]}), BadAnswer),
        (Reply({"data": None, "errors": "hunter2"}), BadAnswer),
        (Reply(b'{"data": {"a": 1, "a": 2}}'), BadAnswer),
        (Reply(b'{"data": {"a": NaN}}'), BadAnswer),
        (Reply(b'{"data": ' + b'{"a":' * 500 + b"1" + b"}" * 501), BadAnswer),
        (Reply(b"x", headers={"content-encoding": "gzip"}), BadAnswer),
        (Reply(b"x" * 2_000_000), AnswerTooLarge),
        (Reply(b'{"data": {"a": [' + b"0," * 200_000 + b"0]}}"), AnswerTooLarge),
        (Reply({}, delay=4), DelegationTimeout),
    ],
)  # fmt: skip
async def test_what_is_no_answer_of_a_working_service_is_told_without_its_words(
    gateway: Gateway, service: Service, reply: Reply, kind: type[ActasError]
) -> None:
    service.reply = reply
    with pytest.raises(kind) as caught:
        await gateway.query("{ me { name } }")
    assert type(caught.value) is kind and "hunter2" not in f"{caught.value}{caught.value.detail}"
    assert len(service.seen) == 1


async def test_odd_errors_of_the_service_become_plain_ones(gateway: Gateway, service: Service) -> None:
    odd: list[object] = [
        "text", 7, None, {"path": "x"}, {"path": ["a b", {}, 1]}, {"extensions": 3}, {"extensions": {"code": "a b"}},
        {"extensions": {"code": "C" * 99}}, *[{}] * 100,
    ]  # fmt: skip
    service.reply = Reply({"data": {"me": None}, "errors": odd})
    answer = await gateway.query("{ me { name } }")
    assert len(answer["errors"]) == 20 and {each["code"] for each in answer["errors"]} == {"ERROR"}
    assert answer["errors"][4]["path"] == "?.?.1"


async def test_a_query_is_sent_once_more_where_the_connection_broke(gateway: Gateway, service: Service) -> None:
    service.reply = lambda seen: Reply(b"{}", headers={"content-length": "99"}) if len(service.seen) == 1 else None
    assert await gateway.query("{ me { name } }") == {"data": {"me": {"name": "alice"}}}
    assert len(service.seen) == 2
    service.reply = Reply(b"{}", headers={"content-length": "99"})
    with pytest.raises(DownstreamUnavailable):
        await gateway.query("{ me { name } }")
    with pytest.raises(DownstreamUnavailable, match="look before"):
        await gateway.mutate("mutation { deleteOrders }")
    assert len(service.seen) == 5


async def test_a_private_address_is_not_asked(service: Service, tmp_path: Path) -> None:
    for url in ("https://10.0.0.1/graphql", "https://[::ffff:10.0.0.1]/graphql", "https://169.254.169.254/"):
        async with gateway_to(service, tmp_path, url=url) as opened:
            with pytest.raises(DownstreamUnavailable) as caught:
                await opened.query("{ me { name } }")
        assert "http_address_refused" in (caught.value.detail or "")
    plain = service.url.replace("127.0.0.1", "localhost")
    async with gateway_to(service, tmp_path, url=plain) as opened:
        assert await opened.query("{ me { name } }")


async def test_a_subject_that_is_no_safe_name_gets_nothing(gateway: Gateway, service: Service) -> None:
    from dataclasses import replace

    for subject in ("", "a b", 'a"b', "ä", "a\nb", "x" * 256):
        with pytest.raises(PrincipalUnavailable):
            await gateway.query("{ me { name } }", replace(ALICE, subject=subject))
    assert service.seen == [] and AUDIENCE not in str(gateway.sink.entries())


async def test_nothing_is_sent_for_what_is_refused(gateway: Gateway, service: Service) -> None:
    for document, kind in (
        ("{", DocumentInvalid),
        ("{ nothing }", DocumentInvalid),
        ("mutation { fail }", DocumentRefused),
    ):
        with pytest.raises(kind):
            await gateway.query(document)
    with pytest.raises(InvalidParameters):
        await gateway.query("query ($n: Int!) { orders(first: $n) { id } }", n="five")
    assert service.seen == []
