"""Registered models in an MLflow database, read straight from its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.records import PROMPT_TAG, ModelVersion, RegisteredModel
from agentnn.stores.sql.dialect import TRUE
from agentnn.stores.sql.mlflow_tables import MODEL_TABLES
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.stores.explained.between import Between
    from agentnn.stores.sql.dialect import Database, Sql

_DELETED_STAGE = "Deleted_Internal"
_CHUNK = 1000
_ALIVE = f"(t.current_stage IS NULL OR t.current_stage <> '{_DELETED_STAGE}')"


class ModelTables:
    """Questions about registered models, answered from MLflow's tables.

    Args:
        database: The tables.
        workspace: The MLflow workspace; databases from before MLflow 3.10 have only one, unnamed.
    """

    def __init__(self, database: Database, *, workspace: str = "default") -> None:
        self._database = database
        self._dialect = database.dialect
        has_workspace = "workspace" in self._database.columns("registered_models")
        self._inside = "t.workspace = ?" if has_workspace else TRUE.text
        self._workspace = (workspace,) if has_workspace else ()
        self._has_aliases = self._database.has("registered_model_aliases", "name", "alias", "version")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before the database."""
        self._database = between.database(self._database)

    def list_models(self) -> list[RegisteredModel]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        return self._models()

    def find_model(self, name: str) -> RegisteredModel | None:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        return next(iter(self._models(name)), None)

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        aliases: dict[int, list[str]] = {}
        for _, alias, version in self._aliases(name):
            aliases.setdefault(version, []).append(alias)
        tags = _by_version(self._version_tags(name))
        named = self._dialect.equal("t.name", name)
        return [
            ModelVersion(
                *[
                    model,
                    version,
                    stage or "None",
                    tuple(sorted(aliases.get(version, ()))),
                    *rest,
                    tags.get(version, {}),
                ]
            )
            for model, version, stage, *rest in self._rows(
                f"SELECT {self._version_columns} FROM model_versions t WHERE {self._inside} AND {named.text} "
                f"AND {_ALIVE} ORDER BY t.version DESC",
                named.values,
            )
            if PROMPT_TAG not in tags.get(version, {})
        ]

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        found: list[ModelVersion] = []
        for start in range(0, len(run_ids), _CHUNK):
            found += self._versions_of(run_ids[start : start + _CHUNK])
        return sorted(found, key=lambda one: (one.name, -one.version))

    def _versions_of(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        among = self._dialect.one_of("t.run_id", run_ids)
        rows = self._rows(
            f"SELECT {self._version_columns} FROM model_versions t WHERE {self._inside} AND {among.text} AND {_ALIVE}",
            among.values,
        )
        held: dict[tuple[str, int], list[str]] = {}
        for name, alias, version in self._aliases_of(among) if rows else ():
            held.setdefault((name, version), []).append(alias)
        tags = {name: _by_version(self._version_tags(name)) for name in {row[0] for row in rows}}
        return [
            ModelVersion(
                *[
                    name,
                    version,
                    stage or "None",
                    tuple(sorted(held.get((name, version), ()))),
                    *rest,
                    tags[name].get(version, {}),
                ]
            )
            for name, version, stage, *rest in rows
            if PROMPT_TAG not in tags[name].get(version, {})
        ]

    def _models(self, only: str | None = None) -> list[RegisteredModel]:
        tags = _grouped(self._model_tags(only))
        aliases = _grouped(self._aliases(only))
        named, values = self._named(only)
        integer, text = self._dialect.integer, self._dialect.text
        stages: dict[str, dict[str, int]] = {}
        counts: dict[str, int] = {}
        for name, stage, newest, count in self._rows(
            f"SELECT {text('t.name')}, {text('t.current_stage')}, {integer('max(t.version)')}, count(*) "
            f"FROM model_versions t WHERE {self._inside} {named} AND {_ALIVE} GROUP BY t.name, t.current_stage",
            values,
        ):
            stages.setdefault(name, {})[stage or "None"] = newest
            counts[name] = counts.get(name, 0) + count
        return [
            RegisteredModel(
                name,
                description or None,
                born,
                changed,
                latest_version=max(stages.get(name, {}).values(), default=None),
                version_count=counts.get(name, 0),
                aliases=aliases.get(name, {}),
                stages={stage: version for stage, version in stages.get(name, {}).items() if stage != "None"},
                tags=tags.get(name, {}),
            )
            for name, description, born, changed in self._rows(
                f"SELECT {text('t.name')}, {text('t.description')}, {integer('t.creation_time')}, "
                f"{integer('t.last_updated_time')} FROM registered_models t "
                f"WHERE {self._inside} {named} ORDER BY {self._dialect.exact('t.name')}",
                values,
            )
            if PROMPT_TAG not in tags.get(name, {})
        ]

    def _model_tags(self, only: str | None) -> list[Any]:
        named, values = self._named(only)
        text = self._dialect.text
        return self._rows(
            f"SELECT {text('t.name')}, {text('t.key')}, {text('t.value')} FROM registered_model_tags t "
            f"WHERE {self._inside} {named}",
            values,
        )

    def _version_tags(self, name: str) -> list[Any]:
        text, named = self._dialect.text, self._dialect.equal("t.name", name)
        return self._rows(
            f"SELECT t.version, {text('t.key')}, {text('t.value')} FROM model_version_tags t "
            f"WHERE {self._inside} AND {named.text}",
            named.values,
        )

    def _aliases(self, name: str | None = None) -> list[Any]:
        if not self._has_aliases:
            return []
        named, values = self._named(name)
        return self._rows(
            f"SELECT {self._alias_columns} FROM registered_model_aliases t "
            f"WHERE {self._inside} {named} ORDER BY {self._dialect.exact('t.alias')}",
            values,
        )

    def _aliases_of(self, among: Sql) -> list[Any]:
        """The aliases of the versions ``t`` that are among some."""
        if not self._has_aliases:
            return []
        here = "AND a.workspace = t.workspace" if self._workspace else ""
        return self._rows(
            f"SELECT {self._alias_columns.replace('t.', 'a.')} FROM model_versions t "
            f"JOIN registered_model_aliases a ON a.name = t.name AND a.version = t.version {here} "
            f"WHERE {self._inside} AND {among.text}",
            among.values,
        )

    @property
    def _alias_columns(self) -> str:
        text, integer = self._dialect.text, self._dialect.integer
        return f"{text('t.name')}, {text('t.alias')}, {integer('t.version')}"

    @property
    def _version_columns(self) -> str:
        text, integer, filled = self._dialect.text, self._dialect.integer, self._dialect.filled
        return ", ".join(
            [
                text("t.name"), integer("t.version"), text("t.current_stage"), text("t.status"), text("t.source"),
                filled("t.run_id"), filled("t.description"), filled("t.user_id"),
                integer("t.creation_time"), integer("t.last_updated_time"),
            ]
        )  # fmt: skip

    def _named(self, name: str | None) -> tuple[str, tuple[str, ...]]:
        """The condition for one model, or none, and its values."""
        if name is None:
            return "", ()
        named = self._dialect.equal("t.name", name)
        return f"AND {named.text}", named.values

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._database.rows(sql, (*self._workspace, *values))


class SqlRegistry(ModelTables):
    """Reads the registry of an MLflow SQLite database.

    Args:
        uri: ``sqlite:///path/to/mlflow.db``.
        workspace: The MLflow workspace; databases from before MLflow 3.10 have only one, unnamed.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sql.sqlite_file.ReadOnlyDatabase`.
    """

    def __init__(self, uri: str, *, workspace: str = "default") -> None:
        super().__init__(ReadOnlyDatabase(sqlite_path(uri), MODEL_TABLES), workspace=workspace)
        self.uri = uri


def _by_version(rows: list[Any]) -> dict[int, dict[str, str]]:
    tags: dict[int, dict[str, str]] = {}
    for version, key, value in rows:
        tags.setdefault(version, {})[key] = value
    return tags


def _grouped(rows: list[Any]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for name, key, value in rows:
        groups.setdefault(name, {})[key] = value
    return groups
