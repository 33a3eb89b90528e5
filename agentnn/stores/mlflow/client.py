"""MLflow's own client: made so that it creates and migrates nothing in order to read, and asked page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.stores.destination import check_sqlite_path
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.mlflow.schema import refuse_a_foreign_database
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase, schema_revision, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

    from agentnn.query.runs import View
    from agentnn.settings import Settings

RUNS_IN_A_FILTER = 50
"""Ids in one request, which MLflow sends as part of a URL."""

_DATABASE_SERVERS = ("postgresql", "mysql")
_CONNECT_TIMEOUT_S = 10


def make_client(uri: str, settings: Settings, *, read: bool = True) -> MlflowClient:
    """An ``MlflowClient``, but never one that creates or migrates a database in order to read it."""
    if read and uri.lower().startswith("sqlite"):
        _refuse_to_migrate(uri)
    with mlflow_call(settings, read=read):
        from mlflow import MlflowClient

        if uri.lower().startswith(_DATABASE_SERVERS):
            _try_to_connect(uri, read=read)
        return MlflowClient(tracking_uri=uri, registry_uri=settings.registry_uri)


def _try_to_connect(uri: str, *, read: bool) -> None:
    """Ask a database server once whether it lets us in; MLflow asks for minutes, and makes its tables anywhere."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import NullPool

    limit = {} if "connect_timeout" in make_url(uri).query else {"connect_timeout": _CONNECT_TIMEOUT_S}
    with create_engine(uri, poolclass=NullPool, connect_args=limit).connect() as connection:
        refuse_a_foreign_database(connection, uri, read=read)


def check_before_writing(uri: str) -> None:
    """Look at a SQLite path before MLflow does, which retries for minutes and migrates without asking.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError: See :func:`~agentnn.stores.destination.check_sqlite_path`.
        UsageError: The database's schema is not the installed MLflow's.
    """
    if uri.lower().startswith("sqlite"):
        path = sqlite_path(uri)
        check_sqlite_path(path)
        if path.exists() and path.stat().st_size:
            _refuse_to_migrate(uri)


def _refuse_to_migrate(uri: str) -> None:
    """Let MLflow open a database only where it has nothing to create and nothing to migrate."""
    path = sqlite_path(uri)
    found, wanted = schema_revision(path), _known_revisions()
    if found != wanted[0]:
        raise UsageError(
            f"{path} has schema {found or '(none)'}, the installed MLflow wants {wanted[0]}",
            hint=f"back it up, then: mlflow db upgrade sqlite:///{path}"
            if found in wanted
            else "a newer MLflow made it: pip install --upgrade mlflow",
        )
    lacking = _lacking_columns(path)
    if lacking:
        raise UsageError(
            f"{path} is not whole: it lacks {', '.join(lacking[:3])}", hint="restore a backup; nothing was changed"
        )


def _lacking_columns(path: Path) -> list[str]:
    """What MLflow's own tables should have and this database does not."""
    import mlflow.store.db.utils  # noqa: F401 - it registers all of MLflow's tables
    from mlflow.store.db.base_sql_model import Base

    database = ReadOnlyDatabase(path, required={})
    try:
        return sorted(
            f"{name}.{column.name}"
            for name, table in Base.metadata.tables.items()
            for columns in (database.columns(name),)
            for column in table.columns
            if column.name not in columns
        )
    finally:
        database.close()


def _known_revisions() -> list[str]:
    """The schema revisions that the installed MLflow knows, the newest first."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    scripts = ScriptDirectory.from_config(_get_alembic_config(db_url=""))
    return [script.revision for script in scripts.walk_revisions()]


def pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """Everything that a paged search of MLflow finds; it stops at one page by itself, without a word."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def view_type(view: View) -> int:
    """What MLflow calls a life-cycle stage."""
    from mlflow.entities import ViewType

    return int({"active": ViewType.ACTIVE_ONLY, "deleted": ViewType.DELETED_ONLY, "all": ViewType.ALL}[view])


def find_logged_model(client: MlflowClient, settings: Settings, run_id: str, name: str) -> LoggedModel | None:
    """The model that a run logged under a name; MLflow 3 keeps it beside the run's artifacts, MLflow 2 among them."""
    with mlflow_call(settings):
        run = client.get_run(run_id)
        ids = [output.model_id for output in (run.outputs.model_outputs if run.outputs else [])]
        models = [client.get_logged_model(model_id) for model_id in ids]
    return next((one for one in models if one.name == name), None)
