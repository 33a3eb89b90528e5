"""F27: a training is killed 20 times while it writes a checkpoint. The new one loads, or the one before, and the
training that goes on ends bit for bit as one that nobody killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

KILLS = 20
EPOCHS = 80

NURSERY = f"""
import json, os, random, signal, sys, time
from pathlib import Path

import torch
from torch import nn

from agentnn.training.loop import checkpoints
from agentnn.training.train_nn_model import TrainingOptions, train_model

torch.set_num_threads(1)  # nothing but this process's own thread, which a child of a fork has too
CPU = torch.device("cpu")
INPUTS = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
TARGETS = INPUTS[:, :1] * 2

def train(folder, watcher=None):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(32, 200), nn.ReLU(), nn.Dropout(0.2), nn.Linear(200, 200), nn.Linear(200, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps={EPOCHS} * 4)
    write = checkpoints.write_state

    def watched(path, state, **keep):
        tell(b"begun\\n")
        write(path, state, **keep)
        if path.name == "last.pt":
            tell(f"kept {{state['epoch']}}\\n".encode())

    def tell(line):
        if watcher is not None:
            os.write(watcher, line)

    checkpoints.write_state = watched
    options = TrainingOptions(
        batch_size=16,
        seed=3,
        checkpoint_dir=folder,
        checkpoint_every_s=None if watcher is None else 0,
        resume=True,
        restore_best=True,
    )
    history = train_model(
        model, INPUTS, TARGETS, INPUTS, TARGETS, optimizer, nn.MSELoss(), {EPOCHS}, options=options, scheduler=scheduler
    )
    checkpoints.write_state = write
    values = {{name: one for name, one in history.items() if name != "epoch_seconds"}}
    return {{
        "weights": [value.tolist() for value in model.state_dict().values()],
        "history": values,
        "best": [history.best_epoch, history.best_value],
    }}

def killed(folder, longest, writes):
    \"\"\"Kill a child some time after it has begun its so-and-so-many-th file; gives the epoch that it kept last.\"\"\"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        train(folder, writing)
        os._exit(3)  # it should not have lived so long
    os.close(writing)
    with os.fdopen(reading) as lines:
        told = []
        while told.count("begun") < writes and (line := lines.readline()):
            told.append(line.strip())
        time.sleep(random.random() * longest)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        told += [line.strip() for line in lines]
    kept = [int(line.split()[1]) for line in told if line.startswith("kept")]
    return os.WIFSIGNALED(status), kept[-1] if kept else None

def longest_write(folder):
    began = time.monotonic()
    state = {{"weights": [torch.randn(200, 200) for _ in range(4)]}}
    checkpoints.write_state(Path(folder, "trial.pt"), state)
    return time.monotonic() - began

folder = Path(sys.argv[1])
random.seed(4)
whole = train(sys.argv[2])  # first, so that no child has to import what torch imports with its first step
longest = max(longest_write(sys.argv[2]) for _ in range(3))
found, last = [], 0
for _ in range({KILLS}):
    was_killed, kept = killed(folder, longest, writes=random.choice([1, 2, 3, 4]))
    in_the_middle = bool(list(folder.glob(".*.writing")))
    with checkpoints.Checkpoints(folder) as opened:
        state = opened.start(CPU, resume=True)
    if (folder / "best.pt").exists():
        torch.load(folder / "best.pt", weights_only=True)
    epoch = state["epoch"] if state else 0
    kept = last if kept is None else kept
    found.append({{"killed": was_killed, "middle": in_the_middle, "kept": kept, "read": epoch}})
    last = epoch
resumed = train(folder)
print(json.dumps({{"kills": found, "same": resumed == whole, "epochs": len(whole["history"]["val_loss"])}}))
"""
"""Imports torch once, and forks a trainer for each kill."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-c", NURSERY, str(folder / "checkpoints"), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.mark.slow
def test_the_new_checkpoint_or_the_one_before_loads_after_each_kill(told: dict[str, Any]) -> None:
    kills = told["kills"]
    assert len(kills) == KILLS
    assert all(one["killed"] for one in kills)
    assert any(one["middle"] for one in kills), "no kill fell into the middle of a checkpoint"
    for one in kills:
        assert one["read"] in (one["kept"], one["kept"] + 1)


@pytest.mark.slow
def test_resuming_is_bit_equal_to_a_training_that_nobody_killed(told: dict[str, Any]) -> None:
    assert told["epochs"] == EPOCHS
    assert 0 < told["kills"][-1]["read"] < EPOCHS
    assert told["same"]
