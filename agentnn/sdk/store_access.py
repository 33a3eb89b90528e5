"""What every façade stands on: the settings, and the store and the registry that they name, opened when first asked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

from agentnn.conventions import MetricConventions, load_conventions, sounds_like_less_is_better
from agentnn.errors import AgentNNWarning, NotFoundError, UsageError
from agentnn.query.runs import RunQuery
from agentnn.query.selectors import find_experiment, find_run
from agentnn.records import Experiment, Metric, Run
from agentnn.settings import Settings
from agentnn.stores.opening import open_registry, open_store

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from agentnn.query.explanation import Explanation
    from agentnn.query.expressions import Expression
    from agentnn.query.runs import View
    from agentnn.query.selection import Mode
    from agentnn.stores.base import ModelRegistry, TrackingStore
    from agentnn.stores.run_writer import RunWriter


Experiments = str | Experiment | Sequence[str | Experiment] | None
"""How experiments are named: by name or id, one or several; ``None`` for every active one."""


_EVERYWHERE = RunQuery()


class StoreAccess:
    """Opens what the settings name; see :class:`~agentnn.sdk.nn_models.ModelManager` for the arguments."""

    def __init__(
        self,
        tracking_uri: str | Path | None = None,
        *,
        registry_uri: str | None = None,
        env_file: str | Path | None = None,
    ) -> None:
        self.settings = Settings.load(tracking_uri, registry_uri=registry_uri, env_file=env_file)

    @cached_property
    def metric_conventions(self) -> MetricConventions:
        """What the project declares of its metrics; see :mod:`agentnn.conventions`."""
        return load_conventions()

    def default_mode(self, metric: str) -> Mode:
        """Whether the greatest or the smallest value of a metric is best, where the question does not say.

        That is what the project declares, and ``max`` otherwise. A name that says loss, error or drawdown, of which
        nothing is declared, gets a warning.
        """
        declared = self.metric_conventions.direction(metric)
        if declared is None and sounds_like_less_is_better(metric):
            warnings.warn(
                f"the greatest {metric!r} counts as the best; say min, or declare it in pyproject.toml: "
                f'[tool.agentnn.metrics] "{metric}" = "min"',
                AgentNNWarning,
                stacklevel=3,
            )
        return declared or "max"

    @cached_property
    def _store(self) -> TrackingStore:
        return open_store(self.settings)

    @cached_property
    def _registry(self) -> ModelRegistry:
        return open_registry(self.settings)

    def writer(self) -> RunWriter:
        """What writes whole runs to the store.

        Raises:
            UsageError: The store is a database whose schema MLflow would have to migrate first.
        """
        from agentnn.stores.run_writer import open_writer

        return open_writer(self.settings)

    def explain(self) -> AbstractContextManager[Explanation]:
        """Look on while questions are answered.

        ``with manager.explain() as explanation: manager.get_best_run("loss")``. The answers are the same. The
        explanation says what the store did (``pushed_down``), what was left to do here (``filtered_here``), how much
        was read (``read``), and what each step was and how long it took (``steps``, or by the question that they were
        for: ``questions``); ``to_dict()`` is all of it. It grows until the block ends, also by an error; what is read
        of an iterator of runs after that is not in it. What other threads ask of the same manager meanwhile is.
        """
        from agentnn.sdk.explaining import explaining  # hardly anybody asks

        return explaining(self.settings, self.__dict__)

    def close(self) -> None:
        """Close what was opened; the next question opens it again."""
        for name in ("_store", "_registry"):
            opened = self.__dict__.pop(name, None)
            if hasattr(opened, "close"):
                opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Settings]:
        return {"settings": self.settings}  # an open database can't be sent to another process

    def _find_run(self, selector: str, scope: RunQuery = _EVERYWHERE) -> Run:
        """The one run that a selector names."""
        return find_run(selector, self._store, lambda: self._registry, scope, self.default_mode)

    def _histories_of(self, run: Run) -> dict[str, list[Metric]]:
        """The history of every metric of a run, by the metric's name."""
        return {one.key: one.points for one in self._store.metric_histories([run])}

    def _scope(self, experiment: Experiments, filter_text: str | None, view: View) -> RunQuery:
        """The runs that a question is about: those of the experiments named here, or else by the environment."""
        named = [experiment] if isinstance(experiment, (str, Experiment)) else list(experiment or ())
        found = [one if isinstance(one, Experiment) else find_experiment(one, self._store) for one in named]
        found = found or self._environment_experiments()
        ids = tuple(dict.fromkeys(one.experiment_id for one in found))
        return RunQuery(ids or None, _parsed(filter_text), view=view)

    def _environment_experiments(self) -> list[Experiment]:
        """The experiment that ``MLFLOW_EXPERIMENT_NAME`` or ``MLFLOW_EXPERIMENT_ID`` names; both must name the same."""
        name, identifier = self.settings.experiment_name, self.settings.experiment_id
        found = [
            one
            for one in (
                self._store.find_experiment(name=name) if name else None,
                self._store.find_experiment(experiment_id=identifier) if identifier else None,
            )
            if one is not None
        ]
        variables = {"MLFLOW_EXPERIMENT_NAME": name, "MLFLOW_EXPERIMENT_ID": identifier}
        asked = [f"{key}={value}" for key, value in variables.items() if value]
        if len(found) < len(asked):
            raise NotFoundError(f"there is no experiment as {' and '.join(asked)} says", hint="agentnn experiment list")
        if len({one.experiment_id for one in found}) > 1:
            raise UsageError(f"{' and '.join(asked)} name two experiments", hint="unset one of them")
        return found[:1]


def _parsed(text: str | None) -> Expression | None:
    if not text:
        return None
    from agentnn.query.filters import parse_filter  # most questions have none, and its patterns take time to compile

    return parse_filter(text)
