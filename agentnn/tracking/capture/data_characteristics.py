"""What data a model has seen: its shape, each feature's distribution, the scaler, the distance from a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agentnn.errors import UsageError
from agentnn.tracking.capture.distributions import Distribution, Drift, distribution, drift
from agentnn.tracking.capture.sampling import Columns, columns_of

_MOST_PARAMETERS = 10_000


@dataclass(frozen=True, slots=True)
class DataSet:
    """Features, or targets.

    Attributes:
        kind: The type that was given, such as ``Tensor``.
        shape: Its shape.
        dtypes: How many features have which type.
        rows: Rows; of data with more than two axes every one but the last counts.
        looked_at: Rows that were looked at: all of them, or a sample.
        features: How many there are; ``distributions`` are of the first 500.
        distributions: One a feature.
    """

    kind: str
    shape: tuple[int, ...]
    dtypes: Mapping[str, int]
    rows: int
    looked_at: int
    features: int
    distributions: tuple[Distribution, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        found = {name: getattr(self, name) for name in ("kind", "dtypes", "rows", "looked_at", "features")}
        return {**found, "shape": list(self.shape), "distributions": [one.to_dict() for one in self.distributions]}

    @property
    def missing(self) -> int:
        """Missing values among those that were looked at."""
        return sum(one.missing for one in self.distributions)


@dataclass(frozen=True, slots=True)
class ScalerParameters:
    """A fitted scaler.

    Attributes:
        kind: Its class.
        settings: What it was made with.
        fitted: What it has learned, such as ``mean_`` and ``scale_``; large arrays by their shape alone.
        steps: Of a pipeline or a column transformer, by name.
    """

    kind: str
    settings: Mapping[str, Any]
    fitted: Mapping[str, Any]
    steps: Mapping[str, ScalerParameters]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DataCharacteristics:
    """All that is kept of the data.

    Attributes:
        inputs: The features.
        targets: What is to be predicted, where it was given.
        scaler: The scaler, where it was given.
        reference: The reference's distributions, by the same names, where it was given.
        drift: How far the features lie from the reference; those without finite numbers are left out.
    """

    inputs: DataSet
    targets: DataSet | None = None
    scaler: ScalerParameters | None = None
    reference: DataSet | None = None
    drift: tuple[Drift, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; the reference is there by its drift alone."""
        return {
            "inputs": self.inputs.to_dict(),
            "targets": None if self.targets is None else self.targets.to_dict(),
            "scaler": None if self.scaler is None else self.scaler.to_dict(),
            "drift": [one.to_dict() for one in self.drift],
        }


def describe_data(
    inputs: Any,
    targets: Any = None,
    *,
    feature_names: Sequence[str] | None = None,
    scaler: Any = None,
    reference: Any = None,
    seed: int = 0,
) -> DataCharacteristics:
    """Describe data; nothing that is given changes.

    Args:
        inputs: Shape (n_samples, n_features), or more axes with the features last: an array, a tensor, a frame, a dict
            of columns. Of more than two million cells a sample of the rows is looked at.
        targets: The same for what is to be predicted.
        feature_names: Names for features that have none.
        scaler: A scaler of scikit-learn, a pipeline of them, or anything that keeps what it learned likewise.
        reference: Data of the same features, such as those of the training part, to measure drift against.
        seed: Of the samples.

    Raises:
        UsageError: Something is no data, or the reference has other features.
    """
    columns = columns_of(inputs, feature_names, seed=seed)
    other = None if reference is None else columns_of(reference, feature_names, seed=seed)
    target_columns = None if targets is None else columns_of(targets, _target_names(targets), seed=seed)
    return DataCharacteristics(
        inputs=_data_set(columns),
        targets=None if target_columns is None else _data_set(target_columns),
        scaler=None if scaler is None else scaler_parameters(scaler),
        reference=None if other is None else _data_set(other),
        drift=() if other is None else _drift(columns, other),
    )


def scaler_parameters(scaler: Any) -> ScalerParameters:
    """What a scaler was made with, and what it has learned: attributes that end with ``_``, as in scikit-learn."""
    if isinstance(scaler, Mapping):
        return ScalerParameters("dict", {}, {str(key): _bounded(value) for key, value in scaler.items()}, {})
    held = vars(scaler) if hasattr(scaler, "__dict__") else {}
    fitted = {
        name: _bounded(value)
        for name, value in held.items()
        if name.endswith("_") and not name.startswith("_") and name not in ("transformers_", "steps_")
    }
    settings = scaler.get_params(deep=False) if hasattr(scaler, "get_params") else {}
    plain = {name: _bounded(value) for name, value in settings.items() if name not in ("steps", "transformers")}
    inside = getattr(scaler, "steps", None) or getattr(scaler, "transformers_", None) or ()
    steps = {str(one[0]): scaler_parameters(one[1]) for one in inside if hasattr(one[1], "get_params")}
    return ScalerParameters(type(scaler).__name__, plain, fitted, steps)


def _bounded(value: Any) -> Any:
    size = getattr(value, "size", None)
    if isinstance(size, int) and size > _MOST_PARAMETERS:
        return f"array of shape {tuple(value.shape)}"
    return (
        value if isinstance(value, str | int | float | bool | None | list | tuple) or size is not None else str(value)
    )


def _data_set(columns: Columns) -> DataSet:
    return DataSet(
        columns.kind,
        columns.shape,
        columns.dtypes,
        columns.rows,
        columns.looked_at,
        columns.features,
        tuple(distribution(name, cells) for name, cells in columns.cells.items()),
    )


def _target_names(targets: Any) -> list[str] | None:
    shape = getattr(targets, "shape", None)
    if hasattr(targets, "columns") or isinstance(targets, Mapping) or getattr(targets, "name", None) is not None:
        return None
    width = shape[-1] if shape is not None and len(shape) > 1 else 1
    return ["target"] if width == 1 else [f"target_{place}" for place in range(width)]


def _drift(ours: Columns, theirs: Columns) -> tuple[Drift, ...]:
    lacking = [name for name in ours.cells if name not in theirs.cells]
    if lacking:
        raise UsageError(
            f"the reference lacks {len(lacking)} of the features, such as {lacking[0]!r}",
            hint="give data with the same columns",
        )
    found = (drift(name, cells, theirs.cells[name]) for name, cells in ours.cells.items())
    return tuple(one for one in found if one is not None)
