"""Small things to train on, the same in every test."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from agentnn.training.train_nn_model import History, TrainingOptions, train_model

N_FEATURES = 4


def toy_data(count: int, seed: int, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    """Inputs, and targets of shape (count, 1) that are a linear function of them, with noise."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, N_FEATURES, generator=generator)
    weights = torch.tensor([[1.0], [-2.0], [0.5], [0.0]])
    return inputs, inputs @ weights + noise * torch.randn(count, 1, generator=generator)


X_TRAIN, Y_TRAIN = toy_data(100, 1)
X_VAL, Y_VAL = toy_data(40, 2)


def perceptron(dropout: float = 0.0, outputs: int = 1) -> nn.Sequential:
    """A small model; always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        return nn.Sequential(nn.Linear(N_FEATURES, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, outputs))


class Trained:
    """A model, how it was trained, and the history."""

    def __init__(self, epochs: int = 3, *, model: nn.Module | None = None, **given: Any) -> None:
        self.model = perceptron(dropout=0.2) if model is None else model
        self.optimizer = given.pop("optimizer", None) or torch.optim.Adam(self.model.parameters(), lr=0.02)
        self.criterion = given.pop("criterion", nn.MSELoss())
        data = given.pop("data", (X_TRAIN, Y_TRAIN, X_VAL, Y_VAL))
        others = ("logger", "scheduler", "metrics", "on_epoch", "make_averaging")
        passed = {name: given.pop(name) for name in others if name in given}
        self.options = TrainingOptions(**{"batch_size": 16, "seed": 5, "num_threads": 1, **given})
        self.history: History = train_model(
            self.model, *data, self.optimizer, self.criterion, epochs, options=self.options, **passed
        )

    @property
    def weights(self) -> dict[str, Tensor]:
        """By name."""
        return self.model.state_dict()


def same_weights(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether they are equal to the last bit."""
    return left.keys() == right.keys() and all(torch.equal(value, right[name]) for name, value in left.items())


def values_of(history: History) -> dict[str, list[float]]:
    """All but the time that it took."""
    return {name: values for name, values in history.items() if name != "epoch_seconds"}
