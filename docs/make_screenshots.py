"""Take the pictures of reports that the README shows, in a real Chromium.

    python docs/make_screenshots.py            write docs/images/report-*.png
    python docs/make_screenshots.py FOLDER     write the pages and the pictures into another folder

The Chromium is the one named by AGENTNN_CHROMIUM, or that on the PATH.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from example_runs import reports
from PIL import Image
from playwright.sync_api import sync_playwright

from agentnn.reporting.html import render_html

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = Path(__file__).resolve().parent / "images"

LARGEST = 300_000
"""Bytes of a picture; a larger one has fewer colours."""

_SCROLL = """(one) => {
    const above = one.tagName === "H1" ? scrollY + one.getBoundingClientRect().top : 16;
    scrollTo({ top: scrollY + one.getBoundingClientRect().top - above, behavior: "instant" });
}"""
_DRAW = """async () => {
    const undrawn = (one) => one.clientWidth && !("drawn" in one.dataset);
    const next = () => [...document.querySelectorAll(".plot")].find(undrawn);
    for (let one = next(); one; one = next()) {
        one.scrollIntoView({ behavior: "instant" });
        await new Promise(requestAnimationFrame);
    }
}"""


class Shot(NamedTuple):
    """A picture: of which report, how wide and high the window is, in which light, and how far it is scrolled."""

    name: str
    kind: str
    width: int = 1240
    height: int = 1500
    scheme: str = "light"
    start: str = "h1"


SHOTS = (
    Shot("training", "training"),
    Shot("backtest", "training", 1240, 1400, start="#backtest"),
    Shot("study", "study", 1240, 1500, start="#page-content"),
    Shot("comparison", "comparison"),
    Shot("dark", "study", 1120, 960, "dark", start="#chart-parallel"),
    Shot("phone", "comparison", 390, 844),
)


def main(folder: Path | None = None) -> None:
    """Take every picture."""
    images = folder or IMAGES
    images.mkdir(parents=True, exist_ok=True)
    pages = images if folder else Path(os.environ.get("TMPDIR", "/tmp")) / f"agentnn-screenshots-{os.getpid()}"
    pages.mkdir(exist_ok=True)
    for kind, report in reports().items():
        (pages / f"{kind}.html").write_text(render_html(report), "utf-8")
    path = os.environ.get("AGENTNN_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        for shot in SHOTS:
            picture = take(browser, pages / f"{shot.kind}.html", shot)
            target = images / f"report-{shot.name}.png"
            picture.save(target, optimize=True)
            if target.stat().st_size > LARGEST:
                picture.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
            print(f"{target.name}: {picture.width} x {picture.height}, {target.stat().st_size / 1000:.0f} kB")
        browser.close()
    if not folder:
        shutil.rmtree(pages)


def take(browser: Browser, page_path: Path, shot: Shot) -> Image.Image:
    """One picture."""
    size = {"width": shot.width, "height": shot.height}
    is_phone = shot.width < 600
    context = browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        color_scheme=shot.scheme,  # type: ignore[arg-type]
        device_scale_factor=2 if is_phone else 1,
        is_mobile=is_phone,
        reduced_motion="reduce",
        offline=True,
    )
    page = context.new_page()
    page.goto(page_path.as_uri())
    draw_all(page)
    page.locator(shot.start).first.evaluate(_SCROLL)
    page.wait_for_timeout(200)
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    return taken


def draw_all(page: Page) -> None:
    """Scroll through the page until every chart is drawn."""
    page.evaluate(_DRAW)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
