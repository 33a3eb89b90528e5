"""The tables of an index: MLflow's own, as far as questions need them, so that the SQL reader answers from it.

An experiment's id is the name of its project's folder. A run's id is the name of its folder; one that two projects
have is told apart by the project, ``PROJECT/RUN``. The other tables are the index's own: what it has seen of the files,
and the columns of a project's frame.
"""

from __future__ import annotations

from agentnn.stores.index_file import IndexSchema

FORMAT = 1
"""An index of any other format is made again."""

TABLES = """
CREATE TABLE experiments (
    experiment_id TEXT PRIMARY KEY, name TEXT NOT NULL, artifact_location TEXT, lifecycle_stage TEXT NOT NULL,
    creation_time INTEGER, last_update_time INTEGER
);
CREATE TABLE experiment_tags (experiment_id TEXT, key TEXT, value TEXT, PRIMARY KEY (experiment_id, key));
CREATE TABLE runs (
    run_uuid TEXT PRIMARY KEY, name TEXT, user_id TEXT, status TEXT, start_time INTEGER, end_time INTEGER,
    lifecycle_stage TEXT, artifact_uri TEXT, experiment_id TEXT
);
CREATE TABLE latest_metrics (run_uuid TEXT, key TEXT, value REAL, is_nan INTEGER);
CREATE TABLE metrics (run_uuid TEXT, key TEXT, value REAL, is_nan INTEGER, step INTEGER, timestamp INTEGER);
CREATE TABLE params (run_uuid TEXT, key TEXT, value TEXT);
CREATE TABLE tags (run_uuid TEXT, key TEXT, value TEXT);
CREATE TABLE inputs (input_uuid TEXT, source_id TEXT, destination_type TEXT, destination_id TEXT);
CREATE TABLE datasets (dataset_uuid TEXT PRIMARY KEY, name TEXT, digest TEXT);
CREATE TABLE input_tags (input_uuid TEXT, name TEXT, value TEXT);

CREATE TABLE about (base_dir TEXT);
CREATE TABLE seen (
    view TEXT, project TEXT, settings BLOB, runs TEXT, signatures BLOB, PRIMARY KEY (view, project)
);
CREATE TABLE unreadable (view TEXT, project TEXT, run TEXT, path TEXT, problem TEXT);
CREATE TABLE frame_rows (part TEXT PRIMARY KEY, content BLOB);
CREATE TABLE frame_columns (space TEXT, key TEXT, kind TEXT, present BLOB, content BLOB, PRIMARY KEY (space, key));
"""

INDEXES = {
    "latest_metrics_by_key": "UNIQUE INDEX latest_metrics_by_key ON latest_metrics (key, run_uuid)",
    "latest_metrics_by_run": "INDEX latest_metrics_by_run ON latest_metrics (run_uuid)",
    "params_by_key": "UNIQUE INDEX params_by_key ON params (key, run_uuid)",
    "params_by_run": "INDEX params_by_run ON params (run_uuid)",
    "tags_by_key": "UNIQUE INDEX tags_by_key ON tags (key, run_uuid)",
    "tags_by_run": "INDEX tags_by_run ON tags (run_uuid)",
    "inputs_by_source": "INDEX inputs_by_source ON inputs (source_id)",
    "inputs_by_run": "INDEX inputs_by_run ON inputs (destination_id)",
    "input_tags_by_input": "INDEX input_tags_by_input ON input_tags (input_uuid)",
}
"""In the order of MLflow's own keys, by which questions are asked, and by run, since a run's rows change together.
Where all rows are new they are made after them, which takes a third of the time."""

HISTORY_INDEXES = {"metrics_by_run": "INDEX metrics_by_run ON metrics (run_uuid, key)"}

SCHEMA = IndexSchema(
    FORMAT, [*TABLES.split(";"), *(f"CREATE {one}" for one in (*INDEXES.values(), *HISTORY_INDEXES.values()))]
)
