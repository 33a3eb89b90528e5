"""Whole runs by their ids, out of an MLflow database."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from agentnn.errors import CorruptDataError
from agentnn.records import RUN_NAME_TAG, DatasetInput, Run
from agentnn.stores.sql.where import LARGEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.stores.sql.dialect import Database, Sql

_CHUNK = 1000


class WholeRuns:
    """Reads runs with their metrics, params, tags and data sets.

    Args:
        database: The tables.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.dialect
        self._rows = database.rows

    def find(self, run_ids: Sequence[str], experiments: Mapping[str, str]) -> list[Run]:
        """The runs with these ids, in this order; unknown ids are left out.

        Args:
            run_ids: The ids.
            experiments: The names of the experiments by their ids; runs of others are left out, too.
        """
        found: list[Run] = []
        for start in range(0, len(run_ids), _CHUNK):
            found += self._load(run_ids[start : start + _CHUNK], experiments)
        return found

    @cached_property
    def has_datasets(self) -> bool:
        """Whether the database has tables for data sets."""
        has = self._database.has
        return (
            has("inputs", "input_uuid", "source_id", "destination_type", "destination_id")
            and has("datasets", "dataset_uuid", "name", "digest")
            and has("input_tags", "input_uuid", "name", "value")
        )

    def _load(self, run_ids: Sequence[str], names: Mapping[str, str]) -> list[Run]:
        """Up to a chunk of runs by id, in the order of the ids."""
        among = self._dialect.one_of("t.run_uuid", run_ids)
        metrics: dict[str, dict[str, float]] = defaultdict(dict)
        for run_id, key, value, is_nan in self._rows(
            f"SELECT t.run_uuid, t.key, t.value, t.is_nan FROM latest_metrics t WHERE {among.text}", among.values
        ):
            # The common case is spelled out: this line runs for every metric of every run.
            ordinary = not is_nan and value.__class__ is float and -LARGEST < value < LARGEST
            metrics[run_id][key] = value if ordinary else metric_value(value, is_nan)
        params, tags = self._texts("params", among), self._texts("tags", among)
        datasets = self._datasets(run_ids)
        runs: dict[str, Run] = {}
        for run_id, name, experiment_id, status, stage, start, end, user, artifact_uri in self._rows(
            f"SELECT {self._run_columns} FROM runs t WHERE {among.text}",
            among.values,
        ):
            own_tags = tags.get(run_id, {})
            experiment = str(experiment_id)
            if experiment not in names:
                continue  # of another workspace
            runs[run_id] = Run(
                run_id,
                name or own_tags.get(RUN_NAME_TAG, ""),
                experiment,
                names[experiment],
                status or "",
                stage or "active",
                start,
                end,
                user or None,
                artifact_uri,
                metrics.get(run_id, {}),
                params.get(run_id, {}),
                own_tags,
                tuple(datasets.get(run_id, ())),
            )
        return [runs[run_id] for run_id in run_ids if run_id in runs]

    def _texts(self, table: str, among: Sql) -> dict[str, dict[str, str]]:
        texts: dict[str, dict[str, str]] = defaultdict(dict)
        sql = f"SELECT t.run_uuid, t.key, t.value FROM {table} t WHERE {among.text} AND t.value IS NOT NULL"
        for run_id, key, value in self._rows(sql, among.values):
            if value.__class__ is not str:
                raise CorruptDataError(f"the value of {key!r} in {table} is no text", hint="restore a backup")
            texts[run_id][key] = value
        return texts

    def _datasets(self, run_ids: Sequence[str]) -> dict[str, list[DatasetInput]]:
        if not self.has_datasets or not self._rows("SELECT 1 FROM inputs LIMIT 1"):
            return {}
        among = self._dialect.one_of("i.destination_id", run_ids)
        exact = self._dialect.exact
        datasets: dict[str, list[DatasetInput]] = {}
        for run_id, *values in self._rows(
            "SELECT i.destination_id, d.name, d.digest, t.value FROM inputs i "
            "JOIN datasets d ON d.dataset_uuid = i.source_id "
            "LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context' "
            f"WHERE i.destination_type = 'RUN' AND {among.text} ORDER BY {exact('d.name')}, {exact('d.digest')}",
            among.values,
        ):
            datasets.setdefault(run_id, []).append(DatasetInput(*values))
        return datasets

    @cached_property
    def _run_columns(self) -> str:
        integer, text = self._dialect.integer, self._dialect.text
        return ", ".join(
            [
                "t.run_uuid", text("t.name"), "t.experiment_id", text("t.status"), text("t.lifecycle_stage"),
                integer("t.start_time"), integer("t.end_time"), text("t.user_id"), text("t.artifact_uri"),
            ]
        )  # fmt: skip


def metric_value(value: object, is_nan: int) -> float:
    """A metric's value as it was logged; SQL has NaN beside a flag, and an infinity as the largest double."""
    if not isinstance(value, (float, int)):
        raise CorruptDataError(f"a metric's value is {value!r}, which is no number", hint="restore a backup")
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else float(value)
