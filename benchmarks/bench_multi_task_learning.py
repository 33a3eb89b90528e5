"""What learning several tasks at once costs, and whether it helps.

The loop: ``MultiTaskTrainer`` beside the same training written by hand as a plain torch loop, with the same losses,
masks, balance and metrics, in turns in one process; both end with the same predictions, which is checked. What counts
is the CPU time of the process, since the machine is shared; the sender, which delivers what is tracked, is another one.
The market: the loss on the test part, which neither training nor the choice of the epoch has seen, of a network that
learns one task, and of networks of the same size that learn direction, return and volatility at once, by each balance.
All choose their epoch by the task that counts. A value below 1 is better than saying the training part's mean.
``made up`` is no market, but a number whose sign is the direction: there learning the number has to help, or sharing is
broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import writing
from timing import middle, note, quantile

if TYPE_CHECKING:
    import argparse

GOAL_OF_LOOP = 0.05
BALANCES = ("fixed", "uncertainty", "gradnorm")
SUBJECTS = (
    ("made up", "direction"),
    ("GOOG", "direction"),
    ("GOOG", "volatility"),
    ("SP500", "direction"),
    ("SP500", "volatility"),
)
LOOP_COLUMNS = (
    *("balance", "samples/s by hand", "samples/s by us", "overhead", "quartiles of the pairs", "pairs", "goal"),
)
MARKET_COLUMNS = (
    *("series", "what counts", "test samples", "alone", *BALANCES),
    *(f"{name} ÷ alone (quartiles)" for name in BALANCES),
    *("seeds", "helps"),
)


def main() -> None:
    """Print a table a question."""
    parser = writing.parser(__doc__, trackers=())
    parser.set_defaults(rounds=1)
    parser.add_argument("--pairs", type=int, default=6, help="turns of both loops")
    parser.add_argument("--seeds", type=int, default=7, help="of each series; 0 leaves the market out (it needs arch)")
    options = parser.parse_args()
    kinds = [
        ("fixed", "untracked"),
        ("uncertainty", "untracked"),
        ("gradnorm", "untracked"),
        ("uncertainty", "tracked"),
    ]
    writing.print_table(
        "Several tasks beside a plain loop, in CPU time", LOOP_COLUMNS, [loop_row(options, *kind) for kind in kinds]
    )
    if options.seeds:
        rows = [market_row(options, *subject) for subject in SUBJECTS]
        writing.print_table("Several tasks and one, on data that nothing was chosen by", MARKET_COLUMNS, rows)


def loop_row(options: argparse.Namespace, balance: str, kind: str) -> tuple[str, ...]:
    """Measure the training; the goal is neither met nor missed when it lies between the quartiles."""
    note(f"{balance}, {kind}")
    told = writing.measured(options, "peer_multi_task.py", "loop", options.pairs, balance, kind)
    own, peer = middle(sorted(told["ours"])), middle(sorted(told["by_hand"]))
    pairs = sorted(one / other - 1 for one, other in zip(told["ours"], told["by_hand"], strict=True))
    low, high = quantile(pairs, 0.25), quantile(pairs, 0.75)
    verdict = "met" if high < GOAL_OF_LOOP else "MISSED" if low >= GOAL_OF_LOOP else "unclear"
    return (
        f"{balance}, {kind}, one thread",
        f"{told['samples'] / peer:,.0f}",
        f"{told['samples'] / own:,.0f}",
        f"{middle(pairs):+.1%}",
        f"{low:+.1%} to {high:+.1%}",
        str(len(pairs)),
        f"< {GOAL_OF_LOOP:.0%} {verdict}",
    )


def market_row(options: argparse.Namespace, series: str, target: str) -> tuple[str, ...]:
    """Compare the networks, seed by seed."""
    note(f"{series}, {target}")
    rows = writing.measured(options, "peer_multi_task.py", "market", series, target, options.seeds)
    losses = {name: middle(sorted(row[name] for row in rows["rows"])) for name in ("alone", *BALANCES)}
    ratios = {name: sorted(row[name] / row["alone"] for row in rows["rows"]) for name in BALANCES}
    return (
        series,
        target,
        str(rows["test"]),
        *(f"{one:.3f}" for one in losses.values()),
        *(f"{middle(one):.3f} ({quantile(one, 0.25):.3f} to {quantile(one, 0.75):.3f})" for one in ratios.values()),
        str(len(rows["rows"])),
        verdict_of(ratios, losses),
    )


def verdict_of(ratios: dict[str, list[float]], losses: dict[str, float]) -> str:
    """Whether it is worth it: better than alone in three of four seeds, or worse in as many."""
    words = []
    for name, found in ratios.items():
        is_better, is_worse = quantile(found, 0.75) < 1, quantile(found, 0.25) > 1
        words.append(f"{name} {'helps' if is_better else 'harms' if is_worse else 'neither helps nor harms'}")
    best = min(losses.values())
    return ", ".join(words) + ("; nothing is better than the mean" if best >= 1 else "")


if __name__ == "__main__":
    main()
