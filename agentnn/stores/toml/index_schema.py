"""The tables of an index: MLflow's own, as far as questions need them, so that the SQL reader answers from it.

An experiment's id is the name of its project's folder. A run's id is the name of its folder; one that two projects
have is told apart by the project, ``PROJECT/RUN``.
"""

from __future__ import annotations

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
CREATE TABLE latest_metrics (run_uuid TEXT, key TEXT, value REAL, is_nan INTEGER, PRIMARY KEY (run_uuid, key));
CREATE TABLE metrics (run_uuid TEXT, key TEXT, value REAL, is_nan INTEGER, step INTEGER, timestamp INTEGER);
CREATE TABLE params (run_uuid TEXT, key TEXT, value TEXT, PRIMARY KEY (run_uuid, key));
CREATE TABLE tags (run_uuid TEXT, key TEXT, value TEXT, PRIMARY KEY (run_uuid, key));
CREATE TABLE documents (run_uuid TEXT PRIMARY KEY, document TEXT);
"""
