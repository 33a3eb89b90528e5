"""``MLProject``: all runs of a folder of projects as a table, asked in pandas' query language."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agentnn import AgentNNWarning, MLProject, MLRun
from agentnn.errors import FilterError, NotFoundError, StoreUnavailable

RUNS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("vision", "cnn", {"lr": 0.001, "model": {"name": "CNN", "layers": 5}}, {"accuracy": 0.92, "epoch": 10}),
    ("vision", "vit", {"lr": 0.01, "model": {"name": "ViT", "layers": 12}}, {"accuracy": 0.94, "epoch": 7}),
    ("text", "bert", {"lr": 5e-5, "model": {"name": "BERT", "layers": 12}}, {"accuracy": 0.96, "epoch": 5}),
]


def fill(base: Path) -> Path:
    """Three runs in two projects."""
    for project, run_id, config, metrics in RUNS:
        with MLRun.create(config, base, project, run_id=run_id, wandb_options={"mode": "disabled"}) as run:
            run.add_metrics(metrics)
    return base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of projects that nobody changes."""
    return fill(tmp_path_factory.mktemp("shared") / "checkpoints")


@pytest.fixture(scope="module")
def project(base: Path) -> MLProject:
    return MLProject(base)


def test_it_scans_at_once_all_projects(project: MLProject):
    assert isinstance(project.df, pd.DataFrame)
    assert list(project.df["run_id"]) == ["cnn", "vit", "bert"], "in the order in which they were made"
    assert list(project.df["project_name"]) == ["vision", "vision", "text"]
    assert len(project) == 3
    assert project.unreadable == ()


def test_nested_keys_are_columns_joined_with_dots(project: MLProject):
    assert list(project.df["model.name"]) == ["CNN", "ViT", "BERT"]
    assert list(project.df["model.layers"]) == [5, 12, 12]
    assert list(project.df["accuracy"]) == [0.92, 0.94, 0.96]
    assert set(project.df["_meta.status"]) == {"FINISHED"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("accuracy > 0.95", ["bert"]),
        ("`model.name` == 'BERT' and accuracy > 0.9", ["bert"]),
        ("`model.layers` == 12 or lr < 0.005", ["cnn", "vit", "bert"]),
        ("0.93 < accuracy < 0.95", ["vit"]),
        ("`model.name` in ['CNN', 'ViT'] and not epoch > 8", ["vit"]),
        ("accuracy > 2", []),
    ],
)
def test_a_search_gives_what_pandas_would(query: str, expected: list[str], project: MLProject):
    found = project.search(query)
    pd.testing.assert_frame_equal(found, project.df.query(query))
    assert list(found["run_id"]) == expected


def test_a_search_can_give_the_runs_themselves(project: MLProject, base: Path):
    found = project.search(query_string="`model.layers` == 12", return_objects=True)
    assert [type(run) for run in found] == [MLRun, MLRun]
    assert [(run.run_id, run.run_dir) for run in found] == [
        ("vit", base / "vision" / "vit"),
        ("bert", base / "text" / "bert"),
    ]
    assert found[1].metrics == {"accuracy": 0.96, "epoch": 5}
    assert project.search("accuracy > 2", return_objects=True) == []


def test_runs_of_one_id_in_two_projects_are_told_apart(tmp_path: Path):
    for name in ("a", "b"):
        MLRun.create({"p": name}, tmp_path, name, run_id="same", wandb_options={"mode": "disabled"}).finish()
    found = MLProject(tmp_path).search("p == 'b'", return_objects=True)
    assert [run.run_dir for run in found] == [tmp_path / "b" / "same"]


def test_projects_and_runs_of_odd_names_are_loaded_from_a_search(tmp_path: Path):
    MLRun.create({"p": 1}, tmp_path, "a/b", run_id="50%/x", wandb_options={"mode": "disabled"}).finish()
    assert [run.project_name for run in MLProject(tmp_path).search("p == 1", return_objects=True)] == ["a/b"]


@pytest.mark.parametrize("query", ["accuracy >", "no_such > 1", "accuracy.to_csv('x')", "@pd.io", "__import__('os')"])
def test_what_is_no_question_is_an_error(query: str, project: MLProject):
    with pytest.raises(FilterError):
        project.search(query)


def test_one_run_is_loaded_by_its_id(project: MLProject, base: Path):
    for run in (project.get_run("bert"), project.get_run("bert", "text"), project.get_run("text/bert")):
        assert (run.run_dir, run.config["lr"], run.wandb_run) == (base / "text" / "bert", 5e-5, None)
    with pytest.raises(NotFoundError, match="there is no run 'bret'"):
        project.get_run("bret")


def test_a_scan_is_repeated_on_demand(tmp_path: Path):
    project = MLProject(str(fill(tmp_path)))
    with MLRun.create({"lr": 1.0}, tmp_path, "vision", run_id="new", wandb_options={"mode": "disabled"}) as run:
        run.add_metrics({"accuracy": 0.99})
    project.get_run("cnn").add_metrics({"accuracy": 0.5})
    assert "new" not in set(project.df["run_id"])
    assert project.load_project() is None
    assert dict(zip(project.df["run_id"], project.df["accuracy"], strict=True)) == {
        "cnn": 0.5,
        "vit": 0.94,
        "bert": 0.96,
        "new": 0.99,
    }


def test_a_damaged_file_is_named_and_the_good_runs_are_there(tmp_path: Path):
    damaged = fill(tmp_path) / "vision" / "vit" / "metrics.toml"
    damaged.write_text("accuracy = = 1")
    with pytest.warns(AgentNNWarning, match="metrics.toml") as caught:
        project = MLProject(tmp_path)
    assert list(project.df["run_id"]) == ["cnn", "bert"]
    assert [one.path for one in project.unreadable] == [damaged]
    assert Path(caught[0].filename) == Path(__file__), "the line of the user's own that led to it"


def test_many_damaged_files_are_not_all_named_in_the_warning(tmp_path: Path):
    for number in range(12):
        (tmp_path / "p" / f"r{number:02}").mkdir(parents=True)
        (tmp_path / "p" / f"r{number:02}" / "config.toml").write_text("= 1")
    with pytest.warns(AgentNNWarning, match="and 2 more"):
        project = MLProject(tmp_path)
    assert (len(project), len(project.unreadable)) == (0, 12)


def test_a_config_and_a_metric_of_one_name_are_kept_apart(tmp_path: Path):
    with MLRun.create({"loss": "mse", "lr": 1}, tmp_path, "p", wandb_options={"mode": "disabled"}) as run:
        run.add_metrics({"loss": 0.5})
    with pytest.warns(AgentNNWarning, match="loss"):
        project = MLProject(tmp_path)
    (row,) = project.df.to_dict("records")
    assert (row["config.loss"], row["metrics.loss"], row["lr"]) == ("mse", 0.5, 1)
    assert "loss" not in row


def test_an_empty_folder_is_an_empty_project(tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        project = MLProject(tmp_path)
    assert project.df.empty
    assert "run_id" in project.df.columns


def test_a_folder_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path):
    with pytest.raises(StoreUnavailable, match="nowhere"):
        MLProject(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
