"""Metrics over the epochs of a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentnn.tracking.figures.axes import label, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from agentnn.tracking.capture.training_history import TrainingHistory

_MOST_PANELS = 12
_MOST_LINES = 6
_FEW_EPOCHS = 40
_VALIDATION = ("val", "valid", "test", "dev", "eval")


def training_curves(history: TrainingHistory) -> Figure:
    """A panel for each kind of metric, training and validation over each other.

    An error that falls by a factor of a hundred or more is drawn on a logarithmic scale. The lowest validation error
    is marked.

    Args:
        history: Any number of metrics; of more than 12 kinds the first ones are drawn.
    """
    kinds = history.panels()[:_MOST_PANELS]
    figure, axes = panels(len(kinds), columns=min(3, math.ceil(math.sqrt(len(kinds)))), size=(5.2, 3.6))
    for one, (kind, names) in zip(axes, kinds, strict=True):
        _draw(one, kind, names[:_MOST_LINES], history)
    return figure


def _draw(axes: Axes, kind: str, names: list[str], history: TrainingHistory) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn: list[float] = []
    for name in names:
        points = [(place + 1, value) for place, value in enumerate(history.series[name]) if _is_finite(value)]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        drawn += values
        [line] = axes.plot(epochs, values, marker="." if len(points) <= _FEW_EPOCHS else "", label=label(name))
        if "loss" in name.lower() and name.lower().startswith(_VALIDATION) and len(points) > 1:
            best = min(range(len(values)), key=lambda place: values[place])
            text = f"lowest: {values[best]:.4g} in epoch {epochs[best]}"
            axes.plot(
                epochs[best], values[best], "o", markersize=7, fillstyle="none", color=line.get_color(), label=text
            )
    if drawn and min(drawn) > 0 and max(drawn) / min(drawn) >= 100:
        axes.set_yscale("log")
    if len(axes.lines) > 1:
        axes.legend(frameon=False, fontsize="small")
    axes.set_ylabel(label(kind if len(names) > 1 else names[0]))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
