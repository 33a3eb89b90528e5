"""What a model relies on, or a study depended on, as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.tracking.figures.axes import label, panels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from agentnn.tracking.capture.importance import FeatureImportance

_MOST_BARS = 30


def importance_bars(importance: FeatureImportance) -> Figure:
    """A bar for each feature, the most important one on top, with the deviation over the repeats.

    Args:
        importance: Any number of features; the 30 most important ones are drawn.
    """
    deviations = [one.std for one in importance.features] if importance.method == "permutation" else None
    figure, axes = _bars([(one.name, one.mean) for one in importance.features], "features", deviations)
    what = importance.score.removeprefix("neg_").replace("_", " ")
    if importance.method == "model":
        axes.set_xlabel(f"importance, as the {label(importance.score)} says itself")
    elif importance.score.startswith("neg_"):
        axes.set_xlabel(f"rise of the {what} when the feature is shuffled")
    else:
        axes.set_xlabel(f"fall of the {label(what)} when the feature is shuffled")
    return figure


def share_bars(shares: Mapping[str, float], metric: str) -> Figure:
    """A bar for each hyperparameter of a study, the most important one on top.

    Args:
        shares: By name, which add up to 1, the greatest one first; the 30 most important ones are drawn.
        metric: What the trials are judged by.
    """
    figure, axes = _bars([(name, 100 * share) for name, share in shares.items()], "hyperparameters")
    axes.set_xlabel(f"share in what the trials with the best {label(metric)} have in common (%)")
    return figure


def _bars(
    values: Sequence[tuple[str, float]], what: str, deviations: Sequence[float] | None = None
) -> tuple[Figure, Axes]:
    drawn = values[:_MOST_BARS][::-1]
    figure, [axes] = panels(1, columns=1, size=(7.5, 1.4 + 0.28 * max(1, len(drawn))))
    axes.barh(
        range(len(drawn)),
        [value for _, value in drawn],
        xerr=None if deviations is None else deviations[:_MOST_BARS][::-1],
        color=["tab:blue" if value > 0 else "0.7" for _, value in drawn],
        error_kw={"elinewidth": 1, "ecolor": "0.3"},
    )
    axes.set_yticks(range(len(drawn)), [label(name) for name, _ in drawn])
    axes.axvline(0, color="0.3", linewidth=0.9)
    axes.grid(visible=False, axis="y")
    more = len(values) - len(drawn)
    axes.set_title(f"{more} less important {what} are not shown" if more else "", fontsize="small", loc="left")
    return figure, axes
