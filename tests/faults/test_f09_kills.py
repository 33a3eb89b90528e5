"""F09: trainers and senders are killed 25 times. What was acknowledged is in the store, once, whatever store it is."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from faults.trainers import Trainer, kept_run, kept_runs, sender_pid, store_folder, synced, watch_until
from generated_stores import examples
from mlflow import MlflowClient
from real_stores import STORE_KINDS

from agentnn import start_run
from agentnn.settings import Settings
from agentnn.stores.run_writer import UUID_TAG
from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.sending.sender_control import ensure_sender, is_sender_running, with_absolute_uris

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities import Run

KILLS = {"sqlite": 25, "mlruns": 25, "server": 25, "postgresql": examples(30)}
SENDER_KILLS = {"sqlite": 12, "mlruns": 12, "server": 6, "postgresql": examples(6)}
"""How many of the kills are the sender's. That of PostgreSQL loads MLflow and takes seconds to be there again, so that
its store sees a third of the kills, but for ``make test-strong``."""

TRAINERS = 3
TEXT_EVERY = 50

TRAIN_FOR_EVER = f"""
import itertools, sys, time
from agentnn import start_run

pause = float(sys.argv[1])
run = start_run("killed")
print(run.uuid)
for step in itertools.count():
    if step % {TEXT_EVERY} == 0:
        run.log_param(f"from_{{step}}", step)
        run.log_text(str(step), f"texts/{{step}}.txt")
    run.log_metrics({{"loss": 1 / (step + 1), "same": 1.0}}, step)
    print(step)
    time.sleep(pause)
"""
"""Prints the run's uuid, and each step as soon as all that it logged is acknowledged.

Its argument is the pause between two steps.
"""

PAUSE_S = {"sqlite": 0.01, "mlruns": 0.01, "server": 0.03, "postgresql": 0.03}
"""So that a busy machine delivers as fast as is logged: what piled up would make all of it slower still."""


class Killing:
    """Trainers and a sender that are killed and followed by new ones."""

    def __init__(self, uri: str, cwd: Path, pause_s: float) -> None:
        self.uri = uri
        self.dead: list[Trainer] = []
        self._cwd = cwd
        self._pause_s = pause_s
        self._settings = with_absolute_uris(Settings.load(uri))
        self._store = store_folder(uri)
        self._living: list[Trainer] = []

    def __enter__(self) -> Killing:
        self._living += [self._trainer() for _ in range(TRAINERS)]
        return self

    def __exit__(self, *_: object) -> None:
        for trainer in self._living:
            trainer.kill()
        self.dead += self._living

    def kill_a_trainer(self, moment: float) -> None:
        """Kill the trainer that has gone on for longest, so many seconds after the next sign of progress."""
        self._wait(moment)
        oldest = self._living.pop(0)
        assert oldest.process.poll() is None, oldest.stderr
        oldest.kill()
        self.dead.append(oldest)
        self._living.append(self._trainer())

    def kill_the_sender(self, moment: float) -> None:
        """Kill the sender, so many seconds after the next sign of progress."""
        self._wait(moment)
        pid = sender_pid(self.uri)
        assert b"agentnn.tracking.sending.sender" in Path(f"/proc/{pid}/cmdline").read_bytes()
        os.kill(pid, signal.SIGKILL)
        watch_until(self.uri, lambda: not is_sender_running(self._store), "the sender's end")
        ensure_sender(self._store, self._settings)

    def _trainer(self) -> Trainer:
        return Trainer(TRAIN_FOR_EVER, str(self._pause_s), uri=self.uri, cwd=self._cwd)

    def _wait(self, moment: float) -> None:
        """Wait for progress, then a moment, with the sender at work all the while."""
        before = self._delivered()
        watch_until(self.uri, lambda: self._delivered() > before, "any delivery")
        end = time.monotonic() + moment
        watch_until(self.uri, lambda: time.monotonic() > end, "the moment")

    def _delivered(self) -> int:
        """How much of the journals of the living trainers is in the store."""
        uuids = [trainer.lines[0] for trainer in self._living if trainer.lines]
        return sum(Cursor.read(self._store.run(uuid)).offset for uuid in uuids)


@pytest.mark.slow
@pytest.mark.parametrize("kind", STORE_KINDS)
def test_what_was_acknowledged_is_there_once(kind: str, make_store: Callable[[str], str], tmp_path: Path):
    uri = make_store(kind)
    chance = random.Random(f"F09 {kind}")  # noqa: S311
    with Killing(uri, tmp_path, PAUSE_S[kind]) as killing:
        of_sender = SENDER_KILLS[kind]
        kills = [killing.kill_a_trainer] * (KILLS[kind] - of_sender) + [killing.kill_the_sender] * of_sender
        chance.shuffle(kills)
        for kill in kills:
            kill(chance.uniform(0.05, 0.8))
    begun = [trainer.lines for trainer in killing.dead if trainer.lines]
    left = [run for run in synced(uri) if run.waiting or run.refused or run.damaged or run.problem]
    assert left == []
    print(f"{len(begun)} runs, {sum(map(len, begun))} steps")
    runs = kept_runs(uri)
    for uuid, *steps in begun:
        [run] = [one for one in runs if one.data.tags.get(UUID_TAG) == uuid]
        check_run(uri, run, len(steps))


def test_a_run_starts_on_a_database_that_a_killed_process_left_half_written(uri: str, database: Path):
    code = (
        "import os, sqlite3\n"
        f"c = sqlite3.connect({str(database)!r}, isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "c.execute('CREATE TABLE big (x)')\n"
        "c.executemany('INSERT INTO big VALUES (?)', [('x' * 1000,)] * 2000)\n"
        "c.execute(\"UPDATE experiments SET name = 'half'\")\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert database.with_name(f"{database.name}-journal").exists()
    with start_run("after", tracking_uri=uri, strict=True) as run:
        run.log_metric("loss", 0.5, 1)
    assert kept_run(uri, run.uuid).info.status == "FINISHED"
    assert [experiment.name for experiment in MlflowClient(uri).search_experiments()] == ["Default"]


def check_run(uri: str, run: Run, acknowledged: int) -> None:
    """A run has every acknowledged step once, and at most the one that was written when its trainer died."""
    client = MlflowClient(uri)
    assert run.info.status == "FAILED"
    losses = client.get_metric_history(run.info.run_id, "loss")
    kept = len(losses)
    assert kept - acknowledged in (0, 1)
    assert sorted((point.step, point.value) for point in losses) == [(step, 1 / (step + 1)) for step in range(kept)]
    assert sorted(point.step for point in client.get_metric_history(run.info.run_id, "same")) == list(range(kept))
    if "://" not in uri or uri.startswith("file:"):
        assert lines_of_metric(uri, run, "loss") == lines_of_metric(uri, run, "same") == kept

    whole = range(0, acknowledged, TEXT_EVERY)
    assert {f"from_{step}": str(step) for step in whole}.items() <= run.data.params.items()
    texts = {file.path: file.file_size for file in client.list_artifacts(run.info.run_id, "texts")}
    assert {f"texts/{step}.txt": len(str(step)) for step in whole}.items() <= texts.items()


def lines_of_metric(uri: str, run: Run, key: str) -> int:
    """How many points MLflow's file store holds, which keeps each in a line."""
    file = Path(urlsplit(uri).path, run.info.experiment_id, run.info.run_id, "metrics", key)
    return file.read_text(encoding="utf-8").count("\n")
