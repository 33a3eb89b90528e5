"""What a training begins with: a checked configuration, its data, and what starts its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from agentnn.errors import ConfigError, UsageError
from agentnn.extras import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.config.overrides import Overrides
    from agentnn.config.schema import Config
    from agentnn.sdk.experiment_organizer import ExperimentOrganizer
    from agentnn.settings import Settings
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.procedures import Procedure


class TrainingInputs(NamedTuple):
    """What is trained, and by what.

    Attributes:
        procedure: The plain loop, or that of the configuration's trainer.
        source: The data as they were read.
        dataset: The data as the procedure needs them.
    """

    procedure: Procedure
    source: Dataset
    dataset: Dataset


def checked_config(config: Any, overrides: Overrides | None) -> Config:
    """The configuration, without torch or a store having been touched."""
    from agentnn.sdk.config_manager import ConfigurationManager

    if isinstance(config, ConfigurationManager):
        if overrides:
            raise UsageError("a ConfigurationManager has its overrides already", hint="give them to it")
        checked = config.get_config()
    else:
        checked = ConfigurationManager(config, overrides).get_config()
    tracking = checked.tracking
    if tracking.register_as is not None:
        from agentnn.registry.registration import check_model_name

        check_model_name(tracking.register_as)
        if not tracking.log_model:
            raise ConfigError("tracking.register_as needs the network, and tracking.log_model is false")
    return checked


def organizer_for(config: Config, settings: Settings, tags: Mapping[str, Any]) -> ExperimentOrganizer:
    """What starts the runs of a configuration in the store that the settings name."""
    from agentnn.sdk.experiment_organizer import ExperimentOrganizer

    return ExperimentOrganizer(cast("Mapping[str, Any]", config), tags=tags, settings=settings)


def inputs_for(config: Config) -> TrainingInputs:
    """The procedure and the data, once it is sure that the configuration fits them."""
    require("torch", extra="train")
    from agentnn.nn_models.procedures import procedure_of
    from agentnn.training.data.datasets import load_dataset
    from agentnn.training.training_run import check_fit

    procedure = procedure_of(config)
    source = load_dataset(config.data, config.model.output_dim, config.training.loss)
    dataset = procedure.prepare(config, source)
    check_fit(config, dataset, procedure)
    return TrainingInputs(procedure, source, dataset)
