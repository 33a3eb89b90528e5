"""Predicted against actual values, and the residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.tracking.capture.distributions import histogram
from agentnn.tracking.capture.sampling import chosen_rows
from agentnn.tracking.figures.axes import drawable, label, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from agentnn.tracking.capture.predictions import Predictions

_MOST_OUTPUTS = 4
_MOST_POINTS = 5000
_FEW_POINTS = 500


def predicted_against_actual(predictions: Predictions) -> Figure:
    """A row for each output: predicted over actual, and residuals over predicted and as a histogram.

    Args:
        predictions: Any number of samples; of more than 5000 a sample of them is drawn, the histogram has all. Of more
            than four outputs the first ones are drawn.
    """
    outputs = predictions.names[:_MOST_OUTPUTS]
    figure, axes = panels(3 * len(outputs), columns=3, size=(4.2, 3.8))
    places = chosen_rows(len(predictions.actual), _MOST_POINTS, 0)
    for row, name in enumerate(outputs):
        against, over, spread = axes[3 * row : 3 * row + 3]
        actual, predicted = predictions.actual[:, row], predictions.predicted[:, row]
        residuals = actual - predicted
        if places is not None:
            actual, predicted = actual[places], predicted[places]
        style: dict[str, Any] = {
            "s": 12,
            "alpha": 0.6 if len(actual) <= _FEW_POINTS else 0.2,
            "linewidths": 0,
            "color": "tab:blue",
        }
        bounds = (min(actual.min(), predicted.min()), max(actual.max(), predicted.max()))
        against.plot(bounds, bounds, color="0.3", linewidth=0.9, linestyle="--", label="predicted = actual")
        against.scatter(actual, predicted, **style)
        against.legend(frameon=False, fontsize="small")
        over.axhline(0, color="0.3", linewidth=0.9, linestyle="--")
        over.scatter(predicted, actual - predicted, **style)
        counts, edges = histogram(residuals)
        if counts:
            spread.stairs(counts, drawable(edges), fill=True, color="tab:blue", alpha=0.75)
        spread.axvline(0, color="0.3", linewidth=0.9, linestyle="--")
        after = "" if len(predictions.names) == 1 else f" ({label(name)})"
        _name(against, f"actual{after}", f"predicted{after}")
        _name(over, f"predicted{after}", "actual − predicted")
        _name(spread, "actual − predicted", "samples")
    shown = "   ".join(f"{key} {value:.4g}" for key, value in predictions.metrics.items())
    figure.suptitle(f"{len(predictions.actual):,} samples   {shown}", fontsize="medium")
    return figure


def _name(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
