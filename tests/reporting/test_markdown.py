"""Markdown for a pull request: short, and nothing of a run's text is markup in it. The reader is markdown-it."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from reporting.examples import HOSTILE, comparison_report, example_reports

from agentnn.reporting.document import Fact, Figure, Figures, Missing, Report, Section, Source, Table, Text
from agentnn.reporting.markdown import render_markdown, safe, sparkline

READER = MarkdownIt("commonmark", {"html": True}).enable("table")
OUR_TAGS = re.compile(r"</?(?:sub|details|summary)>")


def tags_in(markdown: str) -> set[str]:
    """The elements that a page of it would have."""
    return set(re.findall(r"<([a-z0-9]+)", OUR_TAGS.sub("", READER.render(markdown))))


@pytest.mark.parametrize("kind", ["training", "study", "comparison"])
def test_hostile_names_stay_text(kind: str):
    markdown = render_markdown(example_reports()[kind])
    allowed = {"h2", "h3", "p", "ul", "li", "strong", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "hr"}
    assert tags_in(markdown) <= allowed
    assert "\x1b" not in markdown
    assert "\u202e" not in markdown


@given(st.text(alphabet=st.sampled_from("ab1 <>&*_`[]()!|~#+-=.:/@$\\\n\t\"'\u202e\x1b"), max_size=60))
def test_any_text_is_read_as_that_text(text: str):
    markdown = safe(text)
    assert "\n" not in markdown
    tokens = READER.parseInline(f"{markdown}")[0].children or []
    assert {token.type for token in tokens} <= {"text", "text_special"}
    read = "".join(token.content for token in tokens).replace("\u200b", "")
    assert read == " ".join(re.sub("[\u202e\x1b]", " ", text).split())


@pytest.mark.parametrize(
    "text", ["# big", "- item", "1. first", "===", "> quote", "    code", "+ more", "---", "| a |"]
)
def test_a_name_at_the_beginning_of_a_line_is_a_paragraph(text: str):
    assert READER.render(safe(text)).startswith("<p>")


def test_nobody_is_mentioned_and_nothing_is_linked():
    assert "@team" not in safe("thanks @team")
    assert "#12" not in safe("see #12")
    assert "http://" not in safe("http://evil.example")
    assert "www." not in safe("www.evil.example")


def test_a_report_of_a_thousand_runs_fits_into_a_comment():
    markdown = render_markdown(comparison_report(1000))
    assert len(markdown) < 20_000
    assert "12 of 1,000 rows, the best by sharpe" in markdown.replace("\\", "")


def test_figures_say_direction_delta_and_note():
    figures = Figures((Figure("loss", 0.25, "min", delta=-0.05, delta_to="the baseline", is_better=True, note="best"),))
    assert "- loss ↓: **0.25** (▲ -0.05 to the baseline; best)" in told(figures)


def test_a_table_of_many_rows_shows_the_best_ones():
    table = comparison_report(40).table("runs")
    values = sorted((row[3] for row in table.rows), reverse=True)
    lines = [line for line in told(table).splitlines() if line.startswith("| ")][2:]
    assert len(lines) == 12
    assert f"{values[0]:.4g}" in lines[0]
    assert f"{values[11]:.4g}" in lines[11]


def test_code_keeps_its_lines_and_can_not_end_its_fence():
    markdown = told(Text("a\n```\nb & <b>\n````", "Summary", "code"))
    assert READER.render(markdown).count("<code>") == 1
    assert "a\n```\nb &amp; &lt;b&gt;\n````" in READER.render(markdown)


def test_what_is_missing_is_one_line_at_the_end():
    lines = told(Missing("trades", "the backtest made none"), Missing("model", "none")).splitlines()
    assert lines[-3] == "<sub>Left out: trades (the backtest made none); model (none).</sub>"


def test_a_table_of_two_rows_is_whole():
    table = example_reports()["training"].table("config")
    small = Table("t", "T", table.columns[:2], tuple(row[:2] for row in table.rows[:2]))
    assert told(small).splitlines()[8:12] == [
        "| Key | Value |",
        "| --- | --- |",
        "| training.learning\\_rate | 0.003 |",
        "| training.epochs | 60 |",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "▁▂▃▄▅▆▇█"),
        ([1.0, 1.0], "▅▅"),
        ([0.0, None, 1.0], "▁ █"),
        ([None, None], ""),
        ([], ""),
        ([-1e308, 1e308], "▅▅"),
    ],
)
def test_a_sparkline_by_hand(values: list[float | None], expected: str):
    assert sparkline(values) == expected


def test_a_long_curve_has_24_characters():
    assert len(sparkline([math.sin(place / 50) for place in range(5000)])) == 24


def told(*blocks: object) -> str:
    report = Report("training", "t", "o", (Section("Metrics", "metrics", blocks),), Source("s", ("r",)))  # type: ignore[arg-type]
    return render_markdown(report)


def test_times_and_store_are_those_of_the_runs():
    source = Source("sqlite:///mlflow.db", ("a" * 32,), as_of="2026-01-01T00:00:00.000Z", version="9.9")
    report = Report("training", HOSTILE[0], "o", (), source, about=(Fact("Run", "a" * 32, "id"),))
    assert render_markdown(report) == render_markdown(replace(report))
    assert "agentnn 9.9 from sqlite" in render_markdown(report)
    assert "as of 2026-01-01T00:00:00.000Z" in render_markdown(report)
