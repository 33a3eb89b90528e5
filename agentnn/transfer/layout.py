"""The format of an export: which files there are, and what stands in them. docs/export-format.md describes it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import CorruptDataError, UnsafeError
from agentnn.records import Metric
from agentnn.stores.artifacts.folder import safe_path

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT, VERSION = "agentnn-export", 1
MANIFEST = "manifest.json"
RUNS, RUN, METRICS, ARTIFACTS = "runs", "run.json", "metrics.jsonl", "artifacts"

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
_STAGES = ("active", "deleted")
_INT64 = 2**63


class FileEntry(NamedTuple):
    """A file of an export: its path in it, its bytes, and their digest."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What ``run.json`` holds: a run as it was where it was made, whichever stores it has been through since.

    Attributes:
        run_id: Its first id.
        name, status, lifecycle_stage, user: As MLflow keeps them.
        start_time, end_time: Milliseconds since the epoch.
        parent_run_id: The first id of the run that it is nested in.
        experiment: Its experiment: ``name`` and ``tags``.
        origin: Where it was made: ``store`` (a tracking URI without passwords) and ``experiment_id``.
        params, tags: By name; without the tags that repeat what is said above.
        datasets: Its inputs: ``name``, ``digest``, ``source_type``, ``source``, ``schema``, ``profile``, ``tags``.
    """

    run_id: str
    name: str
    status: str
    lifecycle_stage: str
    start_time: int | None
    end_time: int | None
    user: str | None
    parent_run_id: str | None
    experiment: dict[str, Any]
    origin: dict[str, str]
    params: dict[str, str]
    tags: dict[str, str]
    datasets: list[dict[str, Any]]

    def to_json(self) -> str:
        """The text of ``run.json``: the same for the same run, whatever the order in which a store lists it."""
        return _json(asdict(self))

    @classmethod
    def from_json(cls, text: bytes, where: str) -> RunRecord:
        """Read ``run.json``, and believe nothing in it.

        Raises:
            CorruptDataError: It does not describe a run.
        """
        found = parsed(text, where)
        names = [one.name for one in fields(cls)]
        if not isinstance(found, dict) or sorted(found) != sorted(names):
            raise _wrong(where, f"it has other fields than {', '.join(names)}")
        record = cls(**found)
        record._check(where)
        return record

    def _check(self, where: str) -> None:
        texts = (self.run_id, self.name, self.experiment.get("name") if isinstance(self.experiment, dict) else None)
        if not all(map(_is_text, texts)):
            raise _wrong(where, "an id or a name is no text")
        if self.status not in _STATUSES or self.lifecycle_stage not in _STAGES:
            raise _wrong(where, f"the status is {self.status!r} {self.lifecycle_stage!r}")
        if not all(one is None or _is_int64(one) for one in (self.start_time, self.end_time)):
            raise _wrong(where, "a time is no number of milliseconds")
        if not all(one is None or _is_text(one) for one in (self.user, self.parent_run_id)):
            raise _wrong(where, "the user or the parent is no text")
        for texts_by_name in (self.params, self.tags, self.experiment.get("tags"), self.origin):
            if not _are_texts(texts_by_name):
                raise _wrong(where, "params, tags or the origin are not texts by name")
        if not isinstance(self.datasets, list) or not all(_is_dataset(one) for one in self.datasets):
            raise _wrong(where, "a data set is not as it should be")


class Manifest(NamedTuple):
    """What ``manifest.json`` holds.

    Attributes:
        agentnn: The version that wrote it.
        runs: The ids of the runs in their order: a parent before its children.
        files: Every other file.
    """

    agentnn: str
    runs: tuple[str, ...]
    files: tuple[FileEntry, ...]

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        head = {"format": FORMAT, "version": VERSION, "agentnn": self.agentnn, "runs": list(self.runs)}
        return _json({**head, "files": [one._asdict() for one in self.files]})

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Manifest:
        """Read ``manifest.json``, and believe nothing in it.

        Raises:
            CorruptDataError: It is no manifest, or one of a version that is not known here.
            UnsafeError: It names a file that is not inside the export.
        """
        found = parsed(text, where)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise _wrong(where, "it is no manifest of an export")
        if found.get("version") != VERSION:
            raise CorruptDataError(
                f"{where} has the format version {found.get('version')!r}; this agentnn knows {VERSION}",
                hint="pip install --upgrade agentnn",
            )
        runs, files = found.get("runs"), found.get("files")
        if not isinstance(runs, list) or not all(isinstance(one, str) for one in runs) or not isinstance(files, list):
            raise _wrong(where, "its lists are not as they should be")
        if len({*runs}) != len(runs):
            raise _wrong(where, "it names a run twice")
        for run_id in runs:
            run_folder(run_id)
        return cls(str(found.get("agentnn")), tuple(runs), tuple(_file_entry(one, where) for one in files))


def run_folder(run_id: str) -> str:
    """The folder of a run in an export.

    Raises:
        UnsafeError: The id is no name for a folder.
    """
    if len(safe_path(run_id).parts) != 1 or run_id.startswith("."):
        raise UnsafeError(f"the run id {run_id!r} is no name for a folder", hint="nothing was written")
    return f"{RUNS}/{run_id}"


def metric_line(point: Metric) -> str:
    """A line of ``metrics.jsonl``; what JSON has no number for is a text."""
    return json.dumps(
        {"key": point.key, "step": point.step, "timestamp": point.timestamp, "value": _json_number(point.value)},
        ensure_ascii=False,
    )


def read_metric(line: bytes, where: str) -> Metric:
    """A line of ``metrics.jsonl``.

    Raises:
        CorruptDataError: It is no point of a metric.
    """
    found = parsed(line, where)
    if not isinstance(found, dict) or sorted(found) != ["key", "step", "timestamp", "value"]:
        raise _wrong(where, "a line is no point of a metric")
    key, step, timestamp, value = (found[name] for name in ("key", "step", "timestamp", "value"))
    number = _WORDS.get(value) if isinstance(value, str) else value
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not (_is_text(key) and _is_int64(step) and _is_int64(timestamp) and is_number):
        raise _wrong(where, "a line is no point of a metric")
    try:
        return Metric(key, float(number), step, timestamp)  # type: ignore[arg-type]
    except OverflowError:
        raise _wrong(where, "a value is too large for a metric") from None


def ordered(points: Iterable[Metric]) -> list[Metric]:
    """Points as every store gives them: by step, time and value, each once, and zero without a sign."""
    unique = {(one.step, one.timestamp, one.value != one.value, _plain(one.value)): one for one in points}
    return [one._replace(value=one.value + 0.0) for _, one in sorted(unique.items())]


def parsed(text: bytes, where: str) -> Any:
    """JSON by the letter.

    Raises:
        CorruptDataError: It is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _wrong(where, f"it is no JSON: {error}") from None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _json_number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _plain(value: float) -> float:
    return 0.0 if value != value else value + 0.0


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _file_entry(found: Any, where: str) -> FileEntry:
    if not isinstance(found, dict) or sorted(found) != ["path", "sha256", "size"]:
        raise _wrong(where, "an entry is no file")
    path, size, digest = found["path"], found["size"], found["sha256"]
    if not (isinstance(path, str) and _is_int64(size) and size >= 0 and isinstance(digest, str) and len(digest) == 64):
        raise _wrong(where, "an entry is no file")
    safe_path(path)
    return FileEntry(path, size, digest)


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(one) for pair in value.items() for one in pair)


def _is_dataset(value: Any) -> bool:
    texts = ("name", "digest", "source_type", "source", "schema", "profile")
    if not isinstance(value, dict) or sorted(value) != sorted((*texts, "tags")):
        return False
    return all(value[one] is None or _is_text(value[one]) for one in texts) and _are_texts(value["tags"])


def _wrong(where: str, why: str) -> CorruptDataError:
    return CorruptDataError(f"{where} is damaged: {why}", hint="export the runs again; nothing was written")
