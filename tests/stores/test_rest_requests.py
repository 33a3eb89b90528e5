"""How many requests a question costs a server, and which: each waits for the one before it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import ADA, BOB, fill, in_process
from real_stores import MlflowServer, make_equal

from agentnn.query.filters import parse_filter
from agentnn.stores.rest.connection import Connection
from agentnn.stores.rest.pushdown import LIMIT, pushed, with_index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEARCH = "runs/search"
EXPERIMENTS = "experiments/search"
BY_NAME = "experiments/get-by-name"
RUN = ["runs/get", "experiments/get"]
MODEL = ["registered-models/get", "model-versions/search"]
COSTS = {
    ("run", "list"): [EXPERIMENTS, SEARCH],
    ("run", "list", "-e", "alpha"): [BY_NAME, SEARCH],
    ("run", "list", "--sort", "metrics.sharpe", "-n", "1"): [EXPERIMENTS, SEARCH],
    ("run", "list", "--filter", "params.lr > 0.001"): [EXPERIMENTS, SEARCH],
    ("run", "show", ADA): RUN,
    ("run", "show", "ada"): ["runs/get", EXPERIMENTS, SEARCH],
    ("run", "show", ADA[:4]): ["runs/get", EXPERIMENTS, SEARCH, EXPERIMENTS, SEARCH],
    ("run", "show", "@last"): [EXPERIMENTS, SEARCH],
    ("run", "show", "@last", "-e", "alpha"): [BY_NAME, SEARCH],
    ("run", "show", "@best:sharpe"): [EXPERIMENTS, SEARCH],
    ("run", "show", "models:/net@champion"): [*MODEL, *RUN],
    ("run", "best", "--metric", "sharpe"): [EXPERIMENTS, SEARCH, SEARCH],  # so few are counted, too
    ("run", "best", "--metric", "sharpe", "--no-tally"): [EXPERIMENTS, SEARCH],
    ("run", "best", "--metric", "sharpe", "-e", "alpha", "--no-tally"): [BY_NAME, SEARCH],
    ("run", "history", ADA, "--metric", "loss"): [*RUN, "metrics/get-history"],
    ("run", "compare", ADA, BOB): [*RUN, *RUN],
    ("experiment", "list"): [EXPERIMENTS],
    ("experiment", "show", "alpha"): [BY_NAME, SEARCH],
    ("model", "list"): ["registered-models/search", *MODEL],
    ("model", "show", "net"): MODEL,
    ("model", "show", "net@champion"): ["registered-models/get", *MODEL],  # a name may hold an @
    ("model", "versions", "net"): MODEL,
}


@pytest.fixture(scope="module")
def server(
    mlflow_server: MlflowServer,
    _server_database: Path,
    _server_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> MlflowServer:
    """The session's server with the small store whose every answer is known."""
    filled = tmp_path_factory.mktemp("requests") / "mlflow.db"
    shutil.copyfile(_server_template, filled)
    fill(filled)
    make_equal(_server_database, filled)
    return mlflow_server


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The endpoints that are asked for, in order."""
    found: list[str] = []
    exchange = Connection.exchange

    def counted(self: Connection, method: str, target: str, *more: object) -> object:
        found.append(target.partition("?")[0].removeprefix("/api/2.0/mlflow/"))
        return exchange(self, method, target, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Connection, "exchange", counted)
    return found


@pytest.mark.parametrize("command", COSTS, ids=" ".join)
def test_a_command_asks_for_no_more_than_it_needs(
    server: MlflowServer, asked: list[str], command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    ended = in_process(*command, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert asked == COSTS[command]


class TestWhatIsSorted:
    """MLflow's own statement for a question of ours, as SQLite would run it in a database that was never analysed."""

    @pytest.fixture
    def plan(self, database: Path) -> Callable[[str], list[str]]:
        from mlflow.entities import ViewType
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        from sqlalchemy import event

        store = SqlAlchemyStore(f"sqlite:///{database}", database.parent.as_uri())
        seen: list[tuple[str, Any]] = []
        event.listen(store.engine, "before_cursor_execute", lambda *args: seen.append((args[2], args[3])))

        def planned(filter_text: str) -> list[str]:
            seen.clear()
            store.search_runs(["0", "1"], filter_text, ViewType.ACTIVE_ONLY, 2, ["metrics.`loss` DESC"])
            statement, values = next(one for one in seen if "FROM runs" in one[0])
            with closing(sqlite3.connect(database)) as connection:
                return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]

        return planned

    @pytest.mark.parametrize("filter_text", ["", "status != 'FINISHED'", "user_id = 'ana'", "start_time > 7"])
    def test_the_database_makes_an_index_for_it(self, plan: Callable[[str], list[str]], filter_text: str) -> None:
        conditions = pushed(parse_filter(filter_text) if filter_text else None)
        assert conditions.is_light
        value = f"metrics.`loss` < {LIMIT}"
        finished = "attributes.status = 'FINISHED'"
        for asked in (with_index(conditions).and_also(value), conditions.and_also(finished, value)):
            assert any("AUTOMATIC" in step and "anon" in step for step in plan(str(asked))), asked
