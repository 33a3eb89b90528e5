"""What a page must know of its charts before a browser draws them.

The drawing itself is done in the browser, by ``templates/*.js``, from the report that the page carries.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from agentnn.reporting.document import (
    BarChart,
    Chart,
    ContourChart,
    HeatTable,
    LineChart,
    ParallelChart,
    ScatterChart,
    TimelineChart,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentnn.reporting.document import Block, Point, Report

_BY_PLOTLY = (BarChart, ContourChart, LineChart, ScatterChart, TimelineChart)
_HEAT_STEPS = 5


def is_chart(block: Block) -> bool:
    """Whether a block is a chart."""
    return isinstance(block, Chart)


def needs_plotly(report: Report) -> bool:
    """Whether any chart is drawn by Plotly."""
    return any(isinstance(block, _BY_PLOTLY) for block in report.blocks())


def needs_script(block: Block) -> bool:
    """Whether a block is nothing without a script."""
    return isinstance(block, (*_BY_PLOTLY, ParallelChart))


def grouped(blocks: Iterable[Block]) -> Iterator[tuple[bool, list[Block]]]:
    """The blocks, with learning curves that follow one another together: they share their controls."""
    for are_lines, found in groupby(blocks, lambda block: isinstance(block, LineChart) and block.x_shape == "number"):
        together = list(found)
        if are_lines and any(block.can_smooth for block in together if isinstance(block, LineChart)):
            yield True, together
        else:
            yield from ((False, [block]) for block in together)


def heat_steps(table: HeatTable) -> list[list[int]]:
    """How much of a colour each cell has: from -5 (far below zero) to 5 (far above); 0 has none.

    The total columns have a scale of their own.
    """
    edge = len(table.column_labels) - table.totals
    parts = [[row[:edge] for row in table.values], [row[edge:] for row in table.values]]
    scales = [max((abs(value) for row in part for value in row if value is not None), default=0.0) for part in parts]
    return [[_step(value, scales[place >= edge]) for place, value in enumerate(row)] for row in table.values]


def _step(value: Point, scale: float) -> int:
    if not value or not scale:
        return 0
    step = max(1, round(abs(value) / scale * _HEAT_STEPS))
    return step if value > 0 else -step
