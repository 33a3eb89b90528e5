"""MLflow's tables in a new database, made by one process at a time.

MLflow makes its tables in some sixty steps. Processes that start together disturb each other there: on SQLite all die
and the file is unusable for good, on PostgreSQL all but one die. Here a SQLite file is made beside its place and moved
there whole, and a database server is asked for an advisory lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from agentnn.errors import NotAStoreError
from agentnn.settings import redact
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.sql.sqlite_file import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from agentnn.settings import Settings

_LOCK = 0x6167656E746E6E
"""The key of the advisory lock: "agentnn" as a number."""


def ensure_schema(settings: Settings) -> None:
    """Make MLflow's tables where there are none; a database that has some is left as it is.

    Raises:
        StoreUnavailable: The database can't be reached or made.
    """
    uri = settings.tracking_uri
    dialect = uri.lower().partition(":")[0].partition("+")[0]
    if dialect == "sqlite":
        path = sqlite_path(uri)
        if _is_there(path):
            _undo_half_a_write(path)
            return
        with mlflow_call(settings, read=False):
            _ensure_sqlite(path)
    elif dialect in ("postgresql", "mysql"):
        with mlflow_call(settings, read=False), _advisory_lock(uri, dialect) as connection:
            refuse_a_foreign_database(connection, uri, read=False)
            _make_tables(uri)


def _ensure_sqlite(path: Path) -> None:
    with _locked(path.parent):
        if _is_there(path):
            return
        mark = f".{path.name}.agentnn-"
        for left in path.parent.iterdir():  # by a process that was killed: who makes one holds the lock
            if left.name.startswith(mark):
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=mark, dir=path.parent) as scratch:
            made = Path(scratch, path.name)
            _make_tables(f"sqlite:///{quote(str(made))}")
            if path.exists():  # an empty file
                made.replace(path)
            else:
                with suppress(FileExistsError):  # somebody without our lock was faster
                    path.hardlink_to(made)


def _undo_half_a_write(path: Path) -> None:
    """Let SQLite roll back what a killed process left; it does so for whoever may write, and only for them."""
    if path.with_name(f"{path.name}-journal").exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version")


def _is_there(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _make_tables(uri: str) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


def refuse_a_foreign_database(connection: Connection, uri: str, *, read: bool) -> None:
    """Leave a database alone that holds somebody else's tables; MLflow would make its sixty among them.

    Args:
        connection: To it.
        uri: Names it.
        read: Whether none are to be made where there are no tables at all, either.

    Raises:
        NotAStoreError: It is none of MLflow's.
    """
    from sqlalchemy import inspect

    tables = set(inspect(connection).get_table_names())
    if (tables or read) and not tables >= {"experiments", "runs"}:
        raise NotAStoreError(
            f"{redact(uri)} is a database, but not an MLflow store",
            hint="check the tracking URI; MLflow needs a database of its own",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the kernel's lock on a folder, which leaves no file behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _advisory_lock(uri: str, dialect: str) -> Iterator[Connection]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    take, free = {
        "postgresql": (f"SELECT pg_advisory_lock({_LOCK})", f"SELECT pg_advisory_unlock({_LOCK})"),
        "mysql": ("SELECT GET_LOCK('agentnn', 60)", "SELECT RELEASE_LOCK('agentnn')"),
    }[dialect]
    with create_engine(uri, poolclass=NullPool).connect() as connection:
        connection.execute(text(take))
        try:
            yield connection
        finally:
            connection.execute(text(free))
