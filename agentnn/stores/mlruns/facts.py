"""What single files of a run say, as far as questions ask: one fact a file, read when it is asked for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agentnn.errors import CorruptDataError
from agentnn.stores.mlruns.meta import META, STATUSES, is_run_meta
from agentnn.stores.mlruns.metric_values import aggregated_value, latest_value
from agentnn.stores.mlruns.reading import read_blocks, read_bytes, read_meta

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.query.selection import Aggregate


class Head(NamedTuple):
    """What ``meta.yaml`` says of a run."""

    experiment_id: str
    status: str
    stage: str
    start_time: int | None
    end_time: int | None
    name: str | None
    user: str | None
    artifact_uri: str | None


class Fact(NamedTuple):
    """Something that a file says.

    Attributes:
        name: What it is called in an index.
        read: Reads it from the file at a path.
        restored: Makes it of what JSON gives back for it.
    """

    name: str
    read: Callable[[str], Any]
    restored: Callable[[Any], Any] = lambda kept: kept


class Files(Protocol):
    """Answers with the facts of an experiment's runs."""

    def ask(self, run_id: str, file: str, fact: Fact, *, of_all: bool = True) -> Any:
        """What a file of a run says.

        Args:
            run_id: The run.
            file: The file.
            fact: What is asked.
            of_all: Whether it is asked of all runs.

        Raises:
            OSError: It is not there, or can't be read.
            ValueError, CorruptDataError: It is damaged.
        """


class PlainFiles:
    """Reads each file that is asked for.

    Args:
        folder: The experiment's folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def ask(self, run_id: str, file: str, fact: Fact, *, of_all: bool = True) -> Any:
        """See :class:`Files`."""
        return fact.read(f"{self._folder}/{run_id}/{file}")


def _read_head(path: str) -> Head:
    folder = path[: -len(META) - 1]
    meta = read_meta(folder)
    if meta is None:
        raise FileNotFoundError(path)
    status = meta.get("status", 1)
    if not is_run_meta(meta) or status not in STATUSES or meta["run_id"] != folder.rpartition("/")[2]:
        raise CorruptDataError(f"{path} is not of this run", hint="restore it from a backup")
    return Head(
        str(meta["experiment_id"]),
        STATUSES[status],
        str(meta.get("lifecycle_stage", "active")),
        meta["start_time"],
        meta.get("end_time") or None,
        meta.get("run_name"),
        meta["user_id"] or None,
        meta.get("artifact_uri"),
    )


def _read_latest(path: str) -> float | None:
    return latest_value(read_blocks(path))


def _read_text(path: str) -> str:
    return read_bytes(path).decode("utf-8")


def _read_aggregated(path: str, aggregate: Aggregate) -> float | None:
    return aggregated_value(read_blocks(path), aggregate)


HEAD = Fact("head", _read_head, Head._make)
TEXT = Fact("text", _read_text)
VALUES: dict[Aggregate, Fact] = {
    "last": Fact("last", _read_latest),
    "min": Fact("min", partial(_read_aggregated, aggregate="min")),
    "max": Fact("max", partial(_read_aggregated, aggregate="max")),
    "mean": Fact("mean", partial(_read_aggregated, aggregate="mean")),
    "first": Fact("first", partial(_read_aggregated, aggregate="first")),
}
"""The one value of a metric by each aggregate."""
