"""Train in turns by ``train_model`` with full logging, and by a loop written by hand; print the seconds, as JSON.

    python benchmarks/peer_loop.py mlp 10 3 1

The arguments: the network, how many pairs of turns, about how many seconds a turn, threads of PyTorch; with
``control`` after them the loop by hand takes both turns. The two do the same work and end with the same weights,
which is checked; ours also logs every epoch to a run that is open, keeps the best weights and writes checkpoints, as
by default. After its turn the clock stands still until what was logged has arrived.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from trackers import PROJECT, STORE, delivered

import agentnn
from agentnn import EnhancedMLflowLogger
from agentnn.training.networks import Network, NetworkConfig
from agentnn.training.train_nn_model import TrainingOptions, train_model

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES, VALIDATION, WINDOW, FEATURES = 20_000, 4_000, 10, 16
SETTLE_S = 0.2
NETWORKS = {
    "mlp": (NetworkConfig("mlp", FEATURES, WINDOW, (64, 32), dropout=0.1), 64),
    "gru": (NetworkConfig("gru", FEATURES, WINDOW, (32, 32), dropout=0.1), 64),
    "wide mlp": (NetworkConfig("mlp", FEATURES, WINDOW, (512, 512), dropout=0.1), 128),
}
"""Networks, and samples of a batch. The first is the hardest: a step of it takes a quarter of a millisecond."""


class Work:
    """What both loops do: a network from the same seed on the same data."""

    def __init__(self, name: str) -> None:
        self.config, self.batch_size = NETWORKS[name]
        inputs = torch.randn(SAMPLES + VALIDATION, WINDOW, FEATURES, generator=torch.Generator().manual_seed(1))
        targets = inputs[:, -1, :1] - 0.5 * inputs[:, -2, 1:2]
        self.train = inputs[:SAMPLES], targets[:SAMPLES]
        self.validation = inputs[SAMPLES:], targets[SAMPLES:]
        self.folder = Path.cwd() / "checkpoints"

    def begin(self) -> tuple[nn.Module, torch.optim.Optimizer, nn.Module]:
        """Give a network, an optimizer and a loss; random numbers begin anew."""
        torch.manual_seed(0)
        network = Network(self.config)
        return network, torch.optim.AdamW(network.parameters(), lr=1e-3), nn.MSELoss()

    def ours(self, epochs: int) -> tuple[float, Tensor]:
        """Train by ``train_model``; give the seconds, and a weight."""
        model, optimizer, criterion = self.begin()
        shutil.rmtree(self.folder, ignore_errors=True)
        options = TrainingOptions(batch_size=self.batch_size, checkpoint_dir=self.folder, log_every=1)
        logger = EnhancedMLflowLogger()
        began = time.perf_counter()
        train_model(model, *self.train, *self.validation, optimizer, criterion, epochs, logger, options=options)
        return time.perf_counter() - began, model.head.weight

    def by_hand(self, epochs: int) -> tuple[float, Tensor]:
        """Train by the least that does the same."""
        model, optimizer, criterion = self.begin()
        (X_train, y_train), (X_val, y_val) = self.train, self.validation
        history: dict[str, list[float]] = {"train_loss": [], "val_loss": []}
        began = time.perf_counter()
        for _ in range(epochs):
            model.train()
            total = torch.zeros(())
            for rows in torch.randperm(SAMPLES).split(self.batch_size):
                optimizer.zero_grad()
                loss = criterion(model(X_train[rows]), y_train[rows])
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(rows)
            model.eval()
            with torch.no_grad():
                val_losses = [
                    criterion(model(X), y).item() * len(X) / VALIDATION
                    for X, y in zip(X_val.split(1638), y_val.split(1638), strict=True)
                ]
            history["train_loss"].append(total.item() / SAMPLES)
            history["val_loss"].append(sum(val_losses))
        return time.perf_counter() - began, model.head.weight


def main() -> None:
    """Measure one network."""
    name, pairs, seconds, threads = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    work = Work(name)
    work.by_hand(1)
    epochs = max(2, round(seconds / work.by_hand(1)[0]))
    times: dict[str, list[float]] = {"ours": [], "by_hand": []}
    uri = f"sqlite:///{Path.cwd() / STORE}"
    with redirect_stdout(sys.stderr), agentnn.start_run("loop", experiment=PROJECT, tracking_uri=uri) as run:
        ways = [("ours", work.by_hand if "control" in sys.argv else work.ours), ("by_hand", work.by_hand)]
        for pair in range(pairs + 1):
            weights = []
            for way, train in ways if pair % 2 else reversed(ways):
                taken, weight = train(epochs)
                times[way].append(taken)
                weights.append(weight)
                delivered(run)
                time.sleep(SETTLE_S)
            if not torch.equal(*weights):
                raise SystemExit("error: the two loops have not trained the same network")
    print(json.dumps({"samples": epochs * SAMPLES, **{way: taken[1:] for way, taken in times.items()}}))


if __name__ == "__main__":
    main()
