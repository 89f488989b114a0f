"""What the statement gate costs: microseconds for one statement, judged anew and remembered.

Each statement is judged by a gate that has never seen it, then again by the same gate. The median and the 99th
percentile of many; no server is needed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from actas.core.errors import ActasError
from actas.delegation.sql.gate import Gate
from actas.delegation.sql.levels import Level
from actas.delegation.sql.placeholders import bind

_TARGET = 150
STATEMENTS = {
    "one row by key": "SELECT id, owner, body FROM doc WHERE id = %(id)s",
    "join and group": (
        "SELECT o.id, o.created_at, count(*) AS n, sum(l.price * l.qty) FROM orders o "
        "JOIN lines l ON l.order_id = o.id WHERE o.owner = %(owner)s AND lower(l.name) LIKE 'a%' "
        "GROUP BY o.id, o.created_at ORDER BY n DESC LIMIT 10"
    ),
    "CTE, window, CASE": (
        "WITH monthly AS (SELECT date_trunc('month', o.created_at) AS month, c.region, sum(o.total) AS total "
        "FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.created_at >= %(since)s::date "
        "GROUP BY 1, 2) SELECT month, region, total, lag(total) OVER (PARTITION BY region ORDER BY month) AS before, "
        "CASE WHEN total > 1000 THEN 'big' ELSE 'small' END AS size FROM monthly ORDER BY region, month"
    ),
    "insert with conflict": (
        "INSERT INTO notes (id, body) VALUES (%(id)s, %(body)s) "
        "ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING id"
    ),
    "refused: SET ROLE": "SET ROLE bob",
}


def _judge(gate: Gate, text: str) -> None:
    try:
        gate.check(text, Level.SQL_WRITE)
    except ActasError:
        return


def _microseconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e6


def _row(name: str, statement: str, repetitions: int) -> str:
    names = [name for name in ("id", "owner", "since", "body") if f"%({name})s" in statement]
    text = bind(statement, dict.fromkeys(names, "1"), most_bytes=1000).text
    anew: list[float] = []
    again: list[float] = []
    for _ in range(repetitions):
        gate = Gate()
        anew.append(_microseconds(lambda gate=gate: _judge(gate, text)))
        again.append(_microseconds(lambda gate=gate: _judge(gate, text)))
    late = statistics.quantiles(anew, n=100)[98]
    return f"{name:22} {statistics.median(anew):8.0f} {late:8.0f} {statistics.median(again):12.2f}"


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5000, help="judgements of each statement")
    repetitions = parser.parse_args().repetitions
    print(f"{'µs':22} {'anew':>8} {'p99':>8} {'remembered':>12}    target: anew <= {_TARGET}")
    for name, statement in STATEMENTS.items():
        print(_row(name, statement, repetitions))


if __name__ == "__main__":
    main()
