"""Which samples a process learns from: its part of each batch, in an order that all processes know."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_ORDER, _NOISE = 0, 1


def order_of_epoch(seed: int, epoch: int, count: int, *, shuffle: bool = True) -> Tensor:
    """The order of all samples in an epoch, from 1; it depends on nothing else, and so is the same after a restart."""
    if not shuffle:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(_mixed(seed, _ORDER, epoch))
    return torch.randperm(count, generator=generator)


def noise_seed(seed: int, epoch: int, rank: int) -> int:
    """The seed of dropout and the like, another one for each epoch and each process."""
    return _mixed(seed, _NOISE, epoch, rank)


def part_of(rows: Tensor, rank: int, size: int) -> Tensor:
    """The rows of a batch that belong to a process: neighbours, no more than one more than any other has.

    The parts of all processes are the batch, each row once. A batch of fewer rows than processes leaves some without.
    """
    least, more = divmod(len(rows), size)
    start = rank * least + min(rank, more)
    return rows[start : start + least + (rank < more)]


def _mixed(*numbers: int) -> int:
    """One seed of several numbers, so that neighbours have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
