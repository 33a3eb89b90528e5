"""What a hyperparameter study costs beside its objective, and what a second worker brings.

The overhead of a trial is the time of a study of many trials less that of one of few, a trial, less what the objective
computes: what a study costs once, such as the importance of its hyperparameters, is in neither. The peer is Optuna with
nested runs of MLflow by hand: the same sampler and seed, the same kind of storage, the same runs in the same SQLite
store. agentnn's time includes the delivery of everything: its studies wait for it at their end. Once with an objective
that computes nothing, where delivery can't be hidden, and once with one that takes a while, which is what trials do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import writing
from timing import middle, note, quantile

if TYPE_CHECKING:
    import argparse

GOAL, GOAL_OF_WORKERS = 1.5, 1.7
WAYS = ("agentnn", "by-hand")
COLUMNS = ("objective", "agentnn, a trial", "by hand, a trial", "ratio", "quartiles", "pairs", "goal")
WORKER_COLUMNS = ("workers", "trials a minute", "÷ one worker", "quartiles", "pairs", "goal")


def main() -> None:
    """Print a table of the overhead, and one of the workers."""
    parser = writing.parser(__doc__, trackers=())
    parser.set_defaults(rounds=5)
    parser.add_argument("--trials", type=int, nargs=2, default=(20, 120), help="of the two studies of a round")
    parser.add_argument("--work", type=float, nargs="+", default=[0.0, 0.1], help="seconds that an objective computes")
    parser.add_argument("--workers", type=int, default=2, help="to compare with one")
    parser.add_argument("--worker-trials", type=int, default=60)
    parser.add_argument("--worker-work", type=float, default=0.5)
    options = parser.parse_args()
    rows = [overhead_row(options, work_s) for work_s in options.work]
    writing.print_table("A trial of a study, beside its objective", COLUMNS, rows)
    writing.print_table("A CPU-bound objective with several workers", WORKER_COLUMNS, [workers_row(options)])


def overhead_row(options: argparse.Namespace, work_s: float) -> tuple[str, ...]:
    """Measure one objective, alternating."""
    few, many = options.trials
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn, ways in enumerate(writing.turns(WAYS, options.rounds)):
        for way in ways:
            note(f"objective of {work_s:g} s, round {turn + 1}: {way}")
            first, second = writing.measured(options, "peer_hpo.py", way, work_s, few, many)["seconds"]
            found[way].append((second - first) / (many - few) - work_s)
    ratios = sorted(own / peer for own, peer in zip(*found.values(), strict=True))
    ratio = middle(ratios)
    return (
        f"{work_s * 1000:g} ms",
        *(writing.duration(middle(sorted(times))) for times in found.values()),
        f"{ratio:.2f}×",
        f"{quantile(ratios, 0.25):.2f} to {quantile(ratios, 0.75):.2f}",
        str(len(ratios)),
        f"≤ {GOAL:g}× {'met' if ratio <= GOAL else 'MISSED'}",
    )


def workers_row(options: argparse.Namespace) -> tuple[str, ...]:
    """Measure several workers against one, alternating."""
    numbers = (1, options.workers)
    found: dict[int, list[float]] = {number: [] for number in numbers}
    for turn, workers in enumerate(writing.turns(numbers, options.rounds)):
        for number in workers:
            note(f"{number} workers, round {turn + 1}")
            arguments = ("workers", options.worker_work, number, options.worker_trials)
            [taken] = writing.measured(options, "peer_hpo.py", *arguments)["seconds"]
            found[number].append(60 * options.worker_trials / taken)
    ratios = sorted(many / one for one, many in zip(*found.values(), strict=True))
    ratio = middle(ratios)
    rates = " and ".join(f"{middle(sorted(found[number])):.1f} with {number}" for number in numbers)
    return (
        f"{options.workers} against 1",
        rates,
        f"{ratio:.2f}×",
        f"{quantile(ratios, 0.25):.2f} to {quantile(ratios, 0.75):.2f}",
        str(len(ratios)),
        f"≥ {GOAL_OF_WORKERS:g}× {'met' if ratio >= GOAL_OF_WORKERS else 'MISSED'}",
    )


if __name__ == "__main__":
    main()
