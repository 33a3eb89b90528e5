"""A body for several inputs: an encoder for each of them, and what they say put together.

The inputs lie side by side in the last axis of one tensor, so that a network of several inputs is trained, judged, kept
and asked like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from agentnn.errors import ConfigError
from agentnn.training.families import ACTIVATIONS, FAMILIES

if TYPE_CHECKING:
    from agentnn.training.networks import NetworkConfig

Reads = Literal["window", "latest"]
Fusion = Literal["gated", "concat"]


@dataclass(frozen=True, slots=True)
class InputConfig:
    """One of several inputs; every value fits into JSON.

    Attributes:
        name: What it is called.
        n_features: Columns that it has.
        reads: ``window``, every day of it, by the network's family; or ``latest``, the latest day alone, by a
            perceptron: for what is the same on all days, or is only of interest on the last.
        hidden_layers: The widths of its encoder; those of the network without them, for ``latest`` the last of those.

    Raises:
        ConfigError: A value is of the wrong type or out of range.
    """

    name: str
    n_features: int
    reads: Reads = "window"
    hidden_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier() or hasattr(nn.ModuleDict, self.name):
            raise ConfigError(f"an input can't be called {self.name!r}", hint="letters, digits and _, such as calendar")
        if self.reads not in get_args(Reads):
            raise ConfigError(f"unknown reads {self.reads!r}", hint=f"one of {', '.join(get_args(Reads))}")
        if not isinstance(self.hidden_layers, (tuple, list)):
            raise ConfigError(f"hidden_layers must be a width for each layer, not {self.hidden_layers!r}")
        object.__setattr__(self, "hidden_layers", tuple(self.hidden_layers))
        for value in (self.n_features, *self.hidden_layers):
            if type(value) is not int or value < 1:
                raise ConfigError(f"the input {self.name} has no {value!r} features or units", hint="1 or more")

    @classmethod
    def from_dict(cls, values: object) -> InputConfig:
        """The input that ``dataclasses.asdict`` wrote.

        Raises:
            ConfigError: A value is missing, unknown or wrong.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not {"name", "n_features"} <= values.keys() <= known:
            raise ConfigError(f"an input holds {', '.join(sorted(known))} and nothing else")
        return cls(**values)


def check_inputs(inputs: tuple[InputConfig, ...], n_features: int, fusion: object) -> None:
    """Whether the inputs share the features of a network.

    Raises:
        ConfigError: They don't.
    """
    names = [one.name for one in inputs]
    if len(set(names)) < len(names):
        raise ConfigError(f"two inputs have the same name: {', '.join(names)}")
    if sum(one.n_features for one in inputs) != n_features:
        raise ConfigError(f"the inputs have {sum(one.n_features for one in inputs)} features, the network {n_features}")
    if fusion not in get_args(Fusion):
        raise ConfigError(f"unknown fusion {fusion!r}", hint=f"one of {', '.join(get_args(Fusion))}")


class HierarchicalBody(nn.Module):
    """An encoder for each input, then their fusion: (batch, window, features) -> (batch, width).

    What the encoders give is brought to one width. ``concat`` then looks at all of it with one layer; ``gated`` adds it
    up, each with a share between 0 and 1 that depends on all inputs and is learnt: an input that says nothing is shut
    out.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.width = config.hidden_layers[-1]
        self.sizes = [one.n_features for one in config.inputs]
        self.reads_latest = [one.reads == "latest" for one in config.inputs]
        encoders: dict[str, Any] = {one.name: _encoder(one, config) for one in config.inputs}
        self.encoders = nn.ModuleDict(encoders)
        self.projections = nn.ModuleDict(
            {name: nn.Linear(encoder.width, self.width) for name, encoder in encoders.items()}
        )
        n_joined = self.width * len(encoders)
        self.gates = nn.Linear(n_joined, len(encoders)) if config.fusion == "gated" else None
        self.mixing = nn.Linear(n_joined, self.width) if config.fusion == "concat" else None
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, window, features) to (batch, width)."""
        encoded = self._encoded(inputs)
        joined = torch.cat(encoded, dim=-1)
        if self.mixing is not None:
            fused = self.mixing(joined)
        else:
            fused = (self._shares(joined).unsqueeze(-1) * torch.stack(encoded, dim=1)).sum(dim=1)
        dropped: Tensor = self.dropout(self.activation(fused))
        return dropped

    def shares(self, inputs: Tensor) -> Tensor:
        """How much each input is heeded, shape (batch, inputs), where the fusion is ``gated``."""
        return self._shares(torch.cat(self._encoded(inputs), dim=-1))

    def _shares(self, joined: Tensor) -> Tensor:
        assert self.gates is not None
        return torch.sigmoid(self.gates(joined))

    def _encoded(self, inputs: Tensor) -> list[Tensor]:
        """What each encoder says, each of shape (batch, width)."""
        parts = torch.split(inputs, self.sizes, dim=-1)
        read = [part[:, -1:] if latest else part for part, latest in zip(parts, self.reads_latest, strict=True)]
        layers = zip(self.encoders.values(), self.projections.values(), strict=True)
        return [project(encode(part)) for part, (encode, project) in zip(read, layers, strict=True)]


def _encoder(one: InputConfig, config: NetworkConfig) -> Any:
    shape = replace(config, n_features=one.n_features, inputs=())
    if one.reads == "latest":
        widths = one.hidden_layers or config.hidden_layers[-1:]
        return FAMILIES["mlp"](replace(shape, family="mlp", window=1, hidden_layers=widths))
    return FAMILIES[config.family](replace(shape, hidden_layers=one.hidden_layers or config.hidden_layers))
