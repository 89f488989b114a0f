"""What it costs to make a request as the user, against the same client that makes the same request by itself.

The service is a process of its own on the loopback, and answers a customer of some 300 bytes. Batches are interleaved;
CPU is this process's own, and a ratio is the median of the batches'. With ``httpx2`` itself as a third, to see what
the hardened client costs.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import socket
import statistics
import time
from collections.abc import Awaitable, Callable, Generator

import httpx2

from actas.core.models import Credential, DelegationCall, Session
from actas.core.secret import Secret
from actas.delegation.rest.module import RestDelegation
from actas.delegation.rest.settings import OperationSettings, RestSettings
from actas.http import HttpClient

_CUSTOMER = {"id": 7, "name": "Anna Müller", "notes": ["x" * 40] * 5, "address": {"city": "Wien", "zip": "1010"}}
_BODY = json.dumps(_CUSTOMER).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
_TOKEN = "eyJ" + "x" * 1200  # as long as one that was exchanged
_BATCH = 40


def _serve(listening: socket.socket) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(_ANSWER)

    async def main() -> None:
        async with await asyncio.start_server(connected, sock=listening) as server:
            await server.serve_forever()

    asyncio.run(main())


@contextlib.contextmanager
def service() -> Generator[str]:
    """The origin of a service that answers every request with the same customer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = multiprocessing.get_context("fork").Process(target=_serve, args=(listening,), daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.kill()


async def _compare(origin: str, batches: int, concurrency: int) -> None:
    operation = OperationSettings(path="/customers/{id}", description="One customer.", query=["fields"])
    module = RestDelegation(
        RestSettings(
            base_url=origin, permission="use", operations={"get": operation}, identity_headers={"X-User": "username"}
        )
    )
    session = Session(issuer="i", subject="alice", username="alice", provider="p", permissions=frozenset({"use"}))
    credential = Credential(token=Secret(_TOKEN), subject="alice", expires_at=2e9)
    ours, plain = HttpClient(), httpx2.AsyncClient(trust_env=False)
    url = f"{origin}/customers/7?fields=all"
    headers = {
        "authorization": f"Bearer {_TOKEN}",
        "accept": "application/json",
        "x-user": "alice",
        "x-request-id": "r",
    }

    async def as_user() -> None:
        call = DelegationCall(
            session=session,
            action=module.actions[0],
            parameters={"id": "7", "fields": "all"},
            deadline=time.monotonic() + 30,
            request_id="r",
            credential=credential,
        )
        if (await module.delegate(call)).receipt.identity != "alice":
            raise SystemExit("somebody else answered")

    async def directly() -> None:
        (await ours.request("GET", url, headers=headers)).json()

    async def by_httpx2() -> None:
        (await plain.get(url, headers=headers)).json()

    for run in (as_user, directly, by_httpx2):
        await _cpu(run, concurrency)
    times = [[await _cpu(run, concurrency) for run in (as_user, directly, by_httpx2)] for _ in range(batches)]
    user, same, library = (statistics.median(each) * 1e6 for each in zip(*times, strict=True))
    to_same = statistics.median(each[0] / each[1] for each in times)
    to_library = statistics.median(each[0] / each[2] for each in times)
    print(
        f"{concurrency:3} at once   as the user {user:5.0f} µs   the same client {same:5.0f} µs"
        f"   httpx2 {library:5.0f} µs   ratio {to_same:4.2f} (target <= 1.2)   to httpx2 {to_library:4.2f}"
    )
    await module.destroy()
    await ours.aclose()
    await plain.aclose()


async def _cpu(run: Callable[[], Awaitable[None]], concurrency: int) -> float:
    """Seconds of CPU for each call, over a batch."""
    start = time.process_time()
    for _ in range(_BATCH // concurrency):
        await asyncio.gather(*(run() for _ in range(concurrency)))
    return (time.process_time() - start) / _BATCH


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100, help=f"batches of {_BATCH} calls for each line")
    batches = parser.parse_args().batches
    with service() as origin:
        for concurrency in (1, 10):
            asyncio.run(_compare(origin, batches, concurrency))


if __name__ == "__main__":
    main()
