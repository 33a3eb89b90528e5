"""What a page is made of beside the report: our styles and scripts, and Plotly's; and who may run in it.

Plotly is read from the installed package as a file; importing it would take longer than all the rest.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentnn.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

Assets = Literal["inline", "shared", "cdn"]
"""Where a page takes Plotly from: itself, a file beside it, or the network."""

TEMPLATES = Path(__file__).parent / "templates"

_SCRIPTS = (
    ("text", "report", "theme", "tables")
    + ("axes", "plots", "controls", "watching")
    + ("lines", "line_tools", "rows", "row_tools", "slices", "bars", "timeline", "contours", "parallel", "values")
    + ("page",)
)
_CDN = "https://cdn.plot.ly/"
_VERSION = re.compile(rb"plotly\.js v(\d[\w.-]*)")
# Plotly's maps bring a style sheet that the page's policy refuses, unless there is an element of this id.
_UNWANTED_STYLES = re.compile(r'document\.getElementById\("([0-9a-f]{64})"\)')


@dataclass(frozen=True, slots=True)
class Plotly:
    """Plotly's script.

    Attributes:
        script: All of it.
        version: Its version.
        unwanted: Ids of style sheets that it brings and the page does not need.
    """

    script: str
    version: str
    unwanted: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its file, here as on the network."""
        return f"plotly-{self.version}.min.js"

    @property
    def url(self) -> str:
        """Where it is on the network."""
        return _CDN + self.name


@cache
def plotly() -> Plotly:
    """The installed Plotly.

    Raises:
        MissingDependencyError: There is none.
    """
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "plotly is not installed; the charts of a report need the extra 'report'",
            hint="pip install 'agentnn[report]', or --format md",
        )
    script = (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_bytes()
    version = _VERSION.search(script[:400])
    text = script.decode()
    if version is None or re.search(r"</script|<!--|\r", text, re.IGNORECASE):
        raise MissingDependencyError(
            "the installed plotly can't be put into a page", hint="pip install -U 'agentnn[report]'"
        )
    return Plotly(text, version[1].decode(), tuple(sorted(set(_UNWANTED_STYLES.findall(text)))))


def shared_assets() -> Mapping[str, bytes]:
    """The files that a page with shared assets needs beside it, by name.

    Raises:
        MissingDependencyError: Plotly is not installed.
    """
    return {plotly().name: plotly().script.encode()}


@cache
def page_script() -> str:
    """Our script: its parts share one scope, and leave nothing behind."""
    parts = [(TEMPLATES / f"{name}.js").read_text("utf-8") for name in _SCRIPTS]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "})();\n"


@cache
def page_style() -> str:
    """Our style sheet."""
    return (TEMPLATES / "page.css").read_text("utf-8")


def checksum(text: str, algorithm: str = "sha256") -> str:
    """A checksum of a script or style, as a page says it."""
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, text.encode()).digest()).decode()}"


def policy(assets: Assets | None) -> str:
    """What a page may do: run and apply exactly what is in it, and Plotly; ask nobody for anything.

    Args:
        assets: Where it takes Plotly from; ``None`` when it needs none.
    """
    scripts, styles = [_quoted(page_script())], [_quoted(page_style())]
    rules = ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "img-src data: blob:"]
    if assets:
        scripts.append({"inline": _quoted(plotly().script), "shared": "'self'", "cdn": plotly().url}[assets])
        # Plotly makes an empty style sheet, which it then fills, and sets style attributes in its drawings.
        styles.append(_quoted(""))
        rules.append("style-src-attr 'unsafe-inline'")
    return "; ".join([*rules, f"script-src {' '.join(scripts)}", f"style-src {' '.join(styles)}"])


def _quoted(text: str) -> str:
    return f"'{checksum(text)}'"
