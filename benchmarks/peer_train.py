"""Train a small network in turns with and without logging at every step; print the seconds a step, as JSON.

    python benchmarks/peer_train.py agentnn 10 150 10 1

The arguments: the tracker (or ``control``, which logs nothing in either turn), how many pairs of turns, steps a turn,
values a step, threads of PyTorch. After a turn with logging the clock stands still until what was logged has arrived,
so that the turn without is not charged for it.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from trackers import TRACKERS, Session, keys, nothing

if TYPE_CHECKING:
    from trackers import Log

FEATURES, HIDDEN, CLASSES, BATCH = 128, 512, 10, 128
SETTLE_S = 0.2


class Training:
    """A small perceptron on random data, the same in every process.

    Args:
        values: How many values a step has for the log; the first is the loss.
    """

    def __init__(self, values: int) -> None:
        torch.manual_seed(0)
        layers = (nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self._network = nn.Sequential(*layers, nn.Linear(HIDDEN, CLASSES))
        self._optimizer = torch.optim.AdamW(self._network.parameters())
        self._loss = nn.CrossEntropyLoss()
        self._features = torch.randn(BATCH, FEATURES)
        self._labels = torch.randint(CLASSES, (BATCH,))
        self._keys = keys(values)
        self._step = 0

    def turn(self, steps: int, log: Log) -> float:
        """Train so many steps and give the seconds of one; the values are made whether they are logged or not."""
        began = time.perf_counter()
        for _ in range(steps):
            self._optimizer.zero_grad()
            loss = self._loss(self._network(self._features), self._labels)
            loss.backward()
            self._optimizer.step()
            self._step += 1
            log(dict.fromkeys(self._keys, loss.item()), self._step)
        return (time.perf_counter() - began) / steps


def log_nothing(_: dict[str, float], __: int) -> None:
    """Take the values and drop them."""


def main() -> None:
    """Measure one tracker."""
    name, (pairs, steps, values, threads) = sys.argv[1], map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    training = Training(values)
    times: dict[str, list[float]] = {"with": [], "without": []}
    run = TRACKERS[name].start(Path.cwd()) if name in TRACKERS else nullcontext(Session(log_nothing))
    with redirect_stdout(sys.stderr), run as session:
        ways = [("with", session.log, session.flush), ("without", log_nothing, nothing)]
        for pair in range(pairs + 1):
            for way, log, flush in ways if pair % 2 else reversed(ways):
                times[way].append(training.turn(steps, log))
                flush()
                time.sleep(SETTLE_S)
    print(json.dumps({**{way: taken[1:] for way, taken in times.items()}, "logged": (pairs + 1) * steps * values}))


if __name__ == "__main__":
    main()
