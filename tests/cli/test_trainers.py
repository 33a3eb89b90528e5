"""``run train`` with a trainer: what a shell sees of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli.support import environment, error_and_hint, in_process
from shared_store import copy_of, shared_state
from trained import QUIET, TINY, kept_runs, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("undrawn")

ONLINE = TINY.replace("name: tiny, ", "") + "trainer: online\nonline: {samples_a_step: 5}\n"


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    write_config(tmp_path, ONLINE, "online.yaml")
    write_config(tmp_path, TINY, "plain.yaml")
    return tmp_path


def test_a_trainer_trains_and_tells_how_it_went(uri: str):
    ran = in_process("run", "train", "online.yaml", *QUIET, "-o", "json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["facts"] == {"stream": "390 days learnt in 78 steps, 0 drifts"}
    assert "Sharpe ratio on days it never saw" in ran.stderr
    [run] = kept_runs(uri, "online_learning")
    assert (run.info.run_id, run.data.tags["trainer"]) == (told["run_id"], "online")
    shown = in_process("run", "train", "online.yaml", *QUIET, "--trainer", "dynamic_architecture")
    assert shown.returncode == 2
    assert "online: belongs to trainer: online, and the trainer is dynamic_architecture" in shown.stderr


def test_a_person_sees_how_it_went():
    chosen = ("--trainer", "dynamic-architecture", "--dynamic_architecture.max_changes", "1")
    ran = in_process("run", "train", "plain.yaml", *QUIET, *chosen, "--tracking.log_model", "false", "-o", "table")
    assert ran.returncode == 0, ran.stderr
    for text in ("architecture", "3-4", "1 changes tried", "sharpe_ratio"):
        assert text in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trainer", "onlien"), "trainer: expected advanced, dynamic_architecture, multi_task, distributed or "
         "online, not 'onlien' (did you mean online?)"),
        (("--online.memroy", "3"), "online.memroy: unknown key (did you mean memory?)"),
        (("--online.ema_decay", "0.9"), "online.ema_decay: unknown key (it belongs to trainer: advanced)"),
        (("--advanced.ema_decay", "0.9"), "advanced: belongs to trainer: advanced, and the trainer is online"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_anything_heavy_is_loaded(arguments: tuple[str, ...], message: str):
    script = (
        "import sys\n"
        "from agentnn.cli.app import run_command\n"
        f"code = run_command(['run', 'train', 'online.yaml', *{arguments}])\n"
        "print(code, [one for one in ('torch', 'mlflow', 'numpy', 'pandas') if one in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True)
    assert ran.stdout == "2 []\n"
    assert message in ran.stderr


def test_what_does_not_fit_the_data_is_told_before_there_is_a_run(uri: str):
    before = len(kept_runs(uri, "online_learning"))
    ran = in_process("run", "train", "online.yaml", "--online.reactions", "[reset_head]", "--online.head", "tail")
    error, hint = error_and_hint(ran.stderr)
    assert (ran.returncode, error) == (2, "online: the model has no module 'tail' whose weights can be made anew")
    assert hint
    assert len(kept_runs(uri, "online_learning")) == before


def test_validate_and_schema_know_trainers():
    assert in_process("experiment", "validate", "online.yaml").returncode == 0
    listed = in_process("experiment", "schema", "-o", "tsv").stdout
    for key in ("trainer", "online.adwin_delta", "dynamic_architecture.widen_by"):
        assert f"\n{key}\t" in listed, key
