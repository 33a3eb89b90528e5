"""Numbers, counts and lists as a person says them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.reporting.document import cell
from agentnn.reporting.shapes import shown

if TYPE_CHECKING:
    from collections.abc import Sequence


def number(value: float | None) -> str:
    """A number as the page shows it, with about four significant digits."""
    return "no value" if value is None else shown(cell(float(value)), "number")


def counted(count: int, what: str, many: str = "") -> str:
    """``1 run``, ``1,200 runs``."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names one after the other; of many the first few."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def sentence(text: str) -> str:
    """A text that ends as a sentence."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
