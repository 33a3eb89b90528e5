"""Records of a journal, gathered into requests to the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentnn.records import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agentnn.tracking.journal.journal import Record

MOST_POINTS = 1000
MOST_TEXTS = 100
MOST_TEXT_BYTES = 400_000
"""What one request of MLflow may hold; a server refuses more than a megabyte, and JSON may double a text."""


@dataclass(slots=True)
class Batch:
    """What goes to the store in one request.

    Attributes:
        points: Values of metrics, in the order in which they were logged.
        params, tags: Texts by their name.
        conflicts: Params that the same batch gives two values: the later ones, which are never sent.
        end: Where in the journal it ends, in bytes.
    """

    end: int
    points: list[Metric] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    text_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not (self.points or self.params or self.tags or self.conflicts)

    def add(self, body: dict[str, Any]) -> bool:
        """Take in a record of metrics, params or tags; False, and nothing taken, when there is no room for it."""
        values = body["values"]
        if body["kind"] == "metrics":
            if len(self.points) + len(self.params) + len(self.tags) + len(values) > MOST_POINTS and not self.is_empty:
                return False
            self.points += [Metric(key, float(value), body["step"], body["time"]) for key, value in values.items()]
            return True
        size = sum(len(key) + 4 * len(value) for key, value in values.items())
        target = self.params if body["kind"] == "params" else self.tags
        if not self.is_empty and (
            len(target) + len(values) > MOST_TEXTS
            or len(self.points) + len(self.params) + len(self.tags) + len(values) > MOST_POINTS
            or self.text_bytes + size > MOST_TEXT_BYTES
        ):
            return False
        self.text_bytes += size
        for key, value in values.items():
            if target is self.params and target.get(key, value) != value:
                self.conflicts.append((key, value))
            else:
                target[key] = value
        return True


@dataclass(frozen=True, slots=True)
class Event:
    """A record that stands for itself: a start, an end, a file.

    Attributes:
        body: What the record says.
        end: Where in the journal it ends, in bytes.
    """

    body: dict[str, Any]
    end: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a journal that can't be read as a record.

    Attributes:
        raw: The bytes.
        offset, end: Where they lie in the journal.
    """

    raw: bytes
    offset: int
    end: int


def gather(records: Iterable[Record]) -> Iterator[Batch | Event | Damage]:
    """Records as requests: as many values as fit into one, in the order of the journal."""
    batch: Batch | None = None
    for record in records:
        if record.body is None or record.body["kind"] not in ("metrics", "params", "tags"):
            if record.body is None and not record.raw:  # it broke off, and was never acknowledged
                if batch is not None:
                    batch.end = record.end
                continue
            if batch is not None:
                yield batch
                batch = None
            yield (
                Damage(record.raw, record.offset, record.end) if record.body is None else Event(record.body, record.end)
            )
            continue
        if batch is not None and not batch.add(record.body):
            yield batch
            batch = None
        if batch is None:
            batch = Batch(record.end)
            batch.add(record.body)
        batch.end = record.end
    if batch is not None:
        yield batch


def requests(batch: Batch) -> Iterator[Batch]:
    """A batch as requests that MLflow takes: one, but for single calls with more than fits."""
    texts = sum(len(key) + 4 * len(value) for each in (batch.params, batch.tags) for key, value in each.items())
    most_texts = max(len(batch.params), len(batch.tags))
    total = len(batch.points) + len(batch.params) + len(batch.tags)
    if total <= MOST_POINTS and most_texts <= MOST_TEXTS and texts <= MOST_TEXT_BYTES:
        if total:
            yield batch
        return
    for start in range(0, len(batch.points), MOST_POINTS):
        yield Batch(batch.end, points=batch.points[start : start + MOST_POINTS])
    for part in _chunks(batch.params):
        yield Batch(batch.end, params=part)
    for part in _chunks(batch.tags):
        yield Batch(batch.end, tags=part)


def _chunks(texts: Mapping[str, str]) -> Iterator[dict[str, str]]:
    chunk: dict[str, str] = {}
    size = 0
    for key, value in texts.items():
        if chunk and (len(chunk) == MOST_TEXTS or size + 4 * len(value) > MOST_TEXT_BYTES):
            yield chunk
            chunk, size = {}, 0
        chunk[key] = value
        size += len(key) + 4 * len(value)
    if chunk:
        yield chunk


def halves(batch: Batch) -> Iterator[Batch]:
    """A refused request in parts: each kind alone, then each in halves; itself when it holds one thing."""
    kinds = [
        *([Batch(batch.end, points=batch.points)] if batch.points else []),
        *([Batch(batch.end, params=batch.params)] if batch.params else []),
        *([Batch(batch.end, tags=batch.tags)] if batch.tags else []),
    ]
    if len(kinds) != 1:
        yield from kinds
        return
    if len(batch.points) > 1:
        middle = len(batch.points) // 2
        yield Batch(batch.end, points=batch.points[:middle])
        yield Batch(batch.end, points=batch.points[middle:])
        return
    if len(batch.params) > 1:
        yield from (Batch(batch.end, params=part) for part in _half_texts(batch.params))
    elif len(batch.tags) > 1:
        yield from (Batch(batch.end, tags=part) for part in _half_texts(batch.tags))
    else:
        yield batch


def _half_texts(texts: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    items, middle = list(texts.items()), len(texts) // 2
    return dict(items[:middle]), dict(items[middle:])
