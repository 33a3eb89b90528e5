"""Small networks that give the probability that the next day's return is positive, and their files.

A saved network is a directory of two files: ``network.json``, the :class:`NetworkConfig`, and ``weights.pt``,
a state dict that is read with ``weights_only=True``, so that loading one never runs code. The standardisation
is part of the state dict: a network takes raw features.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from agentnn.errors import ConfigError, CorruptDataError, NotFoundError, UnsafeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from agentnn.training.data import Standardisation

CONFIG_FILE = "network.json"
WEIGHTS_FILE = "weights.pt"


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """All that is needed to build a network; every value fits into JSON.

    Attributes:
        family: ``"mlp"`` (perceptron over the flattened window) or ``"gru"`` (recurrent over the days).
        n_features: Features per day.
        window: Days of features per sample.
        hidden_size: Width of each hidden layer.
        n_layers: Number of hidden layers.
        dropout: Probability of dropping a hidden unit while training, from 0 to below 1.

    Raises:
        ConfigError: A value is of the wrong type or out of range.
    """

    family: str
    n_features: int
    window: int = 1
    hidden_size: int = 16
    n_layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ConfigError(f"unknown network family {self.family!r}", hint=f"one of {', '.join(FAMILIES)}")
        for name in ("n_features", "window", "hidden_size", "n_layers"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and below 1, not {self.dropout!r}")

    @classmethod
    def from_dict(cls, values: object) -> NetworkConfig:
        """The config that :meth:`to_dict` wrote.

        Raises:
            ConfigError: A value is missing, unknown or wrong.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not {"family", "n_features"} <= values.keys() <= known:
            raise ConfigError(f"a network config holds {', '.join(sorted(known))} and nothing else")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


class GRUBody(nn.Module):
    """A GRU over the days of the window; gives its last hidden state."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        between = config.dropout if config.n_layers > 1 else 0.0
        self.gru = nn.GRU(config.n_features, config.hidden_size, config.n_layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, window, features) to (batch, hidden_size)."""
        states, _ = self.gru(inputs)
        last: Tensor = self.dropout(states[:, -1])
        return last


def _mlp_body(config: NetworkConfig) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    width = config.window * config.n_features
    for _ in range(config.n_layers):
        layers += [nn.Linear(width, config.hidden_size), nn.ReLU(), nn.Dropout(config.dropout)]
        width = config.hidden_size
    return nn.Sequential(*layers)


FAMILIES: dict[str, Callable[[NetworkConfig], nn.Module]] = {"mlp": _mlp_body, "gru": GRUBody}
"""What a config's ``family`` may be; each builds (batch, window, features) -> (batch, hidden_size)."""


class DirectionNetwork(nn.Module):
    """Raw features to the log-odds that the next day's return is positive.

    Args:
        config: Sizes and family.
        standardisation: Of the training part; without one, features are taken as they are.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, config: NetworkConfig, standardisation: Standardisation | None = None) -> None:
        super().__init__()
        self.config = config
        mean = np.zeros(config.n_features) if standardisation is None else standardisation.mean
        scale = np.ones(config.n_features) if standardisation is None else standardisation.scale
        if mean.shape != (config.n_features,):
            raise ConfigError(f"a standardisation of {mean.shape} does not fit {config.n_features} features")
        self.register_buffer("feature_mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("feature_scale", torch.tensor(scale, dtype=torch.float32))
        self.body = FAMILIES[config.family](config)
        self.head = nn.Linear(config.hidden_size, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """From raw features (batch, window, features) to log-odds (batch,)."""
        standardised = (inputs - self.feature_mean) / self.feature_scale
        log_odds: Tensor = self.head(self.body(standardised)).squeeze(-1)
        return log_odds

    @property
    def n_parameters(self) -> int:
        """Trained weights; the standardisation is not counted."""
        return sum(weights.numel() for weights in self.parameters())

    def probabilities(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """The probability of a positive return for each sample, with dropout switched off.

        Args:
            inputs: Raw features, shape (samples, window, features); or flat, (samples, window * features),
                the days of the window one after the other, oldest first. A DataFrame is taken as a flat
                array.

        Returns:
            Shape (samples,).

        Raises:
            UsageError: The shape does not fit.
        """
        array = np.asarray(inputs, dtype=np.float32)
        window, n_features = self.config.window, self.config.n_features
        if array.shape[1:] not in ((window, n_features), (window * n_features,)):
            raise UsageError(f"inputs of shape {array.shape} don't fit (samples, {window}, {n_features})")
        batch = torch.tensor(array.reshape(-1, window, n_features))
        was_training = self.training
        self.eval()
        with torch.inference_mode():
            result: NDArray[np.float32] = torch.sigmoid(self(batch)).numpy()
        self.train(was_training)
        return result


class NetworkModel:
    """What MLflow's pyfunc flavor loads; see :func:`_load_pyfunc`."""

    def __init__(self, network: DirectionNetwork) -> None:
        self.network = network

    def predict(self, inputs: ArrayLike, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """:meth:`DirectionNetwork.probabilities`; ``params`` is MLflow's and has no effect."""
        return self.network.probabilities(inputs)


def save_network(directory: Path, network: DirectionNetwork) -> None:
    """Write a network into a directory, which is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    config = json.dumps(network.config.to_dict(), indent=2) + "\n"
    (directory / CONFIG_FILE).write_text(config, encoding="utf-8")
    torch.save(network.state_dict(), directory / WEIGHTS_FILE)


def load_network(directory: Path) -> DirectionNetwork:
    """Read the network that :func:`save_network` wrote; no code in the files is ever run.

    Raises:
        NotFoundError: A file is missing.
        UnsafeError: The weights file holds something other than weights.
        CorruptDataError: A file is damaged, or the two don't fit each other.
    """
    try:
        text = (directory / CONFIG_FILE).read_text(encoding="utf-8")
        network = DirectionNetwork(NetworkConfig.from_dict(json.loads(text)))
        network.load_state_dict(_load_weights(directory / WEIGHTS_FILE))
    except FileNotFoundError as error:
        raise NotFoundError(f"no network in {directory}: {Path(error.filename).name} is missing") from error
    except ValueError as error:  # ConfigError is one
        raise CorruptDataError(f"{directory / CONFIG_FILE}: {error}") from error
    except RuntimeError as error:
        raise CorruptDataError(f"the weights in {directory} don't fit {CONFIG_FILE}: {error}") from error
    return network.eval()


def _load_weights(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeError(
            f"{path} holds something other than weights, and was not loaded",
            hint="a network's weights file is a state dict, written by torch.save",
        ) from error
    except (EOFError, KeyError, RuntimeError, ValueError) as error:
        raise CorruptDataError(f"{path} is damaged: {error}") from error
    if not isinstance(weights, dict):
        raise CorruptDataError(f"{path} does not hold a state dict")
    return weights


def _load_pyfunc(data_path: str) -> NetworkModel:
    """The loader that MLflow calls by this name, with the directory that :func:`save_network` wrote."""
    return NetworkModel(load_network(Path(data_path)))
