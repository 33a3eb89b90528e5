"""MLflow's own stack of active runs, so that autologging and fluent calls land in our run.

MLflow offers no public way to make a run active without asking the store and changing the run's status, and either
would hold up training. The stack itself is where ``mlflow.start_run`` puts a run (mlflow/tracking/fluent.py).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentnn.settings import Settings

_VARIABLE = "MLFLOW_TRACKING_URI"


class MlflowStack:
    """A run's place on MLflow's stack, in the thread that made it active."""

    def __init__(self) -> None:
        self._entry: Any = None
        self._stack: list[Any] = []
        self._store_before: _Store | None = None
        self._uri = ""

    @staticmethod
    def is_wanted() -> bool:
        """Whether the user's code has imported MLflow; agentnn never does so for training."""
        return "mlflow" in sys.modules

    def push(self, settings: Settings, run_id: str, experiment_id: str, name: str, start_time: int) -> None:
        """Make a run the one that MLflow's fluent functions log to."""
        import mlflow
        from mlflow.entities import Run, RunData, RunInfo
        from mlflow.tracking import fluent

        self.pop()
        info = RunInfo(run_id, experiment_id, "", "RUNNING", start_time, None, "active", run_name=name)
        self._entry = fluent.ActiveRun(Run(info, RunData()))
        self._stack = fluent._active_run_stack.get()
        self._stack.append(self._entry)
        if mlflow.get_tracking_uri() != settings.tracking_uri:
            self._store_before, self._uri = _Store.now(), settings.tracking_uri
            mlflow.set_tracking_uri(settings.tracking_uri)

    def pop(self) -> None:
        """Take the run off again, without MLflow's closing it."""
        if self._entry is None:
            return
        self._stack[:] = [one for one in self._stack if one is not self._entry]
        self._entry = None
        if self._store_before is not None:
            self._store_before.restore(self._uri)
            self._store_before = None


@dataclass(frozen=True, slots=True)
class _Store:
    """What MLflow and the processes that are started take for the store.

    Attributes:
        uri: What MLflow was told; ``None`` when it goes by the environment.
        variable: What the environment says.
    """

    uri: str | None
    variable: str | None

    @classmethod
    def now(cls) -> _Store:
        from mlflow.tracking._tracking_service import utils

        return cls(utils._tracking_uri, os.environ.get(_VARIABLE))

    def restore(self, since: str) -> None:
        """Put it back, unless somebody has said something else than ``since`` in the meantime."""
        import mlflow

        if mlflow.get_tracking_uri() != since:
            return
        mlflow.set_tracking_uri(self.uri)  # which changes the variable too
        if self.variable is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = self.variable
