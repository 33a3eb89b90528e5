"""Train in turns by ``DistributedTrainer`` and by a plain loop of torch that does the same; print the seconds, as JSON.

    torchrun --nproc-per-node 2 benchmarks/peer_distributed.py deep 5 2
    python benchmarks/peer_distributed.py deep 5 2

The arguments: the network, how many pairs of turns, epochs of a turn. Each process has one thread. Under torchrun the
plain loop is torch's own DDP, with each process's part of every batch. A turn's time is that of its epochs, without
what joining the other processes takes, and its CPU time that of all epochs after the first; that both end with the same
weights is checked.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
import warnings
from collections import defaultdict
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from agentnn.nn_models.distributed.sharding import order_of_epoch, part_of
from agentnn.nn_models.training_infrastructure import DistributedTrainer, TrainingOptions

FEATURES, VALIDATION, SEED = 64, 1024, 1
NETWORKS = {"deep": ((1024, 1024, 1024), 2048, 16384), "small": ((64, 32), 64, 20_000)}
"""Widths, samples of a batch of all processes, samples: a step of the first takes 0.3 s, of the second 0.2 ms."""

_turns = itertools.count()
RANK, SIZE = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def network(widths: tuple[int, ...]) -> nn.Module:
    """A perceptron; always with the same weights."""
    torch.manual_seed(0)
    sizes = (FEATURES, *widths)
    layers = [one for a, b in zip(sizes, sizes[1:], strict=False) for one in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))


def data(count: int) -> tuple[Tensor, Tensor]:
    """Inputs, and what is to be learnt of them."""
    inputs = torch.randn(count + VALIDATION, FEATURES, generator=torch.Generator().manual_seed(1))
    return inputs, inputs[:, :1] - 0.5 * inputs[:, 1:2] * inputs[:, 2:3]


class Taken(NamedTuple):
    """What a turn took.

    Attributes:
        seconds: Of all its epochs.
        cpu_seconds: Of the first process, in the epochs after the first.
        weight: One that was learnt.
    """

    seconds: float
    cpu_seconds: float
    weight: Tensor


class Work:
    """What both do."""

    def __init__(self, name: str, epochs: int) -> None:
        self.widths, self.batch_size, self.count = NETWORKS[name]
        self.epochs = epochs
        inputs, targets = data(self.count)
        self.train, self.validation = (
            (inputs[: self.count], targets[: self.count]),
            (inputs[self.count :], targets[self.count :]),
        )

    def ours(self) -> Taken:
        """By ``DistributedTrainer``."""
        model = network(self.widths)
        options = TrainingOptions(batch_size=self.batch_size, seed=SEED)
        trainer = DistributedTrainer(
            model, lambda weights: torch.optim.SGD(weights, lr=1e-2), nn.MSELoss(), options, track=False
        )
        ends: list[float] = []
        given = *self.train, *self.validation, self.epochs
        result = trainer.fit(*given, on_epoch=lambda epoch, values: ends.append(time.process_time()))
        cpu_seconds = ends[-1] - ends[0] if ends else 0.0  # which only the first process is told
        return Taken(sum(result.history["epoch_seconds"]), cpu_seconds, result.model[-1].weight)

    def by_hand(self) -> Taken:
        """By the least that does the same."""
        model: nn.Module = network(self.widths)
        plain = model
        if SIZE > 1:
            here: Any = dist  # torch does not say that it exports its stores
            store, rank, size = next(iter(here.rendezvous("env://")))
            place = f"by hand/{next(_turns)}"  # the store still holds the addresses of the turn before
            dist.init_process_group("gloo", store=here.PrefixStore(place, store), rank=rank, world_size=size)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                model = DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
        (X_train, y_train), (X_val, y_val) = self.train, self.validation
        own = part_of(torch.arange(VALIDATION), RANK, SIZE)
        began, ends = time.perf_counter(), []
        for epoch in range(1, self.epochs + 1):
            model.train()
            total = torch.zeros(2)
            for rows in order_of_epoch(SEED, epoch, self.count).split(self.batch_size):
                optimizer.zero_grad()
                batch = part_of(rows, RANK, SIZE)
                loss = nn.functional.mse_loss(model(X_train.index_select(0, batch)), y_train.index_select(0, batch))
                loss.backward()
                optimizer.step()
                total[0].add_(loss.detach(), alpha=len(batch) / self.count)
            model.eval()
            with torch.no_grad():
                total[1] = nn.functional.mse_loss(plain(X_val[own]), y_val[own]) * len(own) / VALIDATION
            if SIZE > 1:
                dist.all_reduce(total)
            total.tolist()
            ends.append(time.process_time())
        seconds = time.perf_counter() - began
        if SIZE > 1:
            for name in ("logger", "reducer"):  # before the group: see DistributedTrainer's Replicated.close
                del model.__dict__[name]
            dist.destroy_process_group()
        return Taken(seconds, ends[-1] - ends[0], plain[-1].weight)


def main() -> None:
    """Take turns."""
    name, pairs, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    work = Work(name, epochs)
    found: dict[str, list[float]] = defaultdict(list)
    for pair in range(-1, pairs):  # the first warms up
        turns = [("ours", work.ours), ("by_hand", work.by_hand)]
        weights = []
        for way, turn in turns if pair % 2 else reversed(turns):
            taken = turn()
            weights.append(taken.weight.detach())
            if pair >= 0:
                found[way].append(taken.seconds)
                found[f"cpu of {way}"].append(taken.cpu_seconds)
        torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)
    if RANK == 0:
        print(json.dumps({**found, "samples": work.count * epochs}), flush=True)


if __name__ == "__main__":
    main()
