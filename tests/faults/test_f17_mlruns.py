"""F17: a damaged file in a folder of runs. Where MLflow finds no run at all, the good ones are there, the bad one is
named, and a run that is damaged never wins.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from cli.support import in_process
from generated_stores import NOON, ExperimentSpec, RunSpec, StoreSpec, points, run_id
from mlruns_stores import write_mlruns_store

from agentnn.stores.mlruns import index as run_index

if TYPE_CHECKING:
    from pathlib import Path

GOOD, BAD, OTHER = (run_id(number) for number in (1, 2, 3))


@pytest.fixture(params=["files", "index"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three runs, of which the second is the best, asked before and after it is damaged."""
    monkeypatch.setenv("AGENTNN_STATE_DIR", str(tmp_path / "state"))
    if request.param == "index":
        monkeypatch.setattr(run_index, "_MANY_RUNS", 1)
        monkeypatch.setattr(run_index, "_FEW_FILES", 1)
        monkeypatch.setattr(run_index, "UNSETTLED_NS", 1)
    values = {GOOD: 1, BAD: 9, OTHER: 2}
    runs = tuple(RunSpec(one, 0, start_time=NOON + at, metrics={"m": points(at)}) for one, at in values.items())
    write_mlruns_store(tmp_path / "store", StoreSpec((ExperimentSpec(0, "Default"),), runs))
    time.sleep(0.01)
    ran = in_process("--tracking-uri", str(tmp_path / "store"), "run", "best", "-m", "m", "-o", "id")
    assert (ran.stdout.split(), ran.returncode) == ([BAD], 0), ran.stderr
    assert (tmp_path / "state").exists() == (request.param == "index")
    return tmp_path / "store"


@pytest.mark.parametrize(
    "damage", [b"", b"\0" * 300, b"artifact_uri: /x\nend_time: nu", b"a: [", b"\xff\xfe"], ids=repr
)
def test_a_damaged_run_costs_only_itself(folder: Path, damage: bytes) -> None:
    meta = folder / "0" / BAD / "meta.yaml"
    meta.write_bytes(damage)
    os.utime(meta, (1, 1))
    asked = ("--tracking-uri", str(folder))
    questions = {
        ("list",): [OTHER, GOOD],
        ("list", "--filter", "metrics.m > 0"): [OTHER, GOOD],
        ("best", "-m", "m"): [OTHER],
        ("best", "-m", "m", "--no-tally"): [OTHER],
    }
    for question, answer in questions.items():
        ran = in_process(*asked, "run", *question, "-o", "id")
        assert (ran.stdout.split(), ran.returncode) == (answer, 0), ran.stderr
        assert f"{BAD}/meta.yaml" in ran.stderr
    shown = in_process(*asked, "run", "show", BAD)
    assert shown.returncode == 5
    assert in_process("--strict", *asked, "run", "list", "-o", "id").returncode == 5


@pytest.mark.parametrize("damage", [b"x y z\n", b"5 0.5 0\n" * 20 + b"garbage here now\n" + b"5 0.5 0\n" * 20])
def test_a_damaged_metric_costs_only_itself(folder: Path, damage: bytes) -> None:
    (folder / "0" / BAD / "metrics" / "m").write_bytes(damage)
    for also in ((), ("--no-tally",)):
        ran = in_process("--tracking-uri", str(folder), "run", "best", "-m", "m", "-o", "id", *also)
        assert (ran.stdout.split(), ran.returncode) == ([OTHER], 0)
        assert f"{BAD}/metrics/m is no metric of MLflow's" in ran.stderr
