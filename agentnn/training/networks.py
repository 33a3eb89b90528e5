"""Networks built from a configuration, and their files.

A saved network is a directory of two files: ``network.json``, the :class:`NetworkConfig`, and ``weights.pt``,
a state dict that is read with ``weights_only=True``, so that loading one never runs code. The standardisation
is part of the state dict: a network takes raw features.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from agentnn.errors import ConfigError, CorruptDataError, NotFoundError, UnsafeError, UsageError
from agentnn.training.families import ACTIVATIONS, FAMILIES
from agentnn.training.hierarchy import Fusion, HierarchicalBody, InputConfig, check_inputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from agentnn.config.schema import ModelSection
    from agentnn.training.data.prices import Standardisation

CONFIG_FILE = "network.json"
WEIGHTS_FILE = "weights.pt"
VALUES_AT_ONCE = 2**18
"""Values of the inputs that a network is asked for at once: what its layers make of them has to fit into memory."""

Predicts = Literal["value", "probability", "classes"]


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """All that is needed to build a network; every value fits into JSON.

    Attributes:
        family: ``mlp``, ``lstm``, ``gru``, ``tcn`` or ``transformer``; see :mod:`agentnn.training.families`.
        n_features: Features per day.
        window: Days of features per sample.
        hidden_layers: The width of each hidden layer; one width for all layers of a recurrent network or a transformer.
        output_dim: Values that the network gives.
        activation: Between the layers; recurrent networks have their own.
        dropout: Probability of dropping a hidden unit while training, from 0 to below 1.
        n_heads: Attention heads of a transformer.
        kernel_size: Of the convolutions of a tcn.
        bidirectional: Whether an lstm or a gru also reads the window backwards.
        predicts: What :meth:`Network.predict` makes of an output: ``value`` takes it as it is, ``probability`` as
            log-odds, ``classes`` as the logits of exclusive classes.
        inputs: Several inputs side by side in the features, each with an encoder of its own; see
            :mod:`agentnn.training.hierarchy`. Without any there is one.
        fusion: How several inputs are put together: ``gated`` or ``concat``.

    Raises:
        ConfigError: A value is of the wrong type or out of range.
    """

    family: str
    n_features: int
    window: int = 1
    hidden_layers: tuple[int, ...] = (32, 32)
    output_dim: int = 1
    activation: str = "relu"
    dropout: float = 0.0
    n_heads: int = 4
    kernel_size: int = 3
    bidirectional: bool = False
    predicts: Predicts = "value"
    inputs: tuple[InputConfig, ...] = ()
    fusion: Fusion = "gated"

    def __post_init__(self) -> None:
        for name, choices in (("family", FAMILIES), ("activation", ACTIVATIONS), ("predicts", get_args(Predicts))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"unknown {name} {getattr(self, name)!r}", hint=f"one of {', '.join(choices)}")
        if not isinstance(self.hidden_layers, (tuple, list)) or not self.hidden_layers:
            raise ConfigError(f"hidden_layers must be a width for each layer, not {self.hidden_layers!r}")
        object.__setattr__(self, "hidden_layers", tuple(self.hidden_layers))
        for width in self.hidden_layers:
            _check_whole("hidden_layers", width, 1)
        for name, least in (("n_features", 1), ("window", 1), ("output_dim", 1), ("n_heads", 1), ("kernel_size", 2)):
            _check_whole(name, getattr(self, name), least)
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and below 1, not {self.dropout!r}")
        if type(self.bidirectional) is not bool:
            raise ConfigError(f"bidirectional must be true or false, not {self.bidirectional!r}")
        self._check_widths()
        if not isinstance(self.inputs, (tuple, list)):
            raise ConfigError(f"inputs must be a list, not {self.inputs!r}")
        inputs = tuple(one if isinstance(one, InputConfig) else InputConfig.from_dict(one) for one in self.inputs)
        object.__setattr__(self, "inputs", inputs)
        if inputs:
            check_inputs(inputs, self.n_features, self.fusion)

    def _check_widths(self) -> None:
        widths = self.hidden_layers
        if self.family in ("lstm", "gru", "transformer") and len(set(widths)) > 1:
            raise ConfigError(f"all hidden_layers of the family {self.family} need the same width, not {list(widths)}")
        if self.family == "transformer" and widths[0] % self.n_heads:
            raise ConfigError(f"hidden_layers of width {widths[0]} can't be shared by {self.n_heads} heads")

    @classmethod
    def from_section(
        cls, model: ModelSection, n_features: int, window: int, predicts: Predicts = "value"
    ) -> NetworkConfig:
        """The network that the section ``model`` of a configuration describes, for data of this shape.

        Raises:
            ConfigError: ``model.input_dim`` says another number of features.
        """
        if model.input_dim not in (None, n_features):
            raise ConfigError(
                f"model.input_dim is {model.input_dim}, but the data have {n_features} features",
                hint=f"leave model.input_dim out, or set it to {n_features}",
            )
        return cls(
            family=model.family,
            n_features=n_features,
            window=window,
            hidden_layers=tuple(model.hidden_layers),
            output_dim=model.output_dim,
            activation=model.activation,
            dropout=model.dropout,
            n_heads=model.n_heads,
            kernel_size=model.kernel_size,
            bidirectional=model.bidirectional,
            predicts=predicts,
        )

    @classmethod
    def from_dict(cls, values: object) -> NetworkConfig:
        """The config that :meth:`to_dict` wrote.

        Raises:
            ConfigError: A value is missing, unknown or wrong.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not {"family", "n_features"} <= values.keys() <= known:
            raise ConfigError(f"a network config holds {', '.join(sorted(known))} and nothing else")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; what several inputs need is in it where there are any."""
        values = {**asdict(self), "hidden_layers": list(self.hidden_layers)}
        if not self.inputs:
            return {name: value for name, value in values.items() if name not in ("inputs", "fusion")}
        inputs = [{**asdict(one), "hidden_layers": list(one.hidden_layers)} for one in self.inputs]
        return {**values, "inputs": inputs}


def _check_whole(name: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")


def meant(outputs: Tensor, predicts: Predicts) -> NDArray[np.float32]:
    """What outputs on the CPU, shape (n, outputs), say of each sample; a single one without its axis."""
    if predicts == "probability":
        outputs = torch.sigmoid(outputs)
    elif predicts == "classes":
        outputs = torch.softmax(outputs, dim=-1)
    result: NDArray[np.float32] = (outputs.squeeze(-1) if outputs.shape[-1] == 1 else outputs).numpy()
    return result


class Network(nn.Module):
    """Raw features to the values that are learnt: a body of the config's family, and a linear layer.

    Args:
        config: Sizes and family.
        standardisation: Of the training part; without one, features are taken as they are.

    Raises:
        ConfigError: The standardisation is one of other features.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    LOADER = "agentnn.training.networks"
    """The module that reads the files of one."""

    def __init__(self, config: NetworkConfig, standardisation: Standardisation | None = None) -> None:
        super().__init__()
        self.config = config
        mean = np.zeros(config.n_features) if standardisation is None else standardisation.mean
        scale = np.ones(config.n_features) if standardisation is None else standardisation.scale
        if mean.shape != (config.n_features,):
            raise ConfigError(f"a standardisation of {mean.shape} does not fit {config.n_features} features")
        self.register_buffer("feature_mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("feature_scale", torch.tensor(scale, dtype=torch.float32))
        body = HierarchicalBody(config) if config.inputs else FAMILIES[config.family](config)
        self.body = body
        self.head = nn.Linear(body.width, config.output_dim)

    def forward(self, inputs: Tensor) -> Tensor:
        """From raw features to (batch, output_dim).

        Args:
            inputs: Shape (batch, window, features); or (batch, features) where the window is one day.
        """
        days = inputs.unsqueeze(1) if inputs.ndim == 2 and self.config.window == 1 else inputs
        outputs: Tensor = self.head(self.body((days - self.feature_mean) / self.feature_scale))
        return outputs

    @property
    def n_parameters(self) -> int:
        """Trained weights; the standardisation is not counted."""
        return sum(weights.numel() for weights in self.parameters())

    def predict(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """What the network says of each sample, with dropout switched off: see ``NetworkConfig.predicts``.

        Args:
            inputs: Raw features, shape (samples, window, features); or flat, (samples, window * features),
                the days of the window one after the other, oldest first. A DataFrame is taken as a flat
                array.

        Returns:
            Shape (samples,), or (samples, output_dim) where that is more than 1.

        Raises:
            UsageError: The shape does not fit.
        """
        return meant(self._outputs(inputs), self.config.predicts)

    def save(self, directory: Path) -> None:
        """Write it into a directory; see :func:`save_network`."""
        save_network(directory, self)

    def probabilities(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """The outputs as log-odds made probabilities, whatever ``NetworkConfig.predicts`` says; see :meth:`predict`.

        Raises:
            UsageError: The shape does not fit, or the network gives more than one value.
        """
        if self.config.output_dim != 1:
            raise UsageError(f"a network with {self.config.output_dim} outputs does not give one probability")
        result: NDArray[np.float32] = torch.sigmoid(self._outputs(inputs)).squeeze(-1).numpy()
        return result

    def _outputs(self, inputs: ArrayLike) -> Tensor:
        """On the CPU, shape (samples, output_dim); the mode is left as it was."""
        return outputs_of(self, inputs, self.config.window, self.config.n_features)


def outputs_of(network: nn.Module, inputs: ArrayLike, window: int, n_features: int) -> Tensor:
    """What a network in evaluation mode gives, on the CPU, whatever its mode is, which is left as it was.

    Args:
        network: Takes (samples, window, features), and has a buffer ``feature_mean`` where its weights are.
        inputs: Shape (samples, window, features) or (samples, window * features), as many as there are.
        window: Days of a sample.
        n_features: Values of a day.

    Raises:
        UsageError: The inputs have another shape.
    """
    array = np.asarray(inputs, dtype=np.float32)
    if array.shape[1:] not in ((window, n_features), (window * n_features,)):
        raise UsageError(f"inputs of shape {array.shape} don't fit (samples, {window}, {n_features})")
    days = torch.tensor(array.reshape(-1, window, n_features))
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        at_once = max(1, VALUES_AT_ONCE // (window * n_features))
        device = network.get_buffer("feature_mean").device
        outputs = torch.cat([network(part.to(device)).float().cpu() for part in torch.split(days, at_once)])
    network.train(was_training)
    return outputs


class NetworkModel:
    """What MLflow's pyfunc flavor loads; see :func:`_load_pyfunc`."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def predict(self, inputs: ArrayLike, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """:meth:`Network.predict`; ``params`` is MLflow's and has no effect."""
        return self.network.predict(inputs)


def save_network(directory: Path, network: Network) -> None:
    """Write a network into a directory, which is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    config = json.dumps(network.config.to_dict(), indent=2) + "\n"
    (directory / CONFIG_FILE).write_text(config, encoding="utf-8")
    torch.save(network.state_dict(), directory / WEIGHTS_FILE)


def load_network(directory: Path) -> Network:
    """Read the network that :func:`save_network` wrote; no code in the files is ever run.

    Raises:
        NotFoundError: A file is missing.
        UnsafeError: The weights file holds something other than weights.
        CorruptDataError: A file is damaged, or the two don't fit each other.
    """
    try:
        text = (directory / CONFIG_FILE).read_text(encoding="utf-8")
        network = Network(NetworkConfig.from_dict(_renewed(json.loads(text))))
        weights = _load_weights(directory / WEIGHTS_FILE)
        network.load_state_dict({key.replace("body.gru.", "body.layers."): one for key, one in weights.items()})
    except FileNotFoundError as error:
        raise NotFoundError(f"no network in {directory}: {Path(error.filename).name} is missing") from error
    except ValueError as error:  # ConfigError is one
        raise CorruptDataError(f"{directory / CONFIG_FILE}: {error}") from error
    except RuntimeError as error:
        raise CorruptDataError(f"the weights in {directory} don't fit {CONFIG_FILE}: {error}") from error
    return network.eval()


def _renewed(values: object) -> object:
    """The config of a network of the first version, which always gave log-odds and had one width."""
    if not isinstance(values, dict) or not isinstance(values.get("n_layers"), int):
        return values
    kept = {key: value for key, value in values.items() if key not in ("hidden_size", "n_layers")}
    return {**kept, "hidden_layers": [values.get("hidden_size")] * values["n_layers"], "predicts": "probability"}


def _load_weights(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeError(
            f"{path} holds something other than weights, and was not loaded",
            hint="a network's weights file is a state dict, written by torch.save",
        ) from error
    except (EOFError, KeyError, RuntimeError, ValueError) as error:
        raise CorruptDataError(f"{path} is damaged: {error}") from error
    if not isinstance(weights, dict):
        raise CorruptDataError(f"{path} does not hold a state dict")
    return weights


def _load_pyfunc(data_path: str) -> NetworkModel:
    """The loader that MLflow calls by this name, with the directory that :func:`save_network` wrote."""
    return NetworkModel(load_network(Path(data_path)))
