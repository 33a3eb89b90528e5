"""The guided first use: train, backtest, record, register. Then a store has something to be asked about."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import NotAStoreError, NotFoundError, StoreUnavailable
from agentnn.extras import require
from agentnn.stores.mlflow.calls import mlflow_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.records import ModelVersion
    from agentnn.sdk.nn_models import ModelManager
    from agentnn.training.quickstart import Candidate, Progress

EXPERIMENT = "quickstart"
MODEL = "quickstart"


@dataclass(frozen=True, slots=True)
class QuickstartResult:
    """What a quickstart has left in the store.

    Attributes:
        earlier_runs: How many runs the experiment held before.
        networks: Final metrics of each network, by run name.
        baseline: Final metrics of buy-and-hold on the same days.
        champion: The run name of the network that was registered.
        version: The model version that was made, with the alias ``champion``.
    """

    earlier_runs: int
    networks: dict[str, dict[str, float]]
    baseline: dict[str, float]
    champion: str
    version: ModelVersion

    @property
    def beaten_by_baseline(self) -> list[str]:
        """The networks whose Sharpe ratio does not exceed that of buy-and-hold."""
        bar = self.baseline["sharpe_ratio"]
        return [name for name, metrics in self.networks.items() if metrics.get("sharpe_ratio", bar) <= bar]


def run_quickstart(
    manager: ModelManager,
    on_progress: Callable[[Progress], None] | None = None,
    on_recorded: Callable[[Candidate], None] | None = None,
) -> QuickstartResult:
    """Train small networks on real prices, record each as soon as it is done, and register the one that validated best.

    Args:
        manager: Names the store.
        on_progress: Called after every epoch.
        on_recorded: Called after every run that was recorded.

    Raises:
        MissingDependencyError: torch is not installed.
        ConflictError: The experiment ``quickstart`` is deleted.
    """
    require("torch", extra="train")
    from agentnn.training.quickstart import buy_and_hold, choose_champion, train_candidates

    earlier = _count_runs(manager)
    run_ids: dict[str, str] = {}

    def record(candidate: Candidate) -> Candidate:
        with tempfile.TemporaryDirectory() as scratch:
            artifacts = {} if candidate.network is None else _saved(manager, candidate, Path(scratch))
            run_ids[candidate.name] = _record(manager, candidate, artifacts)
        if on_recorded is not None:
            on_recorded(candidate)
        return candidate

    baseline = record(buy_and_hold())
    candidates = [record(candidate) for candidate in train_candidates(on_progress)]
    champion = choose_champion(candidates)
    version = manager.register_model(MODEL, run_ids[champion.name], alias="champion")
    return QuickstartResult(
        earlier_runs=earlier,
        networks={one.name: dict(one.metrics) for one in candidates},
        baseline=dict(baseline.metrics),
        champion=champion.name,
        version=version,
    )


def _count_runs(manager: ModelManager) -> int:
    try:
        return sum(manager.count_runs(EXPERIMENT, view="all").values())
    except (NotFoundError, StoreUnavailable, NotAStoreError):
        return 0  # there is no such store or experiment yet


def _saved(manager: ModelManager, candidate: Candidate, scratch: Path) -> dict[str, Path]:
    from agentnn.training.quickstart import save_candidate_model

    folder = scratch / candidate.name
    with mlflow_call(manager.settings, read=False):
        save_candidate_model(candidate, folder)
    return {"model": folder}


def _record(manager: ModelManager, candidate: Candidate, artifacts: dict[str, Path]) -> str:
    from agentnn.tracking.past_run import record_run

    return record_run(
        manager.settings,
        candidate.name,
        experiment=EXPERIMENT,
        params=candidate.params,
        metrics=candidate.metrics,
        tags={"agentnn.source": "quickstart", "agentnn.baseline": "true" if candidate.network is None else "false"},
        points=candidate.history,
        artifacts=artifacts,
        start_time=candidate.start_time,
        end_time=candidate.end_time,
    ).run_id
