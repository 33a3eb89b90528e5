"""What a request adds to a run of an MLflow database: params, values of metrics, tags."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentnn.errors import ConflictError, UsageError
from agentnn.records import RUN_NAME_TAG
from agentnn.stores.run_writer import LONGEST_PARAM, LONGEST_TAG
from agentnn.stores.sql.where import LARGEST

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from agentnn.records import Metric

_ADD_POINT = "INSERT OR IGNORE INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)"
_KEEP_LATEST = (
    "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp, "
    "step = excluded.step, is_nan = excluded.is_nan "
    "WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)"
)
_SET_TAG = (
    "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?) "
    "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value"
)


class Batch:
    """Adds to one run, inside a transaction."""

    def __init__(self, connection: sqlite3.Connection, run_id: str) -> None:
        self._connection = connection
        self._run_id = run_id

    def set_params(self, params: Mapping[str, str]) -> None:
        """Add params; one that is there with the same value is left as it is.

        Raises:
            ConflictError: One has another value already.
            UsageError: A value is longer than MLflow keeps.
        """
        _check_lengths("param", params, LONGEST_PARAM)
        there = {}
        if params:
            there = dict(self._connection.execute("SELECT key, value FROM params WHERE run_uuid = ?", (self._run_id,)))
        for key, value in params.items():
            if there.get(key, value) != value:
                raise ConflictError(
                    f"the param {key!r} of the run {self._run_id} is {there[key]!r} already, not {value!r}",
                    hint="a param can't change: log it under another name, or as a tag",
                )
        self._connection.executemany(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
            [(key, value, self._run_id) for key, value in params.items() if key not in there],
        )

    def add_points(self, points: Sequence[Metric]) -> None:
        """Add values of metrics; one that is there already is not there twice.

        A metric's latest value is that of the greatest (step, timestamp, value), as SQL holds it: with 0 for NaN.
        """
        rows = [_row(point, self._run_id) for point in points]
        self._connection.executemany(_ADD_POINT, rows)
        latest: dict[str, tuple[tuple[int, int, float], tuple[object, ...]]] = {}
        for row in rows:
            key, value, timestamp, step, _, _ = row
            rank = (step, timestamp, value)
            if key not in latest or rank > latest[key][0]:
                latest[key] = rank, row
        self._connection.executemany(_KEEP_LATEST, [row for _, row in latest.values()])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; MLflow keeps the run's name as a tag, too.

        Raises:
            UsageError: A value is longer than MLflow keeps.
        """
        _check_lengths("tag", tags, LONGEST_TAG)
        rows = [(key, value, self._run_id) for key, value in tags.items() if value or key != RUN_NAME_TAG]
        self._connection.executemany(_SET_TAG, rows)
        if tags.get(RUN_NAME_TAG):
            self._connection.execute("UPDATE runs SET name = ? WHERE run_uuid = ?", (tags[RUN_NAME_TAG], self._run_id))


def _row(point: Metric, run_id: str) -> tuple[str, float, int, int, bool, str]:
    value = point.value
    is_nan = math.isnan(value)
    if is_nan:
        value = 0.0
    elif math.isinf(value):
        value = math.copysign(LARGEST, value)
    return point.key, value, point.timestamp, point.step, is_nan, run_id


def _check_lengths(what: str, texts: Mapping[str, str], longest: int) -> None:
    for key, text in texts.items():
        if len(text) > longest:
            raise UsageError(
                f"the {what} {key!r} has {len(text)} characters; MLflow keeps {longest}", hint="log it as a file"
            )
