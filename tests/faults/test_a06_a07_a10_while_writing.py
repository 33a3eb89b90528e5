"""A06, A07, A10 where runs are written: no secret is kept, no path leaves its folder, everything private is private."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import real_stores
from mlflow import MlflowClient

from agentnn import start_run
from agentnn.errors import UnsafeError

if TYPE_CHECKING:
    from pathlib import Path

    from real_stores import PostgresCluster

SECRET = "hunter2-of-this-test"  # noqa: S105


def test_no_secret_reaches_the_journal_the_state_folder_or_the_store(
    postgres: PostgresCluster, state_dir: Path, tmp_path: Path
):
    uri = postgres.with_password(postgres.create_store(str(tmp_path / "artifacts")))
    assert quote(real_stores.PASSWORD, safe="") in uri
    script = (
        "from agentnn import start_run\n"
        "try:\n"
        "    with start_run('secret') as run:\n"
        "        run.log_metric('loss', 1.0)\n"
        "        run.flush()\n"
        "        run_id = run.run_id\n"
        f"        raise ValueError('can not reach {uri}')\n"
        "except ValueError: print(run_id)\n"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_TOKEN": SECRET, "API_KEY": SECRET}
    done = subprocess.run(
        [sys.executable, "-c", script, f"--token={SECRET}"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    run = MlflowClient(uri).get_run(done.stdout.strip())
    assert run.data.tags["agentnn.end_reason"].startswith("ValueError: can not reach postgresql")
    kept = {path: path.read_bytes() for path in state_dir.rglob("*") if path.is_file()}
    assert any(b'"loss":1.0' in data for data in kept.values())
    for secret in (SECRET, real_stores.PASSWORD, quote(real_stores.PASSWORD, safe="")):
        assert [path for path, data in kept.items() if secret.encode() in data] == []
        assert secret not in repr(run.data) + done.stderr


def test_a_path_that_leaves_the_run_is_refused_and_nothing_is_written(uri: str, tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    with start_run("paths", tracking_uri=uri) as run:
        for path in ("../out", "/etc", "a/../../out", "a\\b", "nul\0"):
            with pytest.raises(UnsafeError):
                run.log_text("x", path)
            with pytest.raises(UnsafeError):
                run.log_artifact(file, path)
            with pytest.raises(UnsafeError):
                run.log_artifacts(tmp_path, path)
        assert not run.folder.files.exists()


def test_a_script_that_trains_is_left_alone(uri: str, tmp_path: Path):
    folder = tmp_path / "project"
    folder.mkdir()
    script = folder / "train.py"
    script.write_text(
        "from agentnn import start_run\nwith start_run('own') as run: run.log_text('x', 'a/b.txt')\n", encoding="utf-8"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    subprocess.run([sys.executable, str(script)], env=environment, cwd=folder, check=True, timeout=120)
    assert script.exists()
    assert [run.data.tags["mlflow.source.name"] for run in MlflowClient(uri).search_runs(["0"])] == [str(script)]


def test_everything_on_this_machine_is_private_whatever_the_umask(uri: str, state_dir: Path, tmp_path: Path):
    before = os.umask(0)
    try:
        (tmp_path / "logged.txt").write_text("x", encoding="utf-8")
        with start_run("private", tracking_uri=uri) as run:
            run.log_metric("loss", 1.0)
            run.log_artifact(tmp_path / "logged.txt")
            modes = {path: path.stat().st_mode & 0o777 for path in (state_dir, *state_dir.rglob("*"))}
            run.flush()
        modes |= {path: path.stat().st_mode & 0o777 for path in (state_dir, *state_dir.rglob("*"))}
    finally:
        os.umask(before)
    folders = {mode for path, mode in modes.items() if path.is_dir()}
    # What was copied keeps its own mode inside a private folder.
    files = {mode for path, mode in modes.items() if path.is_file() and path.name != "logged.txt"}
    assert (folders, files) == ({0o700}, {0o600})
