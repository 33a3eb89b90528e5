"""Reading PostgreSQL and MariaDB in process: ``ModelManager`` against ``MlflowClient`` on the same database.

A server of its own is started as the tests start it, which is as it comes but for the costs of being safe, and gets the
rows of the SQLite store of the same size, analysed. Both sides keep their manager or client, so that start-up is not in
the times; the best run as a whole process comes last.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import subjects as given
from timing import Goal, compare_calls, compare_commands, note, print_header

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

SERVERS = {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}
TESTS = given.HERE.parent / "tests"
TABLES = (
    "experiments", "runs", "params", "tags", "metrics", "latest_metrics", "registered_models", "registered_model_tags",
    "model_versions", "registered_model_aliases",
)  # fmt: skip
BEST, FILTERED, NEWEST, ONE, ALL = "best run", "a filter, 100 runs", "latest 100", "one run", "all runs as records"
AT_ONCE = 10_000
FILTER = "metrics.sharpe_ratio > 1.5 and params.optimizer = 'adam'"
STRICT = "best run, of those that are finished and finite"
FINITE = f"attributes.status = 'FINISHED' and metrics.{given.METRIC} < 1e308"
BEST_GOAL, OTHER_GOAL = Goal(at_least=4), Goal(at_least=1.5)


def main() -> None:
    """Print a table a server and size."""
    options = options_of()
    if options.uri:
        compare_reads(options.runs[0], options.uri, options)
        return
    for server in options.servers:
        for runs in options.runs:
            with server_of(server, given.store_of(runs)) as uri:
                # The server takes what the tests need, the measured environment has what users have.
                ours = ["--python", options.python, "--servers", server, "--runs", str(runs), "--uri", uri]
                subprocess.run([options.python, *sys.argv, *ours], check=True, env=given.clean_environment())


def options_of() -> Namespace:
    """Read the options."""
    parser = given.parser(__doc__)
    parser.add_argument("--servers", choices=SERVERS, nargs="+", default=["postgresql"])
    parser.add_argument("--runs", type=int, nargs="+", default=[100_000])
    parser.add_argument("--all-up-to", type=int, default=10_000, help="largest store read in full")
    parser.add_argument("--uri", help="(internal) the server to measure")
    return parser.parse_args()


# --- the server ------------------------------------------------------------------------------------


@contextmanager
def server_of(server: str, store: Path) -> Iterator[str]:
    """Start a server that holds what a SQLite store holds, and give its tracking URI."""
    sys.path.append(str(TESTS))
    from real_stores import MariaCluster, PostgresCluster

    with PostgresCluster() if server == "postgresql" else MariaCluster(memory="128M") as cluster:
        uri = cluster.uri if isinstance(cluster, MariaCluster) else cluster.create_store("/nowhere/0")
        note(f"copying {store.name} …")
        with closing(sqlite3.connect(store)) as source:
            fill_postgresql(uri, source) if server == "postgresql" else fill_mariadb(uri, source)
        yield uri


def fill_postgresql(uri: str, source: sqlite3.Connection) -> None:
    """Copy the rows and have PostgreSQL look at them, as its autovacuum would soon."""
    import psycopg

    with psycopg.connect(uri.replace("+psycopg", ""), autocommit=True) as target:
        target.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
        for table in TABLES:
            columns = columns_of(source, table)
            names = ", ".join(f'"{column}"' for column in columns)
            flags = {index for index, column in enumerate(columns) if column == "is_nan"}
            with target.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in source.execute(f"SELECT {names} FROM {table}"):
                    copy.write_row([bool(one) if at in flags else one for at, one in enumerate(row)])
        target.execute("VACUUM ANALYZE")


def fill_mariadb(uri: str, source: sqlite3.Connection) -> None:
    """Copy the rows and have MariaDB look at them."""
    import pymysql
    from sqlalchemy.engine import make_url

    at = make_url(uri)
    with closing(pymysql.connect(host=at.host, port=at.port or 0, user=at.username, database=at.database)) as target:
        cursor = target.cursor()
        cursor.execute("SET foreign_key_checks = 0, unique_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
        for table in reversed(TABLES):
            cursor.execute(f"DELETE FROM {table}")
        for table in TABLES:
            columns = columns_of(source, table)
            names, places = ", ".join(f"`{column}`" for column in columns), ", ".join(["%s"] * len(columns))
            rows = source.execute(f"SELECT {names} FROM {table}")
            while some := rows.fetchmany(AT_ONCE):
                cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", some)
            target.commit()
            cursor.execute(f"ANALYZE TABLE {table}")
            cursor.fetchall()


def columns_of(source: sqlite3.Connection, table: str) -> list[str]:
    """Give the names of a table's columns."""
    return [row[1] for row in source.execute(f"PRAGMA table_info({table})")]


# --- times -----------------------------------------------------------------------------------------


def compare_reads(runs: int, uri: str, options: Namespace) -> None:
    """Print the rows of one store."""
    own, peer = own_reads(uri), peer_reads(uri)
    for question in own:
        if question != ALL or runs <= options.all_up_to:
            given.same(question, own[question](), peer[STRICT if question == BEST else question]())
    note("both sides find the same runs")
    server = SERVERS[options.servers[0]]
    print_header(f"{runs:,} runs in process, {server}")
    for question, call in own.items():
        if question != ALL or runs <= options.all_up_to:
            goal = BEST_GOAL if question == BEST else OTHER_GOAL
            labels = (question, "agentnn", "MlflowClient")
            compare_calls(labels, call, peer[question], rounds=3 if question == ALL else options.rounds, goal=goal)
    print_header(f"{runs:,} runs, whole processes, {server}")
    whole = given.subjects(options.python, Path("/nowhere"))
    at = ["--tracking-uri", uri, "run", "best", "-m", given.METRIC, "-o", "id"]
    client = whole.peer_best()
    client = replace(client, env={**client.env, "MLFLOW_TRACKING_URI": uri})
    compare_commands((BEST, "agentnn", "MlflowClient"), whole.agentnn(*at), client, rounds=options.rounds)


def own_reads(uri: str) -> dict[str, Any]:
    """Give our side's calls, each with the ids that it finds."""
    from agentnn import ModelManager

    manager = ModelManager(uri)
    (newest,) = manager.list_runs(limit=1)
    return {
        BEST: lambda: [manager.get_best_run(given.METRIC).run_id],
        FILTERED: lambda: [run.run_id for run in manager.list_runs(filter=FILTER, limit=100)],
        NEWEST: lambda: [run.run_id for run in manager.list_runs(limit=100)],
        ONE: lambda: [manager.get_run(newest.run_id).run_id],
        ALL: lambda: [run.run_id for run in manager.list_runs(limit=None)],
    }


def peer_reads(uri: str) -> dict[str, Any]:
    """Give the peer's calls, each with the ids that it finds."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    everywhere = [found.experiment_id for found in client.search_experiments()]
    by_metric = [f"metrics.{given.METRIC} DESC"]
    newest = client.search_runs(everywhere, max_results=1)[0].info.run_id

    def found(**asked: Any) -> list[str]:
        return [run.info.run_id for run in client.search_runs(everywhere, **asked)]

    return {
        BEST: lambda: found(order_by=by_metric, max_results=1),
        STRICT: lambda: found(order_by=by_metric, max_results=1, filter_string=FINITE),
        FILTERED: lambda: found(filter_string=FILTER, max_results=100),
        NEWEST: lambda: found(max_results=100),
        ONE: lambda: [client.get_run(newest).info.run_id],
        ALL: lambda: all_runs(client, everywhere),
    }


def all_runs(client: Any, everywhere: list[str]) -> list[str]:
    """Read every run through ``MlflowClient``, in its largest pages."""
    found: list[str] = []
    token = None
    while True:
        page = client.search_runs(everywhere, max_results=50_000, page_token=token)
        found += [run.info.run_id for run in page]
        token = page.token
        if not token:
            return found


if __name__ == "__main__":
    main()
