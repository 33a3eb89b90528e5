"""What is kept of a configuration: where it came from, what it was, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from agentnn.records import iso_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HASH_TAG = "agentnn.config.hash"
SOURCE_TAG = "agentnn.config.source"
OVERRIDES_TAG = "agentnn.config.overrides"
ARTIFACT = "config.yaml"
"""Where a run keeps its configuration."""

_GIT_TIMEOUT_S = 10.0
_FIELDS = 4


@dataclass(frozen=True, slots=True)
class ConfigRecord:
    """A resolved configuration and its origin, as a run may keep it: without secrets.

    Attributes:
        values: Every section with its defaults; a secret is ``${env:NAME}`` where it came from the environment,
            otherwise ``***``.
        source: The file as seen from the root of its git repository, or its absolute path; ``dict`` where it is none.
        files: All files that were read, the first one being the one that was asked for.
        overrides: The overrides as they were given.
        environment: By dotted key, the environment variables that a value came from; never what they held.
    """

    values: Mapping[str, Any]
    source: str = "dict"
    files: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    environment: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """SHA-256 of the values as canonical JSON: the same values have the same one, wherever they came from."""
        text = json.dumps(self.values, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def tags(self) -> dict[str, str]:
        """What a run is found by, later."""
        tags = {HASH_TAG: self.hash, SOURCE_TAG: self.source}
        if self.overrides:
            tags[OVERRIDES_TAG] = json.dumps(self.overrides, ensure_ascii=False)
        return tags

    def log_to(self, run: RunLog) -> None:
        """Keep the values as params and as ``config.yaml``, and hash, source and overrides as tags."""
        run.log_params(self.values)
        run.set_tags(self.tags)
        run.log_text(self.to_yaml(), ARTIFACT)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "config": dict(self.values),
            "hash": self.hash,
            "source": self.source,
            "files": list(self.files),
            "overrides": list(self.overrides),
            "environment": {key: list(names) for key, names in self.environment.items()},
        }

    def to_yaml(self) -> str:
        """The values as a file that gives the same configuration again."""
        from agentnn.config.yaml_text import to_yaml

        return to_yaml(dict(self.values))


class RunLog(Protocol):
    """What a record needs of a run; :class:`~agentnn.tracking.active_run.ActiveRun` is one."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params, nested ones by dotted key."""

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags."""

    def log_text(self, text: str, artifact_file: str) -> None:
        """Log a text as a file."""


class Difference(NamedTuple):
    """A key that two configurations don't have the same value of."""

    key: str
    left: Any
    right: Any
    change: Literal["added", "removed", "changed"]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return self._asdict()


class ConfigEvent(NamedTuple):
    """One entry of a configuration's history: a commit that changed its file, or a run that used it.

    Attributes:
        kind: ``commit`` or ``run``.
        id: The commit's hash or the run's id.
        time: Milliseconds since the epoch.
        name: The commit's subject or the run's name.
        author: Who committed or ran it.
        config_hash: Of what the run used; ``None`` for a commit.
        overrides: Of the run.
    """

    kind: Literal["commit", "run"]
    id: str
    time: int | None
    name: str
    author: str | None = None
    config_hash: str | None = None
    overrides: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**self._asdict(), "time": iso_time(self.time), "overrides": list(self.overrides)}


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted key; an empty mapping is a value."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[Difference]:
    """How values by dotted key differ, sorted by key; ``1`` and ``1.0`` are the same, ``1`` and ``true`` are not."""
    found = []
    for key in sorted(left.keys() | right.keys()):
        if key not in left:
            found.append(Difference(key, None, right[key], "added"))
        elif key not in right:
            found.append(Difference(key, left[key], None, "removed"))
        elif _meaning(left[key]) != _meaning(right[key]):
            found.append(Difference(key, left[key], right[key], "changed"))
    return found


def _meaning(value: Any) -> Any:
    if isinstance(value, list):
        return [_meaning(one) for one in value]
    if isinstance(value, dict):
        return {key: _meaning(one) for key, one in value.items()}
    return isinstance(value, bool), value


def name_of_source(path: Path) -> str:
    """A file as its history knows it: its path in its git repository, or else its absolute path."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - a link is not followed, its name is what was asked for
    for folder in absolute.parents:
        if (folder / ".git").exists():
            return absolute.relative_to(folder).as_posix()
    return str(absolute)


def commits_of(path: Path) -> list[ConfigEvent]:
    """The commits that changed a file, the newest first; none where it is in no repository, or git is not there."""
    place = Path(os.path.abspath(path))  # noqa: PTH100 - as above
    command = ["git", "-c", "log.showSignature=false", "--no-pager", "log", "--follow", "--no-color", "--no-ext-diff"]
    layout = "%H%x1f%ct%x1f%an%x1f%s%x1e"
    try:
        done = subprocess.run(
            [*command, f"--format={layout}", "--", place.name],
            cwd=place.parent,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    entries = (one.strip("\n").split("\x1f") for one in done.stdout.decode(errors="replace").split("\x1e"))
    return [
        ConfigEvent("commit", one[0], int(one[1]) * 1000, one[3], author=one[2])
        for one in entries
        if len(one) == _FIELDS and one[1].isdigit()
    ]
