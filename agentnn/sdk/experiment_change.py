"""What deleting or restoring an experiment takes along: a plan, or what was done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.records import Experiment, ModelVersion


@dataclass(frozen=True, slots=True)
class ExperimentChange:
    """What goes with an experiment that is deleted, or comes back with one that is restored.

    Attributes:
        experiment: The experiment.
        runs_by_status: How many runs go or come with it.
        versions: The model versions that these runs made. They stay, and stay loadable.
        deleted_before: How many of its runs are deleted already; the restoring of the experiment would restore them.
        done: Whether it was done; ``False`` for a plan, and where there was nothing to do.
        was_done_before: Whether it was deleted or, for a restoring, not deleted when it was asked for.
    """

    experiment: Experiment
    runs_by_status: Mapping[str, int]
    versions: tuple[ModelVersion, ...] = ()
    deleted_before: int = 0
    done: bool = False
    was_done_before: bool = False

    def carried_out(self) -> ExperimentChange:
        """The plan after it was carried out, as far as there was anything to do."""
        return replace(self, done=not self.was_done_before)

    @property
    def runs(self) -> int:
        """How many runs go or come with it."""
        return sum(self.runs_by_status.values())

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            **self.experiment.to_dict(),
            "runs": self.runs,
            "runs_by_status": dict(sorted(self.runs_by_status.items())),
            "deleted_before": self.deleted_before,
            "model_versions": [one.to_dict() for one in self.versions],
            "done": self.done,
        }
