"""``DynamicNetwork``: a feed-forward network whose layers can be widened, added, pruned and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from agentnn.errors import UsageError
from agentnn.nn_models.architecture.blocks import DynamicBlock
from agentnn.nn_models.architecture.deepening import deepen
from agentnn.nn_models.architecture.description import Architecture
from agentnn.nn_models.architecture.normalisation import SharedLayerNorm
from agentnn.nn_models.architecture.pruning import prune
from agentnn.nn_models.architecture.removing import remove
from agentnn.nn_models.architecture.widening import widen
from agentnn.tracking.capture.predicting import predictor
from agentnn.training.networks import meant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.changes import Change
    from agentnn.nn_models.architecture.importance import By
    from agentnn.training.networks import Predicts


class DynamicNetwork(nn.Module):
    """A feed-forward network whose layers can change while it is trained.

    Every change keeps what has been learnt as far as its method says, gives new parameters in the place of those that
    change their shape, and carries the state of the optimizer over to them, where one is handed in.

    Its attributes are modules and plain values, so that a file with it loads without running code:
    ``load_module(uri, classes=DynamicNetwork.CLASSES)``.

    Args:
        architecture: Its layers.

    Attributes:
        blocks: The hidden layers.
        head: The last, linear layer.
        feature_mean: Subtracted from the inputs, shape (inputs,); see :meth:`standardise`.
        feature_scale: What they are divided by then.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    CLASSES: tuple[type[nn.Module], ...]
    """The classes that a file with such a network names."""
    LOADER = "agentnn.nn_models.architecture.files"
    """The module that reads the files of one."""
    predicts: Predicts = "value"
    """What :meth:`predict` makes of an output: see :class:`~agentnn.training.networks.NetworkConfig`."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = architecture.to_dict()
        before = [architecture.width_before(place) for place in range(architecture.depth + 1)]
        self.register_buffer("feature_mean", torch.zeros(architecture.n_inputs))
        self.register_buffer("feature_scale", torch.ones(architecture.n_inputs))
        self.blocks = nn.ModuleList(
            DynamicBlock(n, block) for n, block in zip(before, architecture.blocks, strict=False)
        )
        self.head = nn.Linear(before[-1], architecture.n_outputs)

    @property
    def architecture(self) -> Architecture:
        """Its layers, as they are now."""
        return Architecture.from_dict(self._architecture)

    def become(self, architecture: Architecture) -> None:
        """Note another architecture; for those who change the layers."""
        self._architecture = architecture.to_dict()

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        return sum(one.numel() for one in self.parameters())

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, inputs), or (batch, window, features), to (batch, outputs)."""
        values = (inputs.flatten(1) - self.feature_mean) / self.feature_scale
        for block in self.blocks:
            values = block(values)
        outputs: Tensor = self.head(values)
        return outputs

    def predict(self, inputs: Any) -> NDArray[np.float32]:
        """What it says of samples, on the CPU and without dropout: shape (n,), or (n, outputs); see ``predicts``."""
        outputs = predictor(self)(np.asarray(inputs, dtype=np.float32))
        return meant(torch.from_numpy(outputs).float(), self.predicts)

    def save(self, directory: Path) -> None:
        """Write it into a directory; see :func:`~agentnn.nn_models.architecture.files.save_network`."""
        from agentnn.nn_models.architecture.files import save_network  # which knows this class

        save_network(directory, self)

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take inputs less this mean, over this scale; both of shape (inputs,), of the training part.

        Raises:
            UsageError: They have another shape.
        """
        if mean.shape != self.feature_mean.shape or scale.shape != mean.shape:
            raise UsageError(f"a standardisation of {tuple(mean.shape)} does not fit {len(self.feature_mean)} inputs")
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(scale)

    def widen(
        self,
        layer: int,
        width: int,
        *,
        units: Sequence[int] | None = None,
        noise: float = 0.0,
        optimizer: Optimizer | None = None,
    ) -> Change:
        """More units in a layer, the same function; see :func:`~agentnn.nn_models.architecture.widening.widen`."""
        return widen(self, layer, width, units=units, noise=noise, optimizer=optimizer)

    def deepen(
        self,
        at: int,
        *,
        activation: str | None = None,
        residual: bool | None = None,
        optimizer: Optimizer | None = None,
    ) -> Change:
        """One more layer, the same function; see :func:`~agentnn.nn_models.architecture.deepening.deepen`."""
        return deepen(self, at, activation=activation, residual=residual, optimizer=optimizer)

    def prune(
        self,
        layer: int,
        *,
        fraction: float | None = None,
        units: Sequence[int] | None = None,
        by: By = "magnitude",
        sample: Tensor | None = None,
        targets: Tensor | None = None,
        criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
        optimizer: Optimizer | None = None,
    ) -> Change:
        """Fewer units in a layer; see :func:`~agentnn.nn_models.architecture.pruning.prune`."""
        chosen = {"fraction": fraction, "units": units, "by": by}
        judged: dict[str, Any] = {"sample": sample, "targets": targets, "criterion": criterion}
        return prune(self, layer, **chosen, **judged, optimizer=optimizer)  # type: ignore[arg-type]

    def remove(self, layer: int, *, optimizer: Optimizer | None = None) -> Change:
        """One layer less; see :func:`~agentnn.nn_models.architecture.removing.remove`."""
        return remove(self, layer, optimizer=optimizer)


def mean_and_scale(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (ddof 1) of each value of the samples, both of shape (inputs,); 1 for a constant."""
    values = inputs.flatten(1).double()
    scale = values.std(dim=0) if len(values) > 1 else torch.zeros_like(values[0])
    return values.mean(dim=0), torch.where(scale > 0, scale, torch.ones_like(scale))


DynamicNetwork.CLASSES = (DynamicNetwork, DynamicBlock, SharedLayerNorm)
