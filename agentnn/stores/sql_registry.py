"""Registered models in an MLflow database, read straight from its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.records import ModelVersion, RegisteredModel
from agentnn.stores.sql_where import one_of
from agentnn.stores.sqlite_file import MODEL_TABLES, ReadOnlyDatabase, integer, sqlite_path, text

if TYPE_CHECKING:
    from collections.abc import Sequence

_DELETED_STAGE = "Deleted_Internal"
_CHUNK = 1000
_BETWEEN = "\x1f"
"""Stands between the aliases of a version in SQL; none holds it."""

_VERSION_COLUMNS = ", ".join(
    [
        text("name"), integer("version"), text("current_stage"), text("status"), text("source"),
        *(f"nullif({text(column)}, '')" for column in ("run_id", "description", "user_id")),
        integer("creation_time"), integer("last_updated_time"),
    ]
)  # fmt: skip


class SqlRegistry:
    """Reads the registry of an MLflow SQLite database.

    Args:
        uri: ``sqlite:///path/to/mlflow.db``.
        workspace: The MLflow workspace; databases from before MLflow 3.10 have only one, unnamed.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sqlite_file.ReadOnlyDatabase`.
    """

    def __init__(self, uri: str, *, workspace: str = "default") -> None:
        self.uri = uri
        self._database = ReadOnlyDatabase(sqlite_path(uri), MODEL_TABLES)
        has_workspace = "workspace" in self._database.columns("registered_models")
        self._inside = "workspace = ?" if has_workspace else "1"
        self._workspace = (workspace,) if has_workspace else ()
        self._has_aliases = self._database.has("registered_model_aliases", "name", "alias", "version")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

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
                f"SELECT {_VERSION_COLUMNS} FROM model_versions WHERE {self._inside} AND name = ? "
                f"AND current_stage IS NOT '{_DELETED_STAGE}' ORDER BY version DESC",
                (name,),
            )
        ]

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        found: list[ModelVersion] = []
        for start in range(0, len(run_ids), _CHUNK):
            found += self._versions_of(run_ids[start : start + _CHUNK])
        return sorted(found, key=lambda one: (one.name, -one.version))

    def _versions_of(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        among = one_of("run_id", run_ids)
        held = "NULL"
        if self._has_aliases:
            here = "AND a.workspace = model_versions.workspace" if self._workspace else ""
            held = (
                f"(SELECT group_concat({text('a.alias')}, char({ord(_BETWEEN)})) FROM registered_model_aliases a "
                f"WHERE a.name = model_versions.name AND a.version = model_versions.version {here})"
            )
        rows = self._rows(
            f"SELECT {_VERSION_COLUMNS}, {held} FROM model_versions "
            f"WHERE {self._inside} AND {among.text} AND current_stage IS NOT '{_DELETED_STAGE}'",
            among.values,
        )
        tags = {name: _by_version(self._version_tags(name)) for name in {row[0] for row in rows}}
        return [
            ModelVersion(
                *[name, version, stage or "None", _held(aliases), *rest, tags[name].get(version, {})],
            )
            for name, version, stage, *rest, aliases in rows
        ]

    def _models(self, only: str | None = None) -> list[RegisteredModel]:
        tags = _grouped(self._model_tags(only))
        aliases = _grouped(self._aliases(only))
        named, values = self._named(only)
        stages: dict[str, dict[str, int]] = {}
        counts: dict[str, int] = {}
        for name, stage, newest, count in self._rows(
            f"SELECT {text('name')}, {text('current_stage')}, {integer('max(version)')}, count(*) FROM model_versions "
            f"WHERE {self._inside} {named} AND current_stage IS NOT '{_DELETED_STAGE}' GROUP BY name, current_stage",
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
                f"SELECT {text('name')}, {text('description')}, {integer('creation_time')}, "
                f"{integer('last_updated_time')} FROM registered_models "
                f"WHERE {self._inside} {named} ORDER BY name",
                values,
            )
        ]

    def _model_tags(self, only: str | None) -> list[Any]:
        named, values = self._named(only)
        return self._rows(
            f"SELECT {text('name')}, {text('key')}, {text('value')} FROM registered_model_tags "
            f"WHERE {self._inside} {named}",
            values,
        )

    def _version_tags(self, name: str) -> list[Any]:
        return self._rows(
            f"SELECT version, {text('key')}, {text('value')} FROM model_version_tags WHERE {self._inside} AND name = ?",
            (name,),
        )

    def _aliases(self, name: str | None = None) -> list[Any]:
        if not self._has_aliases:
            return []
        named, values = self._named(name)
        return self._rows(
            f"SELECT {text('name')}, {text('alias')}, {integer('version')} FROM registered_model_aliases "
            f"WHERE {self._inside} {named} ORDER BY alias",
            values,
        )

    @staticmethod
    def _named(name: str | None) -> tuple[str, tuple[str, ...]]:
        """The condition for one model, or none, and its values."""
        return ("AND name = ?", (name,)) if name is not None else ("", ())

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._database.rows(sql, (*self._workspace, *values))


def _held(aliases: str | None) -> tuple[str, ...]:
    return tuple(sorted(aliases.split(_BETWEEN))) if aliases else ()


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
