"""What ``AdvancedTrainer`` costs over a plain loop that does the same, and whether what it adds helps.

The loop: a small perceptron with two groups of parameters, clipped gradients, a warm-up, smoothed labels and an average
of the weights, beside a loop of torch's own parts (``swa_utils.AveragedModel``, ``LambdaLR``), in turns in one process;
both end with the same weights, which is checked. The market: the loss on the test part, which neither training nor the
choice of the epoch has seen, of the plain training and of each thing that is added to it, alone, with the same seeds. A
value below 1 is better than saying the training part's mean. ``made up`` is no market, but a function with a tenth of
the targets to learn from gone wild: there a robust loss has to help, or it is broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import writing
from timing import middle, note, quantile

if TYPE_CHECKING:
    import argparse

GOAL = 0.05
SUBJECTS = (
    ("made up", "value"),
    ("GOOG", "volatility"),
    ("GOOG", "direction"),
    ("SP500", "volatility"),
    ("SP500", "direction"),
)
LOOPS = (("ema", "untracked"), ("ema", "tracked"), ("swa", "tracked"))
LOOP_COLUMNS = (
    *("average", "samples/s by hand", "samples/s by us", "overhead"),
    *("quartiles of the pairs", "pairs", "goal"),
)
MARKET_COLUMNS = (
    *("series", "predicted", "added", "plain", "with it"),
    *("with ÷ plain (quartiles)", "better in", "helps"),
)


def main() -> None:
    """Print a table a question."""
    parser = writing.parser(__doc__, trackers=())
    parser.set_defaults(rounds=1)
    parser.add_argument("--pairs", type=int, default=8, help="turns of both loops")
    parser.add_argument("--seeds", type=int, default=9, help="of each series; 0 leaves the market out (it needs arch)")
    options = parser.parse_args()
    rows = [loop_row(options, *kind) for kind in LOOPS]
    writing.print_table("Training with all that is usual, and the same by hand", LOOP_COLUMNS, rows)
    if options.seeds:
        found = [row for subject in SUBJECTS for row in market_rows(options, *subject)]
        writing.print_table("What is added, on data that nothing was chosen by", MARKET_COLUMNS, found)


def loop_row(options: argparse.Namespace, average: str, kind: str) -> tuple[str, ...]:
    """Measure a loop; the goal is neither met nor missed when it lies between the quartiles."""
    note(f"loop, {average}, {kind}")
    told = writing.measured(options, "peer_advanced.py", "loop", options.pairs, average, kind)
    own, peer = middle(sorted(told["ours"])), middle(sorted(told["by_hand"]))
    pairs = sorted(one / other - 1 for one, other in zip(told["ours"], told["by_hand"], strict=True))
    low, high = quantile(pairs, 0.25), quantile(pairs, 0.75)
    verdict = "met" if high < GOAL else "MISSED" if low >= GOAL else "unclear"
    return (
        f"{average}, {kind}, one thread",
        f"{told['samples'] / peer:,.0f}",
        f"{told['samples'] / own:,.0f}",
        f"{own / peer - 1:+.1%}",
        f"{low:+.1%} to {high:+.1%}",
        str(len(pairs)),
        f"< {GOAL:.0%} {verdict}",
    )


def market_rows(options: argparse.Namespace, series: str, target: str) -> list[tuple[str, ...]]:
    """Compare each thing that is added with the plain training, seed by seed."""
    note(f"{series}, {target}")
    rows = writing.measured(options, "peer_advanced.py", "market", series, target, options.seeds)["rows"]
    plain = middle(sorted(row["plain"] for row in rows))
    found = []
    for name in rows[0]:
        if name == "plain":
            continue
        ratios = sorted(row[name] / row["plain"] for row in rows)
        low, high = quantile(ratios, 0.25), quantile(ratios, 0.75)
        found.append(
            (
                series,
                target,
                name,
                f"{plain:.3f}",
                f"{middle(sorted(row[name] for row in rows)):.3f}",
                f"{middle(ratios):.3f} ({low:.3f} to {high:.3f})",
                f"{sum(ratio < 1 for ratio in ratios)} of {len(ratios)}",
                "yes" if high < 1 else "no, worse" if low > 1 else "no difference beyond the seeds'",
            )
        )
    return found


if __name__ == "__main__":
    main()
