"""``python -m agentnn.nn_models.distributed.worker FOLDER``: one of the processes that train a configured run.

torchrun starts them, for :class:`~agentnn.nn_models.distributed.procedure.DistributedTraining`. They record nothing:
the first one tells the process that owns the run what there is to record.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.nn_models.distributed.failures import Failure
from agentnn.nn_models.distributed.fitting import fit_task
from agentnn.nn_models.distributed.group import RANK, restarts
from agentnn.nn_models.distributed.job import Job
from agentnn.nn_models.distributed.orphans import leave_when_orphaned

if TYPE_CHECKING:
    from collections.abc import Mapping


def main() -> None:
    """Train, tell, and leave with an exit code only where it may help to start again."""
    leave_when_orphaned()
    job, rank = Job(Path(sys.argv[1])), int(os.environ[RANK])
    job.begin(rank)
    if rank == 0:
        _pass_on_warnings(job)
        job.tell(restarts=restarts())

    try:
        model, result = fit_task(
            job.task(), _Told(job), lambda epoch, values: job.tell(epoch=epoch, values=dict(values))
        )
    except Exception as error:
        failure = Failure.of(error, rank)
        job.fail(failure, rank)
        if not failure.is_lasting:
            raise
    else:
        if result.rank == 0:
            job.finish(model.state_dict(), result.history)


class _Told:
    """The values of an epoch, for the run."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Tell them."""
        self._job.tell(logged=step, values=dict(metrics))


def _pass_on_warnings(job: Job) -> None:
    from agentnn.errors import AgentNNWarning

    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, AgentNNWarning):
            job.tell(note=str(message))
        else:
            shown(message, category, *place, **more)

    warnings.showwarning = show


if __name__ == "__main__":
    main()
