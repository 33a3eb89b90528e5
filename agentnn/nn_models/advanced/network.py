"""A network that takes several inputs by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from agentnn.errors import ConfigError, UsageError
from agentnn.training.data.prices import Samples, Standardisation
from agentnn.training.networks import Network, NetworkConfig, load_network

if TYPE_CHECKING:
    from pathlib import Path

    from agentnn.training.hierarchy import InputConfig


class HierarchicalNetwork(Network):
    """An encoder for each input, their fusion, and a linear layer: several inputs by name to the values to be learnt.

    >>> network = HierarchicalNetwork(  # doctest: +SKIP
    ...     [InputConfig("prices", 13), InputConfig("calendar", 5, "latest"), InputConfig("static", 3, "latest")],
    ...     window=20, family="gru", hidden_layers=(24,))
    >>> network({"prices": prices, "calendar": today, "static": sector})  # doctest: +SKIP

    It is a :class:`~agentnn.training.networks.Network` of the inputs side by side, which :meth:`pack` makes: it is kept
    by :func:`~agentnn.training.networks.save_network`, and takes packed inputs as well.

    Args:
        inputs: What it takes; a configuration of a network that has inputs, in the place of all of them.
        window: Days that an input has which reads the window.
        standardisation: Of all features, in the order of the inputs; see also :meth:`standardise`.
        shape: The other values of a :class:`~agentnn.training.networks.NetworkConfig`: ``family``, which reads windows,
            ``hidden_layers``, ``output_dim``, ``activation``, ``dropout``, ``fusion``, …

    Raises:
        ConfigError: A value is wrong, or they don't fit each other.
    """

    def __init__(
        self,
        inputs: Sequence[InputConfig] | NetworkConfig,
        window: int = 1,
        *,
        standardisation: Standardisation | None = None,
        **shape: Any,
    ) -> None:
        if isinstance(inputs, NetworkConfig):
            config = inputs
        else:
            total = sum(one.n_features for one in inputs)
            given = {"family": "mlp", **shape}
            config = NetworkConfig(n_features=total, window=window, inputs=tuple(inputs), **given)
        if not config.inputs:
            raise ConfigError("a hierarchical network needs inputs", hint='[InputConfig("prices", 13), …]')
        super().__init__(config, standardisation)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a network that :func:`~agentnn.training.networks.save_network` wrote; no code in it is ever run.

        Raises:
            NotFoundError, CorruptDataError, UnsafeError: As :func:`~agentnn.training.networks.load_network`.
            ConfigError: It is a network of one input.
        """
        loaded = load_network(folder)
        network = cls(loaded.config)
        network.load_state_dict(loaded.state_dict())
        return network.eval()

    def forward(self, inputs: Tensor | Mapping[str, Any]) -> Tensor:
        """From inputs by name, or packed ones, to (batch, output_dim)."""
        return super().forward(self.pack(inputs) if isinstance(inputs, Mapping) else inputs)

    def pack(self, inputs: Mapping[str, Any]) -> Tensor:
        """Inputs by name side by side, shape (samples, window, features): what is trained on.

        Args:
            inputs: Shape (samples, window, features) of those that read the window, (samples, features) of those that
                read the latest day; the latter then stand on all days.

        Raises:
            UsageError: One is missing or unknown, or has another shape.
        """
        expected = [one.name for one in self.config.inputs]
        if set(inputs) != set(expected):
            raise UsageError(f"the network takes {', '.join(expected)}, not {', '.join(map(str, inputs)) or 'nothing'}")
        return torch.cat([self._days(one, inputs[one.name]) for one in self.config.inputs], dim=-1)

    def standardise(self, inputs: Tensor | Mapping[str, Any]) -> None:
        """Take mean and deviation of each feature from the training part, as it is on the latest day of each sample."""
        packed = (self.pack(inputs) if isinstance(inputs, Mapping) else inputs).detach().cpu().numpy()
        found = Standardisation.fit(Samples(np.empty(len(packed), "datetime64[D]"), packed, np.empty(len(packed))))
        self.feature_mean.copy_(torch.from_numpy(found.mean))
        self.feature_scale.copy_(torch.from_numpy(found.scale))

    def _days(self, one: InputConfig, value: Any) -> Tensor:
        try:
            tensor = torch.as_tensor(value, device=self.feature_mean.device).to(self.feature_mean.dtype)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"the input {one.name} is not an array of numbers: {error}") from error
        window = self.config.window
        if one.reads == "latest" and tensor.ndim == 2:
            tensor = tensor.unsqueeze(1).expand(-1, window, -1)
        if tensor.shape[1:] != (window, one.n_features):
            fits = f"(samples, {window}, {one.n_features})"
            also = f" or (samples, {one.n_features})" if one.reads == "latest" else ""
            raise UsageError(f"the input {one.name} has the shape {tuple(tensor.shape)}, not {fits}{also}")
        return tensor
