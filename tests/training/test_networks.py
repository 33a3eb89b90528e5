"""Networks, their files, and MLflow's view of them."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from agentnn.config.loader import load_config
from agentnn.errors import ConfigError, CorruptDataError, NotFoundError, UnsafeError, UsageError
from agentnn.tracking.models.model_files import save_pyfunc_model
from agentnn.training.data.prices import Standardisation
from agentnn.training.families import FAMILIES
from agentnn.training.networks import Network, NetworkConfig, _load_pyfunc, load_network, save_network

WINDOW, N_FEATURES = 4, 3


def network(family: str = "gru", **changes: object) -> Network:
    config = NetworkConfig(family, N_FEATURES, WINDOW, (4, 4), dropout=0.3, predicts="probability")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        standardisation = Standardisation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 0.5]))
        return Network(dataclasses.replace(config, **changes), standardisation)


@pytest.fixture
def inputs() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, WINDOW, N_FEATURES)).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities(family: str, inputs: np.ndarray) -> None:
    result = network(family).probabilities(inputs)
    assert result.shape == (6,)
    assert result.dtype == np.float32
    assert ((result > 0) & (result < 1)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_are_without_dropout_and_leave_the_mode(family: str, inputs: np.ndarray) -> None:
    training = network(family).train()
    np.testing.assert_array_equal(training.probabilities(inputs), training.probabilities(inputs))
    assert training.training


@pytest.mark.parametrize("family", FAMILIES)
def test_each_sample_stands_alone(family: str, inputs: np.ndarray) -> None:
    whole = network(family).probabilities(inputs)
    for index in range(len(inputs)):
        alone = network(family).probabilities(inputs[index : index + 1])
        np.testing.assert_allclose(alone, whole[index : index + 1], rtol=1e-5)


def test_standardisation_is_part_of_the_network(inputs: np.ndarray) -> None:
    fitted = network()
    plain = Network(fitted.config)
    weights = {key: value for key, value in fitted.state_dict().items() if not key.startswith("feature_")}
    plain.load_state_dict(weights, strict=False)
    standard = (inputs - np.array([1, 2, 3])) / np.array([2, 1, 0.5])
    np.testing.assert_allclose(plain.probabilities(standard), fitted.probabilities(inputs), rtol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_flat_inputs_and_frames_are_taken(family: str, inputs: np.ndarray) -> None:
    import pandas as pd

    flat = inputs.reshape(6, -1)
    expected = network(family).probabilities(inputs)
    np.testing.assert_array_equal(network(family).probabilities(flat), expected)
    np.testing.assert_array_equal(network(family).probabilities(pd.DataFrame(flat)), expected)


@pytest.mark.parametrize("shape", [(6, WINDOW, N_FEATURES + 1), (6, N_FEATURES), (WINDOW * N_FEATURES,)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="don't fit"):
        network().probabilities(np.zeros(shape))


@pytest.mark.parametrize("family", FAMILIES)
def test_save_and_load(family: str, inputs: np.ndarray, tmp_path: Path) -> None:
    saved = network(family)
    save_network(tmp_path / "new" / "dir", saved)
    loaded = load_network(tmp_path / "new" / "dir")
    assert loaded.config == saved.config
    assert not loaded.training
    assert loaded.n_parameters == saved.n_parameters
    np.testing.assert_array_equal(loaded.probabilities(inputs), saved.probabilities(inputs))


@pytest.mark.parametrize("family", FAMILIES)
def test_mlflow_loads_and_predicts_the_same(family: str, inputs: np.ndarray, tmp_path: Path) -> None:
    import mlflow

    saved = network(family)
    save_network(tmp_path / "network", saved)
    example, expected = inputs[:2], saved.probabilities(inputs[:2])
    save_pyfunc_model(
        tmp_path / "model",
        loader_module="agentnn.training.networks",
        data_path=tmp_path / "network",
        input_example=example,
        output_example=expected,
        pip_requirements=["numpy", "torch"],
    )
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict(loaded.input_example), expected)
    np.testing.assert_array_equal(loaded.predict(inputs), saved.probabilities(inputs))
    assert [spec.shape for spec in loaded.metadata.signature.inputs.inputs] == [(-1, WINDOW, N_FEATURES)]
    assert (tmp_path / "model" / "requirements.txt").read_text().split()[-2:] == ["numpy", "torch"]
    assert not list((tmp_path / "model").rglob("*.pkl"))


def test_pyfunc_takes_mlflows_params(inputs: np.ndarray, tmp_path: Path) -> None:
    save_network(tmp_path, network())
    model = _load_pyfunc(str(tmp_path))
    np.testing.assert_array_equal(model.predict(inputs, params={"any": 1}), model.predict(inputs))


class Touch:
    """What an attacker would pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_and_does_not_run(writer: str, tmp_path: Path) -> None:
    save_network(tmp_path, network())
    payload = {"head.bias": Touch(tmp_path / "executed")}
    if writer == "torch":
        torch.save(payload, tmp_path / "weights.pt")
    else:
        (tmp_path / "weights.pt").write_bytes(pickle.dumps(payload, protocol=2))
    with pytest.raises(UnsafeError, match="other than weights"):
        load_network(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_damaged_weights(content: bytes, tmp_path: Path) -> None:
    save_network(tmp_path, network())
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(CorruptDataError, match="weights"):
        load_network(tmp_path)


def test_weights_of_another_network(tmp_path: Path) -> None:
    save_network(tmp_path, network())
    torch.save({"head.bias": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(CorruptDataError, match="don't fit"):
        load_network(tmp_path)
    torch.save(torch.zeros(1), tmp_path / "weights.pt")
    with pytest.raises(CorruptDataError, match="state dict"):
        load_network(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"family": "mlp"}', '{"family": "gru", "n_features": "3"}'])
def test_damaged_config(content: str, tmp_path: Path) -> None:
    save_network(tmp_path, network())
    (tmp_path / "network.json").write_text(content)
    with pytest.raises(CorruptDataError, match=r"network\.json"):
        load_network(tmp_path)


@pytest.mark.parametrize("name", ["network.json", "weights.pt"])
def test_missing_files_are_named(name: str, tmp_path: Path) -> None:
    save_network(tmp_path, network())
    (tmp_path / name).unlink()
    with pytest.raises(NotFoundError, match=name):
        load_network(tmp_path)


def test_config_survives_json() -> None:
    config = network().config
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "perceptron"}, "unknown family"),
        ({"activation": "step"}, "unknown activation"),
        ({"predicts": "luck"}, "unknown predicts"),
        ({"hidden_layers": [3, 0]}, "hidden_layers"),
        ({"hidden_layers": []}, "hidden_layers"),
        ({"hidden_layers": 5}, "hidden_layers"),
        ({"hidden_layers": [True]}, "hidden_layers"),
        ({"family": "gru", "hidden_layers": [3, 4]}, "the same width"),
        ({"family": "transformer", "hidden_layers": [6, 6]}, "4 heads"),
        ({"kernel_size": 1}, "kernel_size"),
        ({"bidirectional": 1}, "bidirectional"),
        ({"output_dim": "2"}, "output_dim"),
        ({"window": 2.5}, "window"),
        ({"dropout": 1.0}, "dropout"),
        ({"colour": "red"}, "nothing else"),
    ],
)
def test_wrong_configs_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NetworkConfig.from_dict({"family": "mlp", "n_features": 3} | changes)


def test_a_config_of_another_hash_or_order_is_the_same() -> None:
    assert hash(NetworkConfig("mlp", 3, hidden_layers=[4, 2])) == hash(NetworkConfig("mlp", 3, hidden_layers=(4, 2)))


def test_the_section_of_a_configuration() -> None:
    written = {
        "family": "tcn",
        "hidden_layers": [8, 4],
        "output_dim": 3,
        "activation": "gelu",
        "dropout": 0.1,
        "kernel_size": 2,
    }
    model = load_config({"model": written | {"input_dim": 5}}).model
    config = NetworkConfig.from_section(model, n_features=5, window=7, predicts="classes")
    assert config == NetworkConfig(
        "tcn", 5, 7, (8, 4), 3, activation="gelu", dropout=0.1, kernel_size=2, predicts="classes"
    )
    with pytest.raises(ConfigError, match=r"model.input_dim is 5, but the data have 6 features"):
        NetworkConfig.from_section(model, n_features=6, window=7)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_given_as_they_are(family: str, inputs: np.ndarray) -> None:
    asked = network(family, predicts="value")
    with torch.no_grad():
        outputs = asked.eval()(torch.tensor(inputs)).numpy()
    assert outputs.shape == (6, 1)
    np.testing.assert_allclose(asked.predict(inputs), outputs[:, 0], rtol=1e-6)
    np.testing.assert_allclose(asked.probabilities(inputs), 1 / (1 + np.exp(-outputs[:, 0])), rtol=1e-5)


def test_several_outputs(inputs: np.ndarray) -> None:
    classes = network(output_dim=3, predicts="classes").predict(inputs)
    assert classes.shape == (6, 3)
    np.testing.assert_allclose(classes.sum(axis=1), 1, rtol=1e-6)
    values = network(output_dim=3, predicts="value")
    assert values.predict(inputs).shape == (6, 3)
    with pytest.raises(UsageError, match="3 outputs"):
        values.probabilities(inputs)


def test_a_window_of_one_day_needs_no_axis() -> None:
    one_day = Network(NetworkConfig("mlp", 3))
    days = torch.randn(5, 3)
    assert torch.equal(one_day(days), one_day(days.unsqueeze(1)))


@pytest.mark.parametrize("family", FAMILIES)
def test_many_samples_are_predicted_in_parts(family: str, inputs: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = network(family).predict(inputs)
    monkeypatch.setattr("agentnn.training.networks.VALUES_AT_ONCE", 2 * WINDOW * N_FEATURES)
    np.testing.assert_allclose(network(family).predict(inputs), whole, rtol=1e-5)


@pytest.mark.parametrize(("predicts", "output_dim"), [("value", 1), ("value", 2), ("classes", 3)])
def test_mlflow_predicts_other_things_than_probabilities(
    predicts: str, output_dim: int, inputs: np.ndarray, tmp_path: Path
) -> None:
    saved = network("lstm", predicts=predicts, output_dim=output_dim)
    save_network(tmp_path, saved)
    np.testing.assert_array_equal(_load_pyfunc(str(tmp_path)).predict(inputs), saved.predict(inputs))


@pytest.mark.parametrize("family", ["mlp", "gru"])
def test_files_of_the_first_version_are_read(family: str, inputs: np.ndarray, tmp_path: Path) -> None:
    now = network(family)
    weights = {key.replace("body.layers.", "body.gru."): value for key, value in now.state_dict().items()}
    torch.save(weights, tmp_path / "weights.pt")
    then = {"family": family, "n_features": 3, "window": 4, "hidden_size": 4, "n_layers": 2, "dropout": 0.3}
    (tmp_path / "network.json").write_text(json.dumps(then))
    loaded = load_network(tmp_path)
    assert loaded.config == now.config
    np.testing.assert_array_equal(loaded.predict(inputs), now.predict(inputs))


def test_a_standardisation_must_fit() -> None:
    with pytest.raises(ConfigError, match="does not fit 3 features"):
        Network(NetworkConfig("mlp", 3), Standardisation(np.zeros(2), np.ones(2)))
