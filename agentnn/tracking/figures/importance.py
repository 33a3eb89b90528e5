"""The features that a model relies on, as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.tracking.figures.axes import label, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from agentnn.tracking.capture.importance import FeatureImportance

_MOST_FEATURES = 30


def importance_bars(importance: FeatureImportance) -> Figure:
    """A bar for each feature, the most important one on top, with the deviation over the repeats.

    Args:
        importance: Any number of features; the 30 most important ones are drawn.
    """
    drawn = importance.features[:_MOST_FEATURES][::-1]
    figure, [axes] = panels(1, columns=1, size=(7.5, 1.4 + 0.28 * max(1, len(drawn))))
    deviations = [one.std for one in drawn] if importance.method == "permutation" else None
    axes.barh(
        range(len(drawn)),
        [one.mean for one in drawn],
        xerr=deviations,
        color=["tab:blue" if one.mean > 0 else "0.7" for one in drawn],
        error_kw={"elinewidth": 1, "ecolor": "0.3"},
    )
    axes.set_yticks(range(len(drawn)), [label(one.name) for one in drawn])
    axes.axvline(0, color="0.3", linewidth=0.9)
    axes.grid(visible=False, axis="y")
    more = len(importance.features) - len(drawn)
    axes.set_title(f"{more} less important features are not shown" if more else "", fontsize="small", loc="left")
    what = importance.score.removeprefix("neg_").replace("_", " ")
    if importance.method == "model":
        axes.set_xlabel(f"importance, as the {label(importance.score)} says itself")
    elif importance.score.startswith("neg_"):
        axes.set_xlabel(f"rise of the {what} when the feature is shuffled")
    else:
        axes.set_xlabel(f"fall of the {label(what)} when the feature is shuffled")
    return figure
