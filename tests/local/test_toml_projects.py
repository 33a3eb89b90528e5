"""Projects as experiments: what ``project.toml`` says, and what it says amiss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentnn.errors import CorruptDataError, StoreUnavailable
from agentnn.records import Experiment
from agentnn.settings import Settings
from agentnn.stores.toml.asking.store import TomlStore
from agentnn.stores.toml.layout import directory_name
from agentnn.stores.toml.projects import is_name, read_project, read_projects

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_700_000_000_000


def project(base: Path, name: str, said: str | bytes | None = None) -> Path:
    """The folder of a project, with what its ``project.toml`` says."""
    folder = base / name
    folder.mkdir()
    if said is not None:
        (folder / "project.toml").write_bytes(said if isinstance(said, bytes) else said.encode())
    return folder


def test_a_project_that_says_nothing_is_called_by_its_folder(tmp_path: Path):
    folder = project(tmp_path, "α β")
    assert read_project(folder) == Experiment("α β", "α β", artifact_location=str(folder))
    (folder / "project.toml").touch()
    assert read_project(folder) == Experiment("α β", "α β", artifact_location=str(folder))


@pytest.mark.parametrize("name", ["a/b", "100%", ".hidden", "été", "a%2Fb", "tab\t", "long" * 90])
def test_a_folder_that_could_not_have_the_name_stands_for_it(tmp_path: Path, name: str):
    folder = project(tmp_path, directory_name(name))
    shown = folder.name if len(name) > 200 else name
    assert read_project(folder) == Experiment(folder.name, shown, artifact_location=str(folder))
    assert TomlStore(Settings(f"toml:{tmp_path}")).find_experiment(name=shown) is not None


@pytest.mark.parametrize("folder_name", ["50%", "a%2fb", "%", "%zz", "%41", "a%FF"])
def test_a_folder_that_stands_for_no_name_is_called_as_it_is(tmp_path: Path, folder_name: str):
    assert read_project(project(tmp_path, folder_name)).name == folder_name


def test_it_says_its_name_stage_times_and_tags(tmp_path: Path):
    said = (
        'name = "Trading / 1"\nlifecycle_stage = "deleted"\ncreated_at = 2023-11-14T22:13:20Z\n'
        'updated_at = 2023-11-14T23:13:20.007+01:00\n[tags]\nteam = "quant"\nyear = 2024\n'
    )
    folder = project(tmp_path, "1", said)
    tags = {"team": "quant", "year": "2024"}
    expected = Experiment("1", "Trading / 1", "deleted", str(folder), NOON, NOON + 7, tags)
    assert read_project(folder) == expected


@pytest.mark.parametrize(
    "said", ["name = 3", "name = ''", "tags = [1]", "created_at = true", "lifecycle_stage = 'gone'"]
)
def test_what_is_said_amiss_is_left_out(tmp_path: Path, said: str):
    folder = project(tmp_path, "alpha", said)
    assert read_project(folder) == Experiment("alpha", "alpha", artifact_location=str(folder))


@pytest.mark.parametrize("said", [b"name =", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_damaged_file_hides_no_project(tmp_path: Path, said: bytes):
    project(tmp_path, "alpha", said)
    project(tmp_path, "beta")
    with pytest.raises(CorruptDataError, match=r"alpha/project\.toml"):
        read_project(tmp_path / "alpha")
    projects = read_projects(tmp_path)
    assert [one.name for one in projects.experiments] == ["alpha", "beta"]
    assert len(projects.damaged) == 1


def test_files_hidden_folders_and_names_that_are_no_text_are_no_projects(tmp_path: Path):
    (tmp_path / "file").touch()
    project(tmp_path, ".git")
    project(tmp_path, "\udcff")
    project(tmp_path, "alpha")
    assert [one.name for one in read_projects(tmp_path).experiments] == ["alpha"]


def test_there_must_be_a_folder(tmp_path: Path):
    with pytest.raises(StoreUnavailable, match="there is no store"):
        read_projects(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a\0", "\udcff", "a\ud800"])
def test_what_can_be_no_folder_of_a_project_or_run_is_no_name(name: str):
    assert not is_name(name)
    assert is_name(f"x{name}") is (name in ("", ".", "..", ".hidden"))


def test_the_newest_come_first_then_numbers_then_names(tmp_path: Path):
    for name in ("b", "10", "9", "a"):
        project(tmp_path, name)
    project(tmp_path, "old", "created_at = 2020-01-01T00:00:00Z")
    project(tmp_path, "new", "created_at = 2024-01-01T00:00:00Z")
    store = TomlStore(Settings(f"toml:{tmp_path}"))
    assert [one.experiment_id for one in store.list_experiments()] == ["new", "old", "9", "10", "a", "b"]


def test_of_two_that_say_the_same_name_an_active_one_is_meant(tmp_path: Path):
    project(tmp_path, "a", 'name = "x"\nlifecycle_stage = "deleted"')
    project(tmp_path, "b", 'name = "x"')
    found = TomlStore(Settings(f"toml:{tmp_path}")).find_experiment(name="x")
    assert found is not None
    assert found.experiment_id == "b"
