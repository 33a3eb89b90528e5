"""Make an MLflow SQLite store of N runs through MLflow's own schema, from a seed.

MLflow creates and migrates an empty database once; the rows are then inserted with sqlite3, run by run in the
order of time, as logging would have done it. A sample of what was made is read back through ``MlflowClient``
and compared with what was meant. Files are cached in ``benchmarks/.data`` under a name made of the
parameters; the path is printed on standard output.

    python benchmarks/make_store.py --runs 10000
    python benchmarks/make_store.py --runs 10000 --analysed     # a copy after ANALYZE
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).resolve().parent / ".data"
LARGEST = 1.7976931348623157e308  # what MLflow's SQL store keeps for infinity
FIRST_START = 1_735_689_600_000  # 2025-01-01T00:00:00Z, in milliseconds
SPACING = 120_000  # from the start of one run to the start of the next, in milliseconds
SWEEP = 20  # a parent and its 19 children
ARTIFACTS = "file:///var/tmp/agentnn-bench"
METRICS = ("sharpe_ratio", "max_drawdown", "total_return", "val_loss", "train_loss")
CURVES = ("val_loss", "train_loss")
USERS = ("ada", "grace", "alan", "ci-bot")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the store holds; the same shape and seed give the same rows."""

    runs: int = 10_000
    metrics: int = 5
    params: int = 10
    tags: int = 5
    experiments: int = 4
    points: int = 0
    models: int = 5
    versions: int = 8
    seed: int = 1
    curves: int = len(CURVES)

    def stem(self) -> str:
        """Name the cached file after everything that its content depends on."""
        return (
            f"runs{self.runs}-m{self.metrics}-p{self.params}-t{self.tags}-e{self.experiments}-h{self.points}"
            f"-r{self.models}x{self.versions}-s{self.seed}"
            + (f"-c{self.curves}" if self.curves != len(CURVES) else "")
            + f"-mlflow{version('mlflow')}"
        )

    def curve_keys(self) -> list[str]:
        """Name the metrics that have a value a step: the losses first."""
        return [*CURVES, *(name for name in self.metric_names() if name not in CURVES)][: self.curves]

    def metric_names(self) -> list[str]:
        """Name the metrics."""
        return [*METRICS, *(f"metric_{n}" for n in range(len(METRICS), self.metrics))][: self.metrics]


@dataclass(frozen=True, slots=True)
class MadeRun:
    """One run as it is meant to be in the store."""

    run_id: str
    name: str
    experiment_id: int
    user: str
    status: str
    start_time: int
    end_time: int | None
    deleted_time: int | None
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def lifecycle_stage(self) -> str:
        return "active" if self.deleted_time is None else "deleted"

    @property
    def logged_at(self) -> int:
        return self.start_time + 60_000


# --- what a run looks like ------------------------------------------------------------------------


def run_id_of(shape: Shape, index: int) -> str:
    """Give an id as random as a UUID, so that index pages fill the way they do in a real store."""
    return hashlib.md5(f"{shape.seed}:{index}".encode(), usedforsecurity=False).hexdigest()


def make_run(shape: Shape, index: int) -> MadeRun:
    """Make run number ``index``: a pure function, so that a sample can be made again and compared."""
    rng = random.Random(shape.seed * 1_000_003 + index)
    status = rng.choices(("FINISHED", "FAILED", "KILLED", "RUNNING"), (90, 5, 2, 3))[0]
    start = start_time_of(rng, index)
    deleted = start + 86_400_000 if rng.random() < 0.03 else None
    name = f"lstm-{rng.choice(('small', 'wide', 'deep'))}-{index}"
    user = rng.choice(USERS)
    metrics = make_metrics(rng, shape, status)
    return MadeRun(
        run_id=run_id_of(shape, index),
        name=name,
        experiment_id=1 + index // 100 % shape.experiments,
        user=user,
        status=status,
        start_time=start,
        end_time=None if status == "RUNNING" else start + rng.randrange(61_000, 600_000),
        deleted_time=deleted,
        metrics=metrics,
        curves={key: make_curve(rng, shape.points, metrics[key]) for key in shape.curve_keys() if key in metrics},
        params=make_params(rng, shape.params),
        tags=make_tags(shape, index, name, user),
    )


def start_time_of(rng: random.Random, index: int) -> int:
    """Follow the index, but for one run in 500 that was imported late: row order is nearly time order."""
    late = 30 * 86_400_000 if rng.random() < 0.002 else 0
    return FIRST_START + index * SPACING + rng.randrange(SPACING) - late


def make_metrics(rng: random.Random, shape: Shape, status: str) -> dict[str, float]:
    """Give every metric a value; a run that broke off often lacks some, and some values are not finite."""
    names = shape.metric_names()
    missing = 0.02 if status == "FINISHED" else 0.4
    return {name: odd_or(rng, value_of(rng, name)) for name in names if rng.random() >= missing}


def value_of(rng: random.Random, name: str) -> float:
    """Draw a value of a believable size."""
    if name == "sharpe_ratio":
        return rng.gauss(0.6, 0.8)
    if name == "total_return":
        return rng.gauss(0.08, 0.3)
    return rng.random()


def odd_or(rng: random.Random, value: float) -> float:
    """Replace the value by NaN in 2 % of cases and by an infinity in 0.4 %."""
    draw = rng.random()
    if draw < 0.02:
        return math.nan
    if draw < 0.024:
        return math.inf if draw < 0.022 else -math.inf
    return value


def make_curve(rng: random.Random, points: int, last: float) -> list[float]:
    """Give the earlier points of a loss; its last value is the metric itself."""
    base = last if math.isfinite(last) else 1.0
    return [base + rng.random() / (step + 1) for step in range(points)]


def make_params(rng: random.Random, count: int) -> dict[str, str]:
    """Give ``count`` params as MLflow keeps them: strings."""
    known = {
        "learning_rate": str(rng.choice((1e-2, 1e-3, 3e-4, 1e-5))),
        "hidden_size": str(rng.choice((16, 32, 64, 128))),
        "dropout": str(rng.choice((0.0, 0.1, 0.3))),
        "batch_size": str(rng.choice((32, 64, 256))),
        "optimizer": rng.choice(("adam", "adamw", "sgd")),
        "seed": str(rng.randrange(1000)),
        "lookback": str(rng.choice((5, 20, 60))),
        "ticker": rng.choice(("GOOG", "SPY", "QQQ")),
        "bidirectional": str(rng.random() < 0.5),
        "epochs": str(rng.choice((10, 50, 100))),
    }
    return dict([*known.items(), *((f"param_{n}", str(rng.random())) for n in range(10, count))][:count])


def make_tags(shape: Shape, index: int, name: str, user: str) -> dict[str, str]:
    """Give the tags that MLflow sets, then our own, ``shape.tags`` in all; a child has its parent's too."""
    known = {
        "mlflow.user": user,
        "mlflow.source.name": "train.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.runName": name,
        "strategy": ("momentum", "reversal", "carry")[index % 3],
        "mlflow.source.git.commit": run_id_of(shape, index // 50) + "00000000",
    }
    more = ((f"tag_{n}", str(index)) for n in range(len(known), shape.tags))
    tags = dict([*known.items(), *more][: shape.tags])
    # One block of SWEEP in five is a sweep: its first run is the parent of the others.
    if index // SWEEP % 5 == 0 and index % SWEEP:
        tags["mlflow.parentRunId"] = run_id_of(shape, index - index % SWEEP)
    return tags


# --- from runs to rows ----------------------------------------------------------------------------

INSERTS = {
    "runs": "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,"
    " start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time)"
    " VALUES (?, ?, 'UNKNOWN', '', '', ?, ?, ?, ?, '', ?, ?, ?, ?)",
    "tags": "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
    "params": "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
    "metrics": "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)",
    "latest_metrics": "INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan)"
    " VALUES (?, ?, ?, ?, ?, ?)",
}


def stored(value: float) -> tuple[float, int]:
    """Give (value, is_nan) as MLflow's SQL store writes a metric."""
    if math.isnan(value):
        return 0.0, 1
    return max(-LARGEST, min(LARGEST, value)), 0


def metric_row(run: MadeRun, key: str, value: float, step: int) -> tuple[Any, ...]:
    """Give a row for ``metrics`` or ``latest_metrics``."""
    number, is_nan = stored(value)
    return key, number, run.logged_at + step * 10, run.run_id, step, is_nan


def rows_of(run: MadeRun) -> dict[str, list[tuple[Any, ...]]]:
    """Give the rows of one run, by table, in the order in which a training script logs them."""
    latest = [metric_row(run, key, value, len(run.curves.get(key, ()))) for key, value in run.metrics.items()]
    earlier = [
        metric_row(run, key, value, step) for key, curve in run.curves.items() for step, value in enumerate(curve)
    ]
    info = (
        run.run_id,
        run.name,
        run.user,
        run.status,
        run.start_time,
        run.end_time,
        run.lifecycle_stage,
        f"{ARTIFACTS}/{run.experiment_id}/{run.run_id}/artifacts",
        run.experiment_id,
        run.deleted_time,
    )
    return {
        "runs": [info],
        "tags": [(key, value, run.run_id) for key, value in run.tags.items()],
        "params": [(key, value, run.run_id) for key, value in run.params.items()],
        "metrics": earlier + latest,
        "latest_metrics": latest,
    }


def fill(database: sqlite3.Connection, shape: Shape) -> None:
    """Insert everything in one transaction."""
    # Every index stays in place: rebuilt afterwards, it would be neater than the one of a store that grew.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "foreign_keys=OFF"):
        database.execute(f"PRAGMA {pragma}")
    insert_experiments(database, shape)
    for index in range(shape.runs):
        for table, rows in rows_of(make_run(shape, index)).items():
            database.executemany(INSERTS[table], rows)
    insert_models(database, shape)
    database.commit()
    database.execute("PRAGMA journal_mode=DELETE")


def insert_experiments(database: sqlite3.Connection, shape: Shape) -> None:
    """Insert experiments 1 to N; MLflow itself has made number 0, "Default"."""
    database.executemany(
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time,"
        " last_update_time) VALUES (?, ?, ?, 'active', ?, ?)",
        [
            (n, f"strategy-{n}", f"{ARTIFACTS}/{n}", FIRST_START + n, FIRST_START + n)
            for n in range(1, shape.experiments + 1)
        ],
    )


def insert_models(database: sqlite3.Connection, shape: Shape) -> None:
    """Insert registered models, each with versions that come from runs, an alias on two, and a tag."""
    for model in range(shape.models if shape.runs else 0):
        name = f"alpha-{model}"
        database.execute(
            "INSERT INTO registered_models (name, creation_time, last_updated_time, description) VALUES (?, ?, ?, ?)",
            (name, FIRST_START, FIRST_START + shape.versions, f"Strategy number {model}"),
        )
        database.execute("INSERT INTO registered_model_tags (name, key, value) VALUES (?, 'desk', 'equities')", (name,))
        for number in range(1, shape.versions + 1):
            insert_version(database, name, number, make_run(shape, (model * 97 + number * 13) % shape.runs))
        aliases = [("champion", max(1, shape.versions - 1)), ("challenger", shape.versions)]
        database.executemany(
            "INSERT INTO registered_model_aliases (name, alias, version) VALUES (?, ?, ?)",
            [(name, alias, number) for alias, number in aliases if shape.versions],
        )


def insert_version(database: sqlite3.Connection, name: str, number: int, run: MadeRun) -> None:
    """Insert one version of a model, made from ``run``."""
    source = f"{ARTIFACTS}/{run.experiment_id}/{run.run_id}/artifacts/model"
    created = run.start_time + 600_000
    database.execute(
        "INSERT INTO model_versions (name, version, creation_time, last_updated_time, user_id, current_stage,"
        " source, run_id, status, storage_location) VALUES (?, ?, ?, ?, ?, 'None', ?, ?, 'READY', ?)",
        (name, number, created, created, run.user, source, run.run_id, source),
    )


# --- files ----------------------------------------------------------------------------------------


def empty_database() -> Path:
    """Have MLflow create and migrate an empty database, once for each version of MLflow."""
    path = DATA / f"empty-mlflow{version('mlflow')}.db"
    if not path.exists():
        temporary = unfinished(path)
        script = f"import mlflow; mlflow.MlflowClient('sqlite:///{temporary}').search_experiments()"
        subprocess.run([sys.executable, "-c", script], check=True, stdout=sys.stderr, cwd=DATA)
        temporary.replace(path)
    return path


def unfinished(path: Path) -> Path:
    """Give the name under which a file is made, so that an interrupted one is never taken for a store."""
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


def make_store(shape: Shape, *, check: bool = True) -> Path:
    """Return the store of this shape, made and checked first if it is not there yet."""
    DATA.mkdir(exist_ok=True)
    path = DATA / f"{shape.stem()}.db"
    if path.exists():
        return path
    temporary = unfinished(path)
    shutil.copy(empty_database(), temporary)
    began = time.perf_counter()
    with closing(sqlite3.connect(temporary)) as database:
        fill(database, shape)
    print(f"{path.name}: {shape.runs} runs in {time.perf_counter() - began:.1f} s", file=sys.stderr)
    if check:
        check_store(temporary, shape)
    temporary.replace(path)
    return path


def analysed(path: Path) -> Path:
    """Return a copy of the store on which ANALYZE has been run."""
    copy = path.with_suffix(".analysed.db")
    if not copy.exists():
        temporary = unfinished(copy)
        shutil.copy(path, temporary)
        with closing(sqlite3.connect(temporary)) as database:
            database.execute("ANALYZE")
        temporary.replace(copy)
    return copy


# --- the check against MLflow ---------------------------------------------------------------------


def check_store(path: Path, shape: Shape) -> None:
    """Read a sample back through MLflow and compare it with what was meant.

    Raises:
        AssertionError: MLflow sees something else.
    """
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{path}")
    sample = random.Random(shape.seed).sample(range(shape.runs), min(20, shape.runs))
    for index in sample:
        expect(as_read(client.get_run(run_id_of(shape, index))), as_meant(make_run(shape, index)))
    everywhere = [str(n) for n in range(shape.experiments + 1)]
    page = client.search_runs(everywhere, max_results=100, order_by=["start_time DESC"])
    newest = list(newest_runs(shape, 100))
    expect([run.info.run_id for run in page], [run.run_id for run in newest])
    for read, meant in zip(page, newest, strict=True):
        expect(as_read(read), as_meant(meant))
    expect(len(client.search_registered_models()), shape.models if shape.runs else 0)
    for n in range(shape.models if shape.runs and shape.versions else 0):
        found = client.get_model_version_by_alias(f"alpha-{n}", "challenger")
        expect(int(found.version), shape.versions)
    print(f"checked against MlflowClient: {len(sample)} runs, a page of {len(page)}, models", file=sys.stderr)


def newest_runs(shape: Shape, count: int) -> Iterator[MadeRun]:
    """Give the newest active runs; late imports only ever look older, so the last rows hold them."""
    made = [make_run(shape, index) for index in range(max(0, shape.runs - 2 * count - 100), shape.runs)]
    active = sorted((run for run in made if run.deleted_time is None), key=lambda run: -run.start_time)
    yield from active[:count]


def as_meant(run: MadeRun) -> tuple[Any, ...]:
    """Give the run as comparable values; NaN by name, for it does not equal itself."""
    metrics = {key: "nan" if stored(value)[1] else stored(value)[0] for key, value in run.metrics.items()}
    info = (run.run_id, run.name, str(run.experiment_id), run.user, run.status, run.lifecycle_stage)
    return info, (run.start_time, run.end_time), metrics, run.params, run.tags


def as_read(run: Any) -> tuple[Any, ...]:
    """Give the same of an ``mlflow.entities.Run``."""
    info, data = run.info, run.data
    metrics = {key: "nan" if math.isnan(value) else value for key, value in data.metrics.items()}
    who = (info.run_id, info.run_name, info.experiment_id, info.user_id, info.status, info.lifecycle_stage)
    return who, (info.start_time, info.end_time), metrics, data.params, data.tags


def expect(read: Any, meant: Any) -> None:
    """Compare, and say both when they differ."""
    if read != meant:
        raise AssertionError(f"MLflow reads {read!r}, meant was {meant!r}")


def main() -> None:
    """Make the store that the options describe and print its path."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    defaults = Shape()
    for field in Shape.__slots__:
        parser.add_argument(f"--{field}", type=int, default=getattr(defaults, field))
    parser.add_argument("--analysed", action="store_true", help="print a copy on which ANALYZE was run")
    parser.add_argument("--no-check", dest="check", action="store_false", help="skip the look through MLflow")
    options = parser.parse_args()
    shape = Shape(**{field: getattr(options, field) for field in Shape.__slots__})
    path = make_store(shape, check=options.check)
    print(analysed(path) if options.analysed else path)


if __name__ == "__main__":
    main()
