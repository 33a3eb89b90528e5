"""``MultiTaskNetwork``: one encoder, attention of each task over what it gives, and a head for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from agentnn.errors import ConfigError, UsageError
from agentnn.nn_models.multi_task.fusion import FeatureAttention, Fusion, SameForAll, StepAttention
from agentnn.nn_models.multi_task.tasks import Task, checked_tasks, output_places
from agentnn.training.families import ACTIVATIONS, FAMILIES
from agentnn.training.networks import NetworkConfig, outputs_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from agentnn.nn_models.multi_task.labels import LabelScale
    from agentnn.training.data.prices import Standardisation

_AT_MEAN = 0.5413248546
"""Where the softplus is 1: a head of volatility begins at the mean of the training part."""


@dataclass(frozen=True, slots=True)
class MultiTaskConfig:
    """All that is needed to build a network; every value fits into JSON.

    Attributes:
        encoder: Family, sizes and activation; its ``output_dim`` and ``predicts`` say nothing here.
        tasks: What is learnt.
        fusion: ``attention``, see :mod:`agentnn.nn_models.multi_task.fusion`: over the steps, or, where the family is
            ``mlp`` and there are none, over the features; ``none`` for heads on the same state.
        head_layers: The width of each hidden layer of a head.

    Raises:
        ConfigError, UsageError: A value is wrong.
    """

    encoder: NetworkConfig
    tasks: tuple[Task, ...]
    fusion: Fusion = "attention"
    head_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", checked_tasks(self.tasks))
        object.__setattr__(self, "head_layers", tuple(self.head_layers))
        if self.fusion not in get_args(Fusion):
            raise UsageError(f"unknown fusion {self.fusion!r}", hint=f"one of {', '.join(get_args(Fusion))}")
        for width in self.head_layers:
            if type(width) is not int or width < 1:
                raise UsageError(f"head_layers must be whole numbers of at least 1, not {width!r}")

    @classmethod
    def from_dict(cls, values: Any) -> MultiTaskConfig:
        """The config that :meth:`to_dict` wrote.

        Raises:
            ConfigError: A value is missing, unknown or wrong.
        """
        try:
            tasks = tuple(Task(**one) for one in values["tasks"])
            encoder = NetworkConfig.from_dict(values["encoder"])
            return cls(encoder, tasks, values["fusion"], tuple(values["head_layers"]))
        except ConfigError:
            raise
        except (KeyError, TypeError, UsageError) as error:
            raise ConfigError(f"the config of a network for several tasks is wrong: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "encoder": self.encoder.to_dict(),
            "tasks": [task.to_dict() for task in self.tasks],
            "fusion": self.fusion,
            "head_layers": list(self.head_layers),
        }


class MultiTaskNetwork(nn.Module):
    """Raw features to the outputs of all tasks, side by side in the order of the tasks.

    An encoder, one linear layer that all tasks share, attention of each task over its states, and a head for each.
    Outputs of numbers are in the unit of the labels.

    Args:
        config: Sizes, family and tasks.
        standardisation: Of the training part's features; without one they are taken as they are.

    Attributes:
        shared: The last layer that all tasks share.
        label_mean, label_scale: Of the training part's labels, shape (tasks,); see :meth:`scale_labels`.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    label_mean: Tensor
    label_scale: Tensor

    def __init__(self, config: MultiTaskConfig, standardisation: Standardisation | None = None) -> None:
        super().__init__()
        self.config = config
        encoder, n_tasks = config.encoder, len(config.tasks)
        mean = np.zeros(encoder.n_features) if standardisation is None else standardisation.mean
        scale = np.ones(encoder.n_features) if standardisation is None else standardisation.scale
        if mean.shape != (encoder.n_features,):
            raise ConfigError(f"a standardisation of {mean.shape} does not fit {encoder.n_features} features")
        self.register_buffer("feature_mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("feature_scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("label_mean", torch.zeros(n_tasks))
        self.register_buffer("label_scale", torch.ones(n_tasks))
        body = FAMILIES[encoder.family](encoder)
        self.encoder = body
        self.shared = nn.Linear(body.width, body.width)
        self.activation = ACTIVATIONS[encoder.activation]()
        self.fusion: nn.Module
        if config.fusion == "none":
            self.fusion = SameForAll(n_tasks)
        elif encoder.family == "mlp":
            self.fusion = FeatureAttention(body.width, n_tasks)
        else:
            self.fusion = StepAttention(body.width, n_tasks, encoder.n_heads)
        self.heads = nn.ModuleList(_head(body.width, task, config) for task in config.tasks)

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        return sum(one.numel() for one in self.parameters())

    def scale_labels(self, scale: LabelScale) -> None:
        """Begin at the mean of these labels, and take a step of 1 in a head as one of their standard deviation."""
        self.label_mean.copy_(scale.mean)
        self.label_scale.copy_(scale.scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """From raw features (batch, window, features), or (batch, features), to (batch, outputs of all tasks)."""
        days = inputs.unsqueeze(1) if inputs.ndim == 2 and self.config.encoder.window == 1 else inputs
        days = (days - self.feature_mean) / self.feature_scale
        is_fused = self.config.fusion == "attention"
        states = self.encoder.states(days) if is_fused else self.encoder(days).unsqueeze(1)
        fused = self.fusion(self.activation(self.shared(states))).unbind(1)
        parts = [self._in_units(place, head(fused[place])) for place, head in enumerate(self.heads)]
        return torch.cat(parts, dim=1)

    def _in_units(self, place: int, raw: Tensor) -> Tensor:
        """What a head gives, in the unit of its labels."""
        kind, mean, scale = self.config.tasks[place].kind, self.label_mean[place], self.label_scale[place]
        if kind == "return":
            return mean + scale * raw.float()
        if kind == "volatility":
            return torch.where(mean > 0, mean, 1.0) * functional.softplus(raw.float() + _AT_MEAN)
        if kind == "quantiles":
            first, steps = raw[:, :1].float(), functional.softplus(raw[:, 1:].float())
            return mean + scale * torch.cat([first, steps], dim=1).cumsum(dim=1)
        return raw

    def predict(self, inputs: ArrayLike) -> dict[str, NDArray[np.float32]]:
        """What the network says of each sample, by task, with dropout switched off.

        Args:
            inputs: Raw features, shape (samples, window, features); or flat, (samples, window * features), the days of
                the window one after the other.

        Returns:
            Probabilities of a direction (n,) and of classes (n, classes); numbers (n,); quantiles (n, quantiles).

        Raises:
            UsageError: The shape does not fit.
        """
        outputs = self.outputs(inputs)
        found = {}
        for task, place in zip(self.config.tasks, output_places(self.config.tasks), strict=True):
            part = outputs[:, place]
            if task.kind == "direction":
                part = torch.sigmoid(part)
            elif task.kind == "classes":
                part = torch.softmax(part, dim=-1)
            found[task.name] = (part if task.kind in ("classes", "quantiles") else part[:, 0]).numpy()
        return found

    def outputs(self, inputs: ArrayLike) -> Tensor:
        """What :meth:`forward` gives with dropout switched off, for inputs as of :meth:`predict`; on the CPU."""
        return outputs_of(self, inputs, self.config.encoder.window, self.config.encoder.n_features)


def _head(width: int, task: Task, config: MultiTaskConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for hidden in config.head_layers:
        layers += [
            nn.Linear(width, hidden),
            ACTIVATIONS[config.encoder.activation](),
            nn.Dropout(config.encoder.dropout),
        ]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, task.n_outputs))
