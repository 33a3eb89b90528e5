"""``DistributedTrainer``: what two processes gain, beside torch's own DDP, and what it costs a single one.

``DistributedTrainer`` and the plain loop take turns in the same processes, do the same work and end with the same
weights. On market data the same configured run is trained by one process and by two: that their losses are the same is
what is shown there. Nothing is gained on a network this small, whose step takes less than talking about it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import middle, note, quantile

HERE = Path(__file__).parent
TEMPLATE = HERE.parent / "config_templates" / "distributed_training.yaml"
SPEEDUP_GOAL, OVERHEAD_GOAL = 1.6, 0.05
WAYS = ("ours", "by_hand")
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d")
ADDRESS = ("--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1")


def main() -> None:
    """Print a table a question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="one process and two take turns so often")
    parser.add_argument("--pairs", type=int, default=4, help="turns of both, a round")
    parser.add_argument("--epochs", type=int, default=2, help="of a turn with the deep network")
    parser.add_argument(
        "--parts", nargs="+", choices=("speed", "overhead", "market"), default=["speed", "overhead", "market"]
    )
    options = parser.parse_args()
    if "speed" in options.parts:
        speed(options.rounds, options.pairs, options.epochs)
    if "overhead" in options.parts:
        overhead(options.rounds, options.pairs)
    if "market" in options.parts:
        market()


def turns(network: str, processes: int, pairs: int, epochs: int) -> dict[str, list[float]]:
    """Seconds, and seconds of CPU, a sample of both, in one process or in two."""
    note(f"{network}, {processes} processes")
    script = [str(HERE / "peer_distributed.py"), network, str(pairs), str(epochs)]
    argv = [sys.executable, *(() if processes == 1 else (*TORCHRUN, *ADDRESS)), *script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    told = json.loads(done.stdout.splitlines()[-1])
    later = told["samples"] * max(1, epochs - 1) / epochs
    found = {way: [one / told["samples"] for one in told[way]] for way in WAYS}
    return found | {f"cpu of {way}": [one / later for one in told[f"cpu of {way}"]] for way in WAYS}


def speed(rounds: int, pairs: int, epochs: int) -> None:
    """Two processes beside one, a thread each."""
    found: dict[tuple[int, str], list[float]] = {}
    ratios: dict[str, list[float]] = {"ours": [], "by_hand": []}
    for _ in range(rounds):
        told = {processes: turns("deep", processes, pairs, epochs) for processes in (1, 2)}
        for way, of_rounds in ratios.items():
            of_rounds.append(middle(sorted(told[1][way])) / middle(sorted(told[2][way])))
            for processes, times in told.items():
                found.setdefault((processes, way), []).extend(times[way])
    rows = []
    for way, label in (("ours", "`DistributedTrainer`"), ("by_hand", "torch's DDP")):
        of_one, of_two = (1 / middle(sorted(found[processes, way])) for processes in (1, 2))
        gained = sorted(ratios[way])
        verdict = "met" if gained[0] >= SPEEDUP_GOAL else "MISSED" if gained[-1] < SPEEDUP_GOAL else "unclear"
        goal = f"≥ {SPEEDUP_GOAL}× {verdict}" if way == "ours" else ""
        shown = f"{middle(gained):.2f}×", f"{gained[0]:.2f} to {gained[-1]:.2f}"
        rows.append((label, f"{of_one:,.0f}", f"{of_two:,.0f}", *shown, str(rounds), goal))
    columns = (
        "64-1024-1024-1024-1, 2048 a batch",
        "samples/s, 1 process",
        "2 processes",
        "gained",
        "range",
        "rounds",
        "goal",
    )
    table("Two processes of one thread each", columns, rows)


def overhead(rounds: int, pairs: int) -> None:
    """``DistributedTrainer`` beside the plain loop, in one process; in CPU time, since the machine is shared."""
    rows = []
    for network, epochs in (("small", 6), ("deep", 2)):
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            told = turns(network, 1, pairs, epochs)
            for way, times in found.items():
                times.extend(told[f"cpu of {way}"])
        over = sorted(one / other - 1 for one, other in zip(found["ours"], found["by_hand"], strict=True))
        low, high = quantile(over, 0.25), quantile(over, 0.75)
        verdict = "met" if high < OVERHEAD_GOAL else "MISSED" if low >= OVERHEAD_GOAL else "unclear"
        ours, by_hand = (f"{1 / middle(sorted(found[way])):,.0f}" for way in ("ours", "by_hand"))
        shown = f"{middle(over):+.1%}", f"{low:+.1%} to {high:+.1%}", str(len(over)), f"< {OVERHEAD_GOAL:.0%} {verdict}"
        rows.append((network, by_hand, ours, *shown))
    columns = (
        "network",
        "samples/s by hand",
        "samples/s by `DistributedTrainer`",
        "overhead",
        "quartiles",
        "pairs",
        "goal",
    )
    table("A single process, in CPU time", columns, rows)


def market() -> None:
    """The template, on Google's days: the same losses, whether one process trains or two."""
    from agentnn import ModelManager

    found, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AGENTNN_STATE_DIR"] = f"{folder}/state"
        manager = ModelManager(f"sqlite:///{folder}/mlflow.db")
        for processes in (1, 2):
            note(f"market, {processes} processes")
            began = time.perf_counter()
            changes = {"distributed.processes": processes, "tracking.log_model": False, "training.num_threads": 1}
            found[processes] = manager.train(TEMPLATE, changes)
            seconds[processes] = time.perf_counter() - began
    one, two = found[1].history["val_loss"], found[2].history["val_loss"]
    apart = max(abs(a - b) / abs(a) for a, b in zip(one, two, strict=True))
    rows = []
    for processes, result in found.items():
        values = f"{result.history['val_loss'][-1]:.7f}", f"{result.metrics['sharpe_ratio']:.4f}"
        rows.append((str(processes), *values, f"{seconds[processes]:.1f} s"))
    table(
        f"The template on GOOG: losses of {len(one)} epochs are at most {apart:.1e} apart",
        ("processes", "last val_loss", "sharpe_ratio", "whole run"),
        rows,
    )


def table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table in Markdown."""
    print(f"\n### {title}\n")
    for row in (columns, ("---",) * len(columns), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
