"""Points a second that reach an MLflow server, and how soon a run has begun: agentnn against MLflow's own client.

The server is MLflow's own, with one worker on this machine, on a copy of the store; the ways take turns at it, each in
a process of its own. Afterwards the points in the store are counted.

    python benchmarks/bench_delivery_server.py --python "$(python benchmarks/install_wheel.py)"
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import subjects as given
import writing
from bench_rest import served
from timing import middle, note, quantile
from trackers import PREFIX, STORE

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

WAYS = {
    "writer": "what agentnn's sender sends with, 1000 points a request",
    "log_batch": "`MlflowClient.log_batch`, 1000 points a call",
    "sender": "agentnn's sender, running",
}
STARTS = {
    "start": "`agentnn.start_run`",
    "mlflow-start": "`mlflow.start_run`, after `import mlflow`",
}
COLUMNS = ("way", "points", "took", "points/s", "writer's points/s ÷ this, quartiles", "memory of who sends", "rounds")
START_COLUMNS = ("way", "returns after", "the server has it after", "memory of who sends", "rounds")


def main() -> None:
    """Print a row a way."""
    parser = writing.parser(__doc__, trackers=())
    parser.add_argument("--points", type=int, default=20_000)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {way: [] for way in (*WAYS, *STARTS)}
    with writing.workplace() as folder:
        store = folder / STORE
        shutil.copy(writing.store_of(options.runs), store)
        with served(store) as url:
            for turn, ways in enumerate(writing.turns(list(found), options.rounds)):
                for way in ways:
                    note(f"round {turn + 1}: {way}")
                    found[way].append(measured(options, way, store, url))
    own = [one["logged"] / one["took"] for one in found["writer"]]
    rows = [row(way, found[way], own) for way in WAYS]
    writing.print_table(f"Delivery to a server of {options.runs:,} runs", COLUMNS, rows)
    starts = [start_row(way, found[way]) for way in STARTS]
    writing.print_table(f"The start of a run on a server of {options.runs:,} runs", START_COLUMNS, starts)


def measured(options: argparse.Namespace, way: str, store: Path, url: str) -> dict[str, float]:
    """Measure one way once; it is an error when the store does not have every point."""
    before = points_in(store)
    with writing.workplace() as folder:
        said = writing.said(folder, options.python, "peer_deliver_server.py", way, options.points, url)
    given.same(f"{way}: values kept and logged", points_in(store) - before, said["logged"])
    return dict(said)


def points_in(store: Path) -> int:
    """Count the points in the database of the server."""
    with closing(sqlite3.connect(store)) as database:
        (count,) = database.execute("SELECT count(*) FROM metrics WHERE key GLOB ?", (f"{PREFIX}*",)).fetchone()
    return int(count)


def row(way: str, found: list[dict[str, float]], own: list[float]) -> tuple[str, ...]:
    """Write one row; the ratio is taken round by round."""
    rates = [one["logged"] / one["took"] for one in found]
    ratios = sorted(ours / theirs for ours, theirs in zip(own, rates, strict=True))
    ratio = f"{middle(ratios):.3g}× ({quantile(ratios, 0.25):.3g}–{quantile(ratios, 0.75):.3g})"
    rate, points = middle(sorted(rates)), found[0]["logged"]
    cells = (f"{points:,}", writing.duration(points / rate), f"{rate:,.0f}", "" if way == "writer" else ratio)
    return (WAYS[way], *cells, memory(found), str(len(found)))


def start_row(way: str, found: list[dict[str, float]]) -> tuple[str, ...]:
    """Write how soon a run has begun."""
    times = (writing.duration(middle(sorted(one[key] for one in found))) for key in ("took", "there"))
    return (STARTS[way], *times, memory(found), str(len(found)))


def memory(found: list[dict[str, float]]) -> str:
    """Write the middle one of the largest sizes of a process."""
    return f"{middle(sorted(one['mib'] for one in found)):.0f} MiB"


if __name__ == "__main__":
    main()
