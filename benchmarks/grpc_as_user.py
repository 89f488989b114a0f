"""What it costs to call a gRPC method as the user, against the plain stub that makes the same call by itself.

The service is a process of its own on the loopback, and answers a customer of some 300 bytes. Batches are interleaved;
CPU is this process's own, and a ratio is the median of the batches'. The plain stub sends the same token and metadata
with the same deadline on a channel of its own; with protobuf's JSON form on both sides, as whoever serves a model needs
it, and without.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message_factory import GetMessageClass

from actas.core.models import Credential, DelegationCall, Session
from actas.core.secret import Secret
from actas.delegation.grpc.descriptors import made
from actas.delegation.grpc.module import GrpcDelegation
from actas.delegation.grpc.settings import GrpcSettings

_METHOD = "crm.v1.Customers/Get"
_TOKEN = "eyJ" + "x" * 1200  # as long as one that was exchanged
_BATCH = 40


def _described() -> FileDescriptorProto:
    file = FileDescriptorProto(name="crm.proto", package="crm.v1", syntax="proto3")
    kinds, labels = FieldDescriptorProto, FieldDescriptorProto
    asked = file.message_type.add(name="Asked")
    for number, (name, kind) in enumerate({"id": kinds.TYPE_INT64, "fields": kinds.TYPE_STRING}.items(), 1):
        asked.field.add(name=name, number=number, type=kind, label=labels.LABEL_OPTIONAL, json_name=name)
    customer = file.message_type.add(name="Customer")
    for number, (name, kind, label) in enumerate(
        [
            ("id", kinds.TYPE_INT64, labels.LABEL_OPTIONAL),
            ("name", kinds.TYPE_STRING, labels.LABEL_OPTIONAL),
            ("notes", kinds.TYPE_STRING, labels.LABEL_REPEATED),
            ("city", kinds.TYPE_STRING, labels.LABEL_OPTIONAL),
            ("zip", kinds.TYPE_STRING, labels.LABEL_OPTIONAL),
        ],
        1,
    ):
        customer.field.add(name=name, number=number, type=kind, label=label, json_name=name)
    service = file.service.add(name="Customers")
    service.method.add(name="Get", input_type=".crm.v1.Asked", output_type=".crm.v1.Customer")
    return file


def _class(name: str) -> Any:  # Any: made from the descriptor
    return GetMessageClass(made([_described()]).pool.FindMessageTypeByName(f"crm.v1.{name}"))


def _serve(port: Connection) -> None:
    customer = _class("Customer")(id=7, name="Anna Müller", notes=["x" * 40] * 5, city="Wien", zip="1010")
    answer = customer.SerializeToString()
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: answer)
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("crm.v1.Customers", {"Get": handler}),))
    port.send(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


@contextlib.contextmanager
def service() -> Generator[str]:
    """The address of a service that answers every call with the same customer."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"127.0.0.1:{ours.recv()}"
    finally:
        process.kill()


async def _compare(target: str, descriptors: str, batches: int, concurrency: int) -> None:
    module = GrpcDelegation(
        GrpcSettings(
            targets=[target], plaintext=True, permission="use", descriptors=descriptors, allow=[_METHOD],
            identity_metadata={"x-user": "username"},
        )
    )  # fmt: skip
    session = Session(issuer="i", subject="alice", username="alice", provider="p", permissions=frozenset({"use"}))
    credential = Credential(token=Secret(_TOKEN), subject="alice", expires_at=2e9)
    asked, customer = _class("Asked"), _class("Customer")
    given = {"id": "7", "fields": "all"}
    metadata = (("x-user", "alice"), ("x-request-id", "r"), ("authorization", f"Bearer {_TOKEN}"))

    async with grpc.aio.insecure_channel(target) as channel:
        stub = channel.unary_unary(f"/{_METHOD}", asked.SerializeToString, customer.FromString)

        async def as_user() -> None:
            call = DelegationCall(
                session=session,
                action=module.actions[0],
                parameters=given,
                deadline=time.monotonic() + 20,
                request_id="r",
                credential=credential,
            )
            await module.delegate(call)

        async def with_json() -> None:
            request = json_format.ParseDict(given, asked())
            json_format.MessageToDict(await stub(request, metadata=metadata, timeout=20))

        message = asked(id=7, fields="all")

        async def bare() -> None:
            await stub(message, metadata=metadata, timeout=20)

        runs = {"as the user": as_user, "stub with JSON": with_json, "bare stub": bare}
        spent: dict[str, list[float]] = {name: [] for name in runs}
        walls: dict[str, list[float]] = {name: [] for name in runs}
        for batch in range(-3, batches):
            for name, run in runs.items():
                cpu, wall = await _measured(run, concurrency)
                if batch >= 0:
                    spent[name].append(cpu)
                    walls[name].append(wall)
    await module.destroy()
    print(f"concurrency {concurrency}")
    for name in runs:
        ratios = [mine / plain for mine, plain in zip(spent["as the user"], spent[name], strict=True)]
        print(
            f"  {name:16} {statistics.median(spent[name]) * 1e6:7.0f} µs CPU  "
            f"{statistics.median(walls[name]) * 1e6:7.0f} µs  as the user / this {statistics.median(ratios):.2f}"
        )


async def _measured(run: Callable[[], Awaitable[None]], concurrency: int) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(_BATCH // concurrency):
        await asyncio.gather(*(run() for _ in range(concurrency)))
    calls = _BATCH // concurrency * concurrency
    return (time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=60)
    batches = parser.parse_args().batches
    with service() as target, tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder) / "crm.pb"
        descriptors.write_bytes(FileDescriptorSet(file=[_described()]).SerializeToString())
        for concurrency in (1, 10):
            asyncio.run(_compare(target, str(descriptors), batches, concurrency))


if __name__ == "__main__":
    main()
