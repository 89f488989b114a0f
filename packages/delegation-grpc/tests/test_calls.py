"""Calls of one user and of several, as a real service sees them."""

import asyncio
from dataclasses import replace

import grpc
import pytest
from grpc_gateway import ALICE, BOB, Gateway, gateway_to
from grpc_service import Service, failing

from actas.core import ActasError, Secret

pytestmark = pytest.mark.anyio


async def test_the_service_sees_the_user_and_answers_him(gateway: Gateway, service: Service) -> None:
    for session in (ALICE, BOB, ALICE):
        order = await gateway.response("get-order", session, orderId="9007199254740993")
        assert order == {
            "orderId": "9007199254740993", "item": "desk", "count": 0, "buyer": session.subject, "blob": "",
        }  # fmt: skip
    assert [seen.subject for seen in service.seen] == ["alice", "bob", "alice"]
