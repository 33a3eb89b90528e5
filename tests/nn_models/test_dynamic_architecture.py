"""``ArchitectureOptimizer``: what it decides, what it records, and that it goes on where it was killed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from faults.trainers import wait_until
from mlflow import MlflowClient
from shared_store import copy_of, ended_run, shared_state
from torch import Tensor, nn
from training.toy import Trained

from agentnn import ModelManager, start_run
from agentnn.errors import ConflictError, CorruptDataError, TrainingError, UsageError
from agentnn.nn_models.architecture.proposals import Proposal, possible_changes, propose
from agentnn.nn_models.dynamic_architecture import (
    Architecture,
    ArchitectureOptimizer,
    ArchitectureOptions,
    ArchitectureResult,
    Block,
    DynamicNetwork,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow.entities import Run

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("undrawn")

START = Architecture.of_widths(3, (2,), activation="tanh")
SMALL = ArchitectureOptions(
    epochs=3, max_changes=4, learning_rate=0.02, batch_size=16, num_threads=1, device="cpu", log_model=False
)


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Something that two units can't learn."""
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return inputs, (inputs[:, :1] * inputs[:, 1:2] + torch.sin(2 * inputs[:, 2:]))


DATA = (*data(120, 1), *data(60, 2))


def optimized(options: ArchitectureOptions = SMALL, start: Any = START, **given: Any) -> ArchitectureResult:
    passed = {name: given.pop(name) for name in ("metrics", "on_step") if name in given}
    return ArchitectureOptimizer(start, options, **{"track": False, **given}).optimize(*DATA, **passed)


def weights_of(result: ArchitectureResult) -> list[list[float]]:
    return [one.flatten().tolist() for one in result.network.state_dict().values()]


# --- what it decides ------------------------------------------------------------------------------


def test_every_decision_is_what_the_validation_part_says() -> None:
    options = replace(SMALL, moves=("widen", "deepen", "prune", "remove"), max_changes=8, patience=8)
    result = optimized(options, start=Architecture.of_widths(3, (3, 2), activation="tanh"))
    before = result.first_value
    assert [step.number for step in result.steps] == list(range(1, 9))
    for step in result.steps:
        assert step.before == before
        assert step.unchanged <= step.before
        is_better = step.after < step.unchanged
        assert step.kept == (is_better if step.kind in ("widen", "deepen") else step.after <= step.unchanged)
        assert step.n_parameters == step.architecture.n_parameters
        assert step.kind != "deepen" or step.changed == pytest.approx(step.before, rel=1e-5)
        before = step.value
    assert {step.kind for step in result.steps} == {"widen", "deepen", "prune", "remove"}
    assert result.value == before <= result.first_value
    with torch.no_grad():
        measured = nn.functional.mse_loss(result.network(DATA[2]), DATA[3]).item()
    assert result.value == pytest.approx(measured, rel=1e-6)
    assert any(step.unchanged < step.before for step in result.steps)
    assert result.kept
    assert result.architecture == result.kept[-1].architecture


def test_growing_learns_what_two_units_can_not() -> None:
    result = optimized(replace(SMALL, epochs=15, max_changes=6))
    assert result.kept
    assert result.network.n_parameters > START.n_parameters
    assert result.value < 0.8 * result.first_value


def test_the_same_seed_gives_the_same_network_and_another_one_another() -> None:
    one, same, other = (optimized(replace(SMALL, seed=seed)) for seed in (1, 1, 2))
    assert weights_of(one) == weights_of(same) != weights_of(other)
    assert [_timeless(step) for step in one.steps] == [_timeless(step) for step in same.steps]


def _timeless(step: Any) -> Any:
    return replace(step, change_ms=0.0, seconds=0.0, measures={**step.measures, "epoch_seconds": 0.0})


def test_random_numbers_of_the_process_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    optimized()
    assert torch.equal(torch.rand(2), expected)


def test_without_control_a_change_is_compared_with_the_network_before_it() -> None:
    result = optimized(replace(SMALL, control=False))
    assert all(step.unchanged == step.before for step in result.steps)


def test_a_network_that_is_handed_in_is_gone_on_with_and_left_as_it_is() -> None:
    network = DynamicNetwork(START)
    before = [one.clone() for one in network.parameters()]
    result = optimized(start=network)
    assert all(torch.equal(one, old) for one, old in zip(network.parameters(), before, strict=True))
    assert result.network is not network
    assert result.network.feature_mean.tolist() == [0, 0, 0]


def test_what_is_kept_trains_on_with_its_optimizer() -> None:
    result = optimized()
    held = {id(one) for group in result.optimizer.param_groups for one in group["params"]}
    assert held == {id(one) for one in result.network.parameters()}
    nn.functional.mse_loss(result.network(DATA[0]), DATA[1]).backward()
    result.optimizer.step()


def test_another_metric_may_decide() -> None:
    def near(outputs: Tensor, targets: Tensor) -> float:
        return ((outputs - targets).abs() < 0.5).float().mean().item()

    options = replace(SMALL, monitor="val_near", monitor_mode="max")
    result = optimized(options, metrics={"val_near": near})
    assert result.value >= result.first_value
    assert all(step.kept == (step.after > step.unchanged) for step in result.steps)
    with pytest.raises(UsageError, match="can't be monitored"):
        optimized(options)


def test_classes() -> None:
    classes = (DATA[1][:, 0] > 0).long()
    optimizer = ArchitectureOptimizer(
        Architecture.of_widths(3, (2,), 2), replace(SMALL, loss="cross_entropy", max_changes=1), track=False
    )
    result = optimizer.optimize(DATA[0], classes, DATA[2], (DATA[3][:, 0] > 0).long())
    assert result.value < 1


def test_with_few_digits() -> None:
    start = Architecture.of_widths(3, (4,), normalisation="layer")
    result = optimized(replace(SMALL, precision="bfloat16", max_changes=2), start=start)
    assert math.isfinite(result.value)
    assert all(step.changed == pytest.approx(step.before, rel=0.1) for step in result.steps)


def test_windows_of_days_are_flattened() -> None:
    shaped = (DATA[0].reshape(40, 3, 3), DATA[1][:40], DATA[2].reshape(20, 3, 3), DATA[3][:20])
    optimizer = ArchitectureOptimizer(Architecture.of_widths(9, (2,)), replace(SMALL, max_changes=1), track=False)
    assert optimizer.optimize(*shaped).network(shaped[0]).shape == (40, 1)


# --- when it is over ------------------------------------------------------------------------------


def test_the_budget_of_parameters_is_kept() -> None:
    result = optimized(replace(SMALL, max_parameters=20, max_changes=9, patience=9, min_gain=0.0))
    assert all(step.n_parameters <= 20 for step in result.steps)
    assert result.network.n_parameters <= 20
    assert optimized(replace(SMALL, max_parameters=11)).why_over == "no change is left to try"


def test_patience_runs_out() -> None:
    options = replace(SMALL, epochs=15, patience=2, max_changes=2)
    assert optimized(options).kept
    result = optimized(replace(options, min_gain=1e9, max_changes=9))
    assert (len(result.steps), result.kept) == (2, ())
    assert result.why_over == "patience: 2 changes in succession were not kept"
    assert result.architecture == START


def test_time_runs_out_and_no_change_is_a_budget_too() -> None:
    assert optimized(replace(SMALL, max_seconds=1e-9)).why_over.startswith("max_seconds")
    result = optimized(replace(SMALL, max_changes=0))
    assert (result.steps, result.value) == ((), result.first_value)


def test_with_tolerance_a_network_shrinks() -> None:
    options = replace(SMALL, moves=("prune", "remove"), tolerance=1e9, max_changes=30, patience=9)
    result = optimized(options, start=Architecture.of_widths(3, (6, 5)))
    assert result.architecture.widths == (1,)
    assert result.why_over == "no change is left to try"
    assert result.value > min(step.before for step in result.steps)


def test_the_best_value_so_far_is_what_tolerance_is_measured_by(tmp_path: Path) -> None:
    """And it is remembered: many small losses don't add up, whether the search was broken off or not."""
    budget = {"epochs": 1, "learning_rate": 0.001, "max_changes": 20, "patience": 20}
    options = replace(SMALL, moves=("prune",), tolerance=0.02, control=False, **budget)
    start = Architecture.of_widths(3, (12,), activation="tanh")
    result = optimized(options, start=start)
    best = result.first_value
    assert sum(step.kept and step.after > step.before for step in result.steps) > 1
    for step in result.steps:
        assert step.kept == (step.after <= best + 0.02)
        best = min(best, step.value)
    stored = replace(options, checkpoint_dir=str(tmp_path))
    for number in range(1, len(result.steps)):
        with pytest.raises(Killed):
            optimized(replace(stored, resume=True), start=start, on_step=_kill_at(number))
    resumed = optimized(replace(stored, resume=True), start=start)
    assert [_timeless(step) for step in resumed.steps] == [_timeless(step) for step in result.steps]


def test_a_change_that_makes_training_diverge_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    real = DynamicNetwork.widen

    def ruined(self: DynamicNetwork, layer: int, width: int, **options: Any) -> Any:
        change = real(self, layer, width, **options)
        self.head.weight.data.fill_(math.nan)
        return change

    monkeypatch.setattr(DynamicNetwork, "widen", ruined)
    result = optimized(replace(SMALL, moves=("widen",), max_changes=2))
    assert not result.kept
    assert all(math.isnan(step.after) for step in result.steps)
    assert json.dumps(result.to_dict(), allow_nan=False)


def test_a_refused_change_is_not_tried_again_before_another_is_kept() -> None:
    options = ArchitectureOptions(moves=("widen", "deepen"))
    refused: list[Proposal] = []
    while (found := propose(START, options, len(refused) + 1, refused)) is not None:
        assert found not in refused
        refused.append(found)
    assert sorted(refused) == [Proposal("deepen", 1), Proposal("widen", 0)]
    assert [one.kind for one in refused] == ["widen", "deepen"]


def test_what_is_possible() -> None:
    blocks = (Block(width=2), Block(width=2, residual=True), Block(width=1))
    found = set(possible_changes(Architecture(3, 1, blocks), ArchitectureOptions()))
    assert found == {
        *(Proposal("widen", layer) for layer in (0, 2)),
        *(Proposal("deepen", layer) for layer in (1, 2, 3)),
        Proposal("prune", 0),
        *(Proposal("remove", layer) for layer in (1, 2)),
    }
    assert set(possible_changes(Architecture(3), ArchitectureOptions())) == {Proposal("deepen", 0)}


# --- no look-ahead --------------------------------------------------------------------------------


def test_the_standardisation_is_that_of_the_training_part_alone() -> None:
    far = (DATA[0], DATA[1], DATA[2] + 100, DATA[3])
    result = ArchitectureOptimizer(START, replace(SMALL, max_changes=1), track=False).optimize(*far)
    expected = DATA[0].numpy().astype(np.float64)
    assert result.network.feature_mean.numpy() == pytest.approx(expected.mean(axis=0), rel=1e-5)
    assert result.network.feature_scale.numpy() == pytest.approx(expected.std(axis=0, ddof=1), rel=1e-5)


def test_the_validation_part_teaches_nothing() -> None:
    options = replace(SMALL, epochs=1, max_changes=0)
    one, other = (
        ArchitectureOptimizer(START, options, track=False).optimize(*DATA[:2], *validation)
        for validation in (DATA[2:], (-3 * DATA[2], 5 + DATA[3]))
    )
    assert weights_of(one) == weights_of(other)
    assert one.value != other.value


def test_what_comes_after_a_sample_does_not_move_its_prediction() -> None:
    """A network has no memory: the predictions of the past stay to the last bit, whatever the future is."""
    result = optimized()
    past = DATA[2][:20]
    moved = torch.cat([past, DATA[2][20:] * -7])
    with torch.no_grad():
        assert torch.equal(result.network(DATA[2])[:20], result.network(moved)[:20])


# --- going on -------------------------------------------------------------------------------------


class Killed(Exception):
    """Ends a search in its middle."""


def _kill_at(number: int) -> Any:
    def on_step(step: Any) -> None:
        if step.number == number:
            raise Killed

    return on_step


@pytest.mark.parametrize("at", [1, 3])
def test_a_search_that_was_broken_off_ends_as_one_that_was_not(tmp_path: Path, at: int) -> None:
    options = replace(SMALL, moves=("widen", "deepen", "prune"), checkpoint_dir=str(tmp_path / "states"))
    with pytest.raises(Killed):
        optimized(options, on_step=_kill_at(at))
    with pytest.raises(ConflictError, match="unfinished"):
        optimized(options)
    resumed = optimized(replace(options, resume=True))
    whole = optimized(replace(options, checkpoint_dir=None))
    assert resumed.resumed_from == at
    assert weights_of(resumed) == weights_of(whole)
    assert [_timeless(step) for step in resumed.steps] == [_timeless(step) for step in whole.steps]
    assert repr(resumed.optimizer.state_dict()) == repr(whole.optimizer.state_dict())


def test_a_search_that_ended_goes_on_with_a_greater_budget(tmp_path: Path) -> None:
    options = replace(SMALL, checkpoint_dir=str(tmp_path), max_changes=2, patience=9)
    optimized(options)
    more = optimized(replace(options, max_changes=4, resume=True))
    assert (more.resumed_from, len(more.steps)) == (2, 4)
    assert weights_of(more) == weights_of(optimized(replace(SMALL, patience=9)))
    fresh = optimized(options)
    assert (fresh.resumed_from, len(fresh.steps)) == (None, 2)


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(tmp_path: Path) -> None:
    options = replace(SMALL, checkpoint_dir=str(tmp_path))
    with pytest.raises(Killed):
        optimized(options, on_step=_kill_at(2))
    last, previous = tmp_path / "last.pt", tmp_path / "last.previous.pt"
    last.write_bytes(last.read_bytes()[:-200])
    with pytest.warns(match="the state before is taken"):
        resumed = optimized(replace(options, resume=True))
    assert resumed.resumed_from == 1
    assert weights_of(resumed) == weights_of(optimized())
    for path in (last, previous):
        path.write_bytes(b"no state")
    with pytest.raises(CorruptDataError):
        optimized(replace(options, resume=True))


def test_a_checkpoint_of_another_search_is_refused(tmp_path: Path) -> None:
    options = replace(SMALL, checkpoint_dir=str(tmp_path))
    optimized(options)
    with pytest.raises(ConflictError, match="its epochs was 3, and is 4 now"):
        optimized(replace(options, epochs=4, resume=True))
    with pytest.raises(ConflictError, match="its kind of optimizer was AdamW, and is SGD now"):
        optimized(replace(options, resume=True), make_optimizer=lambda weights: torch.optim.SGD(weights, lr=0.1))


def test_a_checkpoint_of_something_else_is_told(tmp_path: Path) -> None:
    Trained(epochs=1, checkpoint_dir=tmp_path)
    with pytest.raises(CorruptDataError, match="does not hold the search"):
        optimized(replace(SMALL, checkpoint_dir=str(tmp_path), resume=True))


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"moves": ()},
        {"moves": ("grow",)},
        {"epochs": 0},
        {"max_changes": -1},
        {"max_parameters": 0},
        {"patience": 0},
        {"min_gain": math.nan},
        {"widen_by": 1.0},
        {"noise": -0.1},
        {"prune_fraction": 1.0},
        {"prune_by": "luck"},
        {"max_seconds": 0.0},
        {"resume": True},
        {"batch_size": 0},
        {"precision": "float8"},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ArchitectureOptions(**wrong)


def test_data_that_do_not_fit_are_refused() -> None:
    optimizer = ArchitectureOptimizer(Architecture.of_widths(4, (2,)), SMALL, track=False)
    with pytest.raises(UsageError, match="X_train has 3 values a sample, but the network takes 4"):
        optimizer.optimize(*DATA)
    with pytest.raises(UsageError, match="has no 'Adamant'"):
        optimized(replace(SMALL, optimizer="Adamant"))
    with pytest.raises(UsageError, match="batch normalisation"):
        optimized(replace(SMALL, batch_size=17), start=Architecture.of_widths(3, (2,), normalisation="batch"))


# --- its run --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def _ended(uri: str, name: str) -> Run:
    return ended_run(uri, name, "architecture_optimization")


def test_the_run_of_a_search(uri: str) -> None:
    result = optimized(replace(SMALL, log_model=True), track=True, tracking_uri=uri, run_name="grown", tags={"a": "b"})
    run, client = _ended(uri, "grown"), MlflowClient(uri)
    assert run.info.status == "FINISHED"
    assert run.data.tags["agentnn.run_uuid"] == result.uuid
    assert (run.data.tags["model_type"], run.data.tags["a"]) == ("dynamic_mlp", "b")
    assert run.data.params["epochs"] == "3"
    assert run.data.params["start_architecture"] == "3-2-1"
    assert json.loads(run.data.params["moves"]) == ["widen", "deepen"]
    for name, values in {
        "val_loss": [result.first_value, *(step.value for step in result.steps)],
        "val_loss_before": [step.before for step in result.steps],
        "val_loss_after": [step.after for step in result.steps],
        "val_loss_unchanged": [step.unchanged for step in result.steps],
        "change_n_parameters": [step.n_parameters for step in result.steps],
        "change_layer": [step.layer for step in result.steps],
        "change_kept": [int(step.kept) for step in result.steps],
        "change_ms": [step.change_ms for step in result.steps],
    }.items():
        history = sorted(client.get_metric_history(run.info.run_id, name), key=lambda one: one.step)
        first = 0 if name == "val_loss" else 1
        assert [one.step for one in history] == list(range(first, len(result.steps) + 1))
        assert [one.value for one in history] == pytest.approx(values)
    assert run.data.tags["architecture.change.1"] == str(result.steps[0])
    assert run.data.tags["architecture.why_over"] == result.why_over
    assert run.data.metrics["changes"] == len(result.steps)
    assert run.data.metrics["best_val_loss"] == result.value

    loaded = ModelManager(uri).load_module(f"runs:/{run.info.run_id}/model", classes=DynamicNetwork.CLASSES)
    assert torch.equal(loaded(DATA[2]), result.network(DATA[2]))
    assert loaded.architecture == result.architecture
    loaded.widen(0, loaded.architecture.widths[0] + 1)


def test_a_search_below_a_run_that_is_open(uri: str) -> None:
    with start_run("above", experiment="above", tracking_uri=uri) as above:
        optimized(replace(SMALL, max_changes=1), track=True, run_name="below")
        parent = above.run_id
    assert _ended(uri, "below").data.tags["mlflow.parentRunId"] == parent


def test_a_search_that_fails_says_why(uri: str) -> None:
    with pytest.raises(TrainingError):
        optimized(replace(SMALL, learning_rate=1e30, optimizer="SGD"), track=True, tracking_uri=uri, run_name="failed")
    run = _ended(uri, "failed")
    assert run.info.status == "FAILED"
    assert "no longer finite" in run.data.tags["agentnn.end_reason"]


def test_a_resumed_search_goes_on_in_its_run(uri: str, tmp_path: Path) -> None:
    options = replace(SMALL, checkpoint_dir=str(tmp_path))
    where: dict[str, Any] = {"track": True, "tracking_uri": uri, "run_name": "resumed"}
    with pytest.raises(Killed):
        optimized(options, on_step=_kill_at(2), **where)
    result = optimized(replace(options, resume=True), **where)
    wait_until(lambda: _ended(uri, "resumed").info.status == "FINISHED", "the end of the resumed run")
    history = MlflowClient(uri).get_metric_history(_ended(uri, "resumed").info.run_id, "change_layer")
    assert sorted(one.step for one in history) == [step.number for step in result.steps]


def test_a_store_that_is_down_does_not_stop_it() -> None:
    result = optimized(replace(SMALL, max_changes=1), track=True, tracking_uri="http://127.0.0.1:9", run_name="nowhere")
    assert (len(result.steps), result.run_id) == (1, None)
