"""A report as plain data: what it says, and nothing of how it looks.

Three builders (:mod:`~agentnn.reporting.training`, :mod:`~agentnn.reporting.study`,
:mod:`~agentnn.reporting.comparison`) make a :class:`Report`; three renderers (HTML, Markdown, JSON) show it. All text
in it comes from stores and is data: a renderer escapes every word of it.

A cell or a value is a finite number, text, a truth value or nothing. What is not finite is the text ``NaN``,
``Infinity`` or ``-Infinity`` (see :func:`cell`), so that a document equals itself and fits JSON; in the points of a
chart it is ``None``, a gap.

Charts of many rows (:class:`ScatterChart`, :class:`ParallelChart`, :class:`ContourChart`) hold no numbers: they name
the columns of a :class:`Table` of the same report, which is in the file once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
"""Of the JSON form; a reader refuses a greater one."""

Kind = Literal["training", "study", "comparison"]
Cell = float | int | str | bool | None
Point = float | None
Abscissa = float | str | None
"""A number, or an ISO 8601 date or time where the axis says ``date``."""

Direction = Literal["max", "min"]
Shape = Literal["text", "number", "percent", "time", "duration", "id", "code"]
"""How a value is shown: a fraction as per cent, seconds as a duration, an id shortened, code in a fixed pitch."""


def cell(value: float | int | str | bool | None) -> Cell:
    """A value as a cell: what is not finite becomes ``NaN``, ``Infinity`` or ``-Infinity``."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@dataclass(frozen=True, slots=True)
class Figure:
    """One key figure.

    Attributes:
        name: What it is.
        value: Its value.
        direction: Whether greater or smaller is better; ``None`` where nobody says.
        shape: How it is shown.
        unit: What it is measured in.
        digits: Decimal places that are shown; ``None`` for about four significant digits.
        delta: The value less that of ``delta_to``.
        delta_to: What it is compared with, in words.
        is_better: Whether the delta is for the better; ``None`` where that can't be said.
        note: One line below it, such as ``best at epoch 12``.
    """

    name: str
    value: Cell
    direction: Direction | None = None
    shape: Shape = "number"
    unit: str = ""
    digits: int | None = None
    delta: float | None = None
    delta_to: str = ""
    is_better: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """Key figures side by side."""

    items: tuple[Figure, ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        key: Its name in the table, such as ``metrics.loss``; unique there.
        title: Its heading.
        shape: How its cells are shown; ``number``, ``percent`` and ``duration`` are aligned to the right. A text in
            such a column is a value that is not finite, or a param that is no number: it sorts behind the numbers.
        direction: Whether greater or smaller is better.
        unit, digits: See :class:`Figure`.
        group: What columns belong together, such as ``param`` and ``metric``.
        note: More about it, in one line.
        is_signed: Whether a plus sign is shown, as for a difference.
    """

    key: str
    title: str
    shape: Shape = "text"
    direction: Direction | None = None
    unit: str = ""
    digits: int | None = None
    group: str = ""
    note: str = ""
    is_signed: bool = False


MarkKind = Literal["best", "better", "worse", "changed", "wrong"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What is to be said of one cell, by more than its colour: the best of its kind, better or worse than the baseline,
    changed by its user, or wrong (a failed trial, a metric that is not finite)."""

    row: int
    column: int
    kind: MarkKind


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        id: Its name in the report, a plain word; charts refer to it.
        title: Its heading.
        columns: Its columns.
        rows: Its rows, each with a cell for every column.
        marks: What is to be said of single cells.
        is_sortable, is_filterable: Whether the page offers that.
        is_collapsed: Whether it is folded up at first.
        is_heading_first: Whether the first column names the rows.
        note: What a reader must know, such as how many rows are left out.
    """

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    marks: tuple[Mark, ...] = ()
    is_sortable: bool = True
    is_filterable: bool = False
    is_collapsed: bool = False
    is_heading_first: bool = True
    note: str = ""

    def place(self, key: str) -> int:
        """The place of a column."""
        return next(place for place, column in enumerate(self.columns) if column.key == key)

    def column(self, key: str) -> list[Cell]:
        """The cells of a column."""
        place = self.place(key)
        return [row[place] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Attributes:
        name: What it is called in the legend.
        y: Its points; ``None`` is a gap.
        x: Where they are; the chart's ``x`` when ``None``.
        low, high: A band around it, such as a standard deviation to each side.
        group: Series of one group share a colour, such as ``train_loss`` and ``val_loss`` of one run.
        style: ``line``, ``dash``, ``points``, or ``steps`` that keep their value until the next.
        is_main: Whether it stands out, such as the baseline.
        points: How many points there were before it was thinned; ``None`` where all are here.
    """

    name: str
    y: tuple[Point, ...]
    x: tuple[Abscissa, ...] | None = None
    low: tuple[Point, ...] | None = None
    high: tuple[Point, ...] | None = None
    group: str = ""
    style: Literal["line", "dash", "points", "steps"] = "line"
    is_main: bool = False
    points: int | None = None


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over steps or dates.

    Attributes:
        id: A plain word, unique in the report.
        title: Its heading.
        summary: What it shows, in one sentence for those who can't see it.
        series: The lines.
        x: Where the points of all series are that have none of their own.
        x_title, y_title: Of the axes.
        x_shape: ``number`` or ``date``.
        y_shape: ``number`` or ``percent``.
        is_log_y: Whether the axis is logarithmic at first.
        can_log: Whether the page offers logarithmic axes.
        can_smooth: Whether the page offers to smooth the lines (an exponential moving average, drawn over the points).
        is_filled: Whether the area to zero is filled, as for drawdowns.
        note: What a reader must know, such as what is left out.
    """

    id: str
    title: str
    summary: str
    series: tuple[Series, ...]
    x: tuple[Abscissa, ...] = ()
    x_title: str = "step"
    y_title: str = ""
    x_shape: Literal["number", "date"] = "number"
    y_shape: Literal["number", "percent"] = "number"
    is_log_y: bool = False
    can_log: bool = False
    can_smooth: bool = False
    is_filled: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars, each with its label; horizontal, in the order given (the first at the top)."""

    id: str
    title: str
    summary: str
    labels: tuple[str, ...]
    values: tuple[Point, ...]
    errors: tuple[Point, ...] | None = None
    value_title: str = ""
    value_shape: Literal["number", "percent"] = "number"
    note: str = ""


@dataclass(frozen=True, slots=True)
class HeatTable:
    """A table whose cells are coloured by their value, such as monthly returns: red below zero, green above, and the
    number in each cell. The last ``totals`` columns are apart and not coloured by the same scale."""

    id: str
    title: str
    summary: str
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    values: tuple[tuple[Point, ...], ...]
    shape: Literal["number", "percent"] = "number"
    totals: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScatterChart:
    """The rows of a table by two of its columns.

    Attributes:
        table: The table's ``id``.
        x, y: The columns that are shown first.
        choices: The columns that a reader may choose for either axis.
        colour: The column that colours the points; a reader may choose it, too.
        label: The column that names a point.
        panels: Where it is not empty: one small panel beside the other for each of these columns as ``x``, all with the
            same ``y`` (slices); there is nothing to choose then.
        log_columns: The columns whose axis is logarithmic.
        main_row: A row that stands out, such as the best trial.
    """

    id: str
    title: str
    summary: str
    table: str
    x: str
    y: str
    choices: tuple[str, ...] = ()
    colour: str | None = None
    label: str | None = None
    panels: tuple[str, ...] = ()
    log_columns: tuple[str, ...] = ()
    main_row: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ParallelChart:
    """The rows of a table as lines through parallel axes; rows without a number in ``colour`` are left out.

    Attributes:
        table: The table's ``id``.
        columns: The axes; one of texts shows each text once.
        colour: The last axis, which colours the lines.
        direction: Which of its ends is the better one.
        log_columns: The columns whose axis is logarithmic.
    """

    id: str
    title: str
    summary: str
    table: str
    columns: tuple[str, ...]
    colour: str
    direction: Direction | None = None
    log_columns: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class ContourChart:
    """The level of one column over two others: the points are the table's rows, the levels between them interpolated.

    The columns are numbers; ``direction`` says which levels of ``value`` are the better ones.
    """

    id: str
    title: str
    summary: str
    table: str
    x: str
    y: str
    value: str
    direction: Direction | None = None
    log_columns: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A bar of a timeline: from when to when, ISO 8601; ``end`` is ``None`` while it lasts."""

    label: str
    start: str
    end: str | None
    state: str


@dataclass(frozen=True, slots=True)
class TimelineChart:
    """What ran when; spans of one state (``complete``, ``pruned``, ``failed``, ``running``) share a colour."""

    id: str
    title: str
    summary: str
    spans: tuple[Span, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """Text: ``prose`` is a paragraph, ``code`` (a command, a summary, a diff) keeps its lines and can be copied."""

    text: str
    title: str = ""
    style: Literal["prose", "code"] = "prose"
    is_collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What is left out, and why; with what would bring it, where that is known."""

    what: str
    why: str


Chart = LineChart | BarChart | HeatTable | ScatterChart | ParallelChart | ContourChart | TimelineChart
Block = Figures | Table | Chart | Text | Missing


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report; ``anchor`` is a plain word, unique in the report."""

    title: str
    anchor: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Declared:
    """What the project declared of a metric, or of the metrics that a pattern fits; see :mod:`agentnn.conventions`."""

    metric: str
    direction: Direction | None = None
    unit: str = ""
    digits: int | None = None
    convention: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a report comes from: enough to build it again.

    Attributes:
        store: The tracking URI, without any password.
        runs: The ids of the runs that it is about, in the order in which they were asked for; of a study its parent.
        baseline: The run that others are compared with.
        metric: What the trials of a study are judged by, where it was asked for.
        declared: What the project declared of its metrics.
        as_of: The latest time in the runs, ISO 8601: the report knows nothing later.
        version: The version of agentnn that made it.
        digest: SHA-256 of the whole report, with this empty: who finds another one has a report that was changed.
    """

    store: str
    runs: tuple[str, ...]
    baseline: str | None = None
    metric: str | None = None
    declared: tuple[Declared, ...] = ()
    as_of: str | None = None
    version: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the report's head, such as the experiment and when the run began."""

    name: str
    value: Cell
    shape: Shape = "text"


@dataclass(frozen=True, slots=True)
class Report:
    """A report.

    Attributes:
        kind: What it is about.
        title: Its heading, such as the run's name.
        outcome: What came of it, in one line.
        state: ``good`` (done), ``open`` (still running), ``bad`` (failed, killed) or ``mixed``.
        about: The lines of its head.
        sections: Its parts.
        source: Where it comes from.
    """

    kind: Kind
    title: str
    outcome: str
    sections: tuple[Section, ...]
    source: Source
    state: Literal["good", "open", "bad", "mixed"] = "good"
    about: tuple[Fact, ...] = field(default=())

    def blocks(self) -> Iterator[Block]:
        """Every block, from the first section to the last."""
        for section in self.sections:
            yield from section.blocks

    def table(self, id: str) -> Table:
        """The table of this id.

        Raises:
            KeyError: There is none.
        """
        for block in self.blocks():
            if isinstance(block, Table) and block.id == id:
                return block
        raise KeyError(id)
