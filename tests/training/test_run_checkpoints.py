"""Where the checkpoints of a run are, and when they are removed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agentnn.config.loader import load_config
from agentnn.errors import ConflictError, NotFoundError
from agentnn.tracking.journal.state import StoreFolder
from agentnn.training.loop.checkpoints import Checkpoints
from agentnn.training.run_checkpoints import checkpoint_folder, folder_to_resume, sweep

UUID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> StoreFolder:
    return StoreFolder(tmp_path / "store")


def keep(folder: Path, days_ago: float = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "last.pt").touch()
    when = time.time() - days_ago * 86_400
    os.utime(folder / "last.pt", (when, when))
    os.utime(folder, (when, when))
    return folder


def test_they_are_the_runs_own_unless_the_configuration_names_a_folder(store: StoreFolder):
    assert checkpoint_folder(load_config({}), store, UUID) == store.path / "checkpoints" / UUID
    named = load_config({"training": {"checkpoint_dir": "states"}})
    assert checkpoint_folder(named, store, UUID) == Path("states").absolute()
    assert checkpoint_folder(load_config({"training": {"checkpoints": False}}), store, UUID) is None


def test_a_uuid_that_a_store_says_leads_nowhere_else(store: StoreFolder, tmp_path: Path):
    keep(tmp_path / "elsewhere")
    for uuid in ("../../elsewhere", str(tmp_path / "elsewhere"), "", "0123"):
        with pytest.raises(NotFoundError, match="has no checkpoint"):
            folder_to_resume(load_config({}), store, uuid, "run")
    keep(store.checkpoints / UUID)
    assert folder_to_resume(load_config({}), store, UUID, "run") == store.checkpoints / UUID


def test_a_run_that_is_still_trained_is_left_alone(store: StoreFolder):
    folder = keep(store.checkpoints / UUID)
    with Checkpoints(folder):
        with pytest.raises(ConflictError, match="is still being trained") as raised:
            folder_to_resume(load_config({}), store, UUID, "mine")
        assert raised.value.hint == "look on: agentnn run watch mine"
    assert folder_to_resume(load_config({}), store, UUID, "mine") == folder


def test_only_what_is_old_and_a_runs_is_swept(store: StoreFolder):
    old, young = keep(store.checkpoints / UUID, 31), keep(store.checkpoints / ("f" * 32), 29)
    foreign = keep(store.checkpoints / "mine", 300)
    (store.checkpoints / "0000").touch()  # which is no folder, and must not keep the others
    (store.checkpoints / ("0" * 32)).touch()
    sweep(store)
    assert [one.exists() for one in (old, young, foreign)] == [False, True, True]
