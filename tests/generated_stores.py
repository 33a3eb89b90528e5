"""Stores made up by Hypothesis or from a seed, written into an MLflow database the way MLflow writes them.

``MlflowClient`` needs minutes for what the standard library's ``sqlite3`` writes in a second. What is written here is
what MLflow 3.17 leaves behind: NaN is 0 beside a flag, an infinity the largest double, ``latest_metrics`` the value of
the greatest (step, timestamp, value), a run's name both a column and a tag.
"""

from __future__ import annotations

import math
import random
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st

from agentnn.query.expressions import And, Comparison, Field, Not, Or
from agentnn.records import PARENT_TAG, RUN_NAME_TAG, DatasetInput, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

NOON = 1_700_000_000_000
METRICS = ("loss", "val/loss", "Sharpe ratio", "été.日本", "a-b:c")
PARAMS = ("lr", "model/layers", "drop out", "größe")
WORDY_PARAM = "optimizer"
TAGS = ("team", "a.b-c", "日本 tag", "mlflow.note.content")
WORDS = (
    "adam",
    "ADAM",
    "Adam W",
    "sgd",
    "100%",
    "1_00",
    "a_b",
    "a/b \\ c",
    "naïve",
    "Ünïcode",
    "🚀 up",
    "ß",
    "x" * 250,
)
NUMBERS_IN_TEXT = ("0.001", "1e-3", "1e-2", ".5", "-7", "  7 ", "7.0", "1e400", "9007199254740993", "inf")
ODD_TEXTS = ("", "True", "true", "false", "nan", "null", "it's", 'say "hi"', "`tick`", "line\nbreak", "%", "_")
TEXTS = WORDS + NUMBERS_IN_TEXT + ODD_TEXTS
METRIC_VALUES = (0.0, 1.0, 1.5, -2.0, 0.1 + 0.2, 1e-300, 1e300, -1e300, math.nan, math.inf, -math.inf)
STATUSES = ("FINISHED", "FINISHED", "FINISHED", "FINISHED", "RUNNING", "FAILED", "KILLED", "SCHEDULED")
DATASETS = ("prices", "Prices", "s&p 500", "日経")
CONTEXTS = (None, "training", "validation")


@dataclass(frozen=True)
class Point:
    """One logged value of a metric."""

    value: float
    step: int = 0
    timestamp: int = NOON

    @property
    def stored(self) -> float:
        """The value as MLflow keeps it in SQL."""
        if math.isnan(self.value):
            return 0.0
        return math.copysign(sys.float_info.max, self.value) if math.isinf(self.value) else self.value

    @property
    def place(self) -> tuple[int, int, float]:
        """The greatest of these is the latest value."""
        return self.step, self.timestamp, self.stored


@dataclass(frozen=True)
class RunSpec:
    """A run that is to be written; ``name=None`` is a run from before MLflow 1.30, whose name is only a tag."""

    run_id: str
    experiment_id: int = 0
    name: str | None = "run"
    status: str = "FINISHED"
    lifecycle_stage: str = "active"
    start_time: int | None = NOON
    end_time: int | None = None
    user: str | None = "ana"
    metrics: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: tuple[DatasetInput, ...] = ()

    @property
    def artifact_uri(self) -> str:
        """Where its artifacts would be."""
        return f"/nowhere/{self.experiment_id}/{self.run_id}/artifacts"

    @property
    def all_tags(self) -> dict[str, str]:
        """Its tags with those that MLflow adds."""
        return ({} if self.name is None else {RUN_NAME_TAG: self.name}) | dict(self.tags)

    def expected(self, experiment: str) -> Run:
        """The record that every store must make of it."""
        return Run(
            run_id=self.run_id,
            name=self.name or self.tags.get(RUN_NAME_TAG, ""),
            experiment_id=str(self.experiment_id),
            experiment=experiment,
            status=self.status,
            lifecycle_stage=self.lifecycle_stage,
            start_time=self.start_time,
            end_time=self.end_time,
            user=self.user,
            artifact_uri=self.artifact_uri,
            metrics={key: max(points, key=lambda one: one.place).value for key, points in self.metrics.items()},
            params=dict(self.params),
            tags=self.all_tags,
            datasets=tuple(sorted(self.datasets, key=lambda one: (one.name, one.digest))),
        )


@dataclass(frozen=True)
class ExperimentSpec:
    """An experiment that is to be written."""

    experiment_id: int
    name: str
    lifecycle_stage: str = "active"
    creation_time: int | None = NOON
    tags: Mapping[str, str] = field(default_factory=dict)
    workspace: str = "default"


@dataclass(frozen=True)
class StoreSpec:
    """What a store is to hold."""

    experiments: tuple[ExperimentSpec, ...] = (ExperimentSpec(0, "Default"),)
    runs: tuple[RunSpec, ...] = ()

    def expected_runs(self) -> list[Run]:
        """The records of all runs, in no order."""
        names = {one.experiment_id: one.name for one in self.experiments}
        return [run.expected(names[run.experiment_id]) for run in self.runs]


def points(*values: float) -> tuple[Point, ...]:
    """A history: one value a step."""
    return tuple(Point(value, step, NOON + step) for step, value in enumerate(values))


def run_id(number: int) -> str:
    """A run id that sorts as its number does."""
    return f"{number:032x}"


# -- writing ----------------------------------------------------------------------------------------------


def write_store(database: Path, store: StoreSpec) -> None:
    """Replace everything in an MLflow database."""
    write_runs(database, store.experiments, store.runs)


def analyze(database: Path) -> None:
    """Give SQLite the statistics without which MLflow's own sort by a metric takes minutes for 3000 runs."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("ANALYZE")


def write_runs(database: Path, experiments: Iterable[ExperimentSpec], runs: Iterable[RunSpec]) -> None:
    """Replace everything in an MLflow database; ``runs`` may be a generator of very many."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        for table in (
            "input_tags", "inputs", "datasets", "latest_metrics", "metrics", "params", "tags", "runs",
            "experiment_tags", "experiments",
        ):  # fmt: skip
            connection.execute(f"DELETE FROM {table}")
        for one in experiments:
            _insert(connection, "experiments", [(
                one.experiment_id, one.name, f"/nowhere/{one.experiment_id}", one.lifecycle_stage, one.creation_time,
                one.creation_time, one.workspace,
            )])  # fmt: skip
            _insert(connection, "experiment_tags", [(key, text, one.experiment_id) for key, text in one.tags.items()])
        numbers = iter(range(sys.maxsize))
        uuids: dict[tuple[int, str, str], str] = {}
        remaining = iter(runs)
        while batch := list(islice(remaining, 2000)):
            _write_batch(connection, batch, uuids, numbers)


def _write_batch(
    connection: sqlite3.Connection,
    runs: list[RunSpec],
    uuids: dict[tuple[int, str, str], str],
    numbers: Iterator[int],
) -> None:
    connection.executemany(
        "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage, "
        "artifact_uri, experiment_id) VALUES (?, ?, 'UNKNOWN', ?, ?, ?, ?, ?, ?, ?)",
        [
            (run.run_id, run.name, run.user, run.status, run.start_time, run.end_time, run.lifecycle_stage,
             run.artifact_uri, run.experiment_id)
            for run in runs
        ],
    )  # fmt: skip
    _insert(connection, "params", [(key, text, run.run_id) for run in runs for key, text in run.params.items()])
    _insert(connection, "tags", [(key, text, run.run_id) for run in runs for key, text in run.all_tags.items()])
    histories = [(run.run_id, key, history) for run in runs for key, history in run.metrics.items()]
    connection.executemany(
        "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)",
        (
            (key, one.stored, one.timestamp, identifier, one.step, math.isnan(one.value))
            for identifier, key, history in histories
            for one in history
        ),
    )
    latest = ((identifier, key, max(history, key=lambda one: one.place)) for identifier, key, history in histories)
    connection.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)",
        (
            (key, one.stored, one.timestamp, one.step, math.isnan(one.value), identifier)
            for identifier, key, one in latest
        ),
    )
    for run in runs:
        for dataset in run.datasets:
            identity = (run.experiment_id, dataset.name, dataset.digest)
            if identity not in uuids:
                uuids[identity] = f"dataset-{next(numbers)}"
                row = (uuids[identity], *identity, "local", "{}", None, None)
                _insert(connection, "datasets", [row])
            source = f"input-{next(numbers)}"
            _insert(connection, "inputs", [(source, "DATASET", uuids[identity], "RUN", run.run_id, 0)])
            if dataset.context is not None:
                _insert(connection, "input_tags", [(source, "mlflow.data.context", dataset.context)])


def _insert(connection: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        connection.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)


# -- Hypothesis -------------------------------------------------------------------------------------------


def examples(strong: int) -> int:
    """How many examples a costly test tries: so many under ``make test-strong``, a third of them otherwise."""
    return strong if settings.get_current_profile_name() == "strong" else strong // 3


_TIMES = st.sampled_from((NOON, NOON, NOON + 1, NOON + 2, NOON - 86_400_000))
# SQLite keeps no sign with zero.
_METRIC_VALUES = st.sampled_from(METRIC_VALUES) | st.floats(-10, 10).map(lambda number: round(number, 2) + 0.0)


def histories() -> st.SearchStrategy[tuple[Point, ...]]:
    """Histories with ties in step and in time."""
    point = st.builds(Point, _METRIC_VALUES, st.integers(0, 3), st.sampled_from((NOON, NOON + 1)))
    return st.lists(point, min_size=1, max_size=5, unique_by=lambda one: one.place).map(tuple)


def run_specs(
    experiment_ids: tuple[int, ...], texts: tuple[str, ...] = TEXTS, *, nulls: bool = False
) -> st.SearchStrategy[RunSpec]:
    """Runs; many of them tie in what they are sorted by.

    ``nulls``: also such as have no start, no user or no name, which the tables allow and MLflow itself fails to read.
    """
    null = st.none() if nulls else st.nothing()
    text = st.sampled_from(texts)
    dataset = st.builds(
        DatasetInput, st.sampled_from(DATASETS), st.sampled_from(("d1", "d2")), st.sampled_from(CONTEXTS)
    )
    return st.builds(
        RunSpec,
        run_id=st.integers(0, 16**32 - 1).map(run_id),
        experiment_id=st.sampled_from(experiment_ids),
        name=text.filter(bool) | null,
        status=st.sampled_from(STATUSES),
        lifecycle_stage=st.sampled_from(("active", "active", "active", "deleted")),
        start_time=_TIMES | null,
        end_time=_TIMES | st.none(),
        user=st.sampled_from(("ana", "Bo")) | null,
        metrics=st.dictionaries(st.sampled_from(METRICS), histories(), max_size=4),
        params=st.builds(
            lambda params, wordy: params | wordy,
            st.dictionaries(st.sampled_from(PARAMS), text, max_size=3),
            st.dictionaries(st.just(WORDY_PARAM), st.sampled_from(WORDS)),
        ),
        tags=st.dictionaries(st.sampled_from(TAGS), text, max_size=3),
        datasets=st.lists(dataset, max_size=2, unique_by=lambda one: (one.name, one.digest)).map(tuple),
    )


@st.composite
def stores(draw: st.DrawFn, max_runs: int = 12, texts: tuple[str, ...] = TEXTS, *, nulls: bool = False) -> StoreSpec:
    """Small stores: up to four experiments, some of them deleted, with runs, some of them nested."""
    names = draw(
        st.lists(st.sampled_from(("Default", "1", "été / 夏", "a'b", "x%y_z")), min_size=1, max_size=4, unique=True)
    )
    experiments = tuple(
        ExperimentSpec(
            number,
            name,
            draw(st.sampled_from(("active", "active", "deleted"))),
            draw(_TIMES),
            draw(st.dictionaries(st.sampled_from(TAGS), st.sampled_from(TEXTS), max_size=1)),
        )
        for number, name in enumerate(names)
    )
    ids = tuple(one.experiment_id for one in experiments)
    runs = draw(st.lists(run_specs(ids, texts, nulls=nulls), max_size=max_runs, unique_by=lambda one: one.run_id))
    for index in range(1, len(runs)):
        if draw(st.integers(0, 3)) == 0:
            child, parent = runs[index], runs[draw(st.integers(0, index - 1))]
            runs[index] = _with_tag(child, PARENT_TAG, parent.run_id)
    return StoreSpec(experiments, tuple(runs))


def _with_tag(run: RunSpec, key: str, value: str) -> RunSpec:
    values = {name: getattr(run, name) for name in RunSpec.__dataclass_fields__}
    return RunSpec(**{**values, "tags": {**run.tags, key: value}})


# -- filters ----------------------------------------------------------------------------------------------

_NUMBERS = st.sampled_from((0, 1, 7, 0.001, 0.01, 1.5, -2, -7, 0.1 + 0.2, math.inf, -math.inf, 2**53 + 1)) | st.floats(
    -10, 10
).map(lambda number: round(number, 2))
_PATTERNS = st.sampled_from(("%", "%a%", "A%", "_", "___", "100%", "%ü%", "%Ü%", "%\n%", "", "1\\_00", "a_b", "%🚀%"))
_REGEXES = st.sampled_from(("", "a", "^a", "m$", "[A-Z]+", "^$", "(?i)ADAM", r"\d", "🚀|ü", "."))
_TEXT = st.sampled_from(TEXTS)
_WORD = _TEXT.filter(lambda text: not _is_number(text))


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text)) and "_" not in text
    except ValueError:
        return False


def comparisons() -> st.SearchStrategy[Comparison]:
    """Comparisons of every kind, as the parser makes them."""
    metric = st.builds(Field, st.just("metric"), st.sampled_from((*METRICS, "no such")))
    text_key = st.builds(Field, st.just("param"), st.sampled_from((*PARAMS, WORDY_PARAM, "no such"))) | st.builds(
        Field, st.just("tag"), st.sampled_from((*TAGS, PARENT_TAG, RUN_NAME_TAG, "no such"))
    )
    time = st.builds(Field, st.just("attribute"), st.sampled_from(("start_time", "end_time")))
    attribute = st.builds(
        Field,
        st.just("attribute"),
        st.sampled_from(
            ("run_id", "run_name", "status", "user_id", "artifact_uri", "lifecycle_stage", "experiment_id")
        ),
    )
    dataset = st.builds(Field, st.just("dataset"), st.sampled_from(("name", "digest", "context")))
    attribute_text = st.sampled_from(
        ("FINISHED", "RUNNING", "ana", "active", "0", "1", run_id(5), *DATASETS, "training")
    )
    equal = st.sampled_from(("=", "!="))
    ordered = st.sampled_from(("<", "<=", ">", ">="))
    among = st.sampled_from(("IN", "NOT IN"))
    like = st.sampled_from(("LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE"))
    regex = st.sampled_from(("=~", "!~"))
    null = st.sampled_from(("IS NULL", "IS NOT NULL"))
    times = st.sampled_from((NOON, NOON + 1, NOON - 86_400_000))

    def several(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.lists(values, min_size=1, max_size=3).map(tuple)

    any_text = attribute_text | _TEXT
    return st.one_of(
        st.builds(Comparison, metric, equal | ordered, _NUMBERS),
        st.builds(Comparison, metric, among, several(_NUMBERS)),
        st.builds(Comparison, text_key, equal, _TEXT | _NUMBERS | st.booleans()),
        st.builds(Comparison, text_key, ordered, _WORD | _NUMBERS),
        st.builds(Comparison, text_key, among, several(_TEXT | _NUMBERS)),
        st.builds(Comparison, time, equal | ordered, times),
        st.builds(Comparison, time, among, several(times)),
        st.builds(Comparison, attribute | dataset, equal | ordered, any_text),
        st.builds(Comparison, attribute | dataset, among, several(any_text)),
        st.builds(Comparison, text_key | attribute | dataset, like, _PATTERNS | _TEXT),
        st.builds(Comparison, text_key | attribute | dataset, regex, _REGEXES),
        st.builds(Comparison, metric | text_key | time | attribute | dataset, null, st.none()),
    )


def expressions(max_leaves: int = 6) -> st.SearchStrategy[Any]:
    """Filters of the whole language."""

    def larger(smaller: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        parts = st.lists(smaller, min_size=2, max_size=3).map(tuple)
        return st.builds(And, parts) | st.builds(Or, parts) | st.builds(Not, smaller)

    return st.recursive(comparisons(), larger, max_leaves=max_leaves)


# -- from a seed ------------------------------------------------------------------------------------------


def seeded_store(seed: int, run_count: int, texts: tuple[str, ...] = TEXTS) -> StoreSpec:
    """A large store that is the same for the same seed."""
    dice = random.Random(seed)
    experiments = tuple(
        ExperimentSpec(number, f"experiment {number}", "deleted" if number == 3 else "active", NOON + number // 2)
        for number in range(5)
    )
    runs: list[RunSpec] = []
    for number in range(run_count):
        tags = {key: dice.choice(texts) for key in TAGS if dice.random() < 0.4}
        if runs and dice.random() < 0.2:
            tags[PARENT_TAG] = dice.choice(runs).run_id
        start = NOON + dice.randrange(run_count // 2 + 1) * 1000
        runs.append(
            RunSpec(
                run_id(dice.getrandbits(128)),
                dice.randrange(5),
                f"{dice.choice(('lstm', 'gru', 'naïve', '🚀'))}-{number % 700}",
                dice.choice(STATUSES),
                "deleted" if dice.random() < 0.05 else "active",
                start,
                None if dice.random() < 0.1 else start + dice.randrange(10_000),
                dice.choice(("ana", "Bo")),
                {key: _seeded_history(dice) for key in METRICS if dice.random() < 0.8},
                {key: dice.choice(texts) for key in PARAMS if dice.random() < 0.7} | {WORDY_PARAM: dice.choice(WORDS)},
                tags,
                (DatasetInput(dice.choice(DATASETS), "d1", dice.choice(CONTEXTS)),) if dice.random() < 0.1 else (),
            )
        )
    return StoreSpec(experiments, tuple(runs))


def _seeded_history(dice: random.Random) -> tuple[Point, ...]:
    values = [dice.choice(METRIC_VALUES) if dice.random() < 0.2 else round(dice.gauss(0, 2), 2) for _ in range(3)]
    found = {
        point.place: point for point in (Point(value, dice.randrange(3), NOON + dice.randrange(2)) for value in values)
    }
    return tuple(found.values())
