"""The experiments of a workspace, out of an MLflow database."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from agentnn.records import Experiment
from agentnn.stores.sql.dialect import Sql
from agentnn.stores.sql.where import all_of

if TYPE_CHECKING:
    from agentnn.query.runs import View
    from agentnn.stores.sql.dialect import Database


class Experiments:
    """Reads the experiments of a workspace.

    Args:
        database: The tables.
        workspace: The MLflow workspace; tables without such a column have only one, unnamed.
    """

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._dialect = database.dialect
        self._rows = database.rows
        self._workspace = workspace

    def by_id(self) -> dict[str, Experiment]:
        """All of them, the newest first."""
        has = self._columns
        integer, text = self._dialect.integer, self._dialect.text
        timed = "creation_time" in has
        creation, update = (integer("creation_time"), integer("last_update_time")) if timed else ("NULL", "NULL")
        condition, values = ("WHERE workspace = ?", (self._workspace,)) if "workspace" in has else ("", ())
        rows = self._rows(
            f"SELECT experiment_id, {text('name')}, {text('lifecycle_stage')}, {text('artifact_location')}, "
            f"{creation} AS born, {update} "
            f"FROM experiments {condition} ORDER BY {self._dialect.descending('born')}, experiment_id",
            values,
        )
        tags: dict[int, dict[str, str]] = {}
        for experiment_id, key, value in self._rows(
            f"SELECT t.experiment_id, {text('t.key')}, {text('t.value')} FROM experiment_tags t"
        ):
            if value is not None:
                tags.setdefault(experiment_id, {})[key] = value
        return {
            str(row[0]): Experiment(*[str(row[0]), row[1], row[2] or "active", *row[3:], tags.get(row[0], {})])
            for row in rows
        }

    def condition(self, view: View) -> list[Sql]:
        """Conditions on the experiment of ``runs r``, where one is needed at all."""
        inside = [Sql("e.lifecycle_stage = 'active'")] if view == "active" else []
        if "workspace" in self._columns:
            inside.append(Sql("e.workspace = ?", (self._workspace,)))
        wanted = all_of(inside)
        outside = self._rows(f"SELECT 1 FROM experiments e WHERE NOT ({wanted.text}) LIMIT 1", wanted.values)
        if not outside:
            return []
        among = f"r.experiment_id IN (SELECT e.experiment_id FROM experiments e WHERE {wanted.text})"
        return [Sql(among, wanted.values)]

    def known_workspaces(self) -> set[str] | None:
        """The names of all workspaces; ``None`` where the database knows of none."""
        if "workspace" not in self._columns:
            return None
        known = {row[0] for row in self._rows("SELECT DISTINCT workspace FROM experiments")}
        if self._database.has("workspaces", "name"):
            known |= {row[0] for row in self._rows("SELECT name FROM workspaces")}
        return known

    @cached_property
    def _columns(self) -> set[str]:
        return self._database.columns("experiments")
