"""Training and validation part as tensors that fit each other and the tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from agentnn.errors import UsageError
from agentnn.nn_models.multi_task.labels import packed_labels
from agentnn.training.data.prices import Samples, Standardisation
from agentnn.training.loop.tensors import sample_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.nn_models.multi_task.tasks import Task


class Parts(NamedTuple):
    """Inputs, and packed labels (see :mod:`agentnn.nn_models.multi_task.labels`), of both parts."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]

    @classmethod
    def of(
        cls, X_train: Any, y_train: Any, X_val: Any, y_val: Any, tasks: Sequence[Task], device: torch.device
    ) -> Self:
        """All of it, checked.

        Raises:
            UsageError: They don't fit each other or the tasks.
        """
        found = []
        for inputs, labels, names in ((X_train, y_train, ("X_train", "y_train")), (X_val, y_val, ("X_val", "y_val"))):
            packed = packed_labels(labels, tasks, names[1])
            found.append(sample_tensors(inputs, packed, names, torch.float32, device))
        train, validation = found
        shape, other = tuple(train[0].shape), tuple(validation[0].shape)
        if len(shape) not in (2, 3):
            raise UsageError(f"X_train has the shape {shape}, not (samples, features) or (samples, window, features)")
        if shape[1:] != other[1:]:
            raise UsageError(f"samples of X_train have the shape {shape[1:]}, those of X_val {other[1:]}")
        return cls(train, validation)

    @property
    def n_features(self) -> int:
        """Features of a day."""
        return int(self.train[0].shape[-1])

    @property
    def window(self) -> int:
        """Days of a sample."""
        return int(self.train[0].shape[1]) if self.train[0].ndim == 3 else 1

    def standardisation(self) -> Standardisation:
        """That of the training part's features."""
        inputs = self.train[0]
        days = (inputs if inputs.ndim == 3 else inputs.unsqueeze(1)).cpu().numpy()
        return Standardisation.fit(Samples(np.zeros(len(days), dtype="datetime64[D]"), days, np.zeros(len(days))))
