"""A search over architectures: a study in which depth, the width of each layer there is, and more are hyperparameters.

It is a study like any other: its space is one of :mod:`agentnn.training.hpo`, with conditions, so that a trial has a
width for each of its layers and none for others; trials are runs below the study's run, in this process or in several,
and a study that was broken off can be gone on with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from agentnn.config.study import with_study_options
from agentnn.errors import ConfigError, UsageError
from agentnn.nn_models.architecture.description import Architecture, check_whole
from agentnn.nn_models.architecture.network import DynamicNetwork, mean_and_scale
from agentnn.training.fitting import fit
from agentnn.training.hpo.sampling.space import with_params
from agentnn.training.run_hpo import run_hpo_study

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from agentnn.config.schema import Config
    from agentnn.training.hpo.request import StudyEvents
    from agentnn.training.hpo.results import StudyResult
    from agentnn.training.recording import StudyLogger, StudyOrganizer

_DEPTH, _WIDTH, _NORMALISATION = "model.params.depth", "model.params.width_{}", "model.params.normalisation"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureSpace:
    """The architectures among which one is sought.

    Attributes:
        depth: The smallest and the greatest number of hidden layers.
        width: The smallest and the greatest width of a layer; its logarithm is searched.
        activations: Of all layers of a network.
        normalisations: Likewise.
        dropout: The smallest and the greatest one; ``None`` for none.
        learning_rate: The smallest and the greatest one, on a logarithmic scale; that of the study without it.

    Raises:
        ConfigError: A range is empty.
    """

    depth: tuple[int, int] = (1, 4)
    width: tuple[int, int] = (4, 64)
    activations: tuple[str, ...] = ("relu", "gelu", "tanh")
    normalisations: tuple[str, ...] = ("none", "batch", "layer")
    dropout: tuple[float, float] | None = (0.0, 0.5)
    learning_rate: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("depth", "width"):
            low, high = getattr(self, name)
            check_whole(name, low, 1)
            check_whole(name, high, low)
        if not self.activations or not self.normalisations:
            raise ConfigError("a space needs at least one activation and one normalisation")

    def param_space(self) -> dict[str, Any]:
        """As ``hpo.param_space``: a layer's width is asked for where there is that layer."""
        least, most = self.depth
        widths: dict[str, Any] = {"low": self.width[0], "high": self.width[1], "log": True}
        if self.width[0] == self.width[1]:
            widths = {"choices": [self.width[0]]}
        space: dict[str, Any] = {_DEPTH: list(range(least, most + 1))}
        for number in range(1, most + 1):
            depths = {} if number <= least else {"when": {_DEPTH: list(range(number, most + 1))}}
            space[_WIDTH.format(number)] = {**widths, **depths}
        space["model.activation"] = list(self.activations)
        space[_NORMALISATION] = list(self.normalisations)
        for name, ends, more in (
            ("model.dropout", self.dropout, {}),
            ("training.learning_rate", self.learning_rate, {"log": True}),
        ):
            if ends is not None:
                space[name] = [ends[0]] if ends[0] == ends[1] else {"low": ends[0], "high": ends[1], **more}
        return space


@dataclass(frozen=True, slots=True, eq=False)
class FoundArchitecture:
    """What a search found.

    Attributes:
        study: All of its trials.
        architecture: That of the best one.
        network: The network of the best one, in evaluation mode. Its value is the best of many on the same validation
            part: judge it by a test part.
        value: The best value.
    """

    study: StudyResult
    architecture: Architecture
    network: DynamicNetwork = field(repr=False)
    value: float


def architecture_study(
    space: ArchitectureSpace,
    *,
    trials: int = 20,
    seed: int = 0,
    experiment: str = "architecture_optimization",
    name: str = "architectures",
    n_outputs: int = 1,
    training: Mapping[str, Any] | None = None,
    hpo: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The configuration of a search, for an ``ExperimentOrganizer`` and for :func:`search_architectures`.

    Args:
        space: What is searched.
        trials: How many architectures are tried.
        seed: Of the choice of architectures, of weights, of the order of samples and of dropout.
        experiment: The experiment of its runs.
        name: The study's name.
        n_outputs: Values that the networks give.
        training: More of the section ``training``: ``epochs``, ``learning_rate``, ``loss``, …
        hpo: More of the section ``hpo``: ``sampler``, ``pruner``, ``workers``, …
    """
    return {
        "experiment": {"name": experiment},
        "model": {"output_dim": n_outputs},
        "training": {"epochs": 20, "checkpoints": False, "progress": False, "seed": seed, **(training or {})},
        "hpo": {"param_space": space.param_space(), "num_trials": trials, "study_name": name, **(hpo or {})},
    }


def search_architectures(
    config: Mapping[str, Any],
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    organizer: StudyOrganizer,
    logger: StudyLogger | None = None,
    *,
    standardise: bool = True,
    resume: bool = False,
    events: StudyEvents | None = None,
) -> FoundArchitecture:
    """Try architectures, each trained from the start, and train the best one once more: the same network again.

    Args:
        config: What :func:`architecture_study` gave, or a configuration with such a search.
        X_train: Inputs to learn from, shape (samples, inputs) or (samples, window, features).
        y_train: What belongs to them.
        X_val: Inputs that trials are judged by.
        y_val: What belongs to them.
        organizer: An ``ExperimentOrganizer`` of the configuration.
        logger: Gets the values of each epoch of each trial.
        standardise: Whether networks take inputs with mean and standard deviation of the training part.
        resume: Go on with the last study of this name.
        events: Is told what happens.

    Raises:
        ConfigError: The configuration is wrong, or has no search.
        ConflictError: There is an unfinished study of this name, and ``resume`` was not asked for.
        TrainingError: No trial came to a value.
        StoreUnavailable: The study's own storage can't be used. A tracking store that is down does not matter.
        MissingDependencyError: Optuna is not installed.
    """
    checked: Any = with_study_options(config)
    build = _Builder.of(X_train, standardise=standardise)
    data = (X_train, y_train, X_val, y_val)
    study = run_hpo_study(checked, *data, organizer, logger, build_model=build, resume=resume, events=events)
    assert study.best is not None
    assert study.best.value is not None
    fitted = fit(with_params(checked, study.best.params), *data, build_model=build, checkpoints=False)
    network = fitted.model
    assert isinstance(network, DynamicNetwork)
    return FoundArchitecture(study, network.architecture, network, study.best.value)


def architecture_of(config: Config, n_inputs: int) -> Architecture:
    """The architecture that the configuration of a trial says.

    Raises:
        ConfigError: It does not say the depth, or the width of one of its layers.
    """
    model = config.model
    try:
        depth = int(model.params["depth"])
        widths = tuple(int(model.params[f"width_{number}"]) for number in range(1, depth + 1))
    except KeyError as error:
        raise ConfigError(
            f"model.params: {error.args[0]} is missing", hint="ArchitectureSpace().param_space()"
        ) from None
    shared = {"activation": model.activation, "dropout": float(model.dropout)}
    normalisation = model.params.get("normalisation", "none")
    return Architecture.of_widths(n_inputs, widths, model.output_dim, normalisation=normalisation, **shared)


@dataclass(frozen=True, slots=True, eq=False)
class _Builder:
    """Makes the network of a trial; other processes can be given it."""

    n_inputs: int
    standardisation: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, inputs: Any, *, standardise: bool) -> _Builder:
        values = torch.as_tensor(inputs)
        if values.ndim < 2 or not values.numel():
            raise UsageError(f"X_train has the shape {tuple(values.shape)}, not (samples, inputs)")
        return cls(values[0].numel(), mean_and_scale(values) if standardise else None)

    def __call__(self, config: Config) -> DynamicNetwork:
        network = DynamicNetwork(architecture_of(config, self.n_inputs))
        if self.standardisation is not None:
            network.standardise(*self.standardisation)
        return network
