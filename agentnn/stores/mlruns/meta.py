"""``meta.yaml``: what MLflow keeps of an experiment, or of a run, beside its values.

MLflow's own files are lines of ``key: value`` with plain words, numbers and texts in single quotes. These are read by
regular expressions, many times as fast as by a YAML parser; whatever else there may be is left to that.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from agentnn.errors import CorruptDataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

META = "meta.yaml"
STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_NUMBERS = {name: number for number, name in STATUSES.items()}

_PLAIN = r"[A-Za-z/](?:[\w/.,@+=()&%$!*;-]++|:(?=[^ \n])|[ ](?=[^ #\n]))*+"
_QUOTED = r"'(?:[^'\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ud800-\udfff]++|'')*+'"
_HEX = r"(?!0b)(?=[0-9]*[a-f])[0-9a-f]{32}"
_LINE = re.compile(
    rf"(?P<key>[A-Za-z_][\w.]*): (?:(?P<number>-?(?:0|[1-9][0-9]*))|(?P<null>null)|(?P<list>\[\])|"
    rf"(?P<quoted>{_QUOTED})|(?P<plain>{_PLAIN})|(?P<hex>{_HEX}))\n"
)
_TAGS = re.compile(rf"tags:(?: {{}}|(?P<lines>(?:\n  [A-Za-z_][\w.]*: (?:{_QUOTED}|{_PLAIN}))+))\n")
_TEXT, _NUMBER = rf"{_QUOTED}|{_PLAIN}", "0|[1-9][0-9]{0,18}"
_RUN = re.compile(
    rf"artifact_uri: (?P<artifact_uri>{_TEXT})\n"
    rf"(?:deleted_time: (?:null|{_NUMBER})\n)?"
    rf"end_time: (?:null|(?P<end_time>{_NUMBER}))\n"
    "entry_point_name: ''\n"
    "experiment_id: '(?P<experiment_id>[0-9]+)'\n"
    "lifecycle_stage: (?P<lifecycle_stage>active|deleted)\n"
    rf"run_id: (?P<run_id>{_HEX}|{_TEXT})\n"
    rf"run_name: (?P<run_name>{_TEXT})\n"
    "source_name: ''\nsource_type: 4\nsource_version: ''\n"
    rf"start_time: (?P<start_time>{_NUMBER})\n"
    "status: (?P<status>[1-5])\n"
    r"tags: \[\]\n"
    rf"user_id: (?P<user_id>{_TEXT})\n"
)
"""A run as MLflow writes it: nearly all that are read."""

_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
"""Words that YAML does not take for texts, in any case."""

_LONGER_THAN_WORDS = 6

_OF_A_RUN = frozenset({"experiment_id", "run_id", "start_time", "user_id"})
_TRIES, _PAUSE_S = 3, 0.1
"""MLflow empties the file before it writes it."""


def read_meta(folder: Path) -> dict[str, Any]:
    """What the folder's ``meta.yaml`` says.

    Raises:
        CorruptDataError: It is empty or no mapping, and stays so.
        OSError: It can't be read.
    """
    for left in reversed(range(_TRIES)):
        found = parse((folder / META).read_bytes())
        if found:
            return found
        if left:
            time.sleep(_PAUSE_S)
    raise CorruptDataError(
        f"{folder / META} is empty or damaged: whoever wrote it was killed", hint="restore it from a backup"
    )


def parse(data: bytes) -> dict[str, Any] | None:
    """The content of a ``meta.yaml``; ``None`` when it is no mapping."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    found = _parse_run(text) or _parse_lines(text)
    return _parse_yaml(text) if found is None else found


def is_run_meta(meta: Mapping[str, Any] | None) -> bool:
    """Whether a ``meta.yaml`` says what MLflow needs to know of a run; one that was cut lacks the end."""
    return meta is not None and meta.keys() >= _OF_A_RUN


def run_meta(
    run_id: str, experiment_id: str, name: str, artifact_uri: str, user: str, start_time: int
) -> dict[str, Any]:
    """The content for a run that begins."""
    return {
        "run_id": run_id,
        "run_name": name,
        "experiment_id": experiment_id,
        "artifact_uri": artifact_uri,
        "user_id": user,
        "status": _NUMBERS["RUNNING"],
        "start_time": start_time,
        "end_time": None,
        "lifecycle_stage": "active",
        "tags": [],
        "source_type": 4,
        "source_name": "",
        "entry_point_name": "",
        "source_version": "",
    }


def changed_run(meta: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """The content for a run that changes: as MLflow, without what a run of today does not have.

    Args:
        meta: What is there.
        **changes: Of it, by its keys; a status by its name.
    """
    begun = run_meta(
        meta["run_id"],
        str(meta["experiment_id"]),
        meta.get("run_name") or "",
        meta.get("artifact_uri") or "",
        meta["user_id"],
        meta["start_time"],
    )
    kept = {key: meta[key] for key in ("status", "end_time", "lifecycle_stage") if key in meta}
    if "status" in changes:
        changes["status"] = _NUMBERS[changes["status"]]
    return {**begun, **kept, "end_time": kept.get("end_time") or None, **changes}


def experiment_meta(experiment_id: str, name: str, location: str, now: int) -> dict[str, Any]:
    """The content for an experiment that is made."""
    return {
        "experiment_id": experiment_id,
        "name": name,
        "artifact_location": location,
        "lifecycle_stage": "active",
        "creation_time": now,
        "last_update_time": now,
        "effective_trace_archival_retention": None,
        "trace_location": None,
        "workspace": "default",
    }


def as_yaml(meta: Mapping[str, Any]) -> bytes:
    """The text of a ``meta.yaml``, as MLflow writes it."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(dict(meta), default_flow_style=False, allow_unicode=True, sort_keys=True, Dumper=dumper)
    return str(text).encode("utf-8")


def _parse_run(text: str) -> dict[str, Any] | None:
    run = _RUN.fullmatch(text)
    if run is None:
        return None
    found: dict[str, Any] = run.groupdict()
    for key in ("artifact_uri", "run_id", "run_name", "user_id"):
        value = found[key]
        if value[0] == "'":
            found[key] = value[1:-1].replace("''", "'")
        elif len(value) < _LONGER_THAN_WORDS and value.lower() in _WORDS:
            return None
    found["status"], found["start_time"] = int(found["status"]), int(found["start_time"])
    if found["end_time"] is not None:
        found["end_time"] = int(found["end_time"])
    return found


def _parse_lines(text: str) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    end = 0
    while end < len(text):
        line = _LINE.match(text, end)
        if line is None:
            tags = _TAGS.match(text, end)
            inside = None if tags is None else _parse_tags(tags["lines"] or "")
            if tags is None or inside is None:
                return None
            found["tags"], end = inside, tags.end()
            continue
        end = line.end()
        kind, value = line.lastgroup, line[line.lastindex or 0]
        if line[1].lower() in _WORDS or (kind == "plain" and value.lower() in _WORDS):
            return None
        if kind == "plain":
            found[line[1]] = value
        elif kind == "number":
            found[line[1]] = int(value)
        elif kind == "quoted":
            found[line[1]] = value[1:-1].replace("''", "'")
        else:
            found[line[1]] = None if kind == "null" else [] if kind == "list" else value
    return found or None


def _parse_tags(lines: str) -> dict[str, Any] | None:
    return _parse_lines(lines.replace("\n  ", "\n")[1:] + "\n") if lines else {}


def _parse_yaml(text: str) -> dict[str, Any] | None:
    import yaml

    try:
        found = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
