"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from agentnn.errors import TrainingError
from agentnn.training.data import Samples, Standardisation
from agentnn.training.networks import DirectionNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentnn.training.networks import NetworkConfig


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a network is trained.

    Attributes:
        network: What is trained.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        batch_size: Samples per step.
        max_epochs: Upper bound of the passes over the training part.
        patience: Stop after so many epochs without a lower validation loss.
        seed: Of the first weights, the order of the samples and dropout.
    """

    network: NetworkConfig
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 64
    max_epochs: int = 100
    patience: int = 15
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """The two parts that training may see, with windows as the network's config has them."""

    train: Samples
    validation: Samples


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training part.

    Attributes:
        number: From 1.
        train_loss: Mean binary cross-entropy over the training part after the pass, in nats, dropout off;
            0.693 is what a coin gets.
        val_loss: The same over the validation part.
        timestamp: End of the epoch, milliseconds since the epoch of Unix.
    """

    number: int
    train_loss: float
    val_loss: float
    timestamp: int


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """What :func:`train` gives back: the network with its best weights, and every epoch."""

    network: DirectionNetwork
    epochs: tuple[Epoch, ...]
    best: Epoch


def train(
    config: TrainingConfig, data: TrainingData, on_epoch: Callable[[Epoch], None] | None = None
) -> TrainedNetwork:
    """Train one network on the direction of the next day's return.

    The same config and data give the same losses and weights on the same machine, whatever the number of
    threads: one thread is used, which for networks of this size is also the fastest. Neither torch's thread
    count nor its random state is changed for the caller. The features are standardised with the training
    part's figures.

    Args:
        config: The network and how to train it.
        data: The training part, and the validation part for early stopping.
        on_epoch: Called after every epoch.

    Returns:
        The network with the weights of the epoch that had the lowest validation loss.

    Raises:
        TrainingError: A loss is no longer finite.
    """
    inputs, targets = _tensors(data.train)
    val_inputs, val_targets = _tensors(data.validation)
    epochs: list[Epoch] = []
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        network = DirectionNetwork(config.network, Standardisation.fit(data.train))
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        best, best_weights = None, copy.deepcopy(network.state_dict())

        for number in range(1, config.max_epochs + 1):
            network.train()
            for batch in torch.split(torch.randperm(len(inputs)), config.batch_size):
                loss = binary_cross_entropy_with_logits(network(inputs[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

            train_loss = evaluate(network, inputs, targets)
            val_loss = evaluate(network, val_inputs, val_targets)
            if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
                raise TrainingError(f"the loss is no longer finite in epoch {number}", hint="try a lower learning rate")
            epoch = Epoch(number, train_loss, val_loss, time.time_ns() // 1_000_000)
            epochs.append(epoch)
            if on_epoch is not None:
                on_epoch(epoch)

            if best is None or val_loss < best.val_loss:
                best, best_weights = epoch, copy.deepcopy(network.state_dict())
            elif number - best.number >= config.patience:
                break

    if best is None:
        raise TrainingError("nothing was trained: max_epochs is 0")
    network.load_state_dict(best_weights)
    return TrainedNetwork(network.eval(), tuple(epochs), best)


def evaluate(network: DirectionNetwork, inputs: Tensor, targets: Tensor) -> float:
    """The mean binary cross-entropy in nats, dropout off.

    Args:
        network: It is left in evaluation mode.
        inputs: Raw features, shape (samples, window, features).
        targets: 1 where the next day's return is positive, else 0, shape (samples,).
    """
    network.eval()
    with torch.inference_mode():
        return binary_cross_entropy_with_logits(network(inputs), targets).item()


def _tensors(samples: Samples) -> tuple[Tensor, Tensor]:
    targets = torch.from_numpy(samples.next_returns > 0).to(torch.float32)
    return torch.tensor(samples.inputs), targets


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
