"""What a page is told of its charts and tables before it is written."""

from __future__ import annotations

from agentnn.reporting.charts import grouped, heat_steps, needs_plotly
from agentnn.reporting.document import (
    BarChart,
    Column,
    HeatTable,
    LineChart,
    Mark,
    ParallelChart,
    Report,
    Section,
    Series,
    Source,
    Table,
    Text,
)
from agentnn.reporting.page_tables import shown_table


def line(id: str, *, can_smooth: bool = False, is_dated: bool = False) -> LineChart:
    """A small line chart."""
    shape = "date" if is_dated else "number"
    return LineChart(id, id, "It goes.", (Series("a", (1.0,)),), can_smooth=can_smooth, x_shape=shape)


def test_learning_curves_that_follow_one_another_share_their_controls() -> None:
    a, b, mean = line("a", can_smooth=True), line("b", can_smooth=True), line("m")
    equity, words = line("e", is_dated=True), Text("x")
    found = list(grouped([a, mean, b, equity, words, a]))
    assert found == [(True, [a, mean, b]), (False, [equity]), (False, [words]), (True, [a])]
    assert list(grouped([mean, mean])) == [(False, [mean]), (False, [mean])]


def test_a_heat_table_is_coloured_by_sign_and_size_and_its_totals_by_themselves() -> None:
    months = ("Jan", "Feb", "Mar", "Apr", "Year")
    table = HeatTable("h", "H", "It is.", ("2024",), months, ((0.1, -0.1, 0.02, None, 2.0),), totals=1)
    assert heat_steps(table) == [[5, -5, 1, 0, 5]]
    assert heat_steps(HeatTable("h", "H", "It is.", ("2024",), ("Jan",), ((0.0,),))) == [[0]]


def test_parallel_coordinates_alone_need_no_plotly() -> None:
    def report(*blocks: object) -> Report:
        return Report("study", "S", "Done.", (Section("P", "p", blocks),), Source("x", ()))  # type: ignore[arg-type]

    assert not needs_plotly(report(ParallelChart("p", "P", "It is.", "t", ("a",), "b")))
    assert needs_plotly(report(BarChart("b", "B", "It is.", ("a",), (1.0,))))


def test_a_table_says_how_each_cell_looks() -> None:
    columns = (
        Column("name", "Run"),
        Column("id", "Id", "id"),
        Column("metrics.loss", "loss", "number", "min", group="metric"),
        Column("delta.loss", "Δ loss", "number", group="delta", is_signed=True),
        Column("note", "Note", "text", group="tag"),
    )
    rows = (("a", "0123456789", 0.25, None, "x" * 40), ("b", "1123456789", 0.2, -0.05, "y"))
    view = shown_table(Table("t", "T", columns, rows, (Mark(1, 2, "best"), Mark(1, 3, "better"))))
    assert view.groups == [("", 2), ("Metrics", 2), ("Tags", 1)]
    assert [heading.cell for heading in view.headings] == ["short", "code short", "n", "n", ""]
    assert view.headings[2].digits == 2
    assert [(cell.text, cell.look, cell.mark) for cell in view.rows[1]] == [
        ("b", "short", ""),
        ("11234567", "code short", ""),
        ("0.20", "n best", "best"),
        ("-0.05", "n better fall", "better"),
        ("y", "", ""),
    ]
    assert view.rows[0][1].full == "0123456789"
    assert view.rows[0][3].look == "n nothing"
