"""``agentnn experiment create|rename|tag|delete|restore``, compared with what ``MlflowClient`` finds afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import ADA, BOB, CYD, DEE, EVE, Rows, fingerprint
from mlflow import MlflowClient
from mlflow.entities import ViewType

from agentnn.cli.app import run_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Ran:
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(uri: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process, where MLflow takes one relative URI for one store, wherever we are."""

    def ran(*arguments: str) -> Ran:
        capsys.readouterr()
        code = run_command(["--tracking-uri", uri, "experiment", *arguments])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return ran


@pytest.fixture
def client(filled: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{filled}")


def active_runs(client: MlflowClient) -> set[str]:
    return {run.info.run_id for run in client.search_runs(["0", "1"], run_view_type=ViewType.ACTIVE_ONLY)}


def test_an_experiment_is_made_with_its_place_and_tags(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    place = filled.parent / "files"
    made = run("create", "beta", "--artifact-location", str(place), "--tag", "team=a=b", "--tag", "x=", "-o", "id")
    found = client.get_experiment_by_name("beta")
    assert (made.code, made.out) == (0, f"{found.experiment_id}\n")
    assert {key: value for key, value in found.tags.items() if not key.startswith("mlflow.")} == {
        "team": "a=b",
        "x": "",
    }
    assert found.artifact_location.removeprefix("file://") == str(place)
    plain = run("create", "gamma", "-o", "json").json
    assert plain == {**plain, "name": "gamma", "lifecycle_stage": "active"}
    assert client.get_experiment_by_name("gamma").artifact_location == plain["artifact_location"]


def test_a_store_is_made_where_there_is_none(tmp_path: Path, run: Callable[..., Ran], database: Path):
    database.unlink()
    assert run("create", "first", "-o", "id").code == 0
    assert MlflowClient(f"sqlite:///{database}").get_experiment_by_name("first") is not None


def test_a_taken_name_is_refused_whoever_holds_it(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    taken = run("create", "alpha")
    assert (taken.code, taken.out) == (6, "")
    assert "experiment show alpha" in taken.err
    with Rows(filled) as rows:
        rows.experiment(7, "old one", lifecycle_stage="deleted")
    for arguments in (("create", "old one"), ("rename", "alpha", "old one")):
        held = run(*arguments)
        assert (held.code, held.out) == (6, "")
        assert "deleted but still holds its name" in held.err
        assert "experiment restore 'old one'" in held.err
    assert run("rename", "alpha", "Default").code == 6
    assert client.get_experiment("1").name == "alpha"
    assert run("restore", "old one").code == 0
    assert client.get_experiment("7").lifecycle_stage == "active"


def test_renaming_takes_a_name_or_an_id_and_a_name_goes_first(
    filled: Path, client: MlflowClient, run: Callable[..., Ran]
):
    assert run("create", "1").code == 0  # looks like the id of alpha
    number = client.get_experiment_by_name("1").experiment_id
    assert run("rename", "1", "one", "-o", "id").out == f"{number}\n"
    assert run("rename", "1", "beta", "-o", "json").json["name"] == "beta"
    assert client.get_experiment("1").name == "beta"
    assert run("rename", "beta", "beta").code == 0


def test_tags_are_set_and_removed(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    ran = run("tag", "alpha", "owner=ada", "note=x=y", "--remove", "team", "--remove", "never", "-o", "json")
    assert (ran.code, ran.json["tags"]) == (0, {"owner": "ada", "note": "x=y"})
    assert client.get_experiment("1").tags == {"owner": "ada", "note": "x=y"}


def test_the_plan_counts_runs_and_names_what_depends_on_them(filled: Path, run: Callable[..., Ran]):
    with Rows(filled) as rows:
        rows.execute(f"UPDATE runs SET status = 'RUNNING' WHERE run_uuid = '{CYD}'")
        rows.execute(f"UPDATE runs SET lifecycle_stage = 'deleted', experiment_id = 1 WHERE run_uuid = '{EVE}'")
    before = fingerprint(filled.parent)
    ran = run("delete", "alpha", "Default", "1", "-o", "json")
    assert fingerprint(filled.parent) == before
    alpha, default = ran.json
    assert (alpha["runs_by_status"], default["runs_by_status"]) == ({"FINISHED": 2, "RUNNING": 1}, {"RUNNING": 1})
    assert [(one["name"], one["version"]) for one in alpha["model_versions"]] == [("net", 2), ("net", 1)]
    assert (alpha["done"], alpha["deleted_before"]) == (False, 1)
    assert "still running in alpha, and what they log from now on is refused: 1 run" in ran.err
    assert "stay loadable: models:/net/2 (@champion), models:/net/1" in ran.err
    (said,) = [line for line in ran.err.splitlines() if "to delete: " in line]
    assert said.endswith("experiment delete alpha Default --yes")
    assert "experiment restore alpha\nthat also brings back what was deleted of alpha before: 1 run" in ran.err


def test_deleting_and_restoring_take_the_runs_along(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    client.delete_run(BOB)
    assert run("delete", "alpha", "--yes").code == 0
    assert client.get_experiment("1").lifecycle_stage == "deleted"
    assert active_runs(client) == {DEE}
    again = run("delete", "alpha", "--yes")
    assert again.code == 0
    assert "'alpha' is deleted already" in again.err
    back = run("restore", "alpha", "-o", "json")
    assert (back.code, back.json["runs"], back.json["lifecycle_stage"]) == (0, 3, "active")
    assert "back with it: 3 runs, those included that had been deleted one by one before" in back.err
    assert active_runs(client) == {ADA, BOB, CYD, DEE}
    twice = run("restore", "alpha")
    assert twice.code == 0
    assert "'alpha' is not deleted" in twice.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["create", " "], 2, "needs a name"),
        (["create", "x" * 257], 2, "257 characters"),
        (["create", "x", "--tag", "a"], 2, "KEY=VALUE"),
        (["create", "x", "--tag", "a=1", "--tag", "a=2"], 6, "given twice"),
        (["create", "x", "--tag", f"a={'x' * 5001}"], 2, "5001 characters"),
        (["rename", "nobody", "x"], 3, "no experiment 'nobody'"),
        (["tag", "alpha"], 2, "which tags"),
        (["tag", "alpha", "a=1", "--remove", "a"], 6, "both set and removed"),
        (["tag", "nobody", "a=1"], 3, "no experiment 'nobody'"),
        (["delete", "alpha", "nobody", "--yes"], 3, "no experiment 'nobody'"),
        (["delete"], 2, "EXPERIMENT"),
        (["restore", "nobody"], 3, "no experiment 'nobody'"),
        (["tag", "gone", "a=1"], 6, "experiment restore gone"),
        (["rename", "gone", "x"], 6, "experiment restore gone"),
    ],
)
def test_what_is_refused_changes_nothing(
    filled: Path, run: Callable[..., Ran], arguments: list[str], code: int, said: str
):
    with Rows(filled) as rows:
        rows.experiment(7, "gone", lifecycle_stage="deleted")
    before = fingerprint(filled.parent)
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert fingerprint(filled.parent) == before
