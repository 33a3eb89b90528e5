"""One Chromium for all tests of pages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from browser.pages import chromium_path, new_context, open_report, written
from reporting.examples import example_reports

from agentnn.reporting.html import render_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from browser.pages import OpenedReport
    from playwright.sync_api import Browser

    from agentnn.reporting.document import Report


# For the package only: while Playwright runs, no other event loop can in this process.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless Chromium; without one its tests are skipped, and fail where AGENTNN_REQUIRE_CHROMIUM is set."""
    path = chromium_path()
    if path is None:
        reason = "there is no Chromium: apt-get install chromium, or name one in AGENTNN_CHROMIUM"
        if os.environ.get("AGENTNN_REQUIRE_CHROMIUM"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def opened(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], OpenedReport]]:
    """Gives the example report of a kind, opened once: a test puts back what it changes."""
    reports = example_reports()
    folder = tmp_path_factory.mktemp("reports")
    context = new_context(browser, reduced_motion="reduce")
    pages: dict[str, OpenedReport] = {}

    def open_once(kind: str) -> OpenedReport:
        if kind not in pages:
            pages[kind] = open_report(context, written(folder, render_html(reports[kind]), f"{kind}.html"))
        pages[kind].page.bring_to_front()  # a page behind another is hardly ever drawn
        return pages[kind]

    yield open_once
    problems = [problem for page in pages.values() for problem in page.problems]
    context.close()
    assert problems == []


@pytest.fixture
def open_new(browser: Browser, tmp_path: Path) -> Iterator[Callable[[Report], OpenedReport]]:
    """Opens a report in a profile of its own, and fails the test if the page met any problem."""

    context = new_context(browser, reduced_motion="reduce")
    pages: list[OpenedReport] = []

    def open_one(report: Report) -> OpenedReport:
        pages.append(open_report(context, written(tmp_path, render_html(report), f"{len(pages)}.html")))
        return pages[-1]

    yield open_one
    problems = [problem for page in pages for problem in page.problems]
    context.close()
    assert problems == []
