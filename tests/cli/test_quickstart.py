"""The guided first use, run for real: training, recording, asking."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli.support import environment, in_process

from agentnn import ModelManager
from agentnn.training.quickstart import CANDIDATES, train_candidates

EXECUTABLE = Path(sys.executable).with_name("agentnn")
SHOWN = (
    "$ agentnn experiment list",
    "$ agentnn run list -e quickstart",
    "$ agentnn run best -e quickstart --metric sharpe_ratio",
    "$ agentnn run compare",
    "$ agentnn model list",
)


def quickstart(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(EXECUTABLE), "quickstart"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def first(folder: Path) -> subprocess.CompletedProcess[str]:
    return quickstart(folder)


@pytest.mark.slow
def test_it_shows_the_commands_that_a_user_types_next(first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stderr
    places = [first.stdout.index(line) for line in SHOWN]
    assert places == sorted(places)


@pytest.mark.slow
def test_every_network_and_the_baseline_are_recorded_with_their_losses(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert first.returncode == 0
    manager = ModelManager(f"sqlite:///{folder}/mlflow.db")
    runs = {run.name: run for run in manager.list_runs("quickstart", limit=None)}
    assert set(runs) == {*CANDIDATES, "buy-and-hold"}
    for name, run in runs.items():
        assert run.status == "FINISHED"
        assert {"sharpe_ratio", "max_drawdown", "total_return"} <= set(run.metrics)
        if name != "buy-and-hold":
            losses = manager.get_metric_history(run.run_id, "train_loss")
            assert [point.step for point in losses] == list(range(1, len(losses) + 1))
            assert len(losses) > 1


@pytest.mark.slow
def test_it_says_how_the_networks_do_beside_buy_and_hold(first: subprocess.CompletedProcess[str], folder: Path) -> None:
    runs = ModelManager(f"sqlite:///{folder}/mlflow.db").list_runs("quickstart", limit=None)
    sharpe = {run.name: run.metrics["sharpe_ratio"] for run in runs}
    bar = sharpe.pop("buy-and-hold")
    ahead = sum(value > bar for value in sharpe.values())
    assert f"{ahead} of {len(CANDIDATES)} networks beat buy-and-hold" in first.stderr


@pytest.mark.slow
def test_the_champion_is_the_best_by_validation_and_loads_without_trust(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    manager = ModelManager(f"sqlite:///{folder}/mlflow.db")
    version = manager.get_model_version("quickstart@champion")
    assert version.run_id == manager.get_best_run("validation_sharpe_ratio", filter="name != 'buy-and-hold'").run_id
    done = in_process("model", "load", "quickstart@champion", "-o", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    check = json.loads(done.stdout)
    assert check["example_rows"] == len(check["prediction"]) == 2
    assert all(0 < probability < 1 for probability in check["prediction"])


@pytest.mark.slow
def test_run_again_it_adds_and_says_so(
    first: subprocess.CompletedProcess[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first.returncode == 0
    held, two = len(CANDIDATES) + 1, dict(list(CANDIDATES.items())[:2])  # all of them were trained once
    monkeypatch.setitem(train_candidates.__kwdefaults__, "candidates", two)
    again = in_process("quickstart", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert f"held {held} runs before; 3 were added" in again.stderr
    manager = ModelManager(f"sqlite:///{folder}/mlflow.db")
    assert len(manager.list_runs("quickstart", limit=None)) == held + 3
    assert manager.get_model_version("quickstart@champion").version == 2


def test_without_torch_it_ends_with_9_and_the_command_that_installs_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from agentnn.cli.app import run_command\n"
        "sys.exit(run_command(['quickstart']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8", check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 9
    assert "hint: pip install 'agentnn[train]'" in done.stderr
    assert list(tmp_path.iterdir()) == []
