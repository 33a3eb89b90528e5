"""Reports opened in a real Chromium that has no network."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Locator, Page

_UNDRAWN = "[...document.querySelectorAll('.plot')].find((plot) => plot.clientWidth && !('drawn' in plot.dataset))"
_SCROLL_THROUGH = f"""async () => {{
    for (let plot = {_UNDRAWN}; plot; plot = {_UNDRAWN}) {{
        plot.scrollIntoView({{ behavior: "instant" }});
        await new Promise(requestAnimationFrame);
    }}
}}"""

WIDE = (1240, 900)
PHONE = (360, 740)


def chromium_path() -> str | None:
    """The Chromium to use: the one named by AGENTNN_CHROMIUM, or that on the PATH."""
    named = os.environ.get("AGENTNN_CHROMIUM")
    if named:
        return shutil.which(named)
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass
class OpenedReport:
    """A report in a browser, and all that must not have happened there.

    Attributes:
        page: The page.
        problems: Every error, warning, refusal of the policy, and request for anything but what was expected.
        expected: The addresses that may be asked for.
    """

    page: Page
    problems: list[str] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)

    def chart(self, id: str) -> Locator:
        """A chart, drawn and in view."""
        figure = self.page.locator(f"#chart-{id}")
        figure.scroll_into_view_if_needed()
        figure.locator(".plot[data-drawn]").wait_for()
        return figure

    def draw_all(self) -> None:
        """Scroll from the top to the bottom, until every chart is drawn."""
        self.page.evaluate(_SCROLL_THROUGH)

    def layout(self, id: str, path: str) -> Any:
        """What Plotly has in a chart's layout, such as ``yaxis.type``."""
        return self.page.evaluate(
            "([id, path]) => path.split('.').reduce((part, name) => part[name],"
            " document.querySelector(`#chart-${id} .plot`)._fullLayout)",
            [id, path],
        )

    def traces(self, id: str, name: str) -> list[Any]:
        """A field of every trace of a chart."""
        found = self.page.evaluate(
            "([id, name]) => document.querySelector(`#chart-${id} .plot`).data.map((trace) => trace[name] ?? null)",
            [id, name],
        )
        assert isinstance(found, list)
        return found

    def column(self, table: str, number: int) -> list[str]:
        """The texts of a table's column, the first being 1, as they are shown."""
        return self.page.locator(f"#table-{table} tbody tr > :nth-child({number})").all_inner_texts()


def open_report(context: BrowserContext, url: str, *, expected: set[str] | None = None) -> OpenedReport:
    """Open a page in a browser without a network, and listen."""
    page = context.new_page()
    opened = OpenedReport(page, expected={url, *(expected or ())})
    page.on("console", lambda message: opened.problems.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: opened.problems.append(f"error: {error}"))
    page.on("request", lambda request: _listen(opened, request.url))
    page.goto(url)
    return opened


def _listen(opened: OpenedReport, url: str) -> None:
    if url not in opened.expected and not url.startswith(("data:", "blob:")):
        opened.problems.append(f"request: {url}")


def new_context(
    browser: Browser, *, is_offline: bool = True, size: tuple[int, int] = WIDE, **more: Any
) -> BrowserContext:
    """A fresh browser profile; nothing of it outlives it."""
    viewport = {"width": size[0], "height": size[1]}
    return browser.new_context(viewport=viewport, offline=is_offline, **more)  # type: ignore[arg-type]


def written(folder: Path, html: str, name: str = "report.html") -> str:
    """Write a page, and give its address."""
    path = folder / name
    path.write_text(html, "utf-8")
    return path.as_uri()
