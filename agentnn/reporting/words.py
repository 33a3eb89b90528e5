"""Numbers and times as a person says them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentnn.reporting.document import cell

if TYPE_CHECKING:
    from collections.abc import Sequence


def number(value: float | None) -> str:
    """A number to four significant digits."""
    if value is None:
        return "no value"
    if not math.isfinite(value):
        return str(cell(float(value)))
    return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.4e}"


def duration(seconds: float) -> str:
    """How long something took: ``12 min 4 s``."""
    if seconds < 10:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    days, hours, minutes, rest = whole // 86_400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


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
