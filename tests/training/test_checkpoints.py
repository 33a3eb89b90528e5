"""Checkpoints: what is on disk, what is read of it, and that a resumed training is the uninterrupted one."""

from __future__ import annotations

import math
import os
import pickle
import random
import resource
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from training.toy import X_TRAIN, X_VAL, Y_TRAIN, Y_VAL, Trained, perceptron, same_weights, values_of

from agentnn.errors import AgentNNWarning, ConflictError, CorruptDataError, StoreUnavailable, TrainingError, UnsafeError
from agentnn.training.loop.checkpoints import Checkpoints, read_state, write_state
from agentnn.training.loop.optimisation import Schedule

CPU = torch.device("cpu")
EPOCHS = 6


class Killed(Exception):
    pass


def killed_after(last: int) -> Any:
    """Ends a training in the epoch after this one, before that one's checkpoint."""

    def on_epoch(epoch: int, values: object) -> None:
        if epoch == last + 1:
            raise Killed

    return on_epoch


def interrupted(folder: Path, last: int, **given: Any) -> None:
    """A training whose last checkpoint is of this epoch."""
    with pytest.raises(Killed):
        Trained(EPOCHS, checkpoint_dir=folder, checkpoint_every_s=0, on_epoch=killed_after(last), **given)


def plain(**options: Any) -> dict[str, Any]:
    return options


def with_onecycle(**options: Any) -> dict[str, Any]:
    model = perceptron(dropout=0.4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=7 * EPOCHS)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, **options}


def with_plateau_and_warmup(**options: Any) -> dict[str, Any]:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, amsgrad=True)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
    return {"model": model, "optimizer": optimizer, "scheduler": Schedule(warmup, plateau), **options}


def with_everything_random(**options: Any) -> dict[str, Any]:
    """A criterion that draws from every generator there is."""

    def criterion(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        noise = random.gauss(0, 0.1) + np.random.normal(0, 0.1) + 0.1 * torch.randn(())
        return (outputs - targets + noise).square().mean()

    return {"criterion": criterion, **options}


SETUPS = {
    "adam": lambda: plain(),
    "float16": lambda: plain(precision="float16", clip_norm=1.0),
    "accumulated": lambda: plain(batch_size=8, accumulate_steps=3),
    "in order": lambda: plain(shuffle=False),
    "onecycle": with_onecycle,
    "plateau": with_plateau_and_warmup,
    "all generators": with_everything_random,
    "best": lambda: plain(restore_best=True, patience=3),
    "lbfgs": lambda: {
        "model": (model := perceptron(dropout=0.1)),
        "optimizer": torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3),
    },
}


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("last", [1, 4])
def test_resuming_is_bit_equal(setup: str, last: int, tmp_path: Path) -> None:
    def given() -> dict[str, Any]:
        torch.manual_seed(11)
        return SETUPS[setup]()

    whole = Trained(EPOCHS, **given())
    interrupted(tmp_path, last, **given())
    fresh = given()
    torch.manual_seed(99)  # another process has other random numbers
    np.random.seed(99)
    random.seed(99)
    resumed = Trained(EPOCHS, checkpoint_dir=tmp_path, resume=True, **fresh)
    assert resumed.history.resumed_from == last
    assert same_weights(resumed.weights, whole.weights)
    assert values_of(resumed.history) == values_of(whole.history)
    assert (resumed.history.best_epoch, resumed.history.best_value) == (
        whole.history.best_epoch,
        whole.history.best_value,
    )


def test_resuming_is_bit_equal_without_a_seed(tmp_path: Path) -> None:
    torch.manual_seed(4)
    whole = Trained(EPOCHS, seed=None)
    torch.manual_seed(4)
    interrupted(tmp_path, 2, seed=None)
    torch.manual_seed(99)
    assert same_weights(Trained(EPOCHS, seed=None, checkpoint_dir=tmp_path, resume=True).weights, whole.weights)


def test_resuming_twice_and_with_nothing_there(tmp_path: Path) -> None:
    whole = Trained(EPOCHS)
    interrupted(tmp_path, 1)
    interrupted(tmp_path, 3, resume=True)
    resumed = Trained(EPOCHS, checkpoint_dir=tmp_path, resume=True)
    assert same_weights(resumed.weights, whole.weights)
    nothing = Trained(EPOCHS, checkpoint_dir=tmp_path / "other", resume=True)
    assert nothing.history.resumed_from is None
    assert same_weights(nothing.weights, whole.weights)


def test_a_finished_training_is_not_trained_again_but_can_go_on(tmp_path: Path) -> None:
    seen: list[int] = []
    first = Trained(3, checkpoint_dir=tmp_path, restore_best=True)
    again = Trained(
        3, checkpoint_dir=tmp_path, resume=True, restore_best=True, on_epoch=lambda epoch, values: seen.append(epoch)
    )
    assert seen == []
    assert again.history == first.history
    assert same_weights(again.weights, first.weights)
    longer = Trained(EPOCHS, checkpoint_dir=tmp_path, resume=True)
    assert same_weights(longer.weights, Trained(EPOCHS).weights)
    assert longer.history.epochs == EPOCHS


def test_patience_that_has_run_out_stays_so(tmp_path: Path) -> None:
    values = iter([1.0, 2.0, 3.0, 4.0, 0.0])
    given: dict[str, Any] = {
        "metrics": {"merit": lambda outputs, targets: next(values)},
        "monitor": "merit",
        "patience": 2,
        "checkpoint_dir": tmp_path,
    }
    assert Trained(9, **given).history.epochs == 3
    again = Trained(9, resume=True, **given).history
    assert (again.epochs, again.stopped_early, again.best_epoch) == (3, True, 1)


def test_a_training_that_was_not_resumed_is_not_thrown_away(tmp_path: Path) -> None:
    interrupted(tmp_path, 2)
    with pytest.raises(ConflictError, match="unfinished training, of 2 epochs") as caught:
        Trained(EPOCHS, checkpoint_dir=tmp_path)
    assert "resume" in caught.value.hint
    Trained(EPOCHS, checkpoint_dir=tmp_path, resume=True)
    other = Trained(EPOCHS, checkpoint_dir=tmp_path, seed=8)  # a finished one makes room
    assert other.history.resumed_from is None
    assert same_weights(other.weights, Trained(EPOCHS, seed=8).weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 32}, "its batch_size was 16, and is 32 now"),
        ({"seed": 6}, "its seed was 5, and is 6 now"),
        ({"data": (X_TRAIN[:90], Y_TRAIN[:90], X_VAL, Y_VAL)}, "its number of samples was 100, and is 90 now"),
        ({"model": perceptron(outputs=2), "criterion": nn.MSELoss()}, "size mismatch"),
        ({"metrics": {"merit": lambda outputs, targets: 0.0}}, "it recorded"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)}, "its optimizer was Adam"),
    ],
)
def test_another_training_is_not_resumed(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    interrupted(tmp_path, 2)
    with pytest.raises(ConflictError, match=message):
        Trained(EPOCHS, checkpoint_dir=tmp_path, resume=True, **changes)


@pytest.mark.parametrize("schedule", [None, "exponential"])
def test_another_learning_rate_is_not_taken_for_the_same(schedule: str | None, tmp_path: Path) -> None:
    def given(learning_rate: float) -> dict[str, Any]:
        model = perceptron()
        optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5) if schedule else None
        return {"model": model, "optimizer": optimizer, "scheduler": scheduler}

    interrupted(tmp_path, 2, **given(0.1))
    with pytest.raises(ConflictError, match=r"its learning_rate was 0\.1, and is 0\.01 now"):
        Trained(EPOCHS, checkpoint_dir=tmp_path, resume=True, **given(0.01))
    resumed = Trained(EPOCHS, checkpoint_dir=tmp_path, resume=True, **given(0.1))
    assert same_weights(resumed.weights, Trained(EPOCHS, **given(0.1)).weights)


def test_the_best_weights_lie_beside_as_a_state_dict(tmp_path: Path) -> None:
    kept = Trained(EPOCHS, checkpoint_dir=tmp_path, restore_best=True)
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert same_weights(best, kept.weights)
    fresh = perceptron(dropout=0.2)
    fresh.load_state_dict(best)


def test_a_loss_that_is_lost_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def explode(epoch: int, values: object) -> None:
        if epoch == 2:
            optimizer.param_groups[0]["lr"] = 1e30

    with pytest.raises(TrainingError, match="in epoch 3") as caught:
        Trained(
            EPOCHS, model=model, optimizer=optimizer, checkpoint_dir=tmp_path, checkpoint_every_s=0, on_epoch=explode
        )
    assert f"the checkpoint of epoch 2 is in {tmp_path}" in caught.value.hint
    state = read_state(tmp_path / "last.pt", CPU)
    assert state["epoch"] == 2
    assert all(value.isfinite().all() for value in state["model"].values())


# --- how often ------------------------------------------------------------------------------------


def epochs_kept(folder: Path, **given: Any) -> list[int]:
    """The epoch of the checkpoint on disk after each epoch."""
    found: list[int] = []

    def look(epoch: int, values: object) -> None:
        path = folder / "last.pt"
        found.append(read_state(path, CPU)["epoch"] if path.exists() else 0)

    Trained(4, checkpoint_dir=folder, on_epoch=look, **given)
    return found


def test_checkpoints_are_as_often_as_is_said(tmp_path: Path) -> None:
    assert epochs_kept(tmp_path / "every", checkpoint_every_s=0) == [0, 1, 2, 3]
    assert epochs_kept(tmp_path / "seldom", checkpoint_every_s=3600) == [0, 0, 0, 0]
    assert read_state(tmp_path / "seldom" / "last.pt", CPU)["epoch"] == 4
    assert read_state(tmp_path / "seldom" / "last.pt", CPU)["finished"]


def test_by_default_writing_takes_a_hundredth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by 0.1 s while a state is written: the next is due 10 s later."""
    now = [100.0]
    monkeypatch.setattr("agentnn.training.loop.checkpoints.time.monotonic", lambda: now[0])
    write = write_state

    def slow(*args: Any, **kwargs: Any) -> None:
        write(*args, **kwargs)
        now[0] += 0.05

    monkeypatch.setattr("agentnn.training.loop.checkpoints.write_state", slow)
    with Checkpoints(tmp_path) as checkpoints:
        assert not checkpoints.are_due
        now[0] += 1.0
        assert checkpoints.are_due
        checkpoints.write({"format": 1, "epoch": 1, "best": {"weights": {}, "epoch": 1}})
        now[0] += 9.9
        assert not checkpoints.are_due
        now[0] += 0.2
        assert checkpoints.are_due


# --- files ----------------------------------------------------------------------------------------


def test_files_are_private_and_nothing_else_is_left(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Trained(2, checkpoint_dir=tmp_path / "run" / "checkpoints", checkpoint_every_s=0)
    finally:
        os.umask(before)
    folder = tmp_path / "run" / "checkpoints"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    names = sorted(path.name for path in folder.iterdir())
    assert names == [".lock", "best.pt", "last.previous.pt", "last.pt"]
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in names} == {0o600}


def test_old_temporaries_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".last.pt.123.writing").write_bytes(b"a part")
    (tmp_path / "mine.txt").write_text("stays")
    Trained(1, checkpoint_dir=tmp_path)
    assert not list(tmp_path.glob(".*.writing"))
    assert (tmp_path / "mine.txt").read_text() == "stays"


def test_a_damaged_state_is_told_and_the_one_before_is_taken(tmp_path: Path) -> None:
    whole = Trained(EPOCHS)
    interrupted(tmp_path, 3)
    damage(tmp_path / "last.pt", "model")
    with pytest.warns(AgentNNWarning, match=r"last\.pt is damaged.* of epoch 2"):
        resumed = Trained(EPOCHS, checkpoint_dir=tmp_path, resume=True)
    assert resumed.history.resumed_from == 2
    assert same_weights(resumed.weights, whole.weights)


def test_where_no_state_is_whole_nothing_is_begun(tmp_path: Path) -> None:
    interrupted(tmp_path, 3)
    for name in ("last.pt", "last.previous.pt"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:1000])
    with pytest.raises(CorruptDataError, match=r"last\.pt is damaged"):
        Trained(EPOCHS, checkpoint_dir=tmp_path, resume=True)
    assert Trained(1, checkpoint_dir=tmp_path).history.epochs == 1


def damage(path: Path, seed: object) -> None:
    """Turn a bit around in the middle of what the file holds."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda one: one.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + 200 + random.Random(seed).randrange(largest.file_size - 200)] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("part", range(4))
def test_no_damaged_file_is_taken_for_a_state(part: int, tmp_path: Path) -> None:
    """Bits turned around and ends cut off, everywhere: what is read is right, or refused with one of our errors."""
    interrupted(tmp_path, 1)
    path = tmp_path / "last.pt"
    right, content = read_state(path, CPU), path.read_bytes()
    rng = random.Random(part)
    refused = 0
    for _ in range(40):
        damaged = bytearray(content)
        if part == 0:
            damaged = damaged[: rng.randrange(len(damaged))]
        else:
            for _ in range(part):
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(damaged))
        try:
            state = read_state(path, CPU)
        except (CorruptDataError, UnsafeError):
            refused += 1
        else:
            assert same_weights(state["model"], right["model"])
            assert state["history"] == right["history"]
    assert refused > 10


class Touch:
    """What an attacker would pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_file_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"format": 1, "epoch": Touch(tmp_path / "executed")}, tmp_path / "last.pt")
    with pytest.raises(UnsafeError, match="other than the state of a training"):
        Trained(1, checkpoint_dir=tmp_path, resume=True)
    assert not (tmp_path / "executed").exists()
    (tmp_path / "last.pt").write_bytes(pickle.dumps(Touch(tmp_path / "executed")))
    with pytest.raises(CorruptDataError):
        Trained(1, checkpoint_dir=tmp_path, resume=True)
    assert not (tmp_path / "executed").exists()


def test_a_state_of_something_else(tmp_path: Path) -> None:
    for other in ({"weight": torch.zeros(1)}, [1, 2], {"format": 99}):
        torch.save(other, tmp_path / "last.pt")
        with pytest.raises(CorruptDataError, match="does not hold the state of a training"):
            read_state(tmp_path / "last.pt", CPU)


def test_one_training_a_folder(tmp_path: Path) -> None:
    def second(epoch: int, values: object) -> None:
        with pytest.raises(ConflictError, match="another training keeps its checkpoints"):
            Trained(1, checkpoint_dir=tmp_path)

    assert Trained(1, checkpoint_dir=tmp_path, on_epoch=second).history.epochs == 1
    Trained(1, checkpoint_dir=tmp_path)


def test_a_folder_that_can_not_be_made_is_said_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="checkpoints can't be kept in"):
        Trained(1, checkpoint_dir=tmp_path / "file" / "folder", on_epoch=lambda epoch, values: pytest.fail("trained"))


def test_a_state_that_can_not_be_written_is_a_warning(tmp_path: Path) -> None:
    """The folder goes away while the model is trained."""
    folder = tmp_path / "run"

    def lose(epoch: int, values: object) -> None:
        if epoch == 2:
            folder.rename(tmp_path / "elsewhere")

    with pytest.warns(AgentNNWarning, match="the state of epoch 2 could not be kept"):
        trained = Trained(3, checkpoint_dir=folder, checkpoint_every_s=0, on_epoch=lose)
    assert trained.history.epochs == 3
    assert read_state(tmp_path / "elsewhere" / "last.pt", CPU)["epoch"] == 1


def test_a_full_disk_leaves_the_state_before(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: a write fails in the middle."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(epoch: int, values: object) -> None:
        if epoch == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    try:
        with pytest.warns(AgentNNWarning, match="the state of epoch 2 could not be kept"):
            trained = Trained(3, checkpoint_dir=tmp_path, checkpoint_every_s=0, on_epoch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert trained.history.epochs == 3
    assert read_state(tmp_path / "last.pt", CPU)["epoch"] == 1
    assert not list(tmp_path.glob(".*.writing"))


def test_a_value_that_is_not_finite_survives(tmp_path: Path) -> None:
    write_state(tmp_path / "state.pt", {"format": 1, "value": math.nan})
    assert math.isnan(read_state(tmp_path / "state.pt", CPU)["value"])
