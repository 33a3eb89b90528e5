"""A portfolio over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.tracking.backtests.equity_curve import EquityCurve, drawdowns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS = 4000
"""More than twice the pixels that the figure is wide."""


def equity_and_drawdown(curve: EquityCurve) -> Figure:
    """The curve above, how far it lies below its last peak beneath, over the same dates or periods.

    Args:
        curve: Any number of values; of more than 4000 those are drawn that can be seen, with every extreme.
    """
    from matplotlib.figure import Figure

    places = range(len(curve.values)) if curve.dates is None else curve.dates
    drawn = curve.landmarks(_MOST_POINTS)
    x = [places[index] for index in drawn]
    values = [curve.values[index] for index in drawn]
    falls = [100 * fall for fall in drawdowns(values)]
    figure = Figure(figsize=(10, 6), layout="constrained")
    above, beneath = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot(x, values, color="tab:blue", linewidth=1.2)
    above.set_ylabel("portfolio value")
    beneath.fill_between(x, falls, 0, color="tab:red", alpha=0.35, linewidth=0)
    beneath.plot(x, falls, color="tab:red", linewidth=0.8)
    beneath.set_ylabel("drawdown (%)")
    beneath.set_xlabel("period" if curve.dates is None else "date")
    for axes in (above, beneath):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
