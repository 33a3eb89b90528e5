"""F13: a store that can't be written where it is said to be. A run says so at its start, at once, and makes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli.support import fingerprint

from agentnn import start_run
from agentnn.errors import AgentNNError
from agentnn.settings import Settings
from agentnn.stores.mlflow.writer import MlflowWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 30.0
"""Three seconds are promised; MLflow alone tries for 103, however fast the machine."""

UNPRIVILEGED = 65534

PLACES = [
    ("sqlite:///missing/folder/mlflow.db", 4),
    ("sqlite:///folder", 4),
    ("sqlite:///file/mlflow.db", 4),
    ("sqlite:////proc/mlflow.db", 4),  # a folder in which not even root can make a file
    ("sqlite:///garbage.db", 5),
]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a folder and files that are no store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text", encoding="utf-8")
    (tmp_path / "garbage.db").write_bytes(b"garbage" * 1000)
    return tmp_path


@pytest.mark.parametrize(("uri", "code"), PLACES)
def test_a_start_where_nothing_can_be_written_fails_at_once_and_makes_nothing(
    uri: str, code: int, places: Path, state_dir: Path
):
    before = fingerprint(places)
    began = time.monotonic()
    with pytest.raises(AgentNNError) as raised:
        start_run("nowhere", tracking_uri=uri)
    assert time.monotonic() - began < DEADLINE_S
    assert raised.value.exit_code == code
    assert raised.value.hint
    assert fingerprint(places) == before
    assert not state_dir.exists()


@pytest.mark.parametrize(("uri", "code"), PLACES)
def test_neither_does_the_senders_side_make_anything_there(uri: str, code: int, places: Path):
    before = fingerprint(places)
    with pytest.raises(AgentNNError) as raised:
        MlflowWriter(Settings.load(uri))
    assert raised.value.exit_code == code
    assert fingerprint(places) == before


@pytest.fixture
def open_folder(template_database: Path) -> Iterator[Path]:
    """A store in a folder that everybody may enter; pytest's own are for one user."""
    with tempfile.TemporaryDirectory(prefix="agentnn-open-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "mlflow.db").write_bytes(template_database.read_bytes())
        yield folder
        folder.chmod(0o755)


# The interpreter may lie where nobody can go, so that all that is needed is loaded before root becomes nobody.
START_AS_NOBODY = f"""
import os, sys, time
from agentnn import AgentNNError, start_run

def code_of_start(uri):
    began = time.monotonic()
    try:
        start_run("nowhere", tracking_uri=uri)
    except AgentNNError as error:
        return error.exit_code, str(error), time.monotonic() - began

assert code_of_start("sqlite:///missing/mlflow.db")[0] == 4
import agentnn.stores.sql.sqlite_file, agentnn.stores.sql.store, tempfile
if os.getuid() == 0:
    os.setgroups([])
    os.setgid({UNPRIVILEGED})
    os.setuid({UNPRIVILEGED})
print(*code_of_start(f"sqlite:///{{sys.argv[1]}}"), sep="\\n")
"""


@pytest.mark.parametrize(
    ("name", "file_mode", "folder_mode"),
    [("mlflow.db", 0o444, 0o777), ("mlflow.db", 0o666, 0o555), ("new.db", 0o666, 0o555)],
    ids=["file", "folder_of_the_file", "folder"],
)
def test_a_read_only_database_or_folder_is_said_at_the_start(
    name: str, file_mode: int, folder_mode: int, open_folder: Path, tmp_path: Path
):
    (open_folder / "mlflow.db").chmod(file_mode)
    open_folder.chmod(folder_mode)
    before = fingerprint(open_folder)
    ran = subprocess.run(
        [sys.executable, "-c", START_AS_NOBODY, str(open_folder / name)],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    code, message, took = ran.stdout.splitlines()
    assert code == "4"
    assert message.startswith(f"{open_folder / name} can't be written to: ")
    assert float(took) < DEADLINE_S
    assert fingerprint(open_folder) == before
