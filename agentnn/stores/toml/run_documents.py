"""What a run's documents mean: ``config.toml`` and ``metrics.toml`` as a :class:`~agentnn.records.Run`, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.stores.toml.layout import META, WANDB
from agentnn.values.logged import flatten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.records import DatasetInput


class RunFacts(NamedTuple):
    """What the two documents of a run say, in MLflow's terms; times in milliseconds since the epoch.

    A run that does not say its status counts as FINISHED: whoever wrote its files by hand, or with another tool, has
    nothing else to say. One that does not say when it began began when ``config.toml`` was written.
    """

    name: str
    status: str
    lifecycle_stage: str
    start_time: int | None
    end_time: int | None
    user: str | None
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    datasets: tuple[DatasetInput, ...]


def facts_of(run_id: str, config: Mapping[str, Any], metrics: Mapping[str, Any], written_ms: int) -> RunFacts:
    """What a run's documents say.

    ``_meta`` holds ``name``, ``status``, ``lifecycle_stage`` (when deleted), ``created_at``, ``ended_at``, ``user``,
    ``git_commit`` (the tag ``mlflow.source.git.commit``), ``parent_run_id`` (the tag ``mlflow.parentRunId``), ``tags``
    and ``datasets``. Params are the config's leaves as text, their keys joined with dots; metrics the numbers among the
    leaves of the metrics; every other leaf of those is the tag ``metrics.NAME``.

    Args:
        run_id: The run's id.
        config: The whole of ``config.toml``.
        metrics: The whole of ``metrics.toml``.
        written_ms: When ``config.toml`` was written.
    """
    own = {key: value for key, value in config.items() if key not in (META, WANDB)}
    meta = config.get(META, {})
    params = flatten(own)
    return RunFacts(
        meta.get("name", run_id), meta.get("status", "FINISHED"), "active", written_ms, None, None,
        {key: float(value) for key, value in metrics.items()}, params, {}, (),
    )  # fmt: skip
