"""F03, F07, F08, F15, F16, A06 on database servers: what is wrong is said for what it is, soon; nothing is changed."""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from generated_stores import NOON, RunSpec, StoreSpec, points, run_id, write_store
from mirrored_stores import SERVERS, Mirror, Mirrors
from real_stores import PASSWORD, MariaCluster, PostgresCluster
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from agentnn.errors import AgentNNWarning, MissingDependencyError, NotAStoreError, StoreUnavailable, UsageError
from agentnn.query.expressions import Field
from agentnn.query.filters import parse_filter
from agentnn.query.runs import OrderBy, RunQuery
from agentnn.query.selection import BestQuery
from agentnn.settings import Settings
from agentnn.stores.mlflow.client import make_client
from agentnn.stores.mlflow.schema import ensure_schema
from agentnn.stores.mlflow.store import MlflowClientStore
from agentnn.stores.opening import open_registry, open_store
from agentnn.stores.sql_server import database as limits
from agentnn.stores.sql_server import mysql, postgres
from agentnn.stores.sql_server.address import parse_address
from agentnn.stores.sql_server.store import ServerRegistry, ServerStore

if TYPE_CHECKING:
    from pathlib import Path

RUNS = tuple(RunSpec(run_id(n), start_time=NOON - n, metrics={"m": points(float(n))}) for n in range(12))


@pytest.fixture(params=SERVERS)
def mirror(request: pytest.FixtureRequest, mirrors: Mirrors, template_database: Path, tmp_path: Path) -> Mirror:
    """A server of each kind, with twelve runs."""
    path = tmp_path / "mlflow.db"
    shutil.copyfile(template_database, path)
    write_store(path, StoreSpec(runs=RUNS))
    return mirrors.of(request.param, path)


def settings_of(uri: str) -> Settings:
    return Settings(uri, registry_uri=uri)


def change_outside(mirror: Mirror, statement: str) -> None:
    """Make or drop a database on the mirror's server."""
    with create_engine(mirror.uri, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(statement))


def change(mirror: Mirror, statement: str) -> None:
    """Change the store as somebody else would."""
    with mirror.writing() as cursor:
        cursor.execute(statement)


def test_the_doors_lead_to_the_tables(mirror: Mirror) -> None:
    assert isinstance(open_store(settings_of(mirror.uri)), ServerStore)
    assert isinstance(open_registry(settings_of(mirror.uri)), ServerRegistry)


def test_nothing_can_be_written_over_a_readers_connection(mirror: Mirror) -> None:
    with pytest.raises(StoreUnavailable, match=r"(?i)read.only"):
        mirror.store._rows("DELETE FROM tags")
    assert len(list(mirror.store.search_runs(RunQuery()))) == 12


@pytest.mark.parametrize("options", ["-c no_such_setting=1", ""], ids=["refused", "swallowed"])
def test_a_pooler_that_takes_no_options_is_read_by_transactions(
    mirrors: Mirrors, template_database: Path, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PgBouncer refuses options, as PostgreSQL does those that it does not know, or ignores them if told to."""
    mirror = mirrors.of("postgresql", template_database)
    monkeypatch.setattr(postgres, "_SESSION", options)
    monkeypatch.setattr(postgres, "_LOCALLY", postgres._LOCALLY.replace("= 25000", "= 300"))
    with closing(ServerStore(mirror.uri)) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"(?i)read.only"):
                store._rows("DELETE FROM tags")
            with pytest.raises(StoreUnavailable, match="took longer than"):
                store._rows("SELECT pg_sleep(20)")
        assert list(store.search_runs(RunQuery())) == []
        # Who gets the session next finds it as it was.
        with closing(store._database._connection.cursor()) as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("0",)


@pytest.mark.parametrize("uri", ["postgresql://ada:{}@127.0.0.1:{}/db", "mysql+pymysql://ada:{}@127.0.0.1:{}/db"])
def test_a_server_that_is_not_there_is_said_at_once(uri: str) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))  # and listens to nobody
        where = uri.format("s3cret", unused.getsockname()[1])
        with pytest.raises(StoreUnavailable, match=r"can be reached at 127\.0\.0\.1:\d+: ") as caught:
            open_store(settings_of(where))
    assert "s3cret" not in str(caught.value) + str(caught.value.hint)


@pytest.mark.parametrize("uri", ["postgresql://ada@127.0.0.1:{}/db", "mysql+pymysql://ada@127.0.0.1:{}/db"])
def test_a_server_that_takes_a_connection_and_is_silent_is_given_up(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "CONNECT_TIMEOUT_S", 2)  # libpq's least
    monkeypatch.setattr(mysql, "CONNECT_TIMEOUT_S", 1)
    monkeypatch.setattr(mysql, "SILENCE_S", 1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="can be reached at"):
            open_store(settings_of(uri.format(silent.getsockname()[1])))
    assert time.monotonic() - began < 60


def test_a_wrong_password_is_said_without_it(postgres: PostgresCluster) -> None:
    uri = postgres.with_password(f"postgresql://agentnn@127.0.0.1:{postgres.port}/{postgres.TEMPLATE}")
    assert ServerStore(uri).list_experiments()
    with pytest.raises(StoreUnavailable, match="the user or the password is wrong") as caught:
        ServerStore(uri.replace("//keeper:", "//keeper:x"))
    assert PASSWORD[:4] not in str(caught.value) + str(caught.value.hint)


def test_a_database_that_is_not_there_or_not_mlflows(mirror: Mirror) -> None:
    base = mirror.uri.rpartition("/")[0]
    with pytest.raises(StoreUnavailable, match="there is no database 'nowhere'"):
        open_store(settings_of(f"{base}/nowhere"))
    foreign = "postgres" if mirror.uri.startswith("postgresql") else "mysql"
    with pytest.raises(NotAStoreError, match="but not an MLflow store"):
        open_store(settings_of(f"{base}/{foreign}"))


def test_no_tables_are_made_in_a_database_of_something_else(mirror: Mirror) -> None:
    uri = f"{mirror.uri.rpartition('/')[0]}/something_else"
    change_outside(mirror, "CREATE DATABASE something_else")
    settings = settings_of(uri)
    try:
        with pytest.raises(NotAStoreError, match="not an MLflow store"):
            make_client(uri, settings)  # to read: an empty one stays empty
        engine = create_engine(uri, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE contacts (name TEXT)"))
        for write in (ensure_schema, lambda settings: make_client(uri, settings, read=False)):
            with pytest.raises(NotAStoreError, match="not an MLflow store"):
                write(settings)
        assert inspect(engine).get_table_names() == ["contacts"]
    finally:
        change_outside(mirror, "DROP DATABASE something_else")


def test_who_may_only_read_can_read(mirrors: Mirrors, postgres: PostgresCluster, template_database: Path) -> None:
    mirror = mirrors.of("postgresql", template_database)
    name = mirror.uri.rpartition("/")[2]
    postgres.execute("CREATE ROLE reader LOGIN")
    postgres.execute(f"REVOKE TEMP ON DATABASE {name} FROM PUBLIC", database=name)
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", database=name)
    try:
        with closing(ServerStore(mirror.uri.replace("//agentnn@", "//reader@"))) as store:
            assert [one.name for one in store.list_experiments()] == ["Default"]
            assert (list(store.search_runs(RunQuery())), store.best_runs(BestQuery("m")).candidates) == ([], ())
        postgres.execute("REVOKE SELECT ON tags FROM reader", database=name)
        with (
            closing(ServerStore(mirror.uri.replace("//agentnn@", "//reader@"))) as store,
            pytest.raises(StoreUnavailable, match="refuses: permission denied for table tags") as caught,
        ):
            store.find_runs([run_id(1)])
        assert "GRANT SELECT" in caught.value.hint
    finally:
        postgres.execute("DROP OWNED BY reader", database=name)
        postgres.execute("DROP ROLE reader")


def test_an_unknown_schema_is_left_to_mlflow_with_a_note(mirror: Mirror) -> None:
    change(mirror, "ALTER TABLE latest_metrics RENAME COLUMN is_nan TO is_odd")
    try:
        with pytest.warns(AgentNNWarning, match=r"no latest_metrics\.is_nan; MLflow's own client answers instead"):
            assert isinstance(open_store(settings_of(mirror.uri)), MlflowClientStore)
    finally:
        change(mirror, "ALTER TABLE latest_metrics RENAME COLUMN is_odd TO is_nan")


def test_a_locked_table_is_said_by_the_deadline(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_SESSION", postgres._SESSION.replace("lock_timeout=5000", "lock_timeout=200"))
    monkeypatch.setattr(mysql, "LOCK_TIMEOUT_S", 1)
    with closing(ServerStore(mirror.uri)) as store, mirror.writing() as writer:
        is_postgres = mirror.uri.startswith("postgresql")
        writer.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE" if is_postgres else "LOCK TABLES runs WRITE")
        try:
            with pytest.raises(StoreUnavailable, match="is locked by another session"):
                store.count_runs(RunQuery())
        finally:
            writer.execute("ROLLBACK" if is_postgres else "UNLOCK TABLES")
        assert store.count_runs(RunQuery()) == {"FINISHED": 12}


def test_a_server_that_falls_silent_in_the_middle_is_given_up(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "SILENCE_S", 0.5)
    monkeypatch.setattr(mysql, "SILENCE_S", 1)
    slow = "SELECT pg_sleep(90)" if mirror.uri.startswith("postgresql") else "SELECT SLEEP(90)"
    with closing(ServerStore(mirror.uri)) as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="took longer than 25 s"):
            store._rows(slow)
        assert time.monotonic() - began < 60
        assert store.count_runs(RunQuery()) == {"FINISHED": 12}


def test_a_statement_has_an_end(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_SESSION", postgres._SESSION.replace("=25000", "=200"))
    monkeypatch.setattr(mysql, "STATEMENT_TIMEOUT_S", 0.2)
    slow = (
        "SELECT pg_sleep(20)"
        if mirror.uri.startswith("postgresql")
        else "SELECT count(*) FROM seq_1_to_100000 a JOIN seq_1_to_100000 b"
    )
    with closing(ServerStore(mirror.uri)) as store, pytest.raises(StoreUnavailable, match="took longer than"):
        store._rows(slow)


def test_a_session_that_was_ended_is_made_anew(mirror: Mirror) -> None:
    with closing(ServerStore(mirror.uri)) as store:
        if mirror.uri.startswith("postgresql"):
            ((session,),) = store._rows("SELECT pg_backend_pid()")
            change(mirror, f"SELECT pg_terminate_backend({session}, 10000)")
        else:
            ((session,),) = store._rows("SELECT connection_id()")
            change(mirror, f"KILL {session}")
        assert store.count_runs(RunQuery()) == {"FINISHED": 12}


def test_the_pages_of_one_answer_are_of_one_moment(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentnn.stores.sql.whole_runs._CHUNK", 2)
    found = mirror.store.search_runs(RunQuery())
    first = next(found)
    change(mirror, "UPDATE runs SET name = 'changed'")
    change(mirror, f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = '{run_id(11)}'")
    assert [run.name for run in (first, *found)] == ["run"] * 12
    assert len(list(mirror.store.search_runs(RunQuery()))) == 11


def test_a_long_answer_is_held_in_parts(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "AT_ONCE", 5)
    monkeypatch.setattr(mysql, "AT_ONCE", 5)
    parts: list[int] = []
    with mirror.store._database.snapshot() as database:
        for _ in range(2):
            database.each(
                lambda rows: parts.append(len(rows)), "SELECT run_uuid FROM runs WHERE status = ?", ["FINISHED"]
            )
        assert database.rows("SELECT count(*) FROM runs") == [(12,)]
    assert parts == [5, 5, 2] * 2


@pytest.mark.parametrize(("limit", "sizes"), [(None, [5, 5, 2]), (7, [5, 2])])
def test_runs_that_are_sorted_here_come_in_parts(
    mirror: Mirror, limit: int | None, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentnn.stores.sql_server.ordering.CHUNK", 5)
    query = RunQuery(
        order_by=(OrderBy(Field("param", "none"), True), OrderBy(Field("metric", "m"), False)), limit=limit
    )
    found = [list(part) for part in mirror.store._ids_in_chunks(query)]
    assert [len(part) for part in found] == sizes
    assert sum(found, []) == [run_id(n) for n in range(11, -1, -1)][:limit]


@pytest.mark.parametrize("window", [1, 2, 32])
@pytest.mark.parametrize("limit", [1, 3, 5, 6, 7])
def test_a_filter_finds_the_newest_whatever_part_is_looked_at_first(
    mirror: Mirror, window: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentnn.stores.sql_server.newest._WINDOW", window)
    found = mirror.store.search_runs(RunQuery(filter=parse_filter("metrics.m > 2 AND params.p IS NULL"), limit=limit))
    assert [run.metrics["m"] for run in found] == [float(n) for n in range(3, 3 + limit)]


def test_the_newest_are_told_apart_where_runs_began_together(mirror: Mirror) -> None:
    change(mirror, f"UPDATE runs SET start_time = {NOON} WHERE run_uuid <= '{run_id(5)}'")
    change(mirror, f"UPDATE runs SET start_time = NULL WHERE run_uuid >= '{run_id(9)}'")
    for limit in range(1, 14):
        found = [run.run_id for run in mirror.store.search_runs(RunQuery(limit=limit))]
        assert found == [run_id(n) for n in range(12)][:limit]


def test_threads_share_a_store(mirror: Mirror) -> None:
    start = threading.Barrier(8)

    def ask(_: int) -> Any:
        start.wait()
        best = mirror.store.best_runs(BestQuery("m"))
        return [one.value for one in best.candidates]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [[11.0, 10.0]] * 8


def test_a_forked_process_connects_for_itself(mirror: Mirror) -> None:
    assert mirror.store.count_runs(RunQuery()) == {"FINISHED": 12}
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=lambda: answers.put(mirror.store.count_runs(RunQuery())))
    child.start()
    assert answers.get(timeout=60) == {"FINISHED": 12}
    child.join(30)
    assert mirror.store.count_runs(RunQuery()) == {"FINISHED": 12}


def test_a_text_that_no_server_can_hold_is_refused_or_finds_nothing(mirror: Mirror) -> None:
    assert mirror.store.find_experiment(name="a\0b") is None
    if mirror.uri.startswith("postgresql"):
        with pytest.raises(UsageError, match="NUL"):
            mirror.store.metric_history(run_id(1), "a\0b")
    with pytest.raises(UsageError, match="not valid Unicode"):
        mirror.store.metric_history(run_id(1), "\udc80")


@pytest.mark.parametrize(
    ("uri", "module", "extra"),
    [("postgresql://h/db", "psycopg", "postgres"), ("mysql+pymysql://h/db", "pymysql", "mysql")],
)
def test_a_driver_that_is_missing_is_said_with_what_installs_it(
    uri: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (module, "psycopg2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=f"{module} is not installed") as caught:
        open_store(settings_of(uri))
    assert caught.value.hint == f"pip install 'agentnn[{extra}]'"


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://h:port/db",
        "postgresql://127.0.0.1:1/db?no_such_option=1",
        "mysql+pymysql://127.0.0.1:1/db?ssl_ca=/nowhere.pem",
        "postgresql://127.0.0.1:1/db?sslmode=bogus",
    ],
)
def test_an_address_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(UsageError):
        open_store(settings_of(uri))


@pytest.mark.parametrize(
    ("query", "tls"),
    [
        ("ssl_ca=/ca.pem", {"ca": "/ca.pem"}),
        ("ssl_ca=/ca.pem&ssl_check_hostname=false", {"ca": "/ca.pem", "check_hostname": False}),
        ("ssl_ca=/ca.pem&ssl_verify_cert=true", {"ca": "/ca.pem", "verify_mode": True, "check_hostname": False}),
        ("ssl_cert=/c.pem&ssl_key=/k.pem", {"cert": "/c.pem", "key": "/k.pem"}),
    ],
)
def test_a_servers_certificate_is_looked_at_as_mlflow_does(query: str, tls: dict[str, object]) -> None:
    """SQLAlchemy makes one option of these; PyMySQL trusts any certificate where they are given one by one."""
    database = object.__new__(mysql.MySqlDatabase)
    database.address = parse_address(f"mysql+pymysql://h/db?{query}&connect_timeout=7")
    assert (database._options["ssl"], database._options["connect_timeout"]) == (tls, 7)
    assert not [name for name in database._options if name.startswith("ssl_")]


def test_a_mariadb_of_the_cluster_is_called_by_its_name(mariadb: MariaCluster) -> None:
    with pytest.raises(StoreUnavailable, match="MySQL at 127"):
        ServerStore(mariadb.uri.replace("//root@", "//nobody:x@"))
    assert limits.STATEMENT_TIMEOUT_S + limits.CONNECT_TIMEOUT_S < 35
