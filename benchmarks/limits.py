"""What limits cost a call when they are switched on and not reached: ``nox -s bench -- limits``.

The measure is the server's CPU per ``tools/call``, as in ``mcp_calls.py``, but between two servers that differ in
nothing else, in short turns: a turn of one, a turn of the other, and the other way round. A ratio is taken of each
pair of turns. With ``--redis URL`` a third server counts in Redis.
"""

import argparse
import asyncio
import statistics
from itertools import repeat

from mcp_calls import WIRES, Run, Server, load, provider, request

PLAIN, LIMITED, SHARED = "actas", "actas, limits on", "actas, limits on, shared"


def compare(run: Run, redis: str | None) -> None:
    """Print, for each wire, what a call costs, and the ratio to a server without limits."""
    servers = {PLAIN: Server(PLAIN, 1, run.environment), LIMITED: Server(LIMITED, 1, run.environment)}
    if redis is not None:
        servers[SHARED] = Server(SHARED, 1, run.environment | {"BENCH_REDIS": redis})
    try:
        for wire, name in WIRES.items():
            message = request(wire, "tools/call", run.token)
            spent: dict[str, list[float]] = {variant: [] for variant in servers}
            for round_ in range(run.rounds + 1):
                for variant in servers if round_ % 2 else reversed(servers):
                    before = servers[variant].cpu()
                    asyncio.run(load(servers[variant].port, repeat(message, run.count)))
                    if round_:  # the first one warms up
                        spent[variant].append((servers[variant].cpu() - before) / run.count * 1e6)
            print(f"\ntools/call, {name} wire ({wire}); {run.rounds} rounds of {run.count}")
            for variant, each in spent.items():
                ratios = sorted(a / b for a, b in zip(each, spent[PLAIN], strict=True))
                middle = statistics.median(ratios)
                low, high = ratios[len(ratios) // 4], ratios[len(ratios) * 3 // 4]
                print(f"  {variant:28}{statistics.median(each):8.1f} µs   × {middle:.3f}  ({low:.3f} to {high:.3f})")
    finally:
        for server in servers.values():
            server.process.terminate()
            server.process.wait()


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--redis")
    options = parser.parse_args()
    with provider(options.rounds, options.count) as run:
        compare(run, options.redis)


if __name__ == "__main__":
    main()
