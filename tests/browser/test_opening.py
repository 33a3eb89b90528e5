"""A report opens whole, offline, with everything drawn, and nothing in a name is ever acted on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser.pages import PHONE, WIDE, new_context, open_report, written
from reporting.examples import BIDI, MARKUP, SCRIPT, comparison_report, example_reports

from agentnn.reporting.html import render_html
from agentnn.reporting.shapes import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from browser.pages import OpenedReport
    from playwright.sync_api import Browser, Page

    from agentnn.reporting.document import Report

KINDS = ("training", "study", "comparison")


@pytest.fixture(params=KINDS)
def report(request: pytest.FixtureRequest, opened: Callable[[str], OpenedReport]) -> OpenedReport:
    """Each kind of report with all its charts drawn."""
    found = opened(request.param)
    found.draw_all()
    return found


def test_all_charts_are_drawn_without_an_error_or_a_request(report: OpenedReport) -> None:
    assert report.page.locator(".plot").count() >= 3
    assert report.page.locator(".plot svg").count() >= report.page.locator(".plot").count()
    assert report.problems == []


def test_names_that_are_markup_are_shown_and_do_nothing(report: OpenedReport) -> None:
    page = report.page
    assert page.title() != "hit"
    assert SCRIPT in page.locator("body").inner_text()
    # No element came from a name: neither in the page nor inside Plotly's drawings, which know <b> and <a> themselves.
    assert page.locator("img, [onerror], [onmouseover], main b, main i, svg a").count() == 0
    assert page.locator("script").count() == 2


def test_what_is_invisible_is_spelled_out(opened: Callable[[str], OpenedReport]) -> None:
    page = opened("training").page
    assert visible(BIDI) in page.locator(".about").inner_text()
    shown = page.evaluate(
        "document.body.innerText"
        " + [...document.querySelectorAll('[title],[aria-label]')].map((one) => one.title + one.ariaLabel).join()"
    )
    assert not any(char in shown for char in "\u202e\x1b\x07")


def test_the_data_in_the_page_are_whole(opened: Callable[[str], OpenedReport]) -> None:
    name = opened("training").page.evaluate(
        "JSON.parse(document.getElementById('agentnn-report').textContent).about[1].value"
    )
    assert name == MARKUP


def test_no_page_scrolls_sideways_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    context = new_context(browser, size=PHONE, is_mobile=True, has_touch=True)
    for kind, report in example_reports().items():
        found = open_report(context, written(tmp_path, render_html(report), f"{kind}.html"))
        found.draw_all()
        sizes = found.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert sizes == [PHONE[0], PHONE[0]], kind
        assert found.problems == []
        assert violations(found.page) == [], kind
    context.close()


def test_axe_finds_nothing_in_light_or_dark(report: OpenedReport) -> None:
    page = report.page
    page.evaluate("document.querySelectorAll('.fold').forEach((one) => (one.open = true))")
    page.evaluate("document.querySelector('.values').open = true")
    assert violations(page) == []
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert violations(page, "color-contrast") == []
    page.evaluate("delete document.documentElement.dataset.theme")


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds wrong by these rules, or by all, each with the element."""
    from axe_playwright_python.sync_playwright import Axe

    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]}: {node['failureSummary'][:200]}"
        for rule in found
        for node in rule["nodes"]
    ]


def test_the_headings_are_in_order(report: OpenedReport) -> None:
    levels = [
        int(level)
        for level in report.page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => h.tagName[1])")
    ]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in zip(levels, levels[1:], strict=False))


def test_a_thousand_runs_open_sort_and_filter(open_new: Callable[..., OpenedReport]) -> None:
    report = open_new(comparison_report(1000))
    assert len(report.column("runs", 1)) == 100
    report.page.get_by_role("button", name="Show all 1000 rows").click()
    assert len(report.column("runs", 1)) == 1000
    report.page.locator("#table-runs").get_by_role("button", name="sharpe_ratio").click()
    values = [float(text.split("\n")[0]) for text in report.column("runs", 4)]
    assert values == sorted(values, reverse=True)
    report.chart("curve-val_loss")
    assert len(report.traces("curve-val_loss", "name")) < 20


def test_it_can_be_read_without_javascript(browser: Browser, tmp_path: Path) -> None:
    context = new_context(browser, size=WIDE, java_script_enabled=False)
    found = open_report(context, written(tmp_path, render_html(example_reports()["comparison"])))
    assert len(found.column("runs", 1)) == 12
    assert found.page.get_by_role("heading", level=2).count() == 3
    context.close()


def test_what_the_builders_make_opens_whole(open_new: Callable[[Report], OpenedReport]) -> None:
    for report in documented_reports().values():
        opened = open_new(report)
        opened.draw_all()
        assert opened.page.locator(".plot .missing").count() == 0
        opened.page.close()


def documented_reports() -> dict[str, Report]:
    """The reports whose pictures the documentation shows."""
    path = Path(__file__).resolve().parents[2] / "docs" / "example_runs.py"
    spec = importlib.util.spec_from_file_location("example_runs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Report] = module.reports()
    return found
