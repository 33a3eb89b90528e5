"""Several processes train one network as a single one would, whatever becomes of one of them."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nn_models.worker_nursery import told_by

from agentnn.nn_models.distributed.sharding import noise_seed, order_of_epoch, part_of

EXACT, SINGLE = 1e-12, 1e-6
"""How far apart losses and weights may be, as a share, in float64 and in float32."""

EPOCHS = 4

_TOY = f"""
EPOCHS, SAMPLES, BATCH, TOGETHER, CLIP = {EPOCHS}, 50, 8, 2, 0.5  # the last step is of 2 samples: of 3, one has none
X = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = X[:, :1] * 2 - X[:, 1:2]
X_VAL, Y_VAL = X[:21] + 0.1, Y[:21]


def network(dtype=torch.float64, dropout=0.0):
    torch.manual_seed(3 + int(os.environ.get("RANK", 0)))  # the first one's weights count
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1)).to(dtype)


def by_place(outputs, targets):
    return float((outputs * torch.arange(len(outputs)).unsqueeze(1)).sum())  # wrong, if the order is


def trained(dtype=torch.float64, dropout=0.0, metric=by_place, epochs=EPOCHS, on_epoch=None, track=None, **given):
    distributed = {{name: given.pop(name) for name in ("strategy", "timeout_s", "keep_checkpoints") if name in given}}
    options = {{"batch_size": BATCH, "accumulate_steps": TOGETHER, "clip_norm": CLIP, "seed": 5, **given}}
    trainer = DistributedTrainer(
        network(dtype, dropout),
        lambda weights: torch.optim.AdamW(weights, lr=0.05),
        nn.MSELoss(),
        TrainingOptions(**options),
        DistributedOptions(**{{"timeout_s": 100.0, **distributed}}),
        make_schedule=lambda optimizer, steps: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
        track=track is not None,
        **(track or {{}}),
    )
    result = trainer.fit(X, Y, X_VAL, Y_VAL, epochs, metrics={{"by_place": metric}}, on_epoch=on_epoch)
    history = {{name: values for name, values in result.history.items() if name != "epoch_seconds"}}
    weights = [value.tolist() for value in trainer.model.state_dict().values()]
    return {{
        "history": history,
        "weights": weights,
        "world": result.world_size,
        "resumed_from": result.history.resumed_from,
        "stopped_early": result.history.stopped_early,
    }}
"""

_BY_HAND = """
def by_hand(dtype=torch.float64):
    \"\"\"A plain loop of torch over whole batches.\"\"\"
    from agentnn.nn_models.distributed.sharding import order_of_epoch

    model, losses, seen = network(dtype), {"train_loss": [], "val_loss": [], "learning_rate": [], "by_place": []}, []
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for epoch in range(1, EPOCHS + 1):
        total = 0.0
        for rows in torch.split(order_of_epoch(5, epoch, SAMPLES), BATCH * TOGETHER):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(X[rows].to(dtype)), Y[rows].to(dtype))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            total += loss.item() * len(rows) / SAMPLES
        with torch.no_grad():
            outputs = model(X_VAL.to(dtype))
        losses["train_loss"].append(total)
        losses["val_loss"].append(nn.functional.mse_loss(outputs, Y_VAL.to(dtype)).item())
        losses["by_place"].append(by_place(outputs, None))
        losses["learning_rate"].append(optimizer.param_groups[0]["lr"])
        scheduler.step(losses["val_loss"][-1])
    return {"history": losses, "weights": [value.tolist() for value in model.state_dict().values()]}
"""


def gave(workers: list[Any]) -> list[dict[str, Any]]:
    """What all workers gave, none of which failed."""
    assert all(one[0] == "gave" for one in workers), workers
    return [one[1] for one in workers]


def apart(left: dict[str, Any], right: dict[str, Any]) -> float:
    """The greatest difference of two trainings, as a share of the greatest value."""
    differences = []
    for name, values in left["history"].items():
        differences.append((np.array(values), np.array(right["history"][name])))
    differences += [
        (np.array(one), np.array(other)) for one, other in zip(left["weights"], right["weights"], strict=True)
    ]
    return max(float(np.abs(one - other).max() / np.abs(one).max()) for one, other in differences)


# --- the shares


@given(st.integers(0, 40), st.integers(1, 9))
def test_every_row_of_a_batch_is_somebodys_once(count: int, size: int) -> None:
    rows = torch.randperm(count)
    parts = [part_of(rows, rank, size) for rank in range(size)]
    assert torch.equal(torch.cat(parts), rows)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 1000), st.integers(1, 300))
def test_an_epochs_order_follows_from_seed_and_epoch_alone(seed: int, epoch: int, count: int) -> None:
    order = order_of_epoch(seed, epoch, count)
    torch.rand(3)
    assert torch.equal(order, order_of_epoch(seed, epoch, count))
    assert sorted(order.tolist()) == list(range(count))
    assert torch.equal(order_of_epoch(seed, epoch, count, shuffle=False), torch.arange(count))


def test_epochs_and_processes_have_random_numbers_of_their_own() -> None:
    assert len({noise_seed(5, epoch, rank) for epoch in range(50) for rank in range(8)}) == 400
    assert not torch.equal(order_of_epoch(5, 1, 50), order_of_epoch(5, 2, 50))
    assert not torch.equal(order_of_epoch(5, 1, 50), order_of_epoch(6, 1, 50))


# --- as a single process


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = """
waited = [0]
no_sync = DistributedDataParallel.no_sync

def counted(self):
    waited[0] += 1
    return no_sync(self)

def counting(rank):
    DistributedDataParallel.no_sync = counted
    return {**trained(), "without_sync": waited[0]}

found = {
    "by_hand": together(1, lambda rank: by_hand()),  # no autograd before the last fork
    "by_hand_32": together(1, lambda rank: by_hand(torch.float32)),
    "alone": together(1, lambda rank: trained()),
    "ddp": together(2, counting),
    "ddp_32": together(2, lambda rank: trained(torch.float32)),
    "ddp_of_3": together(3, lambda rank: trained()),
    "ddp_twice": together(2, lambda rank: [trained(), trained()][1]),
    "fsdp": together(2, lambda rank: trained(strategy="fsdp", checkpoint_dir=FOLDER / "fsdp" if rank == 0 else None)),
    "fsdp_went_on": together(
        2, lambda rank: trained(strategy="fsdp", epochs=6, checkpoint_dir=FOLDER / "fsdp", resume=True)
    ),
    "fsdp_6": together(2, lambda rank: trained(strategy="fsdp", epochs=6)),
    "fsdp_alone": together(1, lambda rank: trained(strategy="fsdp")),
}
print(json.dumps(found))
"""
    found: dict[str, Any] = told_by(_TOY + _BY_HAND + script, str(tmp_path_factory.mktemp("curves")))
    return found


@pytest.mark.parametrize("how", ["alone", "ddp", "ddp_of_3", "ddp_twice", "fsdp", "fsdp_alone"])
def test_the_curve_and_the_weights_are_those_of_a_plain_loop_over_whole_batches(
    curves: dict[str, Any], how: str
) -> None:
    """With gradients that are accumulated and clipped, a schedule that looks at the loss, a last step of 2 samples."""
    workers = gave(curves[how])
    assert [one["world"] for one in workers] == [len(workers)] * len(workers)
    assert apart(gave(curves["by_hand"])[0], workers[0]) < EXACT


def test_in_single_precision_they_differ_by_what_is_rounded(curves: dict[str, Any]) -> None:
    [first, _] = gave(curves["ddp_32"])
    assert 0 < apart(gave(curves["by_hand_32"])[0], first) < SINGLE


@pytest.mark.parametrize("how", ["ddp", "ddp_of_3", "fsdp"])
def test_all_processes_end_with_the_same_bits(curves: dict[str, Any], how: str) -> None:
    first, *others = gave(curves[how])
    for other in others:
        assert other["weights"] == first["weights"]
        assert other["history"] == first["history"]


def test_gradients_are_exchanged_once_a_step(curves: dict[str, Any]) -> None:
    batches, steps = 7, 4  # of 50 samples, 8 and 16 at a time
    assert [one["without_sync"] for one in gave(curves["ddp"])] == [EPOCHS * (batches - steps)] * 2


def test_shards_go_on_from_a_checkpoint_bit_for_bit(curves: dict[str, Any]) -> None:
    whole, went_on = gave(curves["fsdp_6"])[0], gave(curves["fsdp_went_on"])[0]
    assert went_on["resumed_from"] == EPOCHS
    assert (went_on["weights"], went_on["history"]) == (whole["weights"], whole["history"])


# --- a process that is gone, or fails


@pytest.fixture(scope="module")
def troubles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = """
def in_epoch(number, trouble):
    \"\"\"A metric that makes trouble on the second process while it looks at an epoch.\"\"\"
    calls = []

    def metric(outputs, targets):
        calls.append(1)
        if len(calls) == number and os.environ["RANK"] == "1":
            trouble()
        return by_place(outputs, targets)

    return metric

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def fail():
    raise ValueError("no such number")

def kept(name, **given):
    return trained(dropout=0.2, checkpoint_dir=FOLDER / name, checkpoint_every_s=0, **given)

def timed(work):
    def run(rank):
        began = time.monotonic()
        try:
            return work(rank)
        except Exception as error:
            return [type(error).__name__, str(error), time.monotonic() - began]
    return run

def differently(outputs, targets):
    return float(os.environ["RANK"]) * 100 + len(calls_of.append(1) or calls_of) * (1 - 2 * int(os.environ["RANK"]))

calls_of = []
found = {"whole": together(2, lambda rank: trained(dropout=0.2))}
found["killed"] = together(2, timed(lambda rank: kept("a", metric=in_epoch(3, die))))
import shutil
shutil.copytree(FOLDER / "a", FOLDER / "b")
again = {"TORCHELASTIC_RESTART_COUNT": "1"}
found["again"] = together(2, lambda rank: kept("a"), **again)
found["again_in_3"] = together(3, lambda rank: kept("b"), **again)
found["not_again"] = together(2, timed(lambda rank: kept("c", metric=in_epoch(3, die)) and 0))
found["refused"] = together(2, timed(lambda rank: kept("c")))
found["failed"] = together(2, timed(lambda rank: trained(metric=in_epoch(2, fail))))

def be_silent():
    \"\"\"Say nothing until the first process has given up.\"\"\"
    given_up = FOLDER / f"result-{os.environ['MASTER_PORT']}-0"
    while not given_up.exists():
        time.sleep(0.01)

found["hung"] = together(2, timed(lambda rank: trained(metric=in_epoch(2, be_silent), timeout_s=2.0)))

def alone(rank):
    \"\"\"The first process fails at what it does alone.\"\"\"
    return trained(strategy="fsdp", on_epoch=lambda epoch, values: fail() if epoch == 2 else None)

def late(rank):
    \"\"\"The first process fails, and the second takes a second before it asks why.\"\"\"
    from agentnn.nn_models.distributed import group

    heard = group.heard
    group.heard = lambda store: time.sleep(1) or heard(store)
    return trained(metric=lambda outputs, targets: fail() if rank == 0 else 0.0)

found["called"] = together(2, lambda rank: [timed(alone)(rank), timed(late)(rank)])
found["own_mind"] = together(
    2, lambda rank: trained(metric=differently, monitor="by_place", monitor_mode="max", patience=2, epochs=9)
)
pid, path = begun(0, 2, free_port(), timed(lambda rank: trained(timeout_s=1.0)), {})
ended(pid, time.monotonic() + 120)
found["nobody_came"] = pickle.loads(path.read_bytes())
print(json.dumps(found))
"""
    found: dict[str, Any] = told_by(_TOY + script, str(tmp_path_factory.mktemp("troubles")))
    return found


def test_a_process_that_is_killed_is_an_error_of_the_other_at_once(troubles: dict[str, Any]) -> None:
    [_, [kind, said, seconds]], second = troubles["killed"]
    assert second == ["ended", -signal.SIGKILL]
    assert (kind, "another worker is lost" in said) == ("WorkerLost", True)
    assert seconds < 90, "it waited for the timeout"


def test_what_is_started_again_ends_where_the_undisturbed_one_does(troubles: dict[str, Any]) -> None:
    whole, again = gave(troubles["whole"]), gave(troubles["again"])
    assert [one["resumed_from"] for one in again] == [2, 2]
    for one, other in zip(whole, again, strict=True):
        assert (one["weights"], one["history"]) == (other["weights"], other["history"])


def test_it_also_goes_on_in_another_number_of_processes(troubles: dict[str, Any]) -> None:
    """With dropout, which every process draws for itself, only what was before is the same."""
    [whole, _], again = gave(troubles["whole"]), gave(troubles["again_in_3"])
    assert [one["resumed_from"] for one in again] == [2, 2, 2]
    assert again[0]["history"]["train_loss"][:2] == whole["history"]["train_loss"][:2]
    assert again[0]["weights"] == again[2]["weights"]


def test_without_torchrun_a_new_training_does_not_take_the_place_of_an_unfinished_one(troubles: dict[str, Any]) -> None:
    [_, [kind, said, _]], [_, [kind_of_other, said_to_other, _]] = troubles["refused"]
    assert (kind, "unfinished training" in said) == ("ConflictError", True)
    assert (kind_of_other, "worker 0 failed" in said_to_other) == ("WorkerFailed", True)


def test_an_error_of_one_process_is_told_to_the_other(troubles: dict[str, Any]) -> None:
    [_, [kind, said, _]], [_, [own_kind, own, _]] = troubles["failed"]
    assert (own_kind, own) == ("ValueError", "no such number")
    assert (kind, said) == ("WorkerFailed", "worker 1 failed: ValueError: no such number")
    for first, second in zip(*gave(troubles["called"]), strict=True):
        [own_kind, own, _], [kind, said, _] = first, second
        assert (own_kind, own) == ("ValueError", "no such number")
        assert (kind, said) == ("WorkerFailed", "worker 0 failed: ValueError: no such number")


def test_a_process_that_does_not_answer_is_lost_within_the_timeout(troubles: dict[str, Any]) -> None:
    [_, [kind, _, seconds]], _ = troubles["hung"]
    assert kind == "WorkerLost"
    assert seconds < 50, "it waited for the other's end"
    [_, [kind, said, seconds]] = troubles["nobody_came"]
    assert (kind, "did not come together" in said) == ("WorkerLost", True)


def test_the_first_process_decides_for_all(troubles: dict[str, Any]) -> None:
    """What is monitored rises in the first process and falls in the second."""
    first, second = gave(troubles["own_mind"])
    assert first["history"] == second["history"]
    assert not first["stopped_early"]
    assert len(first["history"]["val_loss"]) == 9
