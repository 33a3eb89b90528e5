"""F03: another process holds the lock of the SQLite store. Training starts and goes on, and all is delivered after."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from faults.trainers import (
    LONGEST_CALL_S,
    TIMED,
    Trainer,
    kept_run,
    kept_steps,
    store_folder,
    wait_until,
    watch_until,
)

from agentnn.stores.sql.sqlite_errors import LOCK_TIMEOUT_S
from agentnn.tracking.sending.sender_control import sender_status

if TYPE_CHECKING:
    from pathlib import Path

START_S = 10.0
"""What a start may take on a busy machine; MLflow's own takes 20 s here, and fails."""

TRAIN_UNTIL_TOLD = f"""
{TIMED}
started = time.perf_counter()
run = start_run("locked")
print(run.uuid)
print(time.perf_counter() - started)
step = 0
with run:
    run.log_param("lr", 0.1)
    while not os.path.exists("stop"):
        timed(run.log_metrics, {{"loss": 1 / (step + 1)}}, step)
        step += 1
        time.sleep(0.005)
print(step, longest)
"""


def finish(trainer: Trainer, uri: str, folder: Path) -> None:
    """Let the trainer end, whose calls must all have been short, and look whether all is there."""
    (folder / "stop").touch()
    assert (trainer.wait(), trainer.stderr.count("wait on this machine (")) == (0, 0), trainer.stderr
    uuid, started, told = trainer.lines
    steps, longest = told.split()
    assert float(started) < START_S
    assert float(longest) < LONGEST_CALL_S
    run = kept_run(uri, uuid)
    assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "0.1"})
    assert kept_steps(uri, run.info.run_id, "loss") == list(range(int(steps)))


@pytest.mark.slow
def test_a_run_starts_and_goes_on_while_the_store_is_locked(database: Path, uri: str, tmp_path: Path):
    with (
        closing(sqlite3.connect(database, isolation_level=None)) as other,
        Trainer(TRAIN_UNTIL_TOLD, uri=uri, cwd=tmp_path) as trainer,
    ):
        other.execute("BEGIN EXCLUSIVE")
        wait_until(lambda: "is locked by another process" in trainer.stderr, "the warning")
        time.sleep(LOCK_TIMEOUT_S + 1)  # into the attempts after
        other.execute("COMMIT")
        watch_until(uri, lambda: sender_status(store_folder(uri)).state == "delivering", "a delivery")
        finish(trainer, uri, tmp_path)


@pytest.mark.slow
def test_a_store_that_is_locked_in_the_middle_of_a_run_gets_everything_later(database: Path, uri: str, tmp_path: Path):
    with (
        closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as other,
        Trainer(TRAIN_UNTIL_TOLD, uri=uri, cwd=tmp_path) as trainer,
    ):
        watch_until(uri, lambda: sender_status(store_folder(uri)).state == "delivering", "a delivery")
        other.execute("BEGIN IMMEDIATE")
        watch_until(uri, lambda: sender_status(store_folder(uri)).is_unavailable, "a failure, 20 s later")
        time.sleep(1)  # into the next attempt
        other.execute("COMMIT")
        finish(trainer, uri, tmp_path)
