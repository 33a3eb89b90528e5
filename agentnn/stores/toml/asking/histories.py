"""The history of a run, read from its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.stores.toml.layout import METRICS
from agentnn.stores.toml.runs.history import rank
from agentnn.stores.toml.runs.run_directory import RunDirectory
from agentnn.stores.toml.runs.run_documents import one_point

if TYPE_CHECKING:
    from pathlib import Path

    from agentnn.records import Metric


def histories_of(folder: Path) -> dict[str, list[Metric]]:
    """Every value of every metric of a run, by the metric's name, each history by (step, timestamp, value).

    A metric that was only ever logged without a step has one value: its last, at step 0, as old as ``metrics.toml``.

    Raises:
        CorruptDataError: A file of the run is damaged.
        StoreUnavailable: One of them can't be read.
    """
    directory = RunDirectory(folder)
    found: dict[str, list[Metric]] = {}
    for point in directory.read_history():
        found.setdefault(point.key, []).append(point)
    for points in found.values():
        points.sort(key=rank)
    metrics = directory.read_metrics()
    if metrics:
        written = (folder / METRICS).stat().st_mtime_ns // 1_000_000
        found.update((point.key, [point]) for point in one_point(metrics, written, found))
    return found
