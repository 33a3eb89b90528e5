"""Training from a configuration, in a run of its own."""

from __future__ import annotations

import copy
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from agentnn.errors import AgentNNError, ConflictError, NotFoundError, StoreUnavailable, UsageError
from agentnn.sdk.configurations_of_runs import check_data_are_the_same, check_is_the_same, configuration_of
from agentnn.sdk.registry_lifecycle import RegistryLifecycle
from agentnn.sdk.run_files import RunFileAccess
from agentnn.sdk.training_inputs import checked_config, inputs_for, organizer_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from agentnn.config.overrides import Overrides
    from agentnn.config.schema import Config
    from agentnn.records import Run
    from agentnn.sdk.config_manager import ConfigurationManager
    from agentnn.sdk.experiment_organizer import ExperimentOrganizer
    from agentnn.sdk.training_inputs import TrainingInputs
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.training_run import TrainingResult

    ConfigSource: TypeAlias = str | Path | Mapping[str, Any] | ConfigurationManager
    OnStart: TypeAlias = Callable[[str, Dataset], None]

_UUID = re.compile("[0-9a-f]{32}")
_FLUSH_S = 20.0


class RunTraining(RunFileAccess, RegistryLifecycle):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that trains."""

    def train(
        self,
        config: ConfigSource | None = None,
        overrides: Overrides | None = None,
        *,
        resume: str | None = None,
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        on_start: OnStart | None = None,
    ) -> TrainingResult:
        """Train as a configuration says, by the trainer that it names or the plain loop, and record it.

        The run gets the configuration, the environment, what the data are like, the values of every epoch, the errors
        of the test part and a backtest on it, and the network, which loads without running code. A store that can't be
        used does not stop it: what is recorded waits on this machine.

        Args:
            config: A YAML file, a dict of the same shape, or a manager of one. May be left out with ``resume``.
            overrides: Values that go before those of the configuration.
            resume: Go on with this run, from its last checkpoint on this machine: a selector; or, with ``config`` while
                the store can't be used, its uuid.
            run_name: The run's name; as the configuration says without one.
            tags: More tags of the run, which go before all others.
            on_start: Called with the run's name and the data, once the run has begun.

        Returns:
            What came of it; its ``run_id`` is ``None`` where the store has not answered.

        Raises:
            ConfigError: The configuration is wrong, or does not fit the data.
            UsageError, CorruptDataError: The data can't be used.
            NotFoundError: There is no such file, or no such run or checkpoint to go on with.
            ConflictError: The run that is to go on has finished, or was started with another configuration or other
                data; or the experiment is deleted.
            MissingDependencyError: torch is not installed.
            TrainingError: The loss is no longer finite.
        """
        if resume is not None:
            return self._resume(resume, config, overrides, on_start)
        if config is None:
            raise UsageError("there is no configuration to train from", hint="name a YAML file")
        checked = checked_config(config, overrides)
        manager = self._for(checked)
        inputs = inputs_for(checked)
        from agentnn.training.training_run import tags_of

        derived = tags_of(checked, inputs.dataset)
        known = {key: one for key, one in derived.items() if key not in checked.experiment.tags}
        organizer = organizer_for(checked, manager.settings, {**known, **(tags or {})})
        return manager._train_in(organizer.start_run(run_name), checked, inputs, organizer, on_start)

    def _resume(
        self, selector: str, config: ConfigSource | None, overrides: Overrides | None, on_start: OnStart | None
    ) -> TrainingResult:
        """Go on with a run that has been broken off."""
        found = self._run_to_resume(selector, may_be_away=config is not None)
        if config is None and overrides:
            raise UsageError("a run goes on with its own configuration", hint="leave the overrides out")
        checked = checked_config(configuration_of(self, found) if config is None and found else config or {}, overrides)
        if config is not None and found is not None:
            check_is_the_same(checked, found, self)
        from agentnn.stores.run_writer import UUID_TAG
        from agentnn.tracking.journal.state import StoreFolder
        from agentnn.tracking.sending.sender_control import with_absolute_uris
        from agentnn.tracking.starting import start_run
        from agentnn.training.run_checkpoints import folder_to_resume

        store = StoreFolder.of(with_absolute_uris(self.settings))
        uuid = found.tags.get(UUID_TAG, "") if found else selector
        folder = folder_to_resume(checked, store, uuid, found.name if found else selector)
        inputs = inputs_for(checked)
        if found is not None:
            check_data_are_the_same(inputs.dataset.digest, found)
        run = start_run(
            run_id=found.run_id if found else selector, settings=self.settings, strict=checked.tracking.strict
        )
        organizer = organizer_for(checked, self.settings, {})
        return self._train_in(run, checked, inputs, organizer, on_start, folder=folder)

    def _run_to_resume(self, selector: str, *, may_be_away: bool) -> Run | None:
        """The run; ``None`` where the store can't be asked and the selector is enough by itself."""
        try:
            found = self._find_run(selector)
        except StoreUnavailable:
            if may_be_away and _UUID.fullmatch(selector):
                return None
            raise
        if found.status == "FINISHED":
            raise ConflictError(
                f"the run {found.name!r} has finished, and there is nothing to go on with",
                hint="train again, with other values if you like: agentnn run train CONFIG --training.epochs 50",
            )
        return found

    def _train_in(
        self,
        run: ActiveRun,
        config: Config,
        inputs: TrainingInputs,
        organizer: ExperimentOrganizer,
        on_start: OnStart | None,
        *,
        folder: Path | None = None,
    ) -> TrainingResult:
        """Train in a run that has begun; with a folder, from the checkpoint there."""
        from agentnn.sdk.enhanced_logging import EnhancedMLflowLogger
        from agentnn.training.run_checkpoints import CHECKPOINTS_TAG, checkpoint_folder, discard, sweep
        from agentnn.training.training_run import train_once

        kept = folder or checkpoint_folder(config, run.folder.store, run.uuid)
        with _telling_how_to_go_on(run, kept), run:
            sweep(run.folder.store)
            if kept is not None:
                run.set_tag(CHECKPOINTS_TAG, str(kept))
            if on_start is not None:
                on_start(run.name, inputs.dataset)
            result = train_once(
                config,
                inputs.dataset,
                organizer,
                EnhancedMLflowLogger(),
                run=run,
                procedure=inputs.procedure,
                checkpoint_dir=kept,
                resume=folder is not None,
                logged_epochs=self._logged_epochs(run) if folder is not None else 0,
            )
        discard(config, run, kept)
        result = replace(result, run_id=_run_id_of(run))
        return replace(result, registered=self._register(config, result.run_id))

    def _register(self, config: Config, run_id: str | None) -> str | None:
        """Register the network as the configuration says; its name and version."""
        from agentnn.tracking.capture.guard import warn

        name = config.tracking.register_as
        if name is None:
            return None
        why = "the store has not answered"
        if run_id is not None:
            try:
                version = self.register_model(name, run_id)
                return f"{version.name}/{version.version}"
            except (StoreUnavailable, NotFoundError) as error:  # what waits on this machine is delivered later
                why = error.message
        how = f"agentnn model register {run_id or 'RUN'} --name {name}"
        warn(f"the network is not registered as {name!r}: {why}; {how}")
        return None

    def _logged_epochs(self, run: ActiveRun) -> int:
        """Epochs of a run whose values are in the store, or on the way to it."""
        try:
            run.flush(_FLUSH_S)
            points = self._store.metric_history(run.run_id, "train_loss")
        except AgentNNError:  # the values come twice, then
            return 0
        return max((point.step for point in points), default=0)

    def _for(self, config: Config) -> Self:
        """The manager of the store that a configuration names, unless somebody said otherwise."""
        uri = config.tracking.uri
        if uri is None or self.settings.tracking_uri_source == "option":
            return self
        registry = uri if self.settings.registry_uri == self.settings.tracking_uri else self.settings.registry_uri
        other = copy.copy(self)
        other.settings = replace(
            self.settings, tracking_uri=uri, tracking_uri_source="tracking.uri", registry_uri=registry
        )
        return other


def _run_id_of(run: ActiveRun) -> str | None:
    try:
        return run.run_id
    except AgentNNError:  # the store is down; what was logged waits
        return None


@contextmanager
def _telling_how_to_go_on(run: ActiveRun, folder: Path | None) -> Iterator[None]:
    """Say, when a training is interrupted, how it goes on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        from agentnn.tracking.capture.guard import warn
        from agentnn.training.run_checkpoints import has_checkpoint

        if folder is not None and has_checkpoint(folder):
            warn(f"to go on from the last checkpoint: agentnn run train --resume {run.find_run_id() or run.uuid}")
        raise
