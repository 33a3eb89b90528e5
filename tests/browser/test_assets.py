"""Where a page takes Plotly from: itself, a file beside it, or the network; and what it does when it gets none."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from browser.pages import new_context, open_report, written
from reporting.examples import training_report

from agentnn.reporting.assets import plotly
from agentnn.reporting.html import render_html, shared_assets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Route


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile."""
    with new_context(browser, is_offline=False) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A page with shared assets, and these beside it."""
    for name, content in shared_assets().items():
        (tmp_path / name).write_bytes(content)
    written(tmp_path, render_html(training_report(), assets="shared"))
    return tmp_path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    """The address under which a static server gives the folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_shared_assets_from_a_folder(context: BrowserContext, folder: Path) -> None:
    beside = (folder / plotly().name).as_uri()
    report = open_report(context, (folder / "report.html").as_uri(), expected={beside})
    report.chart("loss")
    assert report.problems == []


def test_shared_assets_from_a_static_server(context: BrowserContext, served: str) -> None:
    report = open_report(context, f"{served}/report.html", expected={f"{served}/{plotly().name}"})
    report.chart("loss")
    assert report.problems == []


def test_a_shared_asset_that_is_not_there_is_named(context: BrowserContext, folder: Path) -> None:
    (folder / plotly().name).unlink()
    page = open_report(context, (folder / "report.html").as_uri()).page
    page.get_by_text(f"The chart can't be drawn: {plotly().name} could not be loaded").first.wait_for()
    assert page.locator("#table-config tbody tr").count() == 4


@pytest.mark.parametrize("is_genuine", [True, False])
def test_the_network_may_give_plotly_itself_and_nothing_else(
    context: BrowserContext, tmp_path: Path, is_genuine: bool
) -> None:
    body = plotly().script if is_genuine else plotly().script + "\ndocument.title = 'hit';"

    def give(route: Route) -> None:
        route.fulfill(body=body, content_type="text/javascript", headers={"Access-Control-Allow-Origin": "*"})

    context.route(plotly().url, give)
    url = written(tmp_path, render_html(training_report(), assets="cdn"))
    report = open_report(context, url, expected={plotly().url})
    if is_genuine:
        report.chart("loss")
        assert report.problems == []
    else:
        report.page.get_by_text("The chart can't be drawn").first.wait_for()
        assert report.page.title() != "hit"
        assert any("integrity" in problem for problem in report.problems)


def test_nothing_that_a_page_did_not_bring_can_run_or_be_fetched(context: BrowserContext, tmp_path: Path) -> None:
    add = "const one = Object.assign(document.createElement"
    attacks = {
        "an inline script": f"{add}('script'), {{ textContent: 'window.hit = 1' }}); document.body.append(one)",
        "a handler": "document.body.insertAdjacentHTML('beforeend', `<img src=x onerror='window.hit = 1'>`)",
        "a script": f"{add}('script'), {{ src: 'https://example.org/x.js' }}); document.body.append(one)",
        "a frame": f"{add}('iframe'), {{ src: 'https://example.org' }}); document.body.append(one)",
        "a form": f"{add}('form'), {{ action: 'https://example.org' }}); document.body.append(one); one.submit()",
        "a request": "fetch('https://example.org').catch(() => 0)",
        "an image": "new Image().src = 'https://example.org/x.png'",
    }
    asked: list[str] = []
    context.route("https://**", lambda route: (asked.append(route.request.url), route.abort())[1])
    report = open_report(context, written(tmp_path, render_html(training_report())))
    for name, attack in attacks.items():
        before = len(report.problems)
        report.page.evaluate(f"() => {{ {attack} }}")
        report.page.wait_for_timeout(50)
        assert any("Content Security Policy" in problem for problem in report.problems[before:]), name
    assert asked == []
    assert report.page.evaluate("typeof window.hit") == "undefined"
