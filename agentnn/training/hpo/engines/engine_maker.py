"""Which engine runs the trials of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.config.changes import with_changes
from agentnn.config.objectives import objectives_of
from agentnn.training.hpo.trial import TrialWork

if TYPE_CHECKING:
    from agentnn.config.schema import Config
    from agentnn.config.tree import KeyPath
    from agentnn.training.hpo.engines.engine import Engine, OnReport
    from agentnn.training.hpo.trial import Objective
    from agentnn.training.recording import StudyOrganizer


@dataclass(frozen=True, slots=True)
class EngineMaker:
    """Makes the engine, once a study's run is open.

    Attributes:
        config: The study's, as its trials get it: without a progress bar, and with a worker's share of the processors.
        objective: Judges a trial.
        organizer: Starts and ends the runs.
    """

    config: Config
    objective: Objective
    organizer: StudyOrganizer

    @classmethod
    def of(cls, config: Config, objective: Objective, organizer: StudyOrganizer) -> EngineMaker:
        """What makes the engine of a configuration."""
        assert config.hpo is not None
        changes: dict[KeyPath, Any] = {("training", "progress"): False}
        if config.hpo.engine == "local" and config.hpo.workers > 1 and config.training.num_threads is None:
            from agentnn.training.hpo.engines.local_engine import threads_of_worker

            changes["training", "num_threads"] = threads_of_worker(config.hpo.workers)
        return cls(with_changes(config, changes, "the configuration of the trials"), objective, organizer)

    @property
    def is_remote(self) -> bool:
        """Whether trials may run on other machines."""
        return self.config.hpo is not None and self.config.hpo.engine == "ray"

    def make(self, on_report: OnReport) -> Engine:
        """The engine.

        Raises:
            MissingDependencyError: Ray was asked for, and is not installed.
        """
        hpo = self.config.hpo
        assert hpo is not None
        prunes = hpo.pruner != "none" and len(objectives_of(hpo)) == 1
        work = TrialWork(self.config, self.objective, objectives_of(hpo), self.organizer, prunes)
        if hpo.engine == "ray":
            from agentnn.training.hpo.engines.ray_engine import RayEngine

            workers = hpo.workers if "workers" in hpo.model_fields_set else None
            store = self.organizer.settings.tracking_uri
            return RayEngine(work, on_report, address=hpo.address, workers=workers, tracking_uri=store)
        if hpo.workers == 1:
            from agentnn.training.hpo.engines.inline_engine import InlineEngine

            return InlineEngine(work, on_report)
        from agentnn.training.hpo.engines.local_engine import LocalEngine

        return LocalEngine(work, on_report, hpo.workers, threads=self.config.training.num_threads)
