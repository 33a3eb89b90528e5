"""The shorter ways through a SQLite store: each must find what asking every run finds."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cli.support import NEW_YEAR, Rows

from agentnn.query.evaluation import matches, sorted_runs
from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import OrderBy, RunQuery
from agentnn.query.selection import BestQuery, rank
from agentnn.stores.sql import search as sql_search
from agentnn.stores.sql.dialect import TRUE, Dialect
from agentnn.stores.sql.run_ids import RunIds
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase
from agentnn.stores.sql.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentnn.records import Run

RUNS = 3000
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def path(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of which few have this or that; some began earlier than they were written, some at no known time."""
    made = tmp_path_factory.mktemp("search") / "mlflow.db"
    made.write_bytes(template_database.read_bytes())
    chance = random.Random(4)
    with Rows(made) as rows:
        for number in range(RUNS):
            late = 900_000 if chance.random() < 0.02 else 0
            start = None if chance.random() < 0.01 else NEW_YEAR + number // 2 * 1000 - late
            odd = chance.choice([NAN, INF, -INF]) if chance.random() < 0.1 else None
            score = round(chance.gauss(0, 1), 1) if odd is None else odd
            rows.run(
                f"{number * 7919 % 2**32:08x}{number:024x}" if number % 500 else f"odd-{number}",
                f"run-{number // 2}",
                start_time=start,
                status=chance.choices(["FINISHED", "FAILED"], [9, 1])[0],
                lifecycle_stage="deleted" if chance.random() < 0.03 else "active",
                metrics={"score": score, **({"rare": float(number)} if number in (3, 1500, 2990) else {})},
                params={"seed": str(number % 300), "lr": chance.choice(["0.1", "1e-1", "0.2"])},
                tags={"team": "quant"} if number % 3 else {},
            )
        rows.execute("UPDATE tags SET value = 'renamed' WHERE key = 'mlflow.runName' AND run_uuid LIKE '%7'")
        rows.execute("DELETE FROM tags WHERE key = 'mlflow.runName' AND run_uuid LIKE '%9'")
    return made


@pytest.fixture(scope="module")
def store(path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(f"sqlite:///{path}")) as opened:
        yield opened


@pytest.fixture(scope="module")
def every(store: SqlStore, path: Path) -> list[Run]:
    """All runs, found by their ids."""
    with closing(sqlite3.connect(path)) as connection:
        return store.find_runs([row[0] for row in connection.execute("SELECT run_uuid FROM runs")])


FILTERS = (
    "metrics.score > 0",
    "metrics.score > 2.5",
    "metrics.score != 0.1",
    "metrics.rare >= 1500",
    "metrics.nobody > 1",
    "params.seed = '7'",
    "params.seed = 7",
    "params.seed IN ('7', '8') AND metrics.score > 1",
    "params.seed = '7' OR metrics.rare > 0",
    "NOT params.seed = '7'",
    "params.lr = 0.1 AND tags.team = 'quant' AND metrics.score > 2",
    "tags.team = 'nobody'",
    "tags.team IS NULL AND params.seed = '6'",
    "attributes.run_name = 'run-1400'",
    "attributes.run_name = 'renamed' AND params.seed = '7'",
    "attributes.run_name LIKE 'run-14%7'",
    "attributes.run_name != 'renamed' AND params.seed = '17'",
    "attributes.run_id = 'odd-500'",
    "attributes.run_id LIKE 'odd-%'",
    "attributes.run_id LIKE 'odd-_00'",
    "attributes.run_id LIKE 'odd-_0%'",
    "attributes.run_id LIKE '0%' AND metrics.score > 1",
    "attributes.run_id LIKE '%'",
    "attributes.status = 'FAILED'",
)


@pytest.mark.parametrize("limit", [1, 100, None])
@pytest.mark.parametrize("text", FILTERS)
def test_filters(store: SqlStore, every: list[Run], text: str, limit: int | None):
    condition = parse_filter(text)
    for view in ("active", "all"):
        expected = [run for run in every if matches(condition, run) and view in ("all", run.lifecycle_stage)]
        query = RunQuery(filter=condition, limit=limit, view=view)
        found = [run.run_id for run in store.search_runs(query)]
        assert found == [run.run_id for run in sorted_runs(expected)][:limit]
        assert list(store.search_run_ids(query)) == found


@pytest.mark.parametrize("limit", [1, 7, 400, 1000, 2900, None])
@pytest.mark.parametrize("order", ["metrics.score DESC", "metrics.score", "metrics.rare", "metrics.rare DESC"])
def test_the_order_of_a_metric(store: SqlStore, every: list[Run], order: str, limit: int | None):
    keys = (OrderBy(*parse_order(order)),)
    for text in ("attributes.status = 'FINISHED'", "params.seed = '7'"):
        condition = parse_filter(text)
        expected = [run for run in every if matches(condition, run) and run.lifecycle_stage == "active"]
        found = store.search_runs(RunQuery(filter=condition, order_by=keys, limit=limit))
        assert [run.run_id for run in found] == [run.run_id for run in sorted_runs(expected, keys)][:limit]


@pytest.fixture(params=["as it is", "read ahead, with more odd values than are set aside"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "as it is":
        monkeypatch.setattr("agentnn.stores.sql.sqlite_file.LARGE_BYTES", 0)
        monkeypatch.setattr("agentnn.stores.sql.odd_values._MOST", 50)


@pytest.mark.usefixtures("read")
@pytest.mark.parametrize("include_unfinished", [False, True])
@pytest.mark.parametrize("text", [None, "params.seed = '7'", "metrics.score > 0", "attributes.status = 'FAILED'"])
@pytest.mark.parametrize("metric", ["score", "rare", "nobody"])
def test_the_best_run_and_what_was_left_out(
    store: SqlStore, every: list[Run], metric: str, text: str | None, include_unfinished: bool
):
    condition = None if text is None else parse_filter(text)
    for mode in ("max", "min"):
        query = BestQuery(
            metric, mode, scope=RunQuery(filter=condition), top=3, include_unfinished=include_unfinished, tally=True
        )  # fmt: skip
        inside = [run for run in every if run.lifecycle_stage == "active" and matches(condition, run)]
        expected = rank(query, [(run, run.metrics.get(metric)) for run in inside])
        found = store.best_runs(query)
        assert [(one.run.run_id, one.value) for one in found.candidates] == [
            (one.run.run_id, one.value) for one in expected.candidates
        ]
        assert (found.considered, found.excluded) == (expected.considered, expected.excluded)


@pytest.mark.parametrize("limit", [None, 10_500, 2000])
def test_chunks_of_a_database_server(path: Path, every: list[Run], limit: int | None, monkeypatch: pytest.MonkeyPatch):
    """A server's way, on rows that are quicker to make: half of the runs began with another one, some at no time."""

    class Server(Dialect):
        has_rowid = False

    monkeypatch.setattr(sql_search, "CHUNK", 100)
    monkeypatch.setattr(sql_search, "_FEW", 1000)
    monkeypatch.setattr(ReadOnlyDatabase, "dialect", Server())
    with closing(ReadOnlyDatabase(path)) as database:
        chunks = list(sql_search.ids_in_chunks(database, RunQuery(limit=limit), TRUE))
    assert max(map(len, chunks)) == 100
    assert [one for chunk in chunks for one in chunk] == [run.run_id for run in sorted_runs(every)][:limit]


def test_ids_of_any_kind_come_back_in_order():
    hex_ids = [f"{number:032x}" for number in range(10)]
    odd = ["", "run", "A" * 32, "é" * 32, "0" * 31, "0" * 33, "0 " * 16, "g" * 32, "0" * 32]
    kept = RunIds()
    kept.extend(hex_ids)
    kept.extend([])
    kept.extend(odd)
    kept.extend([*hex_ids, *odd])
    everything = [*hex_ids, *odd, *hex_ids, *odd]
    assert len(kept) == len(everything)
    for size in (1, 3, 7, 1000):
        chunks = list(kept.chunks(size))
        assert [run_id for chunk in chunks for run_id in chunk] == everything
        assert all(len(chunk) == size for chunk in chunks[:-1])
    backwards = range(len(everything) - 1, -1, -1)
    assert kept.picked(backwards) == everything[::-1]
    assert list(RunIds().chunks(5)) == []
