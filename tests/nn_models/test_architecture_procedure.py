"""``trainer: dynamic_architecture``: one run from the configuration's perceptron to the one that it became."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from nn_models.configured import configured
from shared_store import copy_of, shared_state
from trained import history_of

from agentnn import ModelManager
from agentnn.errors import AgentNNWarning, ConfigError, CorruptDataError
from agentnn.nn_models.architecture import growth
from agentnn.nn_models.architecture.files import _load_pyfunc, load_network, save_network
from agentnn.nn_models.architecture.network import DynamicNetwork
from agentnn.nn_models.architecture.procedure import DynamicArchitectureTraining
from agentnn.nn_models.dynamic_architecture import Architecture, ArchitectureOptimizer, ArchitectureOptions
from agentnn.sdk.training_inputs import inputs_for
from agentnn.tracking.active_run import NullRun
from agentnn.training.networks import Network, NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentnn.config.schema import Config
    from agentnn.training.data.datasets import Dataset

pytestmark = pytest.mark.usefixtures("undrawn")

TINY: dict[str, dict[str, Any]] = {
    "model": {"hidden_layers": [3]},
    "data": {"window": 2},
    "training": {"epochs": 1},
    "dynamic_architecture": {"max_changes": 3, "moves": ["widen", "deepen"]},
}


def tiny(**sections: dict[str, Any]) -> Config:
    return configured("dynamic_architecture", TINY, sections)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return inputs_for(tiny()).dataset


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


# -- the network ---------------------------------------------------------------------------------------------


def test_it_begins_with_the_perceptron_of_the_configuration(dataset: Dataset):
    """Without a change it is the plain family mlp: the same weights put into both give the same."""
    config = tiny(dynamic_architecture={"max_changes": 0}, model={"hidden_layers": [5, 3], "activation": "tanh"})
    came = DynamicArchitectureTraining().fit(config, dataset, NullRun(), None)
    network = came.model
    assert isinstance(network, DynamicNetwork)
    assert network.architecture.widths == (5, 3)
    shape = NetworkConfig(family="mlp", n_features=3, window=2, hidden_layers=(5, 3), activation="tanh",
                          predicts="probability")  # fmt: skip
    plain = Network(shape, dataset.standardisation)
    names = [name for name, _ in plain.named_parameters()]
    plain.load_state_dict(dict(zip(names, network.parameters(), strict=True)), strict=False)
    inputs = dataset.test.inputs
    np.testing.assert_allclose(network.predict(inputs), plain.predict(inputs), atol=1e-6)
    assert network.predict(inputs).shape == (len(inputs),)
    np.testing.assert_allclose(network.predict(inputs.reshape(len(inputs), -1)), network.predict(inputs))


@pytest.mark.parametrize(("predicts", "n_outputs"), [("value", 1), ("probability", 1), ("classes", 3)])
def test_what_it_predicts_is_kept_in_its_files(tmp_path: Path, predicts: Any, n_outputs: int):
    network = DynamicNetwork(Architecture.of_widths(4, (3,), n_outputs))
    network.predicts = predicts
    save_network(tmp_path, network)
    inputs = np.random.default_rng(0).normal(size=(6, 2, 2)).astype(np.float32)
    said = _load_pyfunc(str(tmp_path)).predict(inputs)
    np.testing.assert_allclose(said, network.predict(inputs), atol=1e-6)
    with torch.no_grad():
        raw = network.eval()(torch.from_numpy(inputs))
    by_hand = {"value": raw[:, 0], "probability": 1 / (1 + torch.exp(-raw[:, 0])), "classes": raw.softmax(dim=1)}
    np.testing.assert_allclose(said, by_hand[predicts], atol=1e-6)

    path = tmp_path / "architecture.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps({**described, "predicts": "the future"}))
    with pytest.raises(CorruptDataError, match="what the network predicts"):
        load_network(tmp_path)
    path.write_text(json.dumps({key: one for key, one in described.items() if key != "predicts"}))
    assert load_network(tmp_path).predicts == "value"


# -- the procedure -------------------------------------------------------------------------------------------


def test_every_network_that_is_gone_on_with_counts_as_an_epoch(dataset: Dataset):
    told: list[tuple[int, dict[str, float]]] = []
    came = DynamicArchitectureTraining().fit(
        tiny(), dataset, NullRun(), None, on_epoch=lambda epoch, values: told.append((epoch, dict(values)))
    )
    assert [epoch for epoch, _ in told] == [1, 2, 3, 4]
    for name in ("train_loss", "val_loss", "val_accuracy", "learning_rate", "epoch_seconds"):
        assert came.history[name] == [values[name] for _, values in told]
    assert came.history["val_loss"] == sorted(
        came.history["val_loss"], reverse=True
    )  # each one is kept if it is better
    assert (
        came.history.best_value == came.history["val_loss"][-1] == came.history["val_loss"][came.history.best_epoch - 1]
    )
    assert came.facts["trained"].startswith("3 changes tried, ")


def test_it_is_what_the_optimizer_does_by_itself(dataset: Dataset):
    config = tiny()
    came = DynamicArchitectureTraining().fit(config, dataset, NullRun(), None)
    options = ArchitectureOptions.from_config(config)
    assert (options.epochs, options.learning_rate, options.patience, options.standardise) == (1, 0.01, 3, False)
    told: list[int] = []
    result = ArchitectureOptimizer(
        DynamicNetwork(Architecture.of_widths(6, (3,))), options, track=False, criterion=torch.nn.BCEWithLogitsLoss()
    ).optimize(
        dataset.train.inputs, dataset.train.targets, dataset.validation.inputs, dataset.validation.targets,
        on_network=lambda number, values: told.append(number),
    )  # fmt: skip
    assert told == [0, 1, 2, 3]
    assert len(came.history["val_loss"]) == len(result.steps) + 1
    assert result.first_measures["val_loss"] == result.first_value
    assert [step.measures["val_loss"] for step in result.steps] == [step.value for step in result.steps]


def test_the_same_seed_gives_the_same_network(dataset: Dataset):
    first, again = (DynamicArchitectureTraining().fit(tiny(), dataset, NullRun(), None).model for _ in range(2))
    assert isinstance(first, DynamicNetwork)
    assert isinstance(again, DynamicNetwork)
    assert first.architecture == again.architecture
    assert all(torch.equal(one, same) for one, same in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"training": {"monitor": "val_mae"}}, "training.monitor: val_mae is not measured"),
        ({"training": {"momentum": 0.9}}, "training.momentum: AdamW has none"),
    ],
)
def test_what_can_t_be_had_is_told_before_anything_is_recorded(sections: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        inputs_for(tiny(**sections))


# -- runs ----------------------------------------------------------------------------------------------------


def test_one_run_holds_all_of_it_and_its_network_loads_without_trust(uri: str, dataset: Dataset):
    manager = ModelManager(uri)
    result = manager.train(tiny())
    run = MlflowClient(uri).get_run(result.run_id or "")
    experiment = MlflowClient(uri).get_experiment(run.info.experiment_id)
    assert (run.info.status, experiment.name) == ("FINISHED", "architecture_optimization")
    assert (run.data.tags["model_type"], run.data.tags["trainer"]) == ("dynamic_mlp", "dynamic_architecture")
    assert len(MlflowClient(uri).search_runs([run.info.experiment_id])) == 1
    assert isinstance(result.model, DynamicNetwork)
    assert run.data.tags["architecture"] == str(result.model.architecture)
    sizes = history_of(uri, result.run_id or "", "architecture_n_parameters")
    assert [step for step, _ in sizes] == [0, 1, 2, 3]
    assert sizes[-1][1] == result.model.n_parameters == run.data.metrics["architecture_n_parameters"]
    assert [step for step, _ in history_of(uri, result.run_id or "", "val_loss")] == [1, 2, 3, 4]
    assert run.data.metrics["test_loss"] == pytest.approx(result.metrics["test_loss"])

    loaded = manager.load_model(f"runs:/{result.run_id}/model", trust=False)
    np.testing.assert_allclose(
        loaded.predict(dataset.test.inputs), result.model.predict(dataset.test.inputs), rtol=1e-5
    )
    assert manager.replay(result.run_id or "", here=True).is_equal


def test_a_run_that_was_broken_off_goes_on_to_the_same_end(uri: str, monkeypatch: pytest.MonkeyPatch):
    manager, config = ModelManager(uri), tiny()
    whole = manager.train(config, run_name="whole")
    attempt = growth.Growth.attempt

    def breaking(self: growth.Growth, proposal: Any) -> Any:
        if len(self.steps) == 2:
            raise KeyboardInterrupt
        return attempt(self, proposal)

    said = pytest.warns(AgentNNWarning, match="to go on from the last checkpoint: agentnn run train --resume")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), said:
        patch.setattr(growth.Growth, "attempt", breaking)
        manager.train(config, run_name="broken")
    resumed = manager.train(resume="broken")
    assert resumed.resumed_from == 3
    measured = ("epoch_seconds", "architecture_change_ms")
    same = {name: value for name, value in whole.history.items() if name not in measured}
    assert {name: value for name, value in resumed.history.items() if name not in measured} == same
    ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    run = MlflowClient(uri).get_run(resumed.run_id or "")
    assert (run.info.status, run.info.run_name) == ("FINISHED", "broken")
    assert history_of(uri, run.info.run_id, "val_loss") == history_of(uri, whole.run_id or "", "val_loss")


def test_a_study_tries_where_to_begin(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    space = {"hidden_layers": [[2], [4]], "dynamic_architecture.widen_by": [1.5]}
    hpo = {"param_space": space, "num_trials": 2, "sampler": "grid", "storage": f"{tmp_path}/study.log"}
    result = ModelManager(uri).run_study(tiny(hpo=hpo, dynamic_architecture={"max_changes": 1}))
    assert [one.state for one in result.trials] == ["complete", "complete"]
    assert "best_test_loss" in result.metrics
