"""A search over architectures: what a trial has, what the runs say, and the network that is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
import torch
from faults.trainers import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from shared_store import copy_of, shared_state
from torch import Tensor, nn

from agentnn import ConfigurationManager, ExperimentOrganizer
from agentnn.errors import ConfigError, UsageError
from agentnn.nn_models.architecture.search import architecture_of
from agentnn.nn_models.dynamic_architecture import (
    ArchitectureSpace,
    FoundArchitecture,
    architecture_study,
    search_architectures,
)
from agentnn.training.hpo.sampling.space import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

torch.set_num_threads(1)
SPACE = ArchitectureSpace(depth=(1, 3), width=(2, 6))
TRAINING = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02, "num_threads": 1, "device": "cpu"}


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    inputs = 3 + torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return inputs, (inputs[:, :1] - 3) * (inputs[:, 1:2] - 3)


DATA = (*data(64, 1), *data(32, 2))


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def searched(uri: str, name: str, *, trials: int = 5, seed: int = 0, **options: Any) -> FoundArchitecture:
    config = architecture_study(
        SPACE, trials=trials, seed=seed, name=name, training=TRAINING, hpo={"sampler": "random"}
    )
    organizer = ExperimentOrganizer(ConfigurationManager(config).get_config(), tracking_uri=uri)
    return search_architectures(config, *DATA, organizer, **options)


@pytest.fixture(scope="module")
def found(uri: str) -> FoundArchitecture:
    return searched(uri, "first")


def test_a_trial_has_a_width_for_each_of_its_layers_and_no_other(found: FoundArchitecture) -> None:
    assert len(found.study.trials) == 5
    depths = set()
    for trial in found.study.trials:
        depth = trial.params["model.params.depth"]
        depths.add(depth)
        assert {name for name in trial.params if "width" in name} == {
            f"model.params.width_{number}" for number in range(1, depth + 1)
        }
    assert len(depths) > 1


def test_the_network_is_that_of_the_best_trial(found: FoundArchitecture) -> None:
    best = min(found.study.trials, key=lambda trial: trial.value or 0)
    depth = best.params["model.params.depth"]
    assert found.architecture.widths == tuple(best.params[f"model.params.width_{one}"] for one in range(1, depth + 1))
    assert {block.activation for block in found.architecture.blocks} == {best.params["model.activation"]}
    with torch.no_grad():
        measured = nn.functional.mse_loss(found.network(DATA[2]), DATA[3]).item()
    assert found.value == best.value == pytest.approx(measured, rel=1e-6)
    assert found.network.feature_mean.tolist() == pytest.approx(DATA[0].mean(dim=0).tolist(), rel=1e-5)


def test_trials_are_runs_below_the_study(uri: str, found: FoundArchitecture) -> None:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("architecture_optimization")
    assert experiment is not None
    wait_until(lambda: len(client.search_runs([experiment.experiment_id])) >= 6, "the runs of the trials")
    children = [
        run
        for run in client.search_runs([experiment.experiment_id])
        if run.data.tags.get("mlflow.parentRunId") == found.study.run_id
    ]
    by_number = {int(run.data.tags["agentnn.trial.number"]): run for run in children}
    assert sorted(by_number) == [0, 1, 2, 3, 4]
    for trial in found.study.trials:
        assert by_number[trial.number].data.metrics["val_loss"] == trial.value


def test_the_same_seed_finds_the_same(uri: str, found: FoundArchitecture) -> None:
    again = searched(uri, "again")
    assert [trial.params for trial in again.study.trials] == [trial.params for trial in found.study.trials]
    assert [trial.values for trial in again.study.trials] == [trial.values for trial in found.study.trials]
    assert all(
        torch.equal(one, two) for one, two in zip(again.network.parameters(), found.network.parameters(), strict=True)
    )


def test_it_is_gone_on_with(uri: str) -> None:
    searched(uri, "more", trials=1)
    more = searched(uri, "more", trials=3, resume=True)
    assert len(more.study.trials) == 3


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(0, 2), st.integers(1, 4), st.integers(0, 9), st.integers(0, 2**16))
def test_any_space_gives_networks_within_it(least: int, more: int, low: int, wider: int, seed: int) -> None:
    space = ArchitectureSpace(depth=(least, least + more), width=(low, low + wider), dropout=None)
    config = ConfigurationManager(architecture_study(space, seed=seed)).get_config()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(3):
        params = suggest(study.ask(), config.hpo.param_space)
        said = architecture_study(space)
        said["model"] |= {"activation": params["model.activation"]}
        said["model"]["params"] = {
            name.rpartition(".")[2]: value for name, value in params.items() if name.startswith("model.params")
        }
        architecture = architecture_of(ConfigurationManager(said).get_config(), 2)
        assert least <= architecture.depth <= least + more
        assert all(low <= width <= low + wider for width in architecture.widths)


def test_what_is_wrong_is_told(uri: str) -> None:
    for wrong in ({"depth": (2, 1)}, {"width": (0, 1)}, {"activations": ()}):
        with pytest.raises(ConfigError):
            ArchitectureSpace(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="depth is missing"):
        architecture_of(ConfigurationManager({"model": {"output_dim": 1}}).get_config(), 2)
    config = architecture_study(SPACE)
    organizer = ExperimentOrganizer(ConfigurationManager(config).get_config(), tracking_uri=uri)
    with pytest.raises(UsageError, match="X_train has the shape"):
        search_architectures(config, [1.0, 2.0], [1.0, 2.0], [1.0], [1.0], organizer)
