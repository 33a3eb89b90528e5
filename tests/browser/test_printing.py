"""On paper a report is whole: every chart is there, light, and nothing that can only be clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser.pages import new_context, open_report, written
from reporting.examples import example_reports

from agentnn.reporting.html import render_html

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser


@pytest.mark.parametrize("kind", ["training", "study", "comparison"])
def test_a_report_is_printed_whole(browser: Browser, tmp_path: Path, kind: str) -> None:
    context = new_context(browser, color_scheme="dark")
    report = open_report(context, written(tmp_path, render_html(example_reports()[kind])))
    page = report.page
    assert page.locator(".plot:not([data-drawn])").count() > 0  # those far below are not drawn yet
    page.emulate_media(media="print", color_scheme="dark")
    page.locator(".plot:not([data-drawn])").first.wait_for(state="detached")
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "light"
    assert page.locator(".tools:visible, nav:visible, .theme:visible").count() == 0
    assert page.locator("main > section:visible").count() == len(example_reports()[kind].sections)
    widths = page.evaluate("[...document.querySelectorAll('.plot > svg, .plot .main-svg')].map(s => s.clientWidth)")
    assert max(widths) <= 700
    if kind == "training":
        assert page.pdf().count(b"/Type /Page") > 1
    page.emulate_media(media="screen", color_scheme="dark")
    page.locator(":root:not([data-printing], [data-theme])").wait_for()
    assert report.problems == []
    context.close()
