"""Histograms of features, over those of a reference where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.tracking.figures.axes import drawable, label, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from agentnn.tracking.capture.data_characteristics import DataCharacteristics
    from agentnn.tracking.capture.distributions import Distribution

_MOST_PANELS = 20
_MOST_BARS = 8


def feature_distributions(data: DataCharacteristics) -> Figure | None:
    """A panel for each feature and target with values; ``None`` where there is none.

    With a reference, the features that lie farthest from it come first, and both are drawn as densities.

    Args:
        data: Any number of features; 20 are drawn.
    """
    reference = {one.name: one for one in data.reference.distributions} if data.reference else {}
    distances = {one.name: one.ks_statistic for one in data.drift}
    inputs = sorted(data.inputs.distributions, key=lambda one: -distances.get(one.name, 0.0))  # keeps equals in order
    targets = data.targets.distributions if data.targets else ()
    drawn = [one for one in (*targets, *inputs) if one.counts or one.values][:_MOST_PANELS]
    if not drawn:
        return None
    figure, axes = panels(len(drawn), columns=4, size=(3.4, 2.6))
    for one, axis in zip(drawn, axes, strict=True):
        other = reference.get(one.name) if not any(one is target for target in targets) else None
        if one.counts:
            _bins(axis, one, other)
        else:
            _bars(axis, one)
        distance = f"   KS {distances[one.name]:.3f}" if other is not None and one.name in distances else ""
        missing = f"   {one.missing:,} missing" if one.missing else ""
        axis.set_title(f"{label(one.name)}{distance}{missing}", fontsize="small", loc="left")
        axis.tick_params(labelsize="small")
    compared = [axis for axis in axes if axis.get_legend_handles_labels()[0]]
    if compared:
        figure.legend(*compared[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _bins(axes: Axes, ours: Distribution, theirs: Distribution | None) -> None:
    if theirs is None or not theirs.counts:
        axes.stairs(ours.counts, drawable(ours.edges), fill=True, color="tab:blue", alpha=0.75)
        return
    axes.stairs(_density(theirs), drawable(theirs.edges), fill=True, color="0.75", label="reference")
    axes.stairs(_density(ours), drawable(ours.edges), color="tab:blue", linewidth=1.4, label="this data")


def _density(one: Distribution) -> list[float]:
    total, edges = sum(one.counts), drawable(one.edges)
    return [
        count / total / (after - before) for count, before, after in zip(one.counts, edges, edges[1:], strict=False)
    ]


def _bars(axes: Axes, ours: Distribution) -> None:
    shown = ours.values[:_MOST_BARS][::-1]
    axes.barh([label(name)[:18] for name, _ in shown], [count for _, count in shown], color="tab:blue", alpha=0.75)
    axes.grid(visible=False, axis="y")
