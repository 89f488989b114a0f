"""What it costs to run a SELECT as the user, against the same SELECT on a pooled connection without any frame.

Both use one connection of the same login to the same table with row-level security; calls are
interleaved in pairs, and the ratio is the median of the pairs'. Needs ``psycopg-pool`` beside the packages.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import queue
import socket
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import replace

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from actas.core.models import DelegationCall, Session
from actas.delegation.sql.actions import Query
from actas.delegation.sql.module import SqlDelegation
from actas.delegation.sql.settings import PoolSettings, SqlSettings, TlsSettings
from actas.testing.postgres import DebianPostgres, EmbeddedPostgres, PostgresServer

_TABLE = """
CREATE TABLE doc (id int PRIMARY KEY, owner name, body text);
INSERT INTO doc SELECT i, 'alice', repeat('x', 200) FROM generate_series(1, 1000) i;
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON doc USING (owner = session_user);
GRANT SELECT ON doc TO app_users;
ANALYZE doc;
"""


def _relay(listening: socket.socket, target: int, seconds: float) -> None:
    """Pass bytes on, each way ``seconds`` later. Threads: an event loop's clock is too coarse."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        due: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def deliver() -> None:
            while True:
                when, data = due.get()
                time.sleep(max(0.0, when - time.perf_counter()))
                with contextlib.suppress(OSError):
                    if not data:
                        return sink.shutdown(socket.SHUT_WR)
                    sink.sendall(data)

        threading.Thread(target=deliver, daemon=True).start()
        while data := _received(source):
            due.put((time.perf_counter() + seconds, data))
        due.put((0.0, b""))

    while True:
        client, _ = listening.accept()
        server = socket.create_connection(("127.0.0.1", target))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair in ((client, server), (server, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


@contextlib.contextmanager
def _far_away(port: int, round_trip: float) -> Generator[int]:
    """A port that leads to ``port``, ``round_trip`` seconds away."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = multiprocessing.get_context("fork").Process(
            target=_relay, args=(listening, port, round_trip / 2), daemon=True
        )
        process.start()
        try:
            yield listening.getsockname()[1]
        finally:
            process.kill()


def _settings(server: PostgresServer, port: int) -> SqlSettings:
    if not isinstance(server, DebianPostgres):
        return SqlSettings(host=str(server.socket_folder), database=server.database)
    tls = TlsSettings(
        ca_file=str(server.authority.certificate),
        certificate_file=str(server.gateway.certificate),
        key_file=str(server.gateway.key),
    )
    return SqlSettings(host=server.host, port=port, database=server.database, tls=tls)


def _peer(settings: SqlSettings) -> AsyncConnectionPool[AsyncConnection]:
    where: dict[str, object] = {"host": settings.host, "port": settings.port, "dbname": settings.database}
    if settings.tls:
        where |= {"sslmode": "verify-full", "sslrootcert": settings.tls.ca_file}
        where |= {"sslcert": settings.tls.certificate_file, "sslkey": settings.tls.key_file}
    return AsyncConnectionPool(
        min_size=1, max_size=1, open=False, kwargs={**where, "user": "alice", "autocommit": True}
    )


async def _compare(settings: SqlSettings, pairs: int) -> tuple[float, float, float]:
    """Median milliseconds plain and as the user, and the median ratio."""
    module = SqlDelegation(settings)
    session = Session(
        issuer="i", subject="a", username="alice", provider="p", legacy_username="alice",
        permissions=frozenset({"sql:read"}),
    )  # fmt: skip
    pool = _peer(settings)
    await pool.open(wait=True)

    async def plain() -> None:
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT id, owner, body FROM doc WHERE id = %s", (7,))
            await cursor.fetchall()

    async def as_user() -> None:
        query = Query(sql="SELECT id, owner, body FROM doc WHERE id = %(id)s", params={"id": 7})
        deadline = time.monotonic() + 30
        call = DelegationCall(
            session=session, action=module.actions[0], parameters=query, deadline=deadline, request_id="r"
        )
        result = await module.delegate(call)
        if result.receipt.identity != "alice":
            raise SystemExit("somebody else answered")

    for _ in range(50):
        await plain()
        await as_user()
    times = [(await _timed(plain), await _timed(as_user)) for _ in range(pairs)]
    await module.destroy()
    await pool.close()
    ratio = statistics.median(user / base for base, user in times)
    return statistics.median(t[0] for t in times) * 1e3, statistics.median(t[1] for t in times) * 1e3, ratio


async def _timed(run: Callable[[], Awaitable[None]]) -> float:
    start = time.perf_counter()
    await run()
    return time.perf_counter() - start


def _report(where: str, server: PostgresServer, port: int, pairs: int, target: float) -> None:
    base, user, ratio = asyncio.run(_compare(_settings(server, port), pairs))
    print(f"{where:34} plain {base:6.3f} ms   as the user {user:6.3f} ms   ratio {ratio:5.2f}   target <= {target}")


async def _round_robin(settings: SqlSettings, users: int, rounds: int) -> None:
    """Everybody once, then again, fifty at a time: nobody's connection is still there when his turn comes."""
    module = SqlDelegation(replace(settings, pool=PoolSettings(total=50, per_user=1)))
    names = [f"user{number}" for number in range(users)]
    times: list[float] = []

    async def call(name: str) -> None:
        session = Session(
            issuer="i", subject=name, username=name, provider="p", legacy_username=name,
            permissions=frozenset({"sql:read"}),
        )  # fmt: skip
        query = Query(sql="SELECT count(*) FROM doc")
        asked = DelegationCall(
            session=session, action=module.actions[0], parameters=query, deadline=time.monotonic() + 30, request_id="r"
        )
        start = time.perf_counter()
        result = await module.delegate(asked)
        times.append(time.perf_counter() - start)
        if result.receipt.identity != name:
            raise SystemExit("somebody else answered")

    begun = time.perf_counter()
    for _ in range(rounds):
        waiting = iter(names)

        async def work(waiting: Iterator[str] = waiting) -> None:
            for name in waiting:
                await call(name)

        await asyncio.gather(*(work() for _ in range(50)))
    took = time.perf_counter() - begun
    await module.destroy()
    times.sort()
    print(
        f"{users} users, 50 connections, {len(times)} calls: {len(times) / took:6.0f} calls/s   "
        f"median {times[len(times) // 2] * 1e3:6.1f} ms   p99 {times[len(times) * 99 // 100] * 1e3:6.1f} ms"
    )


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1500, help="pairs of calls for each line")
    pairs = parser.parse_args().pairs
    with EmbeddedPostgres() as server:
        server.add_users("alice")
        server.sql(_TABLE)
        _report("PostgreSQL 18, unix socket, peer", server, 0, pairs, 1.3)
        server.add_users(*(f"user{number}" for number in range(500)))
        asyncio.run(_round_robin(_settings(server, 0), 50, 20))
        asyncio.run(_round_robin(_settings(server, 0), 500, 4))
    with DebianPostgres() as server:
        server.add_users("alice")
        server.sql(_TABLE)
        _report("Debian's, loopback, TLS", server, server.port, pairs, 1.3)
        with _far_away(server.port, 0.001) as port:
            _report("Debian's, 1 ms away, TLS", server, port, pairs // 3, 1.15)


if __name__ == "__main__":
    main()
