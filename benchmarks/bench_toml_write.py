"""The cost of ``add_metrics`` over TOML files, seen by the caller, beside files written by hand, wandb and MLflow.

Each way logs the same values in a process of its own, in a folder of its own, in a tight loop; the ways take turns.
Each round gives the median and the 99th percentile of its calls; printed are the medians over the rounds. Then how the
cost grows with the metrics of a call, and with the history that is there: it should not grow with the history.

    python benchmarks/bench_toml_write.py --calls 500 --rounds 3
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import writing
from bench_write_call import figures_of
from timing import note

if TYPE_CHECKING:
    import argparse

LABELS = {
    "agentnn": "agentnn: final values and history",
    "final": "agentnn: final values only",
    "mlrun": "agentnn: MLRun, without wandb",
    "naive": '`toml.dump` over `open("w")`',
    "atomic": "`toml.dump` to a new file, renamed",
    "synced": "the same, waiting for the disk",
    "wandb": "wandb, offline",
    "mlflow": "MLflow, SQLite",
}
GOAL_S = 0.001
GROWTH = {
    (10, 0): "10 metrics, no history",
    (100, 0): "100 metrics",
    (10, 10_000): "10 metrics, a history of 10,000 lines",
}
COLUMNS = ("way", "median", "p99", "median ÷ agentnn's", "p99 ÷ agentnn's")

Rounds = list[list[int]]


def main() -> None:
    """Print the two tables."""
    parser = writing.parser(__doc__, trackers=())
    parser.add_argument("--calls", type=int, default=500, help="calls a round")
    parser.add_argument("--ways", nargs="+", choices=list(LABELS), default=list(LABELS), metavar="WAY")
    options = parser.parse_args()
    rounds: dict[Any, Rounds] = {}
    for turn, ways in enumerate(writing.turns(options.ways, options.rounds)):
        for way in ways:
            note(f"round {turn + 1}: {way}")
            measure(options, rounds, way, way, 10, 0)
    print_ways(
        "One call with ten values, to the files of a run", {LABELS[way]: rounds[way] for way in LABELS if way in rounds}
    )
    if "agentnn" in rounds:
        median = figures_of(rounds["agentnn"])[0]
        note(f"add_metrics: {median * 1000:.3g} ms, goal < 1 ms {'met' if median < GOAL_S else 'MISSED'}")

    grown: dict[Any, Rounds] = {}
    for turn, shapes in enumerate(writing.turns(list(GROWTH), options.rounds)):
        for shape in shapes:
            note(f"round {turn + 1}: {GROWTH[shape]}")
            measure(options, grown, shape, "agentnn", *shape)
    print_ways("How agentnn's call grows", {label: grown[shape] for shape, label in GROWTH.items()})


def measure(options: argparse.Namespace, rounds: dict[Any, Rounds], kept_as: Any, way: str, *shape: int) -> None:
    """Measure one way once, and keep the times; what is not installed is left out."""
    found = writing.measured(options, "peer_toml_write.py", way, options.calls, *shape)
    if "missing" in found:
        note(f"{way} is left out: {found['missing']} is not installed")
    else:
        rounds.setdefault(kept_as, []).append(found["times"])


def print_ways(title: str, ways: dict[str, Rounds]) -> None:
    """Print a table; the first row is what the others are compared with."""
    figures = {label: figures_of(rounds)[:2] for label, rounds in ways.items()}
    own = next(iter(figures.values()))
    rows = [
        (label, writing.duration(median), writing.duration(high), f"{median / own[0]:.3g}×", f"{high / own[1]:.3g}×")
        for label, (median, high) in figures.items()
    ]
    writing.print_table(title, COLUMNS, rows)


if __name__ == "__main__":
    main()
