"""Calls of MLflow's client: which, how much came back, and how long it took."""

from __future__ import annotations

from functools import wraps
from typing import Any

from agentnn.stores.explained.between import Seen

_UNITS = {
    "search_runs": "runs",
    "get_run": "runs",
    "search_experiments": "experiments",
    "get_experiment": "experiments",
    "get_experiment_by_name": "experiments",
    "get_metric_history": "values",
    "search_registered_models": "registered models",
    "get_registered_model": "registered models",
    "search_model_versions": "model versions",
}


class SeenClient(Seen):
    """An ``MlflowClient`` each of whose calls is a step."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found):
            return found

        @wraps(found)
        def seen(*arguments: Any, **named: Any) -> Any:
            details = [f"at most {named['max_results']}"] if named.get("max_results") else []
            with self._explanation.step(f"MlflowClient.{name}", *details) as taking:
                answer = found(*arguments, **named)
                if name in _UNITS and answer is not None:
                    taking.read[_UNITS[name]] = len(answer) if isinstance(answer, list) else 1
                return answer

        return seen
