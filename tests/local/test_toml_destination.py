"""What can be known of a folder of TOML runs before a run is written to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agentnn.errors import ConflictError, StoreUnavailable, UsageError
from agentnn.settings import Settings
from agentnn.stores.destination import check_destination, check_experiment, is_there

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """They name the folder ``checkpoints``, which is not there yet."""
    return Settings(f"toml:{tmp_path}/checkpoints")


def test_the_folder_is_made_by_its_first_run(settings: Settings, tmp_path: Path):
    check_destination(settings)
    assert not is_there(settings)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "checkpoints").mkdir()
    check_destination(settings)
    assert is_there(settings)


def test_a_path_relative_to_the_working_directory_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    check_destination(Settings("toml:deep/checkpoints"))
    assert not is_there(Settings("toml:deep/checkpoints"))


def test_a_file_in_its_place_is_wrong_use(settings: Settings, tmp_path: Path):
    (tmp_path / "checkpoints").touch()
    with pytest.raises(UsageError, match="is a file"):
        check_destination(settings)


def test_a_file_above_it_makes_it_impossible(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="can't be written to"):
        check_destination(Settings(f"toml:{tmp_path}/file/checkpoints"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_said_to_be_so(settings: Settings, tmp_path: Path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreUnavailable, match="can't be written to"):
            check_destination(settings)
    finally:
        tmp_path.chmod(0o700)


def test_a_deleted_project_still_holds_its_name(settings: Settings, tmp_path: Path):
    check_experiment(settings, "alpha")  # there is not even a store
    project = tmp_path / "checkpoints" / "one"
    project.mkdir(parents=True)
    (project / "project.toml").write_text('name = "alpha"\n')
    check_experiment(settings, "alpha")
    (project / "project.toml").write_text('name = "alpha"\nlifecycle_stage = "deleted"\n')
    check_experiment(settings, "beta")
    with pytest.raises(ConflictError, match="'alpha' is deleted") as error:
        check_experiment(settings, "alpha")
    assert error.value.hint == "restore it: agentnn experiment restore one"
