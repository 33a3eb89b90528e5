"""What a run's documents mean: ``config.toml`` and ``metrics.toml`` as a :class:`~agentnn.records.Run`.

Whoever wrote the files, nothing in them stops a reader: what is of the wrong type says nothing. The way back is
:mod:`~agentnn.stores.toml.runs.run_meta`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.records import COMMIT_TAG, PARENT_TAG, RUN_NAME_TAG, DatasetInput, Metric
from agentnn.stores.toml.layout import META, WANDB
from agentnn.values.logged import param_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STATUSES = frozenset(("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"))

FIELD_OF_TAG = {
    RUN_NAME_TAG: "name",
    PARENT_TAG: "parent_run_id",
    COMMIT_TAG: "git_commit",
    "agentnn.process": "process",
}
"""Tags that are fields of ``_meta``."""

USER_TAG = "mlflow.user"
CONTEXT_TAG = "mlflow.data.context"
WANDB_TAG = "wandb."
METRICS_TAG = "metrics."

_SIMPLE = frozenset((float, int, str, bool))
_TO_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


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
    ``git_commit`` (the tag ``mlflow.source.git.commit``), ``parent_run_id`` (the tag ``mlflow.parentRunId``),
    ``process`` (the tag ``agentnn.process``), ``tags`` and ``datasets``; the leaves of ``_wandb`` are the tags
    ``wandb.NAME``. What ``tags`` says wins. Params are the config's leaves as text, their keys joined with dots;
    metrics the numbers among the leaves of the metrics, truth values as 1 and 0; every other leaf of those is the tag
    ``metrics.NAME``.

    Args:
        run_id: The run's id.
        config: The whole of ``config.toml``.
        metrics: The whole of ``metrics.toml``.
        written_ms: When ``config.toml`` was written.
    """
    meta = _table(config.get(META))
    numbers, others = numbers_among(metrics)
    tags = {f"{METRICS_TAG}{name}": text for name, text in others.items()}
    tags.update(_tags_of(meta, _table(config.get(WANDB))))
    status = meta.get("status")
    began = milliseconds_of(meta.get("created_at"))
    return RunFacts(
        name=tags.get(RUN_NAME_TAG) or run_id,
        status=status if isinstance(status, str) and status in STATUSES else "FINISHED",
        lifecycle_stage="deleted" if meta.get("lifecycle_stage") == "deleted" else "active",
        start_time=written_ms if began is None else began,
        end_time=milliseconds_of(meta.get("ended_at")),
        user=_text(meta.get("user")) or tags.get(USER_TAG),
        metrics=numbers,
        params=params_of(config),
        tags=tags,
        datasets=tuple(sorted(_datasets_of(meta.get("datasets")), key=lambda one: one[:2])),
    )


def params_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The leaves of a config as text, their keys joined with dots; what a run says of itself is none of them."""
    own = {key: value for key, value in config.items() if key != META and key != WANDB}
    return {name: _shown(value) for name, value in leaves(own).items()}


def numbers_among(metrics: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """The numbers among the leaves of the metrics, and all other leaves as text."""
    numbers: dict[str, float] = {}
    others: dict[str, str] = {}
    for name, value in leaves(metrics).items():
        if isinstance(value, float | int):
            numbers[name] = float_of(value)
        else:
            others[name] = _shown(value)
    return numbers, others


def one_point(metrics: Mapping[str, Any], written_ms: int, recorded: Iterable[str] = ()) -> list[Metric]:
    """The histories of the metrics that have none in ``history.jsonl``: one point each, at step 0.

    Args:
        metrics: The whole of ``metrics.toml``.
        written_ms: When it was written.
        recorded: The metrics that have a history.
    """
    known = set(recorded)
    return [Metric(key, value, 0, written_ms) for key, value in numbers_among(metrics)[0].items() if key not in known]


def leaves(table: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested tables by their keys, joined with dots; an empty table is a value.

    Of two that would be called the same, as in ``{"a": {"b": 1}, "a.b": 2}``, the second is called ``"a.b"``, with the
    quotes.
    """
    found: dict[str, Any] = {}
    _gather(table, "", found)
    return found


def float_of(value: float) -> float:
    """A number as a float; an integer that is too large for one as an infinity."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def milliseconds_of(value: Any) -> int | None:
    """A time as milliseconds since the epoch, a number as it is; ``None`` for what is neither.

    A time without a zone is one of UTC, and a date its midnight. Text counts if it is ISO 8601.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime):
        return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    if isinstance(value, date):
        return (datetime.combine(value, time(), tzinfo=UTC) - _EPOCH) // _MILLISECOND
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def _tags_of(meta: Mapping[str, Any], wandb: Mapping[str, Any]) -> dict[str, str]:
    fields = ((tag, _text(meta.get(field))) for tag, field in FIELD_OF_TAG.items())
    tags = {tag: text for tag, text in fields if text is not None}
    tags.update((f"{WANDB_TAG}{name}", _shown(value)) for name, value in leaves(wandb).items() if value is not None)
    tags.update((name, _shown(value)) for name, value in leaves(_table(meta.get("tags"))).items() if value is not None)
    return tags


def _datasets_of(given: Any) -> Iterator[DatasetInput]:
    for one in given if isinstance(given, list) else ():
        entry = _table(one)
        name = _text(entry.get("name"))
        context = _text(entry.get("context")) or _text(_table(entry.get("tags")).get(CONTEXT_TAG))
        if name is not None:
            yield DatasetInput(name, _text(entry.get("digest")) or "", context)


def _gather(table: Mapping[str, Any], prefix: str, found: dict[str, Any]) -> None:
    for key, value in table.items():
        name = prefix + key
        if type(value) is dict and value:
            _gather(value, f"{name}.", found)
            continue
        while name in found:
            name = f'"{name}"'
        found[name] = value


def _shown(value: Any) -> str:
    """What :func:`~agentnn.values.logged.param_text` says, sooner for what most values are."""
    kind = type(value)
    if kind is str:
        text: str = value
        return text
    if kind is float or kind is int or kind is bool:
        return str(value)
    if kind is list and _SIMPLE.issuperset(map(type, value)):
        with suppress(ValueError):  # it holds NaN or an infinity
            return _TO_JSON(value)
    return param_text(value)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
