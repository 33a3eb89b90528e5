"""How far a store is with what takes long: one line that is written again and again, on a terminal only."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_S = 1.0
"""What takes less is over before it could be read."""

_SPACING_S = 0.2


@contextmanager
def showing_reading() -> Iterator[None]:
    """Show on standard error how far the questions are that are asked meanwhile; nothing is left of it in the end."""
    if not sys.stderr.isatty():
        yield
        return
    from agentnn.stores.progress import told_to

    line = _Line()
    try:
        with told_to(line.tell):
            yield
    finally:
        line.write("")


class _Line:
    def __init__(self) -> None:
        self._due = time.monotonic() + _PATIENCE_S
        self._written = ""

    def tell(self, what: str, done: int, total: int) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _SPACING_S
            self.write(f"{what} of {total:,} runs: {100 * done // max(1, total)} %")

    def write(self, text: str) -> None:
        """Put a text in place of the one before."""
        before, self._written = self._written, text
        if text or before:
            typer.echo(f"\r{text.ljust(len(before))}\r{text}", err=True, nl=False)
