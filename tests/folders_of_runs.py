"""Folders of TOML runs, written as plain text by hand, and what an index has in it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from agentnn.sdk.project_frame import load_frame
from agentnn.stores.toml.index.index import Index

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

TABLES = (
    "experiments",
    "experiment_tags",
    "runs",
    "latest_metrics",
    "params",
    "tags",
    "inputs",
    "datasets",
    "input_tags",
)


def write_run(base: Path, name: str, config: str = "lr = 0.1\n", metrics: str | None = "loss = 0.5\n") -> Path:
    """Write a run ``PROJECT/RUN``, or write it again."""
    folder = base / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(config, encoding="utf-8")
    if metrics is not None:
        (folder / "metrics.toml").write_text(metrics, encoding="utf-8")
    return folder


def tables_of(path: Path, *also: str) -> dict[str, list[Any]]:
    """All rows of MLflow's tables."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return {table: sorted(database.execute(f"SELECT * FROM {table}"), key=repr) for table in (*TABLES, *also)}


def ids_of(path: Path) -> list[str]:
    """The ids of all runs in an index."""
    return [row[0] for row in tables_of(path)["runs"]]


def made_anew(base: Path) -> tuple[dict[str, list[Any]], pd.DataFrame, set[Any]]:
    """What an index has that is made from nothing; the one that is there stays as it is."""
    index = Index(base)
    aside = base.with_name(f"{base.name}.aside")
    if index.path.exists():
        shutil.move(index.path, aside)
    try:
        unreadable = set(index.refresh(histories=True))
        frame, of_frame = load_frame(base)
        tables = tables_of(index.path, "metrics") if index.path.exists() else dict.fromkeys((*TABLES, "metrics"), [])
        return tables, frame, {*unreadable, *of_frame}
    finally:
        index.path.unlink(missing_ok=True)
        if aside.exists():
            shutil.move(aside, index.path)
