"""The Quick Start of ML Manager, as it is written there: two runs, one table, one question."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from wandb_scripts import Script

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = r"""
import os
from ml_manager import MLRun, MLProject

# --- Configuration ---
# !! Change this to your wandb entity !!
WANDB_ENTITY = "your_wandb_entity"
WANDB_PROJECT = "my-demo-project"
BASE_CHECKPOINT_DIR = "./checkpoints"

# --- 1. Run Experiment 1 (CNN) ---
print("--- Running Experiment 1: CNN ---")
config1 = {
    "learning_rate": 0.001,
    "batch_size": 32,
    "model": {"name": "CNN", "layers": 5}
}

# This calls wandb.init() and creates the local dir
run1 = MLRun.create(
    config=config1,
    base_dir=BASE_CHECKPOINT_DIR,
    project_name=WANDB_PROJECT,
    entity=WANDB_ENTITY
)

# ... (your model training loop) ...
print(f"Training CNN... (Run ID: {run1.run_id})")

# Log final metrics. This saves to metrics.toml and calls wandb.log()
final_metrics1 = {"accuracy": 0.92, "f1_score": 0.91, "epoch": 10}
run1.add_metrics(final_metrics1)

# This calls wandb.finish()
run1.finish()
print(f"Find this run at: {run1.get_wandb_url()}")


# --- 2. Run Experiment 2 (BERT) ---
print("\n--- Running Experiment 2: BERT ---")
config2 = {
    "learning_rate": 5e-5,
    "batch_size": 16,
    "model": {"name": "BERT", "layers": 12}
}

run2 = MLRun.create(
    config=config2,
    base_dir=BASE_CHECKPOINT_DIR,
    project_name=WANDB_PROJECT,
    entity=WANDB_ENTITY
)

# ... (your model training loop) ...
print(f"Training BERT... (Run ID: {run2.run_id})")

final_metrics2 = {"accuracy": 0.96, "f1_score": 0.95, "epoch": 5}
run2.add_metrics(final_metrics2)
run2.finish()
print(f"Find this run at: {run2.get_wandb_url()}")


# --- 3. Analyze All Experiments ---
print("\n--- Analyzing Project ---")

# This scans ./checkpoints/{project_name}/{run_id} and loads all config.toml/metrics.toml files
project = MLProject(base_dir=BASE_CHECKPOINT_DIR)

print("\n[Full Experiment DataFrame]")
print(project.df.to_markdown(index=False))

# Search the DataFrame using pandas query syntax
# Note: Use backticks (`) for nested keys like 'model.name'
print("\n[Searching for 'accuracy > 0.95']")
best_runs_df = project.search(query_string="accuracy > 0.95")

print(best_runs_df[['run_id', 'model.name', 'accuracy', 'f1_score']].to_markdown(index=False))

# Load a specific run object from the search result
if not best_runs_df.empty:
    best_run_id = best_runs_df.iloc[0]["run_id"]
    print(f"\n[Loading best run: {best_run_id}]")
    
    best_run: MLRun = project.get_run(best_run_id)
    print(f"Config: {best_run.config}")
    print(f"Metrics: {best_run.metrics}")
"""
PREFIX = ("from ml_manager import", "from agentnn import")

NO_WANDB = "import sys\nsys.modules['wandb'] = None\n"
"""Makes ``import wandb`` fail as it does where it is not installed."""


@pytest.fixture(scope="module", params=["wandb", "no-wandb"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, bool]:
    """Where the example ran, what it printed, and whether wandb was there."""
    folder = tmp_path_factory.mktemp("example")
    assert PREFIX[0] in EXAMPLE
    start = "" if request.param == "wandb" else NO_WANDB
    code, stdout, stderr, _ = Script(start + EXAMPLE.replace(*PREFIX), folder, None, "-W", "error").wait()
    assert code == 0, stderr
    if request.param == "wandb":
        assert stderr == ""
    else:
        assert stderr.splitlines() == [stderr.strip()]
        assert "pip install 'agentnn[wandb]'" in stderr
    return folder, stdout, request.param == "wandb"


def tables(stdout: str) -> list[list[dict[str, str]]]:
    """The Markdown tables among the lines."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", stdout, flags=re.MULTILINE):
        header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
        found.append([dict(zip(header, row, strict=True)) for row in rows])
    return found


def test_each_run_is_named_and_its_address_is_given(ran: tuple[Path, str, bool]):
    folder, stdout, has_wandb = ran
    ids = re.findall(r"Training (?:CNN|BERT)\.\.\. \(Run ID: (\S+)\)", stdout)
    assert sorted(ids) == sorted(path.parent.name for path in folder.glob("checkpoints/my-demo-project/*/config.toml"))
    addresses = re.findall(r"Find this run at: ?(.*)", stdout)
    expected = [f"https://wandb.ai/your_wandb_entity/my-demo-project/runs/{one}" for one in ids]
    assert addresses == (expected if has_wandb else ["", ""])


def test_config_and_metrics_lie_in_files_of_their_own(ran: tuple[Path, str, bool]):
    folder, stdout, has_wandb = ran
    run_id = re.findall(r"Run ID: (\S+)\)", stdout)[0]
    path = folder / "checkpoints" / "my-demo-project" / run_id
    config = tomllib.loads((path / "config.toml").read_text(encoding="utf-8"))
    meta = config.pop("_meta")
    shown = config.pop("_wandb", None)
    assert config == {"learning_rate": 0.001, "batch_size": 32, "model": {"name": "CNN", "layers": 5}}
    assert (meta["run_id"], meta["status"]) == (run_id, "FINISHED")
    assert (shown["run_id"], shown["mode"]) == (run_id, "offline") if has_wandb else shown is None
    metrics = tomllib.loads((path / "metrics.toml").read_text(encoding="utf-8"))
    assert metrics == {"accuracy": 0.92, "f1_score": 0.91, "epoch": 10}


def test_the_tables_show_both_runs_and_the_better_one(ran: tuple[Path, str, bool]):
    _, stdout, _ = ran
    ids = re.findall(r"Run ID: (\S+)\)", stdout)
    everything, best = tables(stdout)
    assert sorted(row["run_id"] for row in everything) == sorted(ids)
    by_id = {row["run_id"]: row for row in everything}
    assert (by_id[ids[0]]["model.name"], by_id[ids[1]]["model.layers"]) == ("CNN", "12")
    assert best == [{"run_id": ids[1], "model.name": "BERT", "accuracy": "0.96", "f1_score": "0.95"}]


def test_the_best_run_is_loaded(ran: tuple[Path, str, bool]):
    _, stdout, _ = ran
    assert f"[Loading best run: {re.findall('Run ID: (.*)[)]', stdout)[1]}]" in stdout
    assert stdout.splitlines()[-2:] == [
        "Config: {'learning_rate': 5e-05, 'batch_size': 16, 'model': {'name': 'BERT', 'layers': 12}}",
        "Metrics: {'accuracy': 0.96, 'f1_score': 0.95, 'epoch': 5}",
    ]
