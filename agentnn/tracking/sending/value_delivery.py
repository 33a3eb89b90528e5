"""Values on their way into the store, each of them once.

When an answer is lost, or a sender died before it could note it, the next batch may be in the store already, whole or
in part: it is compared with what the store holds, and only what is missing is sent. MLflow's SQL stores would drop a
point that is there twice, its file store would not.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentnn.errors import ConflictError, NotFoundError, UnsafeError, UsageError
from agentnn.stores.run_writer import LONGEST_PARAM, LONGEST_TAG
from agentnn.tracking.sending.batches import Batch, halves, requests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentnn.records import Metric
    from agentnn.stores.run_writer import RunWriter
    from agentnn.tracking.sending.delivered import Cursor

REFUSALS = (UsageError, ConflictError, NotFoundError, UnsafeError)
"""What a store says when it will never take what it was sent."""

_SETTLING_S = 0.5
_Seen = TypeVar("_Seen")
_LONGEST = {"params": LONGEST_PARAM, "tags": LONGEST_TAG}


class ValueDelivery:
    """Delivers the metrics, params and tags of one run.

    Args:
        writer: Writes to the store.
        cursor: How far the run is; it knows the run's id, and takes note of what was delivered.
        bury: Takes what the store refuses for good, as a record of the journal, and why.

    Attributes:
        unsure: Whether what comes next may be in the store already.
        unanswered: Whether this process sent a request and got no answer: it may still be carried out.
    """

    def __init__(self, writer: RunWriter, cursor: Cursor, bury: Callable[[dict[str, Any], str], None]) -> None:
        self.unsure = self.unanswered = False
        self._writer = writer
        self._cursor = cursor
        self._bury = bury

    def send(self, batch: Batch) -> None:
        """Send a batch; what the store refuses of it is buried, and the rest delivered.

        Raises:
            StoreUnavailable: The store can't be used; a part of the batch may be there.
        """
        self._note_not_finite(batch.points)
        batch.params = self._shortened("params", batch.params)
        batch.tags = self._shortened("tags", batch.tags)
        if self.unsure:
            self._leave_out_what_is_there(batch)
        for name, value in batch.conflicts:
            self._bury({"kind": "params", "values": {name: value}}, f"the param {name!r} has another value already")
        for request in requests(batch):
            self._request(request)
        self._cursor.points += len(batch.points)

    def settled(self, look: Callable[[], _Seen]) -> _Seen:
        """What a look at the store shows, once it shows the same twice when a busy server may still be at it."""
        seen = look()
        while self.unanswered:
            time.sleep(_SETTLING_S)
            before, seen = seen, look()
            self.unanswered = seen != before
        return seen

    def _leave_out_what_is_there(self, batch: Batch) -> None:
        """After a lost answer: what is in the store already is not sent again, nor what contradicts it."""
        missing = self.settled(lambda: self._missing(batch.points))
        self.unsure = len(missing) < len(batch.points)
        batch.points = missing
        there = self._writer.params(self._cursor.run_id) if batch.params else {}
        batch.conflicts += [(name, value) for name, value in batch.params.items() if there.get(name, value) != value]
        batch.params = {name: value for name, value in batch.params.items() if name not in there}

    def _request(self, request: Batch) -> None:
        try:
            self._writer.log_batch(self._cursor.run_id, request.points, request.params, request.tags)
        except REFUSALS as error:
            request.points = self._missing(request.points)
            parts = list(halves(request))
            if len(parts) == 1:
                self._bury(_as_body(request), str(error))
            for part in parts if len(parts) > 1 else ():
                self._request(part)

    def _missing(self, points: Sequence[Metric]) -> list[Metric]:
        """Those of the points that the store does not have."""
        there: Counter[tuple[str, int, int, float | str]] = Counter()
        for key in {point.key for point in points}:
            try:
                there.update(_comparable(point) for point in self._writer.history(self._cursor.run_id, key))
            except NotFoundError:
                continue
        missing = []
        for point in points:
            if there[_comparable(point)] > 0:
                there[_comparable(point)] -= 1
            else:
                missing.append(point)
        return missing

    def _note_not_finite(self, points: Sequence[Metric]) -> None:
        found = {point.key for point in points if not math.isfinite(point.value)}
        if not found.issubset(self._cursor.not_finite):
            self._cursor.not_finite = sorted({*found, *self._cursor.not_finite})

    def _shortened(self, kind: str, texts: Mapping[str, str]) -> dict[str, str]:
        """Texts as the store can keep them; those that it can't keep whole become files of the run, and say so."""
        kept = {}
        for key, text in texts.items():
            clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
            if clean == text and len(text) <= _LONGEST[kind]:
                kept[key] = text
                continue
            target = f"agentnn/{kind}/{key.replace('/', '_')}.txt"
            mark = f"… [whole text: artifact {target}]"
            kept[key] = clean[: _LONGEST[kind] - len(mark)] + mark
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch, Path(target).name)
                file.write_bytes(text.encode("utf-8", "surrogatepass"))
                self._writer.put_file(self._cursor.run_id, file, target)
        return kept


def _as_body(batch: Batch) -> dict[str, Any]:
    if batch.points:
        return {"kind": "metrics", "values": [point.to_dict() for point in batch.points]}
    return {"kind": "params", "values": batch.params} if batch.params else {"kind": "tags", "values": batch.tags}


def _comparable(point: Metric) -> tuple[str, int, int, float | str]:
    """A point as every store gives it back: SQL keeps infinity as the largest float, and NaN equals nothing."""
    value: float | str = point.value
    if math.isnan(point.value):
        value = "nan"
    elif math.isinf(point.value):
        value = math.copysign(sys.float_info.max, point.value)
    return point.key, point.step, point.timestamp, value
