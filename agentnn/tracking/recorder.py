"""From a logging call to one record of the journal; this is all that happens in the training process.

The fast path is a batch of plain floats whose names were seen before: the record's text comes from a template kept for
these names. Everything else, such as NumPy scalars, tensors or NaN, takes the careful path, which ends in the same kind
of record.
"""

from __future__ import annotations

import json
import logging
import math
import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, UsageError
from agentnn.tracking.journal.journal import JournalWriter, frame
from agentnn.tracking.journal.process_identity import this_process
from agentnn.values.keys import encode_key
from agentnn.values.logged import flatten as flatten_params
from agentnn.values.logged import metric_value, param_text, step_number

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_log = logging.getLogger("agentnn")
_PLAIN = frozenset({float})
_MOST_TEMPLATES = 1024
_LOOK_EVERY_MS = 5000


class Recorder:
    """Writes what a run logs into its journal; threads may share it.

    Args:
        path: The journal.
        name: What the run is called in messages.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.journal = JournalWriter(path)
        self._ended = False
        self._next_look = 0
        self._lock = Lock()
        identity = this_process()
        self._writer = f"{identity.pid}-{identity.started}"
        self._sequence = 0
        self._announced = True
        self._templates: dict[tuple[str, ...], str] = {}
        self._names: dict[str, str] = {}
        self._params: dict[str, str] = {}
        self._not_finite: set[str] = set()
        self._time = 0
        self._steps: dict[int, set[str]] = {}

    def log_metric(self, key: str, value: Any, step: int | None = None, timestamp: int | None = None) -> None:
        """Log one value of a metric.

        Args:
            key: The metric.
            value: A number; NaN and infinity are kept and flagged.
            step: Whole number; 0 without one, as in MLflow.
            timestamp: Milliseconds since the epoch; now without one.

        Raises:
            UsageError: The name, the value or the step can't be kept; nothing was logged.
        """
        self.log_metrics({key: value}, step, timestamp)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None, timestamp: int | None = None) -> None:
        """Log one value each of several metrics; see :meth:`log_metric`."""
        keys = tuple(metrics)
        values = tuple(metrics.values())
        if self._ended:
            self._refuse()
        if type(step) is not int or not -(2**63) <= step < 2**63:
            step = step_number(step)
        template = self._templates.get(keys)
        if template is None:
            if not keys:
                return
            template = self._make_template(keys)
        if not (_PLAIN.issuperset(map(type, values)) and math.isfinite(sum(values))):
            values = self._carefully(keys, values, step)
        if timestamp is None:
            self._append_metrics(template, keys, step, values)
        else:
            self._append_past_metrics(template, timestamp, step, values)

    def log_param(self, key: str, value: Any) -> None:
        """Log one param; see :meth:`log_params`."""
        self.log_params({key: value})

    def log_params(self, params: Mapping[str, Any], *, flatten: bool = True) -> None:
        """Log params, which can't be changed afterwards.

        Args:
            params: Values of any type; lists become JSON, everything else is written as Python prints it.
            flatten: Join the keys of nested mappings with dots; otherwise they become JSON.

        Raises:
            UsageError: A name can't be kept, or two are the same once joined; nothing was logged.
            ConflictError: A param has another value already; nothing was logged.
        """
        texts = flatten_params(params) if flatten else {key: param_text(value) for key, value in params.items()}
        encoded = {encode_key(key): text for key, text in texts.items()}
        with self._lock:
            for key, text in encoded.items():
                if self._params.get(key, text) != text:
                    raise ConflictError(
                        f"the param {key!r} is {_short(self._params[key])} already and can't become {_short(text)}",
                        hint="params are what a run started with; log what changes as a metric or a tag",
                    )
            self._params.update(encoded)
            self._append("params", {"values": encoded})

    def set_tag(self, key: str, value: Any) -> None:
        """Set one tag; see :meth:`set_tags`."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; a tag that is set again changes.

        Raises:
            UsageError: A name can't be kept; nothing was set.
        """
        self.append("tags", {"values": {encode_key(key): param_text(value) for key, value in tags.items()}})

    def append(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Append a record of any other kind."""
        with self._lock:
            self._append(kind, fields)

    def know_params(self, params: Mapping[str, str]) -> None:
        """Take over the params that a resumed run has already."""
        self._params.update(params)

    def renew_after_fork(self) -> None:
        """Go on in a forked process."""
        self._lock = Lock()
        self.journal.renew_after_fork()
        self.join()

    def join(self) -> None:
        """Write as a process that did not start the run; it says so with its first record, if there ever is one."""
        identity = this_process()
        self._writer = f"{identity.pid}-{identity.started}"
        self._sequence = 0
        self._templates = {}  # they name the writer
        self._announced = False

    def _look_around(self) -> None:
        """Called every few seconds by a logging call; see :class:`~agentnn.tracking.active_run.ActiveRun`."""

    def _refuse(self) -> None:
        raise ConflictError(
            f"the run {self.name!r} has ended and takes nothing more",
            hint="resume it on purpose: start_run(run_id=...)",
        )

    def _append(self, kind: str, fields: Mapping[str, Any]) -> None:
        if self._ended:
            self._refuse()
        if not self._announced:
            self._announced = True
            if kind != "writer":
                self._append("writer", {"process": this_process().to_json()})
        self._advance()
        record = {"seq": self._sequence, "writer": self._writer, "kind": kind, "time": self._time, **fields}
        self._sequence += 1
        self.journal.append(frame(json.dumps(record)))

    def _append_metrics(self, template: str, keys: Collection[str], step: int, values: tuple[float, ...]) -> None:
        with self._lock:
            if self._ended:  # meanwhile, by another thread
                self._refuse()
            if self._advance() >= self._next_look:
                self._next_look = self._time + _LOOK_EVERY_MS
                self._look_around()
            logged = self._steps.get(step)
            if logged is None:
                self._steps[step] = set(keys)
            elif logged.isdisjoint(keys):
                logged.update(keys)
            else:  # MLflow orders by (step, timestamp) and keeps one of two equal points: none may be equal
                self._time += 1
                self._steps = {step: set(keys)}
            sequence = self._sequence
            self._sequence = sequence + 1
            self.journal.append(frame(template % (sequence, self._time, step, *values)))

    def _append_past_metrics(self, template: str, timestamp: int, step: int, values: tuple[float, ...]) -> None:
        """Points of another time than now, which the caller keeps apart."""
        if not (time_ms := step_number(timestamp)) >= 0:
            raise UsageError(f"the timestamp {timestamp} is before 1970", hint="give milliseconds since the epoch")
        with self._lock:
            if self._ended:
                self._refuse()
            sequence = self._sequence
            self._sequence = sequence + 1
            self.journal.append(frame(template % (sequence, time_ms, step, *values)))

    def _advance(self) -> int:
        """Let the time of the records follow the clock, but never backwards; milliseconds since the epoch."""
        now = time.time_ns() // 1_000_000
        if now > self._time:
            self._time = now
            self._steps = {}
        return self._time

    def _make_template(self, keys: tuple[str, ...]) -> str:
        """The record of these metrics, with places for sequence number, time, step and values."""
        if not self._announced:
            self.append("writer", {"process": this_process().to_json()})
        values = ",".join(f"{json.dumps(self._name(key))}:%r" for key in keys)  # no encoded name has a percent sign
        template = f'{{"seq":%d,"writer":"{self._writer}","kind":"metrics","time":%d,"step":%d,"values":{{{values}}}}}'
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        self._templates[keys] = template
        return template

    def _name(self, key: str) -> str:
        encoded = self._names.get(key)
        if encoded is None:
            encoded = encode_key(key)
            if len(self._names) >= _MOST_TEMPLATES:
                self._names.clear()
            self._names[key] = encoded
        return encoded

    def _carefully(self, keys: tuple[str, ...], values: tuple[Any, ...], step: int) -> tuple[Any, ...]:
        """Values of any type as what the template prints: floats, and JSON's words for what is not finite."""
        floats = [metric_value(key, value) for key, value in zip(keys, values, strict=True)]
        for key, value in zip(keys, floats, strict=True):
            if not math.isfinite(value) and key not in self._not_finite:
                self._not_finite.add(key)
                _log.warning("the metric %r is %s at step %d; it is kept and never counts as best", key, value, step)
        return tuple(value if math.isfinite(value) else _Word(value) for value in floats)


class _Word(float):
    """A float that is not finite, printed as Python's JSON reads it."""

    def __repr__(self) -> str:
        return "NaN" if math.isnan(self) else "Infinity" if self > 0 else "-Infinity"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
