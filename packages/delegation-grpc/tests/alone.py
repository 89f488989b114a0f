"""What this distribution does where nothing else is installed: ``tools/run_alone.py`` runs it."""

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stage() -> Iterator[dict[str, object]]:
    """A service that says which token it was shown, and a file that describes it."""
    import grpc
    from google.protobuf import empty_pb2, wrappers_pb2
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

    def who_am_i(request: object, context: grpc.ServicerContext) -> wrappers_pb2.StringValue:
        shown = {each.key: each.value for each in context.invocation_metadata()}["authorization"]
        return wrappers_pb2.StringValue(value=str(shown)[len("Bearer ") :][::-1])  # whoever sends it back is not heard

    method = grpc.unary_unary_rpc_method_handler(
        who_am_i, empty_pb2.Empty.FromString, wrappers_pb2.StringValue.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.v1.Me", {"WhoAmI": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    file = FileDescriptorProto(name="me.proto", package="shop.v1", syntax="proto3")
    file.dependency.extend([empty_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name])
    service = file.service.add(name="Me")
    service.method.add(name="WhoAmI", input_type=".google.protobuf.Empty", output_type=".google.protobuf.StringValue")
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder) / "me.pb"
        descriptors.write_bytes(FileDescriptorSet(file=[file]).SerializeToString())
        server.start()
        try:
            expected = ["alice", {"response": "for-alice"[::-1]}]
            yield {"target": f"127.0.0.1:{port}", "descriptors": str(descriptors), "expected": expected}
        finally:
            server.stop(0).wait()


async def act(place: Mapping[str, str]) -> list[object]:
    """One call as alice."""
    from actas.core import Audit, Credential, DelegationRegistry, MemorySink, Pipeline, Secret, Session
    from actas.core.discovery import load
    from actas.delegation.grpc.settings import GrpcSettings

    class Exchanged:
        async def obtain(self, session: Session) -> Credential:
            return Credential(token=Secret(f"for-{session.subject}"), subject=session.subject, expires_at=4e9)

        async def discard(self, session: Session, refused: Credential) -> None: ...

        def plan(self, session: Session) -> Mapping[str, object]:
            return {}

    settings = GrpcSettings(
        targets=[place["target"]],
        plaintext=True,
        permission="use",
        descriptors=place["descriptors"],
        allow=["shop.v1.Me/WhoAmI"],
    )
    module = load(["grpc"]).module_kind("grpc").create("me", settings)
    registry = DelegationRegistry()
    registry.register("me", module, credentials=Exchanged())
    pipeline = Pipeline(registry, Audit(MemorySink()), validator=lambda action, parameters: parameters)
    session = Session(
        issuer="https://idp.example",
        subject="alice",
        username="alice",
        provider="main",
        permissions=frozenset({"use"}),
    )
    await registry.initialize_all()
    try:
        result = await pipeline.delegate(session, "me", "who-am-i", {})
    finally:
        await registry.destroy_all()
    return [result.receipt.identity, result.data]
