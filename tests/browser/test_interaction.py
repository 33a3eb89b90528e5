"""What a reader can do with a report: look closer, choose, sort, filter, change the light."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from browser.pages import new_context, open_report, written
from reporting.examples import MARKUP, SCRIPT, comparison_report, training_report

from agentnn.reporting.document import Column, LineChart, Report, Section, Series, Source, Table
from agentnn.reporting.html import render_html
from agentnn.reporting.page_tables import shown_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from browser.pages import OpenedReport
    from playwright.sync_api import Browser, Locator


def test_the_pointer_shows_the_values_of_a_curve(opened: Callable[[str], OpenedReport]) -> None:
    report = opened("training")
    figure = report.chart("loss")
    text = hover(figure, 0.05)
    assert "train_loss" in text
    assert "val_loss" in text
    assert re.search(r"epoch \d+", text)
    assert re.search(r"0\.\d{2,}|1\.\d+", text)


def test_the_pointer_shows_a_name_that_is_markup_as_it_is(opened: Callable[[str], OpenedReport]) -> None:
    figure = opened("training").chart("importance")
    bar = figure.locator(".bars path").nth(2)
    bar.hover(force=True)
    text = figure.locator(".hoverlayer").text_content() or ""
    assert SCRIPT[:30] in text
    study = opened("study").chart("slices")
    points = study.locator(".scatterlayer .point")
    points.last.scroll_into_view_if_needed()
    study.locator(".scatterlayer .trace").nth(4).locator(".point").first.hover(force=True)
    text = study.locator(".hoverlayer").text_content() or ""
    assert "optimizer" in text
    assert "<b" in text or "adam" in text or "sgd" in text
    assert study.locator(".hoverlayer a, .hoverlayer img").count() == 0


def hover(figure: Locator, share: float) -> str:
    """What is told where the pointer is, at a share of the plot's width."""
    area = figure.locator(".nsewdrag").first.bounding_box()
    assert area is not None
    figure.page.mouse.move(area["x"] + area["width"] * share, area["y"] + area["height"] / 2)
    figure.page.mouse.move(area["x"] + area["width"] * (share + 0.01), area["y"] + area["height"] / 2)
    label = figure.locator(".hoverlayer .legend, .hoverlayer .hovertext").first
    label.wait_for()
    return "\n".join(figure.locator(".hoverlayer text").all_text_contents())


def test_a_logarithmic_axis_comes_and_goes(opened: Callable[[str], OpenedReport]) -> None:
    report = opened("training")
    report.chart("loss")
    button = report.page.locator("#curves").get_by_role("button", name="Log scale")
    assert report.layout("loss", "yaxis.type") == "linear"
    button.click()
    assert report.layout("loss", "yaxis.type") == "log"
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert report.layout("loss", "yaxis.type") == "linear"


def test_smoothing_draws_an_average_over_the_points(opened: Callable[[str], OpenedReport]) -> None:
    report = opened("training")
    report.chart("loss")
    raw = report.traces("loss", "y")
    report.page.get_by_label("Smoothing").fill("0.9")
    smooth = report.traces("loss", "y")
    assert len(raw) == 3
    assert len(smooth) == 5  # of the series of points none is made
    assert smooth[0] == raw[0]
    assert smooth[1] == pytest.approx(moving_average(raw[0], 0.9))
    report.page.get_by_label("Smoothing").fill("0")
    assert report.traces("loss", "y") == raw


def moving_average(values: list[float], weight: float) -> list[float]:
    """By its definition: the mean of all values so far, each weighed by how long ago it was."""
    averages = []
    for end in range(1, len(values) + 1):
        weights = [weight ** (end - 1 - place) for place in range(end)]
        averages.append(sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights))
    return averages


def test_zoom_and_back(opened: Callable[[str], OpenedReport]) -> None:
    report = opened("training")
    figure = report.chart("equity")
    before = report.layout("equity", "xaxis.range")
    area = figure.locator(".nsewdrag").first.bounding_box()
    assert area is not None
    mouse = report.page.mouse
    mouse.move(area["x"] + 100, area["y"] + 50)
    mouse.down()
    mouse.move(area["x"] + 300, area["y"] + 52, steps=4)
    mouse.up()
    reset = figure.get_by_role("button", name="Reset zoom")
    reset.wait_for()
    assert report.layout("equity", "xaxis.range") != before
    reset.click()
    assert report.layout("equity", "xaxis.range") == before
    assert not reset.is_visible()


def test_a_legend_hides_and_shows_its_line(opened: Callable[[str], OpenedReport]) -> None:
    report = opened("comparison")
    entry = report.chart("equity").get_by_role("button", name="run-0")
    entry.click()
    assert report.traces("equity", "visible").count(False) == 1
    assert entry.get_attribute("aria-pressed") == "false"
    entry.click()
    assert report.traces("equity", "visible").count(False) == 0


def test_any_two_columns_can_be_chosen(opened: Callable[[str], OpenedReport]) -> None:
    report = opened("comparison")
    figure = report.chart("scatter")
    assert report.layout("scatter", "xaxis.type") == "log"
    figure.get_by_label("X axis", exact=True).select_option("metrics.val_loss")
    assert report.layout("scatter", "xaxis.title.text") == "val_loss"
    assert report.layout("scatter", "xaxis.type") == "linear"
    assert len(report.traces("scatter", "x")[0]) == 11  # one is not a number
    figure.get_by_label("X axis", exact=True).select_option("params.optimizer")
    assert set(report.layout("scatter", "xaxis.ticktext")) == {"adam", "sgd"}
    assert figure.get_by_label("Log scale of the x axis").is_disabled()
    figure.get_by_label("Colour").select_option("metrics.sharpe_ratio")
    figure.get_by_label("Log scale of the y axis").click()
    assert report.layout("scatter", "yaxis.type") == "log"
    figure.get_by_label("Log scale of the y axis").click()
    figure.get_by_label("Colour").select_option("")
    figure.get_by_label("X axis", exact=True).select_option("params.lr")


def test_a_table_sorts_the_best_first_then_the_worst_then_not_at_all(opened: Callable[[str], OpenedReport]) -> None:
    report = opened("study")
    heading = report.page.locator("#table-trials thead th", has_text="val_loss")
    button = heading.get_by_role("button")
    unsorted = report.column("trials", 2)
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"  # less is better
    ascending = numbers(report.column("trials", 2))
    assert ascending[0] == min(ascending)
    assert ascending == sorted(ascending)
    assert report.column("trials", 2)[-1] == "–"
    button.click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert numbers(report.column("trials", 2)) == sorted(ascending, reverse=True)
    assert report.column("trials", 2)[-1] == "–"
    button.click()
    assert heading.get_attribute("aria-sort") is None
    assert report.column("trials", 2) == unsorted


def numbers(texts: list[str]) -> list[float]:
    """The numbers among the texts of cells."""
    return [float(text.split("\n")[0]) for text in texts if text != "–"]


def test_what_is_no_number_sorts_behind_the_numbers(opened: Callable[[str], OpenedReport]) -> None:
    report = opened("comparison")
    button = report.page.locator("#table-runs").get_by_role("button", name="val_loss")
    for _ in range(2):
        button.click()
        assert report.column("runs", 5)[-1].startswith("NaN")
    button.click()


@pytest.mark.parametrize(
    ("typed", "count"), [("adam", None), ("SGD complete", None), ("val_loss < 0.1", None), ("nothing at all", 0)]
)
def test_a_table_is_filtered(opened: Callable[[str], OpenedReport], typed: str, count: int | None) -> None:
    report = opened("study")
    table = report.page.locator("#table-trials")
    everything = [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]
    expected = [row for row in everything if meets(row, typed)] if count is None else []
    table.get_by_role("searchbox").fill(typed)
    table.get_by_text(f"{len(expected)} of {len(everything)} rows").wait_for()
    assert [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()] == expected
    table.get_by_role("searchbox").fill("")
    table.locator("tbody tr").nth(79).wait_for()


def meets(row: list[str], typed: str) -> bool:
    """Whether a row of the trials meets what was typed."""
    if "<" in typed:
        return row[1] != "–" and float(row[1].split("\n")[0]) < float(typed.split()[-1])
    return all(word.lower() in "\n".join(row).lower() for word in typed.split())


def test_the_browser_writes_cells_as_the_page_did(open_new: Callable[[Report], OpenedReport]) -> None:
    values = [
        0.0,
        1.0,
        2.5,
        0.125,
        1234.5,
        98765.4321,
        1e-7,
        -0.00004,
        123456789.0,
        1.5e12,
        0.99995,
        3e22,
        -7.25,
        0.1 + 0.2,
    ]
    texts = [
        *values,
        None,
        True,
        False,
        "NaN",
        SCRIPT,
        "a\u202eb\n\x00c\ud800",
        "2026-01-05T09:30:15.123Z",
        "😀 family \u200d \u00a0",
    ]
    columns = tuple(Column(f"c{place}", f"c{place}", **shape) for place, shape in enumerate(SHAPES))
    table = Table("all", "All", columns, tuple((value,) * len(columns) for value in texts))
    report = open_new(report_of(table))
    body = report.page.locator("#table-all tbody")
    by_python = body.inner_html()
    button = report.page.locator("#table-all thead").get_by_role("button").first
    for _ in range(3):
        button.click()
    strip = re.compile(r"\s*(class|title)=\"[^\"]*\"|\n\s*")
    assert strip.sub("", body.inner_html()) == strip.sub("", by_python)
    assert [[cell.text for cell in row] for row in shown_table(table).rows][0] == report.page.locator(
        "#table-all tbody tr"
    ).first.locator("> *").all_text_contents()


SHAPES: tuple[dict[str, object], ...] = (
    {"shape": "text"},
    {"shape": "number"},
    {"shape": "number", "digits": 2, "is_signed": True},
    {"shape": "number", "digits": 0},
    {"shape": "percent"},
    {"shape": "percent", "digits": 1, "is_signed": True},
    {"shape": "duration"},
    {"shape": "time"},
    {"shape": "id"},
    {"shape": "code"},
)


def report_of(*blocks: object) -> Report:
    """A report with these blocks."""
    section = Section("Part", "part", blocks)  # type: ignore[arg-type]
    return Report("training", "Small", "Done.", (section,), Source("sqlite:///x.db", ("1",), version="0"))


def test_many_curves_are_chosen_by_name(open_new: Callable[[Report], OpenedReport]) -> None:
    charts = [
        LineChart(
            f"m{place}",
            f"metric {place}",
            "It falls.",
            (Series("a", (3.0, 2.0, 1.0)), Series("b", (1.0, None, 2.0))),
            x=(0, 1, 2),
            can_smooth=True,
        )
        for place in range(10)
    ]
    report = open_new(report_of(*charts))
    figures = report.page.locator("figure.chart:visible")
    assert figures.count() == 1
    report.page.get_by_label("Show").select_option("m7")
    assert figures.count() == 1
    report.chart("m7")
    # Charts of the same lines share one legend.
    report.page.get_by_role("button", name="b", exact=True).click()
    assert report.traces("m7", "visible") == [True, False]
    report.page.get_by_label("Show").select_option("")
    report.draw_all()
    assert figures.count() == 10
    assert report.traces("m3", "visible") == [True, False]


def test_a_range_of_an_axis_selects_lines(opened: Callable[[str], OpenedReport]) -> None:
    figure = opened("study").chart("parallel")
    grip = figure.locator(".grip").last
    box = grip.bounding_box()
    assert box is not None
    mouse = figure.page.mouse
    mouse.move(box["x"] + 5, box["y"] + box["height"] * 0.8)
    mouse.down()
    mouse.move(box["x"] + 5, box["y"] + box["height"], steps=3)
    mouse.up()
    left = figure.locator(".lines path.off").count()
    assert 0 < left < 61
    figure.get_by_text(f"{61 - left} of 61 selected").wait_for()
    figure.get_by_role("button", name="Clear selection").click()
    assert figure.locator(".lines path.off").count() == 0


def test_the_pointer_names_a_line_of_parallel_coordinates(opened: Callable[[str], OpenedReport]) -> None:
    figure = opened("study").chart("parallel")
    box = figure.locator(".plot").bounding_box()
    assert box is not None
    figure.page.mouse.move(box["x"] + box["width"] * 0.97 - 60, box["y"] + 280)
    tip = figure.locator(".tip")
    for share in (0.9, 0.85, 0.8, 0.75, 0.7):
        figure.page.mouse.move(box["x"] + box["width"] * share, box["y"] + 250)
        if tip.is_visible():
            break
    assert "val_loss: 0." in tip.inner_text()
    assert figure.locator(".lines path.pointed").count() == 1
    figure.page.mouse.move(0, 0)


def test_the_numbers_of_a_chart_can_be_read_as_a_table(opened: Callable[[str], OpenedReport]) -> None:
    figure = opened("training").chart("importance")
    figure.get_by_text("Data as a table").click()
    figure.locator(".values table").wait_for()
    rows = figure.locator(".values tbody tr").all_inner_texts()
    assert rows[0].split("\t") == ["close_return", "0.31", "0.02"]
    assert rows[3].split("\t") == ["range", "-0.01", "–"]
    figure.get_by_text("Data as a table").click()


def test_dark_mode_follows_the_system_until_the_button_says_otherwise(browser: Browser, tmp_path: Path) -> None:
    context = new_context(browser, color_scheme="dark")
    report = open_report(context, written(tmp_path, render_html(training_report())))
    button = report.page.get_by_role("button", name="Dark mode")
    background = "getComputedStyle(document.body).backgroundColor"
    report.chart("loss")
    dark, dark_chart = report.page.evaluate(background), report.layout("loss", "paper_bgcolor")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert report.page.evaluate(background) != dark
    assert report.layout("loss", "paper_bgcolor") != dark_chart
    assert button.get_attribute("aria-pressed") == "false"
    # It works where nothing can be kept, and keeps nothing.
    assert report.page.evaluate("document.cookie") == ""
    assert report.problems == []
    context.close()


def test_the_keyboard_reaches_everything(open_new: Callable[[Report], OpenedReport]) -> None:
    report = open_new(comparison_report())
    page = report.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "page-content"
    sort = page.locator("#table-runs").get_by_role("button", name="sharpe_ratio")
    sort.focus()
    page.keyboard.press("Enter")
    assert page.locator("#table-runs th[aria-sort]").count() == 1
    outline = sort.evaluate("one => getComputedStyle(one).outlineStyle")
    assert outline == "solid"


def test_a_chart_can_be_saved_as_an_image(opened: Callable[[str], OpenedReport]) -> None:
    figure = opened("training").chart("importance")
    with figure.page.expect_download() as download:
        figure.get_by_role("button", name="Save image").click()
    assert download.value.suggested_filename == "importance.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_a_command_can_be_copied(browser: Browser, tmp_path: Path) -> None:
    context = new_context(browser, permissions=["clipboard-read", "clipboard-write"])
    report = open_report(context, written(tmp_path, render_html(training_report())))
    report.page.locator("#environment").get_by_role("button", name="Copy").click()
    report.page.get_by_role("button", name="Copied").wait_for()
    assert (
        report.page.evaluate("navigator.clipboard.readText()") == "agentnn run replay 3f2a9c0d4e5b46718293a4b5c6d7e8f9"
    )
    context.close()


def test_a_long_name_that_is_markup_is_a_choice_like_others(opened: Callable[[str], OpenedReport]) -> None:
    page = opened("study").page
    assert page.locator("#table-trials").get_by_text(MARKUP).count() > 0
    assert page.evaluate("typeof window.hit") == "undefined"
