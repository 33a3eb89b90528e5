"""F24: a parent that is not there, parents in a circle, and a stale ``MLFLOW_RUN_ID``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from cli.support import agentnn
from faults.trainers import Trainer, kept_steps, store_folder, wait_until
from mlflow import MlflowClient
from shared_store import copy_of, ended_run, runs_called, shared_state

from agentnn import current_run, start_run
from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable
from agentnn.tracking.sending.sender_control import is_sender_running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARENT = "mlflow.parentRunId"
MISSING = "0123456789abcdef0123456789abcdef"
START = "import os\nfrom agentnn import start_run\n"


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of this test's own for a run."""
    return re.sub(r"\W+", "-", request.node.name)


# -- parents -----------------------------------------------------------------------------------------------


def test_a_child_knows_its_parent_before_the_store_does(uri: str, name: str):
    with start_run(name, tracking_uri=uri) as parent, start_run(f"{name}-child", nested=True) as child:
        with start_run(f"{name}-grandchild", nested=True):
            pass
        assert current_run() is child
    child_run, grandchild = ended_run(uri, f"{name}-child"), ended_run(uri, f"{name}-grandchild")
    assert (child_run.data.tags[PARENT], grandchild.data.tags[PARENT]) == (parent.run_id, child.run_id)
    assert PARENT not in ended_run(uri, name).data.tags


def test_a_child_is_in_its_parents_store_and_experiment(uri: str, name: str, tmp_path: Path):
    script = (
        f"with start_run('parent', experiment='of parent', tracking_uri={uri!r}) as run:\n"
        "    with start_run('child', nested=True), start_run('grandchild', nested=True): pass\n"
        "    with start_run('elsewhere', nested=True, experiment='another'): pass\n"
        f"with start_run('resumed', run_id=run.run_id, tracking_uri={uri!r}):\n"
        "    with start_run('late child', nested=True): pass\n"
    )
    with Trainer(START + script, uri=f"sqlite:///{tmp_path}/other.db", cwd=tmp_path) as trainer:
        assert (trainer.wait(), trainer.stderr) == (0, "")
    client = MlflowClient(uri)
    found = {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            found[run.info.run_name] = (experiment.name, run.data.tags.get(PARENT) is not None)
    assert {one: found[one] for one in ("parent", "child", "grandchild", "elsewhere", "late child")} == {
        "parent": ("of parent", False),
        "child": ("of parent", True),
        "grandchild": ("of parent", True),
        "elsewhere": ("another", True),
        "late child": ("of parent", True),
    }
    assert not (tmp_path / "other.db").exists()


def test_a_parent_is_named_by_its_id(uri: str, name: str):
    client = MlflowClient(uri)
    parent = client.create_run("0").info.run_id
    with start_run(name, tracking_uri=uri, parent_run_id=parent) as run:
        run.log_metric("loss", 0.5)
    assert ended_run(uri, name).data.tags[PARENT] == parent


@pytest.mark.parametrize("parent", [MISSING, "no id at all", "of the journal"])
def test_a_run_whose_parent_is_not_there_is_delivered_and_marked(parent: str, uri: str, name: str):
    with start_run(name, tracking_uri=uri, parent_run_id=parent) as run:
        run.log_metric("loss", 0.5, 3)
    kept = ended_run(uri, name)
    assert (kept.info.status, kept_steps(uri, run.run_id, "loss")) == ("FINISHED", [3])
    assert kept.data.tags["agentnn.missing_parent"] == parent
    assert PARENT not in kept.data.tags


def test_a_child_in_another_store_than_its_parent_is_marked(uri: str, name: str, template_database, tmp_path_factory):
    other = copy_of(template_database, tmp_path_factory)
    with start_run(name, tracking_uri=uri) as parent, start_run("child", nested=True, tracking_uri=other):
        pass
    child = ended_run(other, "child")
    assert child.data.tags["agentnn.missing_parent"] == parent.uuid
    assert PARENT not in child.data.tags


def test_nested_without_a_parent_is_a_run_like_any_other(uri: str, name: str):
    assert current_run() is None
    with start_run(name, nested=True, tracking_uri=uri):
        pass
    assert not {PARENT, "agentnn.missing_parent"} & set(ended_run(uri, name).data.tags)


def test_parents_in_a_circle_keep_nobody_busy(uri: str, name: str, tmp_path: Path):
    client = MlflowClient(uri)
    first, second, own = (client.create_run("0", run_name=f"{name}-{number}").info.run_id for number in range(3))
    for child, parent in ((first, second), (second, first), (own, own)):
        client.set_tag(child, PARENT, parent)
        client.log_metric(child, "loss", 0.5)
    for parent in (first, own):
        with start_run(f"{name}-{parent}", tracking_uri=uri, parent_run_id=parent) as run:
            run.log_metric("loss", 0.25)
        assert ended_run(uri, f"{name}-{parent}").data.tags[PARENT] == parent
    with start_run(run_id=first, tracking_uri=uri), start_run(f"{name}-in", nested=True):
        pass
    assert ended_run(uri, f"{name}-in").data.tags[PARENT] == first
    for command in (("run", "list"), ("run", "best", "-m", "loss", "--mode", "min"), ("run", "show", first)):
        ran = agentnn("--tracking-uri", uri, *command, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr


def test_a_child_whose_parent_was_refused_does_not_keep_the_sender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("gone"))
    script = (
        "with start_run('parent', experiment='gone'), start_run('child', nested=True, experiment='fine') as child:\n"
        "    child.log_metric('loss', 0.5)\n"
    )
    with Trainer(START + script, uri=uri, cwd=tmp_path, env={"AGENTNN_SENDER_IDLE_S": "1"}) as trainer:
        assert trainer.wait() == 0
        assert "the experiment 'gone' is deleted" in trainer.stderr
    wait_until(lambda: not is_sender_running(store_folder(uri)), "the end of the sender")


# -- MLFLOW_RUN_ID -----------------------------------------------------------------------------------------

TWICE = (
    f"{START}"
    "for name in ('first', 'second'):\n"
    "    with start_run(name) as run:\n"
    "        run.log_metric('loss', 0.25, 1)\n"
    "        print(run.run_id, os.environ.get('MLFLOW_RUN_ID'))\n"
)


def test_the_run_of_the_environment_is_resumed_once(uri: str, name: str, tmp_path: Path):
    client = MlflowClient(uri)
    run_id = client.create_run("0", run_name=name).info.run_id
    client.log_metric(run_id, "loss", 0.5, step=0)
    client.set_terminated(run_id, "FAILED")
    with Trainer(TWICE, uri=uri, cwd=tmp_path, env={"MLFLOW_RUN_ID": run_id}) as trainer:
        assert trainer.wait() == 0, trainer.stderr
    resumed, other = (line.split() for line in trainer.lines)
    assert resumed == [run_id, "None"]
    assert other[0] != run_id
    assert [run.info.run_id for run in runs_called(uri, "second")] == [other[0]]
    assert runs_called(uri, "first") == []
    assert (client.get_run(run_id).info.status, kept_steps(uri, run_id, "loss")) == ("FINISHED", [0, 1])


def test_an_empty_variable_names_no_run(uri: str, tmp_path: Path):
    with Trainer(TWICE, uri=uri, cwd=tmp_path, env={"MLFLOW_RUN_ID": ""}) as trainer:
        assert trainer.wait() == 0, trainer.stderr


@pytest.mark.parametrize("trouble", ["missing", "deleted", "unreachable"])
def test_a_stale_variable_is_named_and_no_other_run_comes_to_be(
    trouble: str, uri: str, name: str, monkeypatch: pytest.MonkeyPatch
):
    client = MlflowClient(uri)
    run_id = MISSING
    if trouble == "deleted":
        run_id = client.create_run("0").info.run_id
        client.delete_run(run_id)
    store = "http://127.0.0.1:9" if trouble == "unreachable" else uri
    error = {"missing": NotFoundError, "deleted": ConflictError, "unreachable": StoreUnavailable}[trouble]
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with pytest.raises(error, match=f"^MLFLOW_RUN_ID={run_id}: ") as refused:
        start_run(name, tracking_uri=store)
    assert "MLFLOW_RUN_ID" in refused.value.hint
    assert current_run() is None
    with pytest.raises((NotFoundError, ConflictError), match=f"^MLFLOW_RUN_ID={run_id}: "):
        start_run(name, tracking_uri=uri)  # a script that tries again must not get another run
    monkeypatch.delenv("MLFLOW_RUN_ID")
    with start_run(name, tracking_uri=uri):
        pass
    assert len(runs_called(uri, name)) == 1


def test_what_was_asked_for_goes_before_the_variable(uri: str, name: str, monkeypatch: pytest.MonkeyPatch):
    client = MlflowClient(uri)
    told, asked = (client.create_run("0").info.run_id for _ in range(2))
    monkeypatch.setenv("MLFLOW_RUN_ID", told)
    with start_run(run_id=asked, tracking_uri=uri) as run:
        assert run.run_id == asked
    with start_run(f"{name}-child", parent_run_id=asked, tracking_uri=uri) as run:
        assert run.run_id not in (told, asked)
    with start_run(tracking_uri=uri) as run:
        assert run.run_id == told
