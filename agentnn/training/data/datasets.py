"""From ``config.data`` to samples in three parts: the built-in series, or a CSV or Parquet file of one's own.

A sample of day ``t`` holds the features of the days ``t - window + 1`` to ``t``. Its target lies ``horizon`` days
ahead: the return from the close of ``t`` to that of ``t + horizon``, or the value that a column has then. Nothing of a
sample but its target and the return that it would have earned depends on a later row, and the standardisation is that
of the training part alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from agentnn.errors import UsageError
from agentnn.training.data.learning_columns import closes_of, features_of, target_of
from agentnn.training.data.prices import Samples, Standardisation, chronological_split, embargo_days
from agentnn.training.data.source_tables import read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from agentnn.config.schema import DataSection
    from agentnn.training.data.learning_columns import Features, Target, Task
    from agentnn.training.data.prices import Split
    from agentnn.training.data.source_tables import SourceTable

PART_NAMES = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Samples, the oldest first.

    Attributes:
        dates: The day of each sample, shape (n,); the number of its row where the data have no dates.
        inputs: Raw features of the days up to and including that day, shape (n, window, features).
        targets: What is to be predicted, shape (n, 1): 1.0 or 0.0, a number, or, where the loss is ``cross_entropy``,
            the number of a class as an integer.
        next_returns: The simple return from the close of the day to that of the next, shape (n,); ``None`` where the
            data have no prices.
        next_dates: The day after each, shape (n,).
    """

    dates: NDArray[Any]
    inputs: NDArray[np.float32]
    targets: NDArray[Any]
    next_returns: NDArray[np.float64] | None
    next_dates: NDArray[Any]

    def __len__(self) -> int:
        return len(self.dates)

    def slice(self, place: slice) -> Part:
        """Some of the samples."""
        returns = None if self.next_returns is None else self.next_returns[place]
        return Part(self.dates[place], self.inputs[place], self.targets[place], returns, self.next_dates[place])


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What a network is trained, chosen and judged on.

    Attributes:
        name: What it is called in a run.
        feature_names: Of the last axis of the inputs.
        train: The first part.
        validation: The second part.
        test: The last part.
        standardisation: Mean and deviation of the training part; ``None`` where the features are taken as they are.
        digest: SHA-256 of the source: the bytes of the file, or the built-in arrays.
        task: What is predicted.
        loss: ``training.loss``, or what suits the task where the configuration does not say it.
        embargo: Samples that were left out between two parts.
        description: Facts for the run: source, target, days of each part.
    """

    name: str
    feature_names: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    standardisation: Standardisation | None
    digest: str
    task: Task
    loss: str
    embargo: int = 0
    description: dict[str, Any] = field(default_factory=dict)

    @property
    def window(self) -> int:
        """Days of features that a sample holds."""
        return int(self.train.inputs.shape[1])


def load_dataset(data: DataSection, output_dim: int = 1, loss: str | None = None) -> Dataset:
    """Read and cut the data that a configuration names.

    Args:
        data: The section ``data`` of a configuration.
        output_dim: Values that the network gives.
        loss: ``training.loss``: it says whether returns or their direction, numbers or classes are predicted.

    Raises:
        NotFoundError: There is no such file.
        UsageError: The file's columns, or how much there is of them, don't fit the configuration.
        CorruptDataError: The file can't be read, or holds what can't be: gaps, text, dates out of order.
    """
    table = read_table(data)
    features = features_of(table, data)
    target = target_of(table, data, output_dim, loss)
    samples = _samples(table, features, target, closes_of(table, data), data.window)
    embargo = embargo_days(data.window, target.horizon, features.look_back) if data.embargo is None else data.embargo
    split = _split(table, data, len(samples), embargo)
    train, validation, test = (samples.slice(getattr(split, name)) for name in PART_NAMES)
    return Dataset(
        table.name,
        features.names,
        train,
        validation,
        test,
        standardisation=_standardisation(train) if data.standardise else None,
        digest=table.digest,
        task=target.task,
        loss=target.loss,
        embargo=embargo,
        description=_facts(table, data, features, target, embargo, (train, validation, test)),
    )


def _samples(
    table: SourceTable, features: Features, target: Target, closes: NDArray[np.float64] | None, window: int
) -> Part:
    """Every sample that has all of its features behind it, and its target and the next close ahead."""
    rows = len(table)
    first = features.look_back + window - 1
    end = rows - max(target.horizon, 0 if closes is None else 1)
    if end <= first:
        raise UsageError(
            f"{rows:,} rows of {table.source} are too few: one sample takes {first + rows - end + 1:,}",
            hint=f"{features.look_back} that its features reach back, {window} of its window, {rows - end} ahead",
        )
    values = features.values[features.look_back : end].astype(np.float32)
    windows = sliding_window_view(values, window, axis=0).transpose(0, 2, 1).copy(order="C")
    dates = table.dates if table.dates is not None else np.arange(table.first_row, table.first_row + rows)
    return Part(
        dates[first:end],
        windows,
        target.values[first:end].astype(np.int64 if target.loss == "cross_entropy" else np.float32)[:, None],
        None if closes is None else closes[first + 1 : end + 1] / closes[first:end] - 1,
        np.append(dates, dates[-1:])[first + 1 : end + 1],
    )


def _split(table: SourceTable, data: DataSection, n_samples: int, embargo: int) -> Split:
    shares = data.split
    try:
        return chronological_split(n_samples, shares.train, shares.validation, shares.test, embargo)
    except UsageError as error:
        raise UsageError(
            f"{table.source} gives {n_samples:,} samples: too few for three parts with {embargo} left out between them",
            hint="a smaller data.window or data.embargo, another data.split, or more rows",
        ) from error


def _standardisation(train: Part) -> Standardisation:
    """That of the training part, and of nothing else."""
    return Standardisation.fit(Samples(train.dates, train.inputs, np.zeros(len(train))))


def _facts(
    table: SourceTable, data: DataSection, features: Features, target: Target, embargo: int, parts: Sequence[Part]
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": table.name,
        "source": table.source if data.path else f"built in: {table.source}",
        "digest": table.digest,
        "rows": len(table),
        "features": ", ".join(features.names),
        "target": target.name,
        "task": target.task,
        "loss": target.loss,
        "embargo": embargo,
    }
    for name, part in zip(PART_NAMES, parts, strict=True):
        facts[f"{name}_samples"] = len(part)
        if table.dates is not None:
            facts[f"{name}_start"], facts[f"{name}_end"] = str(part.dates[0]), str(part.dates[-1])
    return facts
