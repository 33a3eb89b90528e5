"""Predicted against actual: both, the errors, and what they come to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.tracking.capture.predicting import to_numpy
from agentnn.tracking.capture.sampling import chosen_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

MOST_ROWS = 20_000
"""Rows of the table; of more a sample, in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What was predicted.

    Attributes:
        names: Of the outputs.
        actual: Shape (n_kept, n_outputs).
        predicted: The same shape.
        left_out: Samples without a finite value for each output, of either.
        metrics: ``mae``, ``rmse``, ``r2`` and ``bias`` (mean of predicted less actual) over all outputs. ``r2`` is not
            there where the actual values are all the same.
    """

    names: tuple[str, ...]
    actual: np.ndarray
    predicted: np.ndarray
    left_out: int
    metrics: dict[str, float]

    @property
    def residuals(self) -> np.ndarray:
        """Actual less predicted, shape (n_kept, n_outputs)."""
        residuals: np.ndarray = self.actual - self.predicted
        return residuals

    def table(self, seed: int = 0) -> dict[str, list[float]]:
        """Columns with every sample, or 20,000 of them: its number among those kept, actual, predicted, residual."""
        places = chosen_rows(len(self.actual), MOST_ROWS, seed)
        rows = range(len(self.actual)) if places is None else places.tolist()
        columns: dict[str, list[float]] = {"sample": [float(row) for row in rows]}
        for place, name in enumerate(self.names):
            after = "" if len(self.names) == 1 else f"_{name}"
            for what, values in (("actual", self.actual), ("predicted", self.predicted), ("residual", self.residuals)):
                column = values[:, place]
                columns[f"{what}{after}"] = (column if places is None else column[places]).tolist()
        columns["sample"] = [int(row) for row in rows]
        return columns


def compare_predictions(actual: Any, predicted: Any, names: Sequence[str] | None = None) -> Predictions:
    """Read both and measure the errors.

    Args:
        actual: Shape (n_samples,) or (n_samples, n_outputs); more axes are outputs. Truth values count 0 and 1.
        predicted: As many values.
        names: Of the outputs.

    Raises:
        UsageError: The shapes differ, a value is no number, or none is finite.
    """
    import numpy as np

    ours, theirs = _matrix(actual, "actual"), _matrix(predicted, "predicted")
    if ours.shape != theirs.shape:
        raise UsageError(f"{_shape(actual)} actual values and {_shape(predicted)} predicted ones", hint="one for each")
    known = np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1)
    if not known.any():
        raise UsageError("no sample has both a finite actual and a finite predicted value")
    given = tuple(map(str, names)) if names is not None else tuple(map(str, range(ours.shape[1])))
    if len(given) != ours.shape[1]:
        raise UsageError(f"{len(given)} names for {ours.shape[1]} outputs")
    ours, theirs = ours[known], theirs[known]
    return Predictions(given, ours, theirs, int((~known).sum()), _metrics(ours, theirs))


def _metrics(actual: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    import numpy as np

    errors = predicted - actual
    found = {
        "mae": float(np.abs(errors).mean()),
        "rmse": math.sqrt(float((errors**2).mean())),
        "bias": float(errors.mean()),
    }
    spreads = ((actual - actual.mean(axis=0)) ** 2).sum(axis=0)
    if (spreads > 0).all():
        found["r2"] = float((1 - (errors**2).sum(axis=0) / spreads).mean())
    return found


def _matrix(values: Any, what: str) -> np.ndarray:
    try:
        array = to_numpy(values).astype(float)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the {what} values are not all numbers: {error}") from error
    if not array.size:
        raise UsageError(f"there are no {what} values")
    return array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)


def _shape(values: Any) -> str:
    return "×".join(map(str, to_numpy(values).shape)) or "1"
