"""A bar on a terminal while a model is trained; nothing at all anywhere else."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Show = Callable[[float, Mapping[str, Sequence[float]]], None]

_REFRESH_S = 0.1


@contextmanager
def progress_bar(epochs: int, *, is_wanted: bool) -> Iterator[Show]:
    """Gives what is called with the epochs done, as a fraction if need be, and the values so far."""
    if not is_wanted or not sys.stderr.isatty():
        yield lambda done, values: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=epochs)
        shown_at = 0.0

        def show(done: float, values: Mapping[str, Sequence[float]]) -> None:
            nonlocal shown_at
            now = time.monotonic()
            if now - shown_at >= _REFRESH_S:
                shown_at = now
                bar.update(task, completed=done, description=_standing(done, epochs, values), refresh=True)

        yield show


def _standing(done: float, epochs: int, values: Mapping[str, Sequence[float]]) -> str:
    losses = [f"{name} {values[name][-1]:.4g}" for name in ("train_loss", "val_loss") if values[name]]
    return "  ".join((f"epoch {min(int(done) + 1, epochs)} of {epochs}", *losses))
