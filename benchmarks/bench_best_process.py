"""The best of N runs, as whole processes.

``agentnn run best`` against a script that asks ``MlflowClient`` (on the analysed store, then on the stock
store) and against the floor program.
"""

from __future__ import annotations

import subjects as given
from timing import Command, Goal, compare_commands, note, print_header


def main() -> None:
    """Print one row a peer."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--floor-rounds", type=int, default=40, help="pairs against the floor")
    parser.add_argument("--stock-rounds", type=int, default=1, help="pairs on the stock store: 10 s each; 0 for none")
    parser.add_argument("--without-agentnn", action="store_true", help="only the floor against the peers")
    options = parser.parse_args()
    fast = given.subjects(options.python, given.store_of(options.runs))
    stock = fast.at(given.store_of(options.runs, analysed=False))

    print_header(f"Best of {options.runs:,} runs, whole process")
    floor_row = ("how much there is to win", "floor", "MlflowClient script, analysed store")
    compare_commands(floor_row, fast.floor(), fast.peer_best(), rounds=options.rounds)
    if options.without_agentnn:
        given.output_of(stock.floor())
        stock_row = ("the same, stock store", "floor", "MlflowClient script, stock store")
        compare_commands(stock_row, stock.floor(), stock.peer_best(), rounds=options.stock_rounds, warmup=0)
        return
    check_answer(fast)
    compare(fast, options.rounds, options.floor_rounds)
    if options.stock_rounds:
        compare_stock(stock, options.stock_rounds)


def compare(fast: given.Subjects, rounds: int, floor_rounds: int) -> None:
    """Print the rows of ``agentnn run best``."""
    label = "run best"
    compare_commands(
        ("best run", label, "MlflowClient script, analysed store"),
        best(fast),
        fast.peer_best(),
        rounds=rounds,
        goal=Goal(at_least=25, peak_below=32),
    )
    compare_commands(
        ("best run over the floor", label, "floor"),
        best(fast),
        fast.floor(),
        rounds=floor_rounds,
        warmup=3,
        goal=Goal(at_most=1.5, peak_below=32),
        floor=True,
    )


def compare_stock(stock: given.Subjects, rounds: int) -> None:
    """Print the row of a store on which ANALYZE was not run."""
    # Only ours is warmed up: one more run of the peer would take seconds, and its scan does not get warmer.
    given.output_of(best(stock))
    compare_commands(
        ("best run, stock store", "run best", "MlflowClient script, stock store"),
        best(stock),
        stock.peer_best(),
        rounds=rounds,
        warmup=0,
    )


def best(subjects: given.Subjects) -> Command:
    """Give the command that is measured."""
    return subjects.agentnn("run", "best", "-m", given.METRIC)


def check_answer(subjects: given.Subjects) -> None:
    """See that the floor and ``run best`` name the same run."""
    ours = given.output_of(subjects.agentnn("run", "best", "-m", given.METRIC, "-o", "id")).strip()
    given.same("the best run", ours, given.output_of(subjects.floor()).split("\t")[0])
    note(f"both name {ours}")


if __name__ == "__main__":
    main()
