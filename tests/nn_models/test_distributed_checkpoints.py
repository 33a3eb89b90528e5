"""Versions of a training on disk: the last few, the best, and what damage does to them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import torch
from nn_models.worker_nursery import told_by
from torch import nn

from agentnn.errors import AgentNNWarning, ConflictError, CorruptDataError, UsageError
from agentnn.nn_models.training_infrastructure import (
    DistributedOptions,
    DistributedTrainer,
    TrainingOptions,
    VersionedCheckpoints,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agentnn.nn_models.training_infrastructure import DistributedResult

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
Y = X[:, :1]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Stopped(Exception):
    """Ends a training."""


def trained(folder: Path | None, epochs: int = 6, stop_in: int = 0, **given: Any) -> DistributedResult:
    """By a single process; with a checkpoint after every epoch, and broken off in one if that is asked for."""

    def stop(epoch: int, values: Mapping[str, float]) -> None:
        if epoch == stop_in:
            raise Stopped

    torch.manual_seed(2)
    model = given.pop("model", None) or nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    distributed = {name: given.pop(name) for name in ("keep_checkpoints", "strategy") if name in given}
    options = {"batch_size": 16, "seed": 3, "checkpoint_every_s": 0, **given}
    trainer = DistributedTrainer(
        model,
        lambda weights: torch.optim.Adam(weights, lr=0.02),
        nn.MSELoss(),
        TrainingOptions(checkpoint_dir=folder, **options),
        DistributedOptions(**distributed),
        track=False,
    )
    return trainer.fit(X, Y, X, Y, epochs, on_epoch=stop)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))


def test_the_last_few_stay_and_the_best(tmp_path: Path) -> None:
    result = trained(tmp_path, keep_checkpoints=2)
    best = f"best-{result.history.best_epoch:06d}.pt"
    files = ["epoch-000005.pt", "epoch-000006.pt", best]
    assert names(tmp_path) == sorted([*files, *(f"{one}.sha256" for one in files), "best.pt", "last.pt"])
    assert (tmp_path / "last.pt").resolve().name == "epoch-000006.pt"
    assert (tmp_path / "best.pt").resolve().name == best
    weights = torch.load(tmp_path / "best.pt", weights_only=True)
    assert result.history.best_epoch == 6
    assert all(torch.equal(one, weights[name]) for name, one in result.model.state_dict().items())


def test_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    trained(tmp_path)
    digests = [one.name for one in tmp_path.glob("*.sha256")]
    assert len(digests) == 4
    subprocess.run(["sha256sum", "--check", "--strict", *digests], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("how", ["a byte is another", "it is cut", "its digest is gone"])
def test_a_damaged_version_is_passed_over_and_that_is_said(tmp_path: Path, how: str) -> None:
    whole = trained(None)
    with pytest.raises(Stopped):
        trained(tmp_path, stop_in=5)
    last = tmp_path / "epoch-000004.pt"
    content = bytearray(last.read_bytes())
    if how == "a byte is another":
        content[len(content) // 2] ^= 1
        last.write_bytes(content)
    elif how == "it is cut":
        last.write_bytes(content[:-100])
    else:
        last.with_name(last.name + ".sha256").unlink()
    with pytest.warns(AgentNNWarning, match=r"epoch-000004\.pt .*epoch-000003\.pt is taken"):
        resumed = trained(tmp_path, resume=True, keep_checkpoints=1)
    assert resumed.history.resumed_from == 3
    assert resumed.history["val_loss"] == whole.history["val_loss"]
    assert [one for one in names(tmp_path) if one.startswith("epoch") and one.endswith(".pt")] == ["epoch-000006.pt"]


def test_where_all_are_damaged_nothing_is_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trained(tmp_path, stop_in=4)
    for one in tmp_path.glob("epoch-*.pt"):
        one.write_bytes(b"nothing")
    with pytest.raises(CorruptDataError, match="SHA-256"):
        trained(tmp_path, resume=True)


def test_another_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trained(tmp_path, stop_in=4)
    with pytest.raises(ConflictError, match="unfinished training"):
        trained(tmp_path)
    with pytest.raises(ConflictError, match="batch_size was 16"):
        trained(tmp_path, resume=True, batch_size=8)
    with pytest.raises(ConflictError, match="strategy was ddp"):
        trained(tmp_path, resume=True, strategy="fsdp")


def test_under_torchrun_the_same_job_goes_on_though_nothing_was_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not count it as a restart when processes join or leave."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a job")
    with pytest.raises(Stopped):
        trained(tmp_path, stop_in=4)
    assert trained(tmp_path).history.resumed_from == 3
    assert trained(tmp_path).history.resumed_from is None  # a second training of the same script
    with pytest.raises(Stopped):
        trained(tmp_path, stop_in=4)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "another job")
    with pytest.raises(ConflictError, match="unfinished training"):
        trained(tmp_path)


def test_a_finished_training_can_be_gone_on_with_for_longer(tmp_path: Path) -> None:
    trained(tmp_path, epochs=4)
    assert trained(tmp_path, epochs=6, resume=True).history["val_loss"] == trained(None).history["val_loss"]


def test_random_numbers_are_afterwards_as_before() -> None:
    trained(None, model=nn.Linear(3, 1))  # which seeds with 2 before it begins
    after = torch.rand(1)
    torch.manual_seed(2)
    assert torch.equal(after, torch.rand(1))


def test_options_are_checked() -> None:
    for wrong in ({"strategy": "dp"}, {"backend": "mpi"}, {"timeout_s": 0}, {"keep_checkpoints": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            DistributedOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="compile"):
        trained(None, compile=True)


def test_what_is_asked_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert VersionedCheckpoints(None).versions() == []
    with VersionedCheckpoints(tmp_path / "new") as checkpoints:
        assert (checkpoints.job(), checkpoints.versions()) == ("", [])


KILLS, EPOCHS = 20, 60


@pytest.mark.slow
def test_whenever_it_is_killed_a_whole_version_is_left_and_it_ends_the_same(tmp_path: Path) -> None:
    """F27, with the first process killed while it writes: 20 times."""
    script = f"""
from agentnn.nn_models.distributed import versions

X = torch.randn(64, 32, generator=torch.Generator().manual_seed(1)); Y = X[:, :1] * 2
KEPT = FOLDER / "kept"
random.seed(4)


def train(resume, watcher=None):
    torch.manual_seed(2)
    write = versions.write_state

    def watched(path, state):
        os.write(watcher, b"w")
        write(path, state)

    versions.write_state = watched if watcher else write
    trainer = DistributedTrainer(
        nn.Sequential(nn.Linear(32, 100), nn.Dropout(0.2), nn.Linear(100, 1)),
        lambda weights: torch.optim.AdamW(weights, lr=1e-3), nn.MSELoss(),
        TrainingOptions(
            batch_size=16, seed=3, resume=resume, checkpoint_dir=KEPT if resume else None, restore_best=True,
            checkpoint_every_s=0 if watcher else None,
        ),
        track=False,
    )
    result = trainer.fit(X, Y, X, Y, {EPOCHS})
    versions.write_state = write
    return [[value.tolist() for value in trainer.model.state_dict().values()], result.history["val_loss"]]


def killed():
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        train(True, writing)
        os._exit(3)
    os.close(writing)
    os.read(reading, 1)  # it has begun to write
    for _ in range(random.choice([0, 1, 2])):
        os.read(reading, 1)
    time.sleep(random.random() * 0.004)
    os.kill(pid, signal.SIGKILL)
    status = ended(pid, time.monotonic() + 120)
    os.close(reading)
    return os.WIFSIGNALED(status)


found, epochs = [], []
for _ in range({KILLS}):
    found.append(killed())
    in_the_middle = bool(list(KEPT.glob(".*.writing")))
    with versions.VersionedCheckpoints(KEPT) as checkpoints:
        state = checkpoints.start(torch.device("cpu"), resume=True)
    epochs.append([state["epoch"] if state else 0, in_the_middle])
[[_, whole]] = together(1, lambda rank: train(False))
[[_, resumed]] = together(1, lambda rank: train(True))
print(json.dumps({{"killed": found, "epochs": epochs, "same": whole == resumed}}))
"""
    told = told_by(script, str(tmp_path))
    epochs = [epoch for epoch, _ in told["epochs"]]
    assert all(told["killed"])
    assert len(told["killed"]) == KILLS
    assert epochs == sorted(epochs)
    assert 0 < epochs[-1] < EPOCHS
    assert any(in_the_middle for _, in_the_middle in told["epochs"]), "no kill fell into the middle of a write"
    assert told["same"]
