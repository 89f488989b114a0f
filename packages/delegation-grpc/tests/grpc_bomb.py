"""A service of its own process that answers everything with 300 MB of zeros, packed; prints its port."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc

ANSWER = bytes(300_000_000)


class Packed(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: ANSWER)


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(2), compression=grpc.Compression.Gzip)
    server.add_generic_rpc_handlers((Packed(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    time.sleep(60)
