"""Making the runs of an export in a store: each once, and whole even when it took two attempts."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from agentnn.errors import AgentNNWarning, ConflictError, NotFoundError
from agentnn.records import PARENT_TAG
from agentnn.stores.mlflow.artifacts import check_names
from agentnn.stores.run_writer import FIRST_ID_TAG, UNFINISHED_TAG, open_importer
from agentnn.transfer.identity import ENCODED, KEYS, STORE_TAG, USER_TAG, imported_tags, store_words
from agentnn.transfer.stored_keys import StoredKeys
from agentnn.transfer.verifying import opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from agentnn.records import Metric
    from agentnn.settings import Settings
    from agentnn.stores.run_writer import RunImporter, StoredRun
    from agentnn.transfer.layout import RunRecord
    from agentnn.transfer.verifying import Export

_MOST_CHARACTERS = 200_000
"""Of one request: MLflow takes a million bytes, and a character may become four, or six of JSON."""

_LARGEST = 1.7976931348623157e308
_UNIQUE = re.compile("[0-9a-f]{32}")
"""Ids that are drawn by lot: no two runs have the same."""


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run of an export, and what became of it.

    Attributes:
        run_id: Its id in this store.
        name, experiment: Their names in this store.
        imported_run_id: The id that it had first.
        result: ``imported``, ``continued`` when an earlier import was interrupted, ``there`` when it was left alone.
    """

    run_id: str
    name: str
    experiment: str
    imported_run_id: str
    result: Literal["imported", "continued", "there"]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "experiment": self.experiment,
            "imported_run_id": self.imported_run_id,
            "result": self.result,
        }


def import_export(settings: Settings, source: Path, *, experiment: str | None = None) -> list[ImportedRun]:
    """Make the runs of an export in the store that the settings name.

    Args:
        settings: Name the store.
        source: The folder or archive.
        experiment: Where all runs go; into experiments of the names that they had otherwise.

    Raises:
        NotFoundError, UsageError: There is no export.
        CorruptDataError, UnsafeError: It is damaged or unsafe; nothing was written.
        ConflictError: An experiment is deleted.
        StoreUnavailable: The store can't be written to; the next import goes on where this one ended.
    """
    with opened(source) as export:
        check_names((path for run_id in export.runs for path, _ in export.artifacts(run_id)), settings)
        return _Import(settings, export, experiment).run()


class _Import:
    """One import; knows under which ids the runs of the export are in the store."""

    def __init__(self, settings: Settings, export: Export, experiment: str | None) -> None:
        self._writer: RunImporter = open_importer(settings)
        self._own_store = store_words(settings)
        self._export = export
        self._experiment = experiment
        self._experiments: dict[str, str] = {}
        self._there: dict[str, StoredRun] = {
            run.tags[FIRST_ID_TAG]: run for run in self._writer.runs_with_tag(FIRST_ID_TAG)
        }
        self._ids: dict[str, str] = {first: run.run_id for first, run in self._there.items()}

    def run(self) -> list[ImportedRun]:
        """Make every run that is not there."""
        for run_id in self._export.runs:
            if not _UNIQUE.fullmatch(run_id):
                self._refuse_another(run_id)
        return [self._run(run_id) for run_id in self._export.runs]

    def _refuse_another(self, first_id: str) -> None:
        """Refuse a run whose id, given by a person, is that of another one here: it would be taken for that.

        Raises:
            ConflictError: They are neither of one store nor of one moment.
        """
        there, record = self._find(first_id), self._export.record(first_id)
        if there is None or there.start_time == record.start_time:
            return
        if there.tags.get(STORE_TAG, self._own_store) != record.origin.get("store"):
            raise ConflictError(
                f"there is another run {first_id!r} in this store: it is not of {record.origin.get('store')}",
                hint="give one of them another id, or leave it out; nothing was written",
            )

    def _find(self, first_id: str) -> StoredRun | None:
        return self._there.get(first_id) or self._writer.find_run(first_id)

    def _run(self, first_id: str) -> ImportedRun:
        there = self._find(first_id)
        if there is not None and UNFINISHED_TAG not in there.tags:
            self._ids[first_id] = there.run_id
            return ImportedRun(there.run_id, there.name, there.experiment, first_id, "there")
        record = self._export.record(first_id)
        name = self._experiment or record.experiment["name"]
        made = there or self._created(record, name)
        self._ids[first_id] = made.run_id
        self._fill(record, made, self._keys(record), is_new=there is None)
        result: Literal["imported", "continued"] = "imported" if there is None else "continued"
        return ImportedRun(made.run_id, made.name, made.experiment, first_id, result)

    def _created(self, record: RunRecord, experiment: str) -> StoredRun:
        tags = {FIRST_ID_TAG: record.run_id, UNFINISHED_TAG: "true", USER_TAG: record.user or ""}
        experiment_id = self._experiment_id(experiment, record.experiment["tags"])
        run_id = self._writer.create_run(experiment_id, record.name, record.start_time or 0, tags)
        made = self._writer.find_run(run_id)
        if made is None:
            raise NotFoundError(f"the run {run_id} is gone as soon as it was made", hint="import again")
        return made

    def _experiment_id(self, name: str, tags: Mapping[str, str]) -> str:
        if name not in self._experiments:
            if self._experiment is not None:
                self._experiments[name] = self._writer.ensure_experiment(name)
            else:
                self._experiments[name] = self._writer.experiment_named(name, tags)
        return self._experiments[name]

    def _keys(self, record: RunRecord) -> StoredKeys:
        """The names under which the store keeps the params, tags and metrics of a run."""
        if self._writer.limits.any_key:
            return StoredKeys(())
        metrics = {point.key for point in self._export.metrics(record.run_id)}
        return StoredKeys((*record.params, *record.tags, *metrics))

    def _fill(self, record: RunRecord, made: StoredRun, keys: StoredKeys, *, is_new: bool) -> None:
        limits = self._writer.limits
        for params in _batches(keys.of(_fitting(record, "param", record.params, limits.param)), limits.texts):
            self._writer.log_batch(made.run_id, params=params)
        for tags in _batches(_fitting(record, "tag", self._tags(record, made, keys), limits.tag), limits.texts):
            self._writer.log_batch(made.run_id, tags=tags)
        for points in _chunks(self._points(record, made, keys, is_new=is_new), limits.points):
            self._writer.log_batch(made.run_id, points)
        if record.datasets:
            self._writer.log_datasets(made.run_id, record.datasets)
        files = list(self._export.artifacts(record.run_id))
        if files:
            self._writer.put_files(made.run_id, files)
        if USER_TAG not in record.tags:
            self._writer.delete_tag(made.run_id, USER_TAG)
        self._writer.set_status(made.run_id, record.status, record.end_time)
        self._writer.delete_tag(made.run_id, UNFINISHED_TAG)
        if record.lifecycle_stage == "deleted":
            self._writer.delete_run(made.run_id)

    def _tags(self, record: RunRecord, made: StoredRun, keys: StoredKeys) -> dict[str, str]:
        changes: dict[str, Any] = {
            name: [was, stored]
            for name, was, stored in (
                ("name", record.name, made.name),
                ("start_time", record.start_time, made.start_time),
            )
            if was != stored
        }
        if keys.are_encoded:
            changes[KEYS] = ENCODED
        tags = imported_tags(record, changes, keys)
        if record.parent_run_id is not None:
            tags[PARENT_TAG] = self._new_id(record.parent_run_id)
        return tags

    def _new_id(self, first_id: str) -> str:
        """The id that a run has in this store; its first one when it is not here."""
        return self._ids.get(first_id, first_id)

    def _points(self, record: RunRecord, made: StoredRun, keys: StoredKeys, *, is_new: bool) -> Iterator[Metric]:
        """The values that the store does not have: its file store would keep a value twice."""
        for key, points in groupby(
            (
                point._replace(key=kept)
                for point in self._export.metrics(record.run_id)
                if (kept := keys.key(point.key))
            ),
            key=lambda point: point.key,
        ):
            there = Counter() if is_new else Counter(map(_comparable, self._writer.history(made.run_id, key)))
            for point in points:
                if there[_comparable(point)] > 0:
                    there[_comparable(point)] -= 1
                else:
                    yield point


def _fitting(record: RunRecord, what: str, texts: Mapping[str, str], longest: int | None) -> dict[str, str]:
    """Texts as a store can keep them; one that is longer, which none of MLflow's own is, is cut and said."""
    if longest is None:
        return dict(texts)
    for key, length in ((key, len(text)) for key, text in texts.items() if len(text) > longest):
        warnings.warn(
            f"the {what} {key!r} of the run {record.run_id} has {length} characters; the store keeps {longest}",
            AgentNNWarning,
            stacklevel=2,
        )
    return {key: text[:longest] for key, text in texts.items()}


def _batches(texts: Mapping[str, str], most: int) -> Iterator[dict[str, str]]:
    batch: dict[str, str] = {}
    size = 0
    for key, text in texts.items():
        if batch and (len(batch) == most or size + len(text) > _MOST_CHARACTERS):
            yield batch
            batch, size = {}, 0
        batch[key] = text
        size += len(key) + len(text)
    if batch:
        yield batch


def _chunks(points: Iterable[Metric], most: int) -> Iterator[list[Metric]]:
    chunk: list[Metric] = []
    for point in points:
        chunk.append(point)
        if len(chunk) == most:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _comparable(point: Metric) -> tuple[int, int, float | str]:
    """A point as it can be compared with what comes out of a store, where an infinity is the largest number."""
    value = point.value
    if math.isnan(value):
        return point.step, point.timestamp, "NaN"
    return point.step, point.timestamp, math.copysign(math.inf, value) if abs(value) >= _LARGEST else value
