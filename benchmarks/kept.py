"""Count the values that a tracker kept in the current folder, and print how many; a process of its own, afterwards.

    python benchmarks/kept.py wandb

A call that is fast because it loses what it is given is no figure. Each format is read without the tracker's own
logging code where that is easy.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from trackers import PREFIX, PROJECT, STORE

if TYPE_CHECKING:
    from collections.abc import Iterator


def kept_in_mlflow(folder: Path) -> int:
    """Count the points in the store."""
    with sqlite3.connect(folder / STORE) as database:
        (count,) = database.execute("SELECT count(*) FROM metrics WHERE key GLOB ?", (f"{PREFIX}*",)).fetchone()
    return int(count)


def kept_in_wandb(folder: Path) -> int:
    """Count the values of the history records in the file that ``wandb sync`` would send."""
    from wandb.proto.wandb_internal_pb2 import Record

    count = 0
    for file in folder.glob("wandb/offline-run-*/*.wandb"):
        for body in leveldb_records(file.read_bytes()):
            items = Record.FromString(body).history.item
            count += sum((item.key or ".".join(item.nested_key)).startswith(PREFIX) for item in items)
    return count


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """Read LevelDB's log format (doc/log_format.md there) after a header of 7 bytes, which is wandb's own."""
    block, place, parts = 32768, 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def kept_in_aim(folder: Path) -> int:
    """Count the values of all metrics of the repository."""
    import aim

    repo, count = aim.Repo(str(folder)), 0
    for name in repo.list_all_runs():
        # Opened for writing: what is only read comes from an index, which is not there before ``aim up`` makes it.
        run = aim.Run(name, repo=repo, system_tracking_interval=None, capture_terminal_logs=False)
        found = (metric for metric in run.metrics() if metric.name.startswith(PREFIX))
        count += sum(len(metric.values.sparse_numpy()[0]) for metric in found)
        run.close()
    return count


def kept_in_trackio(folder: Path) -> int:
    """Count the values in Trackio's SQLite file."""
    with sqlite3.connect(folder / "trackio" / f"{PROJECT}.db") as database:
        rows = database.execute("SELECT metrics FROM metrics").fetchall()
    return sum(key.startswith(PREFIX) for (text,) in rows for key in json.loads(text))


def kept_in_events(folder: Path) -> int:
    """Count the values in the event files."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    events = (event for file in folder.glob("events/*") for event in EventFileLoader(str(file)).Load())
    return sum(value.tag.startswith(PREFIX) for event in events for value in event.summary.value)


KEPT = {
    "agentnn": kept_in_mlflow,
    "mlflow": kept_in_mlflow,
    "wandb": kept_in_wandb,
    "aim": kept_in_aim,
    "trackio": kept_in_trackio,
    "tensorboard": kept_in_events,
    "tensorboardx": kept_in_events,
}

if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        found = KEPT[sys.argv[1]](Path.cwd())
    print(json.dumps(found))
