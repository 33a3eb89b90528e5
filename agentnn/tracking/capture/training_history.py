"""What a training loop gives back: values of several metrics, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentnn.errors import UsageError
from agentnn.values.plain import as_number
from agentnn.values.tabular import items_of


@dataclass(frozen=True, slots=True)
class TrainingHistory:
    """Values by metric and epoch.

    Attributes:
        series: By metric, a value an epoch; ``None`` where there was none.
    """

    series: Mapping[str, tuple[float | None, ...]]

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return max((len(values) for values in self.series.values()), default=0)

    def panels(self) -> list[tuple[str, list[str]]]:
        """Metrics of one kind, which are drawn over each other: ``train_loss``, ``loss`` and ``val_loss``."""
        found: dict[str, list[str]] = {}
        for name in self.series:
            found.setdefault(_kind(name), []).append(name)
        return list(found.items())

    def table(self) -> dict[str, list[Any]]:
        """Columns, the epochs from 1 among them."""
        padded = {name: [*values, *[None] * (self.epochs - len(values))] for name, values in self.series.items()}
        return {"epoch": list(range(1, self.epochs + 1)), **padded}


def read_history(history: Any) -> TrainingHistory:
    """Read a history; what is not numbers is left out.

    Args:
        history: A mapping of lists, a list of mappings, a frame, or an object whose ``history`` is one of them.

    Raises:
        UsageError: It is none of these, or holds no number.
    """
    given = getattr(history, "history", history)
    if hasattr(given, "to_dict") and hasattr(given, "columns"):
        given = given.to_dict(orient="list")
    if isinstance(given, Sequence) and given and all(isinstance(one, Mapping) for one in given):
        given = {name: [one.get(name) for one in given] for name in dict.fromkeys(key for one in given for key in one)}
    if not isinstance(given, Mapping):
        raise UsageError(f"a {type(history).__name__} is no training history", hint="give lists by name of the metric")
    series = {str(name): _numbers(values) for name, values in given.items()}
    kept = {
        name: values for name, values in series.items() if any(one is not None for one in values) and name != "epoch"
    }
    if not kept:
        raise UsageError("the training history holds no numbers", hint="give lists of numbers by name of the metric")
    return TrainingHistory(kept)


def _numbers(values: Any) -> tuple[float | None, ...]:
    items = items_of(values)
    return () if items is None else tuple(as_number(one) for one in items)


def _kind(name: str) -> str:
    lowered = name.lower()
    for word in ("train", "training", "val", "valid", "validation", "test", "dev", "eval"):
        for sign in ("_", "/", ".", "-"):
            if lowered.startswith(word + sign):
                return name[len(word) + 1 :]
            if lowered.endswith(sign + word):
                return name[: -len(word) - 1]
    return name
