"""Writing runs out of a store, run by run and metric by metric; nothing is seen at its place before it is complete."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, ConflictError, NotFoundError, StoreUnavailable
from agentnn.stores.artifacts.folder import safe_path
from agentnn.stores.run_writer import dataset_inputs
from agentnn.transfer import archives
from agentnn.transfer.identity import (
    origin_of,
    original_fields,
    original_id,
    original_names,
    original_tags,
    store_words,
)
from agentnn.transfer.layout import (
    ARTIFACTS,
    MANIFEST,
    METRICS,
    RUN,
    FileEntry,
    Manifest,
    RunRecord,
    metric_line,
    ordered,
    run_folder,
)
from agentnn.transfer.planning import check_ids, chosen_runs, in_order, with_children

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from agentnn.query.runs import RunQuery
    from agentnn.records import Run
    from agentnn.settings import Settings
    from agentnn.stores.base import TrackingStore
    from agentnn.transfer.planning import Planned


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run that was exported.

    Attributes:
        run_id: Its id in the export: the one that it had first.
        name, experiment: Their names.
        folder: Its folder in the export.
        points: The values of metrics.
        files: How many artifacts.
        size: Their bytes.
    """

    run_id: str
    name: str
    experiment: str
    folder: str
    points: int
    files: int
    size: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "experiment": self.experiment,
            "folder": self.folder,
            "points": self.points,
            "files": self.files,
            "size": self.size,
        }


def export(
    store: TrackingStore,
    settings: Settings,
    target: Path,
    scope: RunQuery,
    named: Sequence[Run] = (),
    *,
    children: bool = True,
) -> list[ExportedRun]:
    """Write runs as a folder, or as an archive when the target's name ends so.

    Args:
        store: Where the runs are.
        settings: Name the store.
        target: The folder or file, which must not be there yet.
        scope: Which runs, when none are named; the experiments where nested runs are looked for.
        named: These runs.
        children: Whether runs that are nested in others come along.

    Raises:
        UsageError: The target's name is that of an archive of another kind.
        ConflictError: The target is there already, or a run is imported only in part.
        NotFoundError: There is no run to export.
        UnsafeError: The files of a run are where none may be read.
        StoreUnavailable: The store can't be read, or the target not be written; nothing is left there.
    """
    kind = archives.kind_of(target)
    _check_target(target, kind)
    planned = in_order(with_children(store, scope, named) if children else chosen_runs(store, scope, named))
    if not planned:
        raise NotFoundError("there is no run to export", hint="agentnn run list --view all")
    check_ids(planned)
    with _staged(target) as folder:
        exporter = _Exporter(store, settings, folder)
        exported = [exporter.write(one) for one in planned]
        exporter.write_manifest([one.original for one in planned])
        if kind is None:
            folder.replace(target)
        else:
            packed = folder.with_name(f"{folder.name}.packed")
            try:
                archives.pack(folder, packed, kind)
                packed.replace(target)
            finally:
                packed.unlink(missing_ok=True)
    return exported


class _Exporter:
    """Writes runs into a folder, and remembers which files it has written."""

    def __init__(self, store: TrackingStore, settings: Settings, folder: Path) -> None:
        self._store = store
        self._settings = settings
        self._folder = folder
        self._written: list[FileEntry] = []
        self._parents: dict[str, str] = {}
        self._uri = store_words(settings)

    def write(self, planned: Planned) -> ExportedRun:
        """Write one run."""
        found = self._store.find_runs([planned.run_id])
        if not found:
            raise NotFoundError(f"the run {planned.run_id} is gone meanwhile", hint="export again")
        run = found[0]
        folder, points = run_folder(planned.original), [0]
        record = self._record(run)
        self._write(f"{folder}/{RUN}", [record.to_json().encode()])
        self._write(f"{folder}/{METRICS}", self._metrics(run, points))
        before = len(self._written)
        self._write_artifacts(run, f"{folder}/{ARTIFACTS}")
        files = self._written[before:]
        size = sum(one.size for one in files)
        return ExportedRun(record.run_id, record.name, record.experiment["name"], folder, points[0], len(files), size)

    def write_manifest(self, runs: Sequence[str]) -> None:
        """Write what was written, and in which order the runs are."""
        text = Manifest(version("agentnn"), tuple(runs), tuple(sorted(self._written))).to_json()
        (self._folder / MANIFEST).write_text(text, encoding="utf-8")

    def _record(self, run: Run) -> RunRecord:
        experiment = self._store.find_experiment(experiment_id=run.experiment_id)
        origin, named = origin_of(run, self._uri), original_names(run.tags)
        fields = {"name": run.name, "start_time": run.start_time, **original_fields(run)}
        return RunRecord(
            run_id=origin.run_id,
            name=fields["name"],
            status=run.status,
            lifecycle_stage=run.lifecycle_stage,
            start_time=fields["start_time"],
            end_time=run.end_time,
            user=run.user,
            parent_run_id=self._original_parent(run.parent_run_id),
            experiment={
                "name": run.experiment,
                "tags": dict(sorted(experiment.tags.items())) if experiment is not None else {},
            },
            origin={"store": origin.store, "experiment_id": origin.experiment_id},
            params=dict(sorted((named(key), text) for key, text in run.params.items())),
            tags=original_tags(run.tags),
            datasets=self._datasets(run),
        )

    def _original_parent(self, parent: str | None) -> str | None:
        if parent is None:
            return None
        if parent not in self._parents:
            found = self._store.find_runs([parent])
            self._parents[parent] = original_id(found[0]) if found else parent
        return self._parents[parent]

    def _datasets(self, run: Run) -> list[dict[str, Any]]:
        if not run.datasets:
            return []
        return dataset_inputs(self._settings, run.run_id)

    def _metrics(self, run: Run, count: list[int]) -> Iterator[bytes]:
        named = original_names(run.tags)
        names = {key: named(key) for key in run.metrics}
        if names.keys() == set(names.values()):  # else they come in another order than that of their names
            histories = ((one.key, one.points) for one in self._store.metric_histories([run]))
        else:
            histories = (
                (name, self._store.metric_history(run.run_id, key))
                for name, key in sorted((name, key) for key, name in names.items())
            )
        for name, points in histories:
            for point in ordered(points):
                count[0] += 1
                yield f"{metric_line(point._replace(key=name))}\n".encode()

    def _write_artifacts(self, run: Run, folder: str) -> None:
        files = self._store.run_files(run)
        for one in sorted(files.find(()), key=lambda one: one.path):
            safe_path(one.path)
            self._write(f"{folder}/{one.path}", files.read_listed(one))

    def _write(self, path: str, chunks: Iterable[bytes]) -> None:
        place, digest, size = self._folder / path, hashlib.sha256(), 0
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        self._written.append(FileEntry(path, size, digest.hexdigest()))


def _check_target(target: Path, kind: str | None) -> None:
    if not target.absolute().parent.is_dir():
        raise NotFoundError(f"there is no folder {target.absolute().parent}", hint="make it first")
    empty = kind is None and target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    if (target.exists() or target.is_symlink()) and not empty:
        raise ConflictError(f"{target} is there already", hint="choose another name, or remove it")


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A folder beside the target, which is gone afterwards unless it was moved."""
    folder = target.absolute().with_name(f".{target.name}.agentnn-{secrets.token_hex(4)}")
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        if isinstance(error, AgentNNError):
            raise
        raise StoreUnavailable(
            f"{target} can't be written: {error.strerror or error}", hint="check the folder, and the room there"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
