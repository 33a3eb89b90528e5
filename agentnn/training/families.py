"""The bodies of the networks, each small enough to read: (batch, window, features) -> (batch, width).

A body sees a window of days, oldest first, and gives what its last layer holds at the latest day; ``states`` gives
what it holds at every day. It has an attribute ``width``; the names of its weights are part of the file format.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.training.networks import NetworkConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
}


class Perceptron(nn.Sequential):
    """A linear layer, an activation and dropout for each width, over the flattened window."""

    def __init__(self, config: NetworkConfig) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        before = config.window * config.n_features
        for width in config.hidden_layers:
            layers += [nn.Linear(before, width), ACTIVATIONS[config.activation](), nn.Dropout(config.dropout)]
            before = width
        super().__init__(*layers)
        self.width = before

    def states(self, inputs: Tensor) -> Tensor:
        """One state for the whole window: from (batch, window, features) to (batch, 1, width)."""
        state: Tensor = self(inputs)
        return state.unsqueeze(1)


class RecurrentBody(nn.Module):
    """An LSTM or a GRU over the days; gives the last layer's state at the latest day.

    Read backwards too, the state of that direction is the one at the oldest day, where it has seen the whole window.
    """

    def __init__(self, config: NetworkConfig, cell: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        n_layers, width = len(config.hidden_layers), config.hidden_layers[0]
        self.layers = cell(
            config.n_features,
            width,
            n_layers,
            batch_first=True,
            dropout=config.dropout if n_layers > 1 else 0.0,
            bidirectional=config.bidirectional,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.width = width * (2 if config.bidirectional else 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, window, features) to (batch, width)."""
        states, _ = self.layers(inputs)
        last = states[:, -1]
        if self.layers.bidirectional:
            forwards, backwards = states.unflatten(-1, (2, -1)).unbind(-2)
            last = torch.cat([forwards[:, -1], backwards[:, 0]], dim=-1)
        dropped: Tensor = self.dropout(last)
        return dropped

    def states(self, inputs: Tensor) -> Tensor:
        """The state of each day: from (batch, window, features) to (batch, window, width)."""
        dropped: Tensor = self.dropout(self.layers(inputs)[0])
        return dropped


class CausalConvolution(nn.Module):
    """A convolution over the days whose output of a day depends on that day and earlier ones."""

    def __init__(self, n_inputs: int, n_outputs: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.padding = (kernel_size - 1) * dilation
        self.convolution = nn.Conv1d(n_inputs, n_outputs, kernel_size, dilation=dilation)

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, inputs, window) to (batch, outputs, window)."""
        outputs: Tensor = self.convolution(functional.pad(inputs, (self.padding, 0)))
        return outputs


class TemporalBlock(nn.Module):
    """Two dilated causal convolutions, and a way around them."""

    def __init__(self, n_inputs: int, n_outputs: int, dilation: int, config: NetworkConfig) -> None:
        super().__init__()
        activation = ACTIVATIONS[config.activation]
        self.branch = nn.Sequential(
            CausalConvolution(n_inputs, n_outputs, config.kernel_size, dilation),
            activation(),
            nn.Dropout(config.dropout),
            CausalConvolution(n_outputs, n_outputs, config.kernel_size, dilation),
            activation(),
            nn.Dropout(config.dropout),
        )
        self.around = nn.Identity() if n_inputs == n_outputs else nn.Conv1d(n_inputs, n_outputs, 1)
        self.activation = activation()

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, inputs, window) to (batch, outputs, window)."""
        outputs: Tensor = self.activation(self.branch(inputs) + self.around(inputs))
        return outputs


class TemporalConvolutions(nn.Module):
    """A temporal convolutional network (Bai, Kolter and Koltun 2018); the dilation doubles from block to block."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = (config.n_features, *config.hidden_layers)
        self.blocks = nn.Sequential(
            *(TemporalBlock(widths[i], widths[i + 1], 2**i, config) for i in range(len(config.hidden_layers)))
        )
        self.width = widths[-1]
        self.receptive_field = 1 + 2 * (config.kernel_size - 1) * (2 ** len(config.hidden_layers) - 1)
        """Days that the output of a day depends on, where the window has as many."""

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, window, features) to (batch, width)."""
        last: Tensor = self.blocks(inputs.transpose(1, 2))[:, :, -1]
        return last

    def states(self, inputs: Tensor) -> Tensor:
        """The state of each day: from (batch, window, features) to (batch, window, width)."""
        days: Tensor = self.blocks(inputs.transpose(1, 2))
        return days.transpose(1, 2)


class AttentionBlock(nn.Module):
    """Causal self-attention, then a perceptron for each day; both add to what comes in."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.hidden_layers[0]
        self.n_heads = config.n_heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attention_head = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            ACTIVATIONS[config.activation](),
            nn.Linear(4 * width, width),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, days: Tensor) -> Tensor:
        """From (batch, window, width) to the same shape."""
        days = days + self.dropout(self._attend(self.attention_norm(days)))
        added: Tensor = days + self.dropout(self.perceptron(days))
        return added

    def _attend(self, days: Tensor) -> Tensor:
        heads = self.queries_keys_values(days).unflatten(-1, (3, self.n_heads, -1))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)  # each (batch, heads, window, width of a head)
        attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        mixed: Tensor = self.attention_head(attended.transpose(1, 2).flatten(-2))
        return mixed


class Transformer(nn.Module):
    """Attention over the days of the window, with sinusoidal positions; gives the latest day's state."""

    positions: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.width = config.hidden_layers[0]
        self.embedding = nn.Linear(config.n_features, self.width)
        self.register_buffer("positions", sinusoids(config.window, self.width), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.Sequential(*(AttentionBlock(config) for _ in config.hidden_layers))
        self.norm = nn.LayerNorm(self.width)

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, window, features) to (batch, width)."""
        days = self.dropout(self.embedding(inputs) + self.positions)
        last: Tensor = self.norm(self.blocks(days)[:, -1])
        return last

    def states(self, inputs: Tensor) -> Tensor:
        """The state of each day: from (batch, window, features) to (batch, window, width)."""
        days = self.dropout(self.embedding(inputs) + self.positions)
        states: Tensor = self.norm(self.blocks(days))
        return states


def sinusoids(n_positions: int, width: int) -> Tensor:
    """Sines and cosines of falling frequency, shape (positions, width), as in "Attention is all you need"."""
    positions = torch.arange(n_positions, dtype=torch.float32).unsqueeze(1)
    frequencies = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    waves = torch.stack([torch.sin(positions * frequencies), torch.cos(positions * frequencies)], dim=-1)
    return waves.flatten(1)[:, :width]


def _lstm(config: NetworkConfig) -> RecurrentBody:
    return RecurrentBody(config, nn.LSTM)


def _gru(config: NetworkConfig) -> RecurrentBody:
    return RecurrentBody(config, nn.GRU)


FAMILIES: dict[str, Callable[[NetworkConfig], Perceptron | RecurrentBody | TemporalConvolutions | Transformer]] = {
    "mlp": Perceptron,
    "lstm": _lstm,
    "gru": _gru,
    "tcn": TemporalConvolutions,
    "transformer": Transformer,
}
"""What a config's ``family`` may be."""
