"""What networks with changing layers cost, and whether growing one helps.

Changes: milliseconds of a change of a network of a million parameters together with the state of its optimizer. The
search: ``ArchitectureOptimizer`` beside the same search written by hand as plain torch loops, in turns in one process;
both end with the same weights, which is checked. The market: the loss on the test part, which neither training nor the
choice of changes has seen, of the grown network, of the small one that it began as, and of one that has its final
layers from the start; all three trained for as many epochs, with the weights of the best epoch. A value below 1 is
better than saying the training part's mean. ``made up`` is no market, but a function that the small network is too
small for: there growing has to help, or the search is broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import writing
from timing import middle, note, quantile

if TYPE_CHECKING:
    import argparse

GOAL_MS, GOAL_OF_LOOP = 50.0, 0.05
WIDTH = 1000
SUBJECTS = (
    ("made up", "value"),
    ("GOOG", "volatility"),
    ("GOOG", "direction"),
    ("SP500", "volatility"),
    ("SP500", "direction"),
)
CHANGE_COLUMNS = ("change", "parameters", "median", "quartiles", "times", "goal")
LOOP_COLUMNS = ("search", "samples/s by hand", "samples/s by us", "overhead", "quartiles of the pairs", "pairs", "goal")
MARKET_COLUMNS = (
    *("series", "predicted", "test samples", "small", "fixed at the final size", "grown"),
    *("grown ÷ small (quartiles)", "grown ÷ fixed (quartiles)", "seeds", "helps"),
)


def main() -> None:
    """Print a table a question."""
    parser = writing.parser(__doc__, trackers=())
    parser.set_defaults(rounds=1)
    parser.add_argument("--times", type=int, default=30, help="each change is made so often")
    parser.add_argument("--pairs", type=int, default=6, help="turns of both searches")
    parser.add_argument("--seeds", type=int, default=7, help="of each series; 0 leaves the market out (it needs arch)")
    options = parser.parse_args()
    writing.print_table("A change of a network and its optimizer", CHANGE_COLUMNS, change_rows(options))
    kinds = ("untracked", "tracked")
    writing.print_table("A search beside plain loops", LOOP_COLUMNS, [loop_row(options, kind) for kind in kinds])
    if options.seeds:
        rows = [market_row(options, *subject) for subject in SUBJECTS]
        writing.print_table("Growing a network, on data that nothing was chosen by", MARKET_COLUMNS, rows)


def change_rows(options: argparse.Namespace) -> list[tuple[str, ...]]:
    """Measure each kind of change."""
    note("changes")
    told = writing.measured(options, "peer_architecture.py", "changes", WIDTH, options.times)
    rows = []
    for name, taken in told["ms"].items():
        ordered = sorted(taken)
        found = middle(ordered)
        verdict = "met" if found < GOAL_MS else "MISSED"
        rows.append(
            (
                name,
                f"{told['parameters']:,}",
                f"{found:.1f} ms",
                f"{quantile(ordered, 0.25):.1f} to {quantile(ordered, 0.75):.1f}",
                str(len(ordered)),
                f"< {GOAL_MS:g} ms {verdict}",
            )
        )
    return rows


def loop_row(options: argparse.Namespace, kind: str) -> tuple[str, ...]:
    """Measure the search; the goal is neither met nor missed when it lies between the quartiles."""
    note(f"search, {kind}")
    told = writing.measured(options, "peer_architecture.py", "loop", options.pairs, kind)
    own, peer = middle(sorted(told["ours"])), middle(sorted(told["by_hand"]))
    pairs = sorted(one / other - 1 for one, other in zip(told["ours"], told["by_hand"], strict=True))
    low, high = quantile(pairs, 0.25), quantile(pairs, 0.75)
    verdict = "met" if high < GOAL_OF_LOOP else "MISSED" if low >= GOAL_OF_LOOP else "unclear"
    return (
        f"{kind}, one thread",
        f"{told['samples'] / peer:,.0f}",
        f"{told['samples'] / own:,.0f}",
        f"{own / peer - 1:+.1%}",
        f"{low:+.1%} to {high:+.1%}",
        str(len(pairs)),
        f"< {GOAL_OF_LOOP:.0%} {verdict}",
    )


def market_row(options: argparse.Namespace, series: str, target: str) -> tuple[str, ...]:
    """Compare the three networks, seed by seed."""
    note(f"{series}, {target}")
    told = writing.measured(options, "peer_architecture.py", "market", series, target, options.seeds)
    rows = told["rows"]
    losses = [f"{middle(sorted(row[name] for row in rows)):.3f}" for name in ("small", "fixed", "grown")]
    small, fixed = (sorted(row["grown"] / row[name] for row in rows) for name in ("small", "fixed"))
    return (
        series,
        target,
        str(told["test"]),
        *losses,
        *(f"{middle(one):.3f} ({quantile(one, 0.25):.3f} to {quantile(one, 0.75):.3f})" for one in (small, fixed)),
        str(len(rows)),
        verdict_of(small, fixed, float(losses[-1])),
    )


def verdict_of(small: list[float], fixed: list[float], grown: float) -> str:
    """Whether growing is worth it: it beats both the small network and the one of the final size, or it does not."""
    words = []
    for ratios, name in ((small, "the small one"), (fixed, "the fixed one")):
        is_better, is_worse = quantile(ratios, 0.75) < 1, quantile(ratios, 0.25) > 1
        words.append(f"{'beats' if is_better else 'loses to' if is_worse else 'no better or worse than'} {name}")
    return ", ".join(words) + ("; no better than the mean" if grown >= 1 else "")


if __name__ == "__main__":
    main()
