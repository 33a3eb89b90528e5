"""Several inputs of one network, the calendar, and ``trainer: advanced`` in a configuration."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from nn_models.small_trainings import SMALL, trained
from shared_store import copy_of, shared_state
from torch import Tensor
from training.toy import same_weights

from agentnn import ConfigurationManager, EnhancedMLflowLogger, ExperimentOrganizer, ModelManager
from agentnn.config.loader import load_config
from agentnn.errors import ConfigError, CorruptDataError, UsageError
from agentnn.nn_models.advanced.calendar import calendar_of
from agentnn.nn_models.advanced.options import AdvancedOptions
from agentnn.nn_models.advanced.procedure import AdvancedTraining
from agentnn.nn_models.advanced_training import HierarchicalNetwork, InputConfig
from agentnn.tracking.active_run import NullRun
from agentnn.training.data.datasets import Dataset, load_dataset
from agentnn.training.hierarchy import HierarchicalBody
from agentnn.training.networks import Network, NetworkConfig, load_network, save_network
from agentnn.training.procedures import PLAIN
from agentnn.training.training_run import check_fit, train_once

if TYPE_CHECKING:
    from collections.abc import Iterator

torch.set_num_threads(1)
TEMPLATE = Path(__file__).parents[2] / "config_templates" / "advanced_training.yaml"
INPUTS = [
    InputConfig("prices", 3),
    InputConfig("calendar", 2, "latest", (5,)),
    InputConfig("sector", 1, "latest"),
]


def hierarchical(**given: Any) -> HierarchicalNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        return HierarchicalNetwork(INPUTS, 4, **{"family": "gru", "hidden_layers": (6, 6), **given})


def named(count: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "prices": torch.randn(count, 4, 3, generator=generator),
        "calendar": torch.randn(count, 2, generator=generator),
        "sector": torch.randn(count, 1, generator=generator),
    }


def sums(inputs: dict[str, Tensor]) -> Tensor:
    """Something that needs each of them."""
    return inputs["prices"][:, -1, :1] + inputs["calendar"][:, :1] * 2 - inputs["sector"]


# --- the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["gated", "concat"])
@pytest.mark.parametrize("family", ["mlp", "gru", "tcn", "transformer"])
def test_every_family_reads_windows_beside_other_inputs(family: str, fusion: str) -> None:
    network = hierarchical(family=family, fusion=fusion, hidden_layers=(8, 8)).eval()
    inputs = named(5, 1)
    packed = network.pack(inputs)
    assert packed.shape == (5, 4, 6)
    assert torch.equal(network(inputs), network(packed))
    assert network(inputs).shape == (5, 1)
    for name in inputs:
        moved = {**inputs, name: inputs[name] + 1}
        assert not torch.equal(network(moved), network(inputs))


def test_the_encoders_by_hand() -> None:
    network = hierarchical(family="mlp", fusion="concat", hidden_layers=(6,)).eval()
    body, inputs = network.body, named(5, 1)
    assert isinstance(body, HierarchicalBody)
    encoded = {
        "prices": body.encoders["prices"](inputs["prices"]),
        "calendar": body.encoders["calendar"](inputs["calendar"].unsqueeze(1)),
        "sector": body.encoders["sector"](inputs["sector"].unsqueeze(1)),
    }
    assert [one.shape[1] for one in encoded.values()] == [6, 5, 6]
    joined = torch.cat([body.projections[name](one) for name, one in encoded.items()], dim=-1)
    assert body.mixing is not None
    torch.testing.assert_close(network(inputs), network.head(torch.relu(body.mixing(joined))))


def test_the_gates_are_shares_of_the_inputs() -> None:
    network = hierarchical().eval()
    body = network.body
    assert isinstance(body, HierarchicalBody)
    packed = network.pack(named(5, 1))
    shares = body.shares(packed)
    assert shares.shape == (5, 3)
    assert ((shares > 0) & (shares < 1)).all()
    with torch.no_grad():
        assert body.gates is not None
        body.gates.weight.zero_()
        body.gates.bias.copy_(torch.tensor([0.0, -1e4, -1e4]))  # only the first one is heeded, by half
        half = body.projections["prices"](body.encoders["prices"](packed[..., :3])) / 2
        torch.testing.assert_close(network(packed), network.head(torch.relu(half)))


def test_a_day_is_read_as_it_is_on_the_latest_day_alone() -> None:
    network = hierarchical().eval()
    packed = network.pack(named(5, 1))
    other = packed.clone()
    other[:, :-1, 3:] = 99.0
    assert torch.equal(network(packed), network(other))


def test_it_learns_what_needs_all_inputs() -> None:
    train, validation = named(200, 1), named(80, 2)
    network = hierarchical(family="mlp", hidden_layers=(16,))
    network.standardise(train)
    options = replace(SMALL, epochs=40, average="ema", decay_only_weights=False)
    model = trained(options, network, (train, sums(train), validation, sums(validation))).model
    with torch.no_grad():
        error = torch.nn.functional.mse_loss(model(validation), sums(validation)).item()
    assert error < 0.1 * sums(validation).var().item()


def test_standardising_looks_at_the_latest_day() -> None:
    network, inputs = hierarchical(), named(50, 1)
    network.standardise(inputs)
    torch.testing.assert_close(network.feature_mean[:3], inputs["prices"][:, -1].mean(dim=0))
    torch.testing.assert_close(network.feature_scale[3:5], inputs["calendar"].std(dim=0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sector": None}, "the network takes prices, calendar, sector"),
        ({"other": torch.zeros(5, 1)}, "not prices, calendar, sector, other"),
        ({"prices": torch.zeros(5, 3)}, r"not \(samples, 4, 3\)"),
        ({"calendar": torch.zeros(5, 3)}, r"not \(samples, 4, 2\) or \(samples, 2\)"),
        ({"sector": "technology"}, "not an array of numbers"),
    ],
)
def test_inputs_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    given = {name: one for name, one in {**named(5, 1), **changes}.items() if one is not None}
    with pytest.raises(UsageError, match=message):
        hierarchical().pack(given)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: InputConfig("a.b", 1),
        lambda: InputConfig("keys", 1),
        lambda: InputConfig("a", 0),
        lambda: InputConfig("a", 1, "yesterday"),  # type: ignore[arg-type]
        lambda: InputConfig("a", 1, hidden_layers=(0,)),
        lambda: InputConfig("a", 1, hidden_layers=3),  # type: ignore[arg-type]
        lambda: InputConfig.from_dict({"name": "a"}),
        lambda: NetworkConfig("mlp", 3, inputs=(InputConfig("a", 2),)),
        lambda: NetworkConfig("mlp", 2, inputs=(InputConfig("a", 1), InputConfig("a", 1))),
        lambda: NetworkConfig("mlp", 1, inputs=(InputConfig("a", 1),), fusion="sum"),  # type: ignore[arg-type]
        lambda: NetworkConfig("mlp", 1, inputs="a"),  # type: ignore[arg-type]
        lambda: HierarchicalNetwork([]),
        lambda: HierarchicalNetwork(NetworkConfig("mlp", 1)),
    ],
)
def test_wrong_inputs(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        wrong()


def test_it_is_kept_like_any_network(tmp_path: Path) -> None:
    network = hierarchical().eval()
    network.standardise(named(50, 3))
    save_network(tmp_path, network)
    loaded, plain, inputs = HierarchicalNetwork.load(tmp_path), load_network(tmp_path), named(5, 1)
    assert loaded.config == plain.config == network.config
    with torch.no_grad():
        assert torch.equal(loaded(inputs), network(inputs))
        assert torch.equal(plain(network.pack(inputs)), network(inputs))
    assert (plain.predict(network.pack(inputs)) == network.predict(network.pack(inputs))).all()
    description = json.loads((tmp_path / "network.json").read_text())
    description["inputs"][0]["n_features"] = 9
    (tmp_path / "network.json").write_text(json.dumps(description))
    with pytest.raises(CorruptDataError, match="the inputs have 12 features, the network 6"):
        load_network(tmp_path)


def test_the_file_of_a_network_of_one_input_says_nothing_of_several() -> None:
    assert {"inputs", "fusion"}.isdisjoint(NetworkConfig("mlp", 3).to_dict())


# --- the calendar ---------------------------------------------------------------------------------


def test_the_calendar_by_hand() -> None:
    days = np.array(["2024-01-01", "2024-02-29", "2023-02-28", "2024-07-18"], dtype="datetime64[D]")
    found = calendar_of(days)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], [0, 1, 0, 0, 1], atol=1e-6)  # a Monday, the first, January
    weekday, month = 2 * np.pi * 3 / 7, 2 * np.pi / 12  # a Thursday, the last day of February
    np.testing.assert_allclose(found[1], [np.sin(weekday), np.cos(weekday), 1, np.sin(month), np.cos(month)], rtol=1e-5)
    assert found[2][2] == 1
    np.testing.assert_allclose(found[3][2:], [17 / 30, 0, -1], atol=1e-6)
    for place, day in enumerate(days):  # a row depends on its own date
        np.testing.assert_array_equal(calendar_of(days[place : place + 1])[0], found[place], err_msg=str(day))


# --- in a configuration ---------------------------------------------------------------------------


QUICK = {
    "training.epochs": 2,
    "training.num_threads": 1,
    "tracking.log_environment": False,
    "tracking.log_model": False,
    "model.hidden_layers": [6, 6],
    "data.window": 3,
}


def config_of(**more: Any) -> Any:
    return ConfigurationManager(TEMPLATE, {**QUICK, **more}).get_config()


def data_of(config: Any) -> Dataset:
    return load_dataset(config.data, config.model.output_dim, config.training.loss)


def fitted(config: Any, **how: Any) -> Any:
    procedure = AdvancedTraining()
    dataset = procedure.prepare(config, data_of(config))
    procedure.check(config, dataset)
    return procedure.fit(config, dataset, NullRun(), NullRun(), **how)  # type: ignore[arg-type]


def test_data_with_the_calendar_and_static_columns() -> None:
    config = config_of(**{"advanced.static": ["return_20", "rsi_14"]})
    before = data_of(config)
    after = AdvancedTraining().prepare(config, before)
    assert after.feature_names[-7:] == (
        "return_20", "rsi_14", "weekday_sin", "weekday_cos", "month_day", "month_sin", "month_cos"
    )  # fmt: skip
    assert after.train.inputs.shape == (len(before.train), 3, len(before.feature_names) + 5)
    for name in before.feature_names:
        old, new = before.feature_names.index(name), after.feature_names.index(name)
        np.testing.assert_array_equal(after.test.inputs[..., new], before.test.inputs[..., old])
        assert before.standardisation is not None
        assert after.standardisation is not None
        assert after.standardisation.mean[new] == before.standardisation.mean[old]
    for day in range(3):
        np.testing.assert_array_equal(after.test.inputs[:, day, -5:], calendar_of(before.test.dates))
    assert after.standardisation is not None
    assert after.standardisation.scale[-5:].tolist() == [1.0] * 5
    without = config_of(**{"advanced.calendar": False})
    assert AdvancedTraining().prepare(without, before) is before


def test_nothing_of_a_sample_comes_from_a_later_day() -> None:
    """Data that end earlier give the same samples, and the same network the same predictions."""
    config = config_of()
    whole = AdvancedTraining().prepare(config, data_of(config)).test
    network = fitted(config).model
    cut = whole.slice(slice(0, 50))
    shifted = replace(whole, inputs=np.concatenate([whole.inputs[:50], -3 * whole.inputs[50:]]))
    np.testing.assert_array_equal(cut.inputs, whole.inputs[:50])
    np.testing.assert_array_equal(network.predict(shifted.inputs)[:50], network.predict(whole.inputs)[:50])
    days = calendar_of(whole.dates)
    np.testing.assert_array_equal(calendar_of(whole.dates[:50]), days[:50])


def test_with_nothing_added_a_configuration_trains_as_the_plain_loop_does() -> None:
    values = {**config_of().to_dict(), "advanced": {"decay_only_weights": False}}
    config = load_config(values)
    ours = fitted(config)
    plain = PLAIN.fit(config, data_of(config), NullRun(), NullRun())  # type: ignore[arg-type]
    assert same_weights(ours.model.state_dict(), plain.model.state_dict())


def test_a_configuration_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(epoch: int, values: object) -> None:
        if epoch == 3:
            raise Killed

    config = config_of(**{"training.epochs": 5, "training.checkpoint_every_s": 0})
    with pytest.raises(Killed):
        fitted(config, checkpoint_dir=tmp_path, on_epoch=kill)
    resumed, whole = fitted(config, checkpoint_dir=tmp_path, resume=True), fitted(config)
    assert resumed.history.resumed_from == 2
    assert same_weights(resumed.model.state_dict(), whole.model.state_dict())


def test_options_are_what_the_configuration_says() -> None:
    options = AdvancedOptions.from_config(config_of(), "bce")
    assert (options.epochs, options.learning_rate, options.optimizer) == (2, 2e-3, "AdamW")
    assert (options.average, options.ema_decay, options.label_smoothing) == ("ema", 0.98, 0.05)
    assert (options.accumulate_steps, options.clip_norm, options.warmup_steps) == (2, 1.0, 20)
    assert options.learning_rate_multipliers == {"head.*": 2.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advanced.static": ["sector"]}, r"advanced\.static: 'sector' is no feature"),
        ({"advanced.learning_rate_multipliers": {"tail.*": 2.0}}, "no parameter's name fits 'tail"),
        ({"training.loss": "mse"}, "label_smoothing is for labels"),
        ({"training.scheduler_params": {"gamma": 1}}, "scheduler_params"),
        ({"model.input_dim": 18}, r"model\.input_dim is 18, but the data have 13"),
    ],
)
def test_a_configuration_that_can_not_be(changes: dict[str, Any], message: str) -> None:
    config = config_of(**changes)
    procedure = AdvancedTraining()
    with pytest.raises(UsageError, match=message):
        check_fit(config, procedure.prepare(config, data_of(config)), procedure)


def test_data_without_dates_have_no_calendar(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "\n".join(f"{row % 7},{row % 5}" for row in range(120)))
    given = {"path": str(tmp_path / "rows.csv"), "features": ["a"], "target": "b", "window": 2}
    config = load_config({"trainer": "advanced", "data": given, "advanced": {"calendar": True}})
    with pytest.raises(ConfigError, match=r"advanced\.calendar: the data have no dates"):
        AdvancedTraining().prepare(config, data_of(config))
    config = load_config({"trainer": "advanced", "data": given, "advanced": {"static": ["a"]}})
    with pytest.raises(ConfigError, match="all features are static"):
        AdvancedTraining().prepare(config, data_of(config))


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def test_the_template_from_the_file_to_the_run(uri: str) -> None:
    config, procedure = config_of(), AdvancedTraining()
    dataset = procedure.prepare(config, data_of(config))
    organizer = ExperimentOrganizer(config, tracking_uri=uri)
    result = train_once(config, dataset, organizer, EnhancedMLflowLogger(), procedure=procedure, details=False)
    assert result.epochs == 2
    assert isinstance(result.model, Network)
    assert isinstance(result.model.body, HierarchicalBody)
    run = ModelManager(uri).get_run(result.run_id or "")
    assert (run.status, run.experiment, run.tags["model_type"]) == ("FINISHED", "advanced_training", "gru")
    assert {"sharpe_ratio", "test_accuracy", "val_loss", "validation_accuracy"} <= run.metrics.keys()
