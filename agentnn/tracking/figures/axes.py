"""What the figures share: a sheet of panels, and how an axis looks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST_NAME = 40
_LEAST_WIDTH = 1e-9
_SHOWN_WIDTH = 0.05


def panels(count: int, *, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels in rows.

    Args:
        count: At least 1.
        columns: At most so many beside each other.
        size: Width and height of a panel in inches.
    """
    from matplotlib.figure import Figure

    columns = min(count, columns)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    found = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    for one in found:
        tidy(one)
    return figure, found


def tidy(axes: Axes) -> None:
    """A light grid, and no frame on the right and above."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def drawable(edges: Sequence[float]) -> list[float]:
    """The bounds of a histogram's bins; where all values are the same, of a bin that can be seen around them."""
    if len(edges) == 2 and edges[1] - edges[0] <= abs(edges[0]) * _LEAST_WIDTH:
        half = abs(edges[0]) * _SHOWN_WIDTH or 0.5
        return [edges[0] - half, edges[0] + half]
    return list(edges)


def label(name: str) -> str:
    """A name as it is written in a figure: not too long, and its dollar signs no formula."""
    name = "".join(char if char.isprintable() else "?" for char in name)
    return (name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…").replace("$", r"\$")
