"""The mirror of a run at Weights & Biases: what wandb itself has kept of it, offline."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from wandb_scripts import Script, environment, records_of

if TYPE_CHECKING:
    from pathlib import Path

TWO_RUNS = """
import json, multiprocessing, threading
import numpy as np
from agentnn import MLRun

def worker():
    run.add_metrics({"of_worker": 1})

config = {"lr": np.float32(0.5), "model": {"name": "CNN"}}
run = MLRun.create(config, "checkpoints", "my project", "me", name="first", wandb_options={"group": "folds"})
other = MLRun.create({}, "checkpoints", "my project", run_id="chosen")
import wandb
facts = {"is_global": wandb.run is run.wandb_run, "id": run.run_id, "wandb_id": run.wandb_run.id}
print("what the training prints")
run.add_metrics({"loss": 1.0}, step=5)
run.add_metrics({"loss": 2.0, "val": {"f1": 0.5}}, step=3)
other.add_metrics({"accuracy": 0.5, "note": None, "list": [1, 2]})
threads = [threading.Thread(target=run.add_metrics, args=({f"t{n}": n},)) for n in range(4)]
for one in threads: one.start()
for one in threads: one.join()
child = multiprocessing.get_context("fork").Process(target=worker)
child.start()
child.join()
run.add_metrics({"accuracy": np.float64(0.75)})
run.wandb_run.log({"by hand": 1})
other.finish("FAILED")
facts |= {"child": child.exitcode, "urls": [run.get_wandb_url(), other.get_wandb_url()]}
run.finish()
facts |= {"after": run.wandb_run, "global": wandb.run, "loaded": MLRun.load(run.run_id, "checkpoints").get_wandb_url()}
print(json.dumps(facts))
"""


class Mirrored(NamedTuple):
    """Two runs, as they were told to a script, and what the script said."""

    folder: Path
    facts: dict[str, Any]
    stdout: str
    stderr: str

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        """What wandb has as the history of a run, without what it adds itself."""
        rows = []
        for record in records_of(self.folder, run_id):
            if record.HasField("history"):
                items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
                rows.append({key: json.loads(text) for key, text in items.items() if not key.startswith("_")})
        return rows

    def run_record(self, run_id: str) -> Any:
        """What wandb has as the run itself."""
        return next(record.run for record in records_of(self.folder, run_id) if record.HasField("run"))

    def exit_code(self, run_id: str) -> int:
        """What wandb has as the run's exit code."""
        return next(record.exit.exit_code for record in records_of(self.folder, run_id) if record.HasField("exit"))


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Mirrored:
    folder = tmp_path_factory.mktemp("mirrored")
    code, stdout, stderr, _ = Script(TWO_RUNS, folder, None, "-W", "error").wait()
    assert code == 0, stderr
    return Mirrored(folder, json.loads(stdout.splitlines()[-1]), stdout, stderr)


def test_the_id_is_wandbs(mirrored: Mirrored):
    assert mirrored.facts["id"] == mirrored.facts["wandb_id"]
    assert mirrored.run_record(mirrored.facts["id"]).run_id == mirrored.facts["id"]
    assert mirrored.run_record("chosen").run_id == "chosen"


def test_wandb_has_project_entity_name_config_and_whatever_else_it_was_given(mirrored: Mirrored):
    run = mirrored.run_record(mirrored.facts["id"])
    assert (run.project, run.entity, run.display_name, run.run_group) == ("my project", "me", "first", "folds")
    config = {item.key: json.loads(item.value_json) for item in run.config.update if not item.key.startswith("_")}
    assert config == {"lr": 0.5, "model": {"name": "CNN"}}


def test_every_call_is_a_row_at_wandb_and_a_late_step_is_not_dropped(mirrored: Mirrored):
    rows = mirrored.rows(mirrored.facts["id"])
    assert rows[:2] == [{"step": 5, "loss": 1.0}, {"step": 3, "loss": 2.0, "val.f1": 0.5}]
    assert {key: value for row in rows[2:6] for key, value in row.items() if key != "step"} == {
        f"t{n}": n for n in range(4)
    }
    assert [{key: value for key, value in row.items() if key != "step"} for row in rows[6:]] == [
        {"accuracy": 0.75},
        {"by hand": 1},
    ]
    assert mirrored.rows("chosen") == [{"accuracy": 0.5, "note": None, "list": [1, 2]}]


def test_the_step_is_the_x_axis(mirrored: Mirrored):
    defined = [
        record.metric for record in records_of(mirrored.folder, mirrored.facts["id"]) if record.HasField("metric")
    ]
    assert ("*", "step") in [(one.glob_name, one.step_metric) for one in defined]
    assert not any(record.HasField("metric") for record in records_of(mirrored.folder, "chosen"))


def test_the_files_have_what_wandb_has_and_what_a_forked_process_added(mirrored: Mirrored):
    assert mirrored.facts["child"] == 0
    folder = mirrored.folder / "checkpoints" / "my project" / mirrored.facts["id"]
    metrics = tomllib.loads((folder / "metrics.toml").read_text("utf-8"))
    expected = {"loss": 1.0, "val": {"f1": 0.5}, "t0": 0, "t1": 1, "t2": 2, "t3": 3, "of_worker": 1, "accuracy": 0.75}
    assert metrics == expected
    assert not any("of_worker" in row for row in mirrored.rows(mirrored.facts["id"]))


def test_wandb_is_told_how_a_run_ended(mirrored: Mirrored):
    assert (mirrored.exit_code(mirrored.facts["id"]), mirrored.exit_code("chosen")) == (0, 1)


def test_the_first_run_is_the_one_that_wandbs_own_functions_know(mirrored: Mirrored):
    assert mirrored.facts["is_global"]
    assert (mirrored.facts["after"], mirrored.facts["global"]) == (None, None)


def test_the_address_is_known_offline_and_of_a_loaded_run(mirrored: Mirrored):
    url = f"https://wandb.ai/me/my%20project/runs/{mirrored.facts['id']}"
    assert mirrored.facts["urls"] == [url, ""], "the second was started without an entity"
    assert mirrored.facts["loaded"] == url


def test_the_config_says_where_wandb_has_the_run(mirrored: Mirrored):
    path = mirrored.folder / "checkpoints" / "my project" / mirrored.facts["id"] / "config.toml"
    assert tomllib.loads(path.read_text("utf-8"))["_wandb"] == {
        "run_id": mirrored.facts["id"],
        "project": "my project",
        "entity": "me",
        "mode": "offline",
        "url": mirrored.facts["urls"][0],
    }


def test_wandb_prints_nothing_and_does_not_listen_to_what_the_training_prints(mirrored: Mirrored):
    assert mirrored.stderr == ""
    assert len(mirrored.stdout.splitlines()) == 2
    assert not any(record.HasField("output_raw") for record in records_of(mirrored.folder, mirrored.facts["id"]))


def test_wandb_speaks_where_the_environment_or_the_caller_says_so(tmp_path: Path):
    script = (
        "from agentnn import MLRun\n"
        "import wandb\n"
        "own = wandb.Settings(x_disable_stats=True)\n"
        "run = MLRun.create({}, 'checkpoints', 'demo', wandb_options={'settings': own, 'tags': ['a']})\n"
        "print(run.wandb_run.settings.x_disable_stats, run.wandb_run.settings.console, run.wandb_run.tags)\n"
    )
    code, stdout, stderr, _ = Script(script, tmp_path, {"WANDB_SILENT": "false"}).wait()
    assert (code, stdout) == (0, "True off ('a',)\n")
    assert "wandb: Run data is saved locally" in stderr


@pytest.mark.parametrize("how", [{"WANDB_MODE": "disabled"}, {"AS_OPTION": "1"}], ids=["environment", "option"])
def test_wandb_that_is_switched_off_is_not_even_imported(how: dict[str, str], tmp_path: Path):
    script = (
        "import os, sys\nfrom agentnn import MLRun\n"
        "options = {'mode': 'disabled'} if 'AS_OPTION' in os.environ else None\n"
        "MLRun.create({}, 'checkpoints', 'demo', wandb_options=options).finish()\n"
        "print([name for name in ('wandb', 'pandas', 'numpy', 'mlflow') if name in sys.modules])\n"
    )
    assert Script(script, tmp_path, how).wait()[:3] == (0, "[]\n", "")


def test_nobody_is_asked_for_a_login_even_at_a_terminal(tmp_path: Path):
    script = "from agentnn import MLRun\nrun = MLRun.create({}, 'checkpoints', 'demo')\nprint('went on', run.wandb_run)"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(tmp_path, {"WANDB_MODE": "online"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline and select.select([ours], [], [], 60)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # Linux: the other side is closed
            break
    process.kill()
    process.wait()
    os.close(ours)
    assert b"went on None" in shown
    assert b"choice" not in shown
