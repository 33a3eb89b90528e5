"""A report as one HTML page that needs nothing else, asks nobody for anything, and runs only what is its own."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from agentnn.reporting.assets import (
    TEMPLATES,
    Assets,
    checksum,
    page_script,
    page_style,
    plotly,
    policy,
    shared_assets,
)
from agentnn.reporting.charts import grouped, heat_steps, is_chart, needs_plotly, needs_script
from agentnn.reporting.json_form import to_json
from agentnn.reporting.page_tables import shown_table
from agentnn.reporting.shapes import NUMERIC, shown, visible

if TYPE_CHECKING:
    from jinja2 import Environment

    from agentnn.reporting.document import Report

__all__ = ["Assets", "render_html", "shared_assets"]

_KINDS = {"training": "Training report", "study": "Study report", "comparison": "Comparison"}
_STATES = {"good": "Done", "open": "Still running", "bad": "Failed", "mixed": "Mixed"}
# What could end the script that holds the data, or show them in another order to who reads the source.
_UNSAFE = re.compile("[<\u2028\u2029\ud800-\udfff\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def render_html(report: Report, *, assets: Assets = "inline") -> str:
    """A report as an HTML page.

    The same report gives the same page, byte by byte, with the same version of agentnn and of Plotly.

    Args:
        report: What it says.
        assets: Where the page takes Plotly from: ``inline`` it holds it, ``shared`` it loads it from a file beside
            it (see :func:`shared_assets`), ``cdn`` from the network, checked against the installed one.

    Raises:
        MissingDependencyError: The report has charts, and Plotly is not installed.
    """
    used = assets if needs_plotly(report) else None
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            kind=_KINDS[report.kind],
            state=_STATES[report.state],
            data=embedded(to_json(report)),
            policy=policy(used),
            style=page_style(),
            script=page_script(),
            plotly=_plotly_place(used) if used else None,
        )
    )


def embedded(data: str) -> str:
    """JSON that can stand inside a page: none of its text can end the script that holds it."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", data)


def _plotly_place(assets: Assets) -> dict[str, str]:
    """What the page's script must know to load Plotly."""
    found = plotly()
    place = {"unwanted": " ".join(found.unwanted)}
    if assets == "inline":
        return place | {"source": found.script}
    if assets == "shared":
        return place | {"file": found.name}
    return place | {"file": found.url, "integrity": checksum(found.script, "sha384")}


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters.update(visible=visible, lines=_lines, shown=shown)
    environment.globals.update(
        grouped=grouped, is_chart=is_chart, needs_script=needs_script, heat_steps=heat_steps, shown_table=shown_table
    )
    environment.tests["numeric"] = _is_numeric
    return environment


def _lines(text: str) -> str:
    """A text of several lines, in which all else that is invisible is spelled out."""
    return visible(text.replace("\r\n", "\n"), keep="\n\t")


def _is_numeric(shape: Any) -> bool:
    return shape in NUMERIC
