"""The reading commands over folders of TOML runs, which answer as they do over MLflow's stores."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import NEW_YEAR, Rows, agentnn, environment, error_and_hint, fingerprint, in_process, on_terminal
from generated_stores import NOON, ExperimentSpec, RunSpec, StoreSpec, points, run_id, write_store
from toml_stores import write_toml_store

from agentnn import ModelManager, UnreadableWarning
from agentnn.errors import CorruptDataError
from agentnn.records import PARENT_TAG, DatasetInput
from agentnn.stores.toml.layout import INDEX
from agentnn.stores.toml.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAVY = {
    "mlflow", "pandas", "numpy", "torch", "sqlalchemy", "pydantic", "requests", "tomlkit", "wandb", "tabulate", "rich",
    "dotenv", "yaml",
}  # fmt: skip


def make(base: Path, project: str, run: str, config: dict[str, Any] | None = None, **meta: Any) -> RunDirectory:
    """A run as the library makes it."""
    meta = {"run_id": run, "name": run, "status": "FINISHED", **meta}
    return RunDirectory.create(base, project, run, {**(config or {}), "_meta": meta})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the folder ``checkpoints`` in it: two projects, five runs, one of them nested and one deleted."""
    base = tmp_path_factory.mktemp("local") / "checkpoints"
    ada = make(base, "alpha", "ada-01", {"lr": 0.001, "model": {"layers": 2}}, tags={"team": "quant"}, user="ana")
    for step, loss in enumerate((0.9, 0.5, 0.25)):
        ada.add_metrics({"loss": loss}, step=step, timestamp=NEW_YEAR + step)
    ada.add_metrics({"sharpe": 1.25})
    (ada.path / "plots").mkdir()
    (ada.path / "plots" / "loss.csv").write_text("1,2\n")
    make(base, "alpha", "bob-02", {"lr": 0.01, "model": {"layers": 3}}).add_metrics({"loss": 0.125, "sharpe": 1.0})
    cyd = make(base, "alpha", "cyd-03", {"lr": None, "seeds": [1, 2]}, parent_run_id="ada-01")
    cyd.add_metrics({"sharpe": math.nan, "note": "odd"})
    make(base, "beta", "dee-04", status="RUNNING").add_metrics({"sharpe": 9.0})
    make(base, "beta", "eve-05", lifecycle_stage="deleted").add_metrics({"sharpe": 99.0})
    (base / "beta" / "project.toml").write_text('name = "Beta β"\n[tags]\nteam = "quant"\n')
    return base.parent


@pytest.fixture
def local(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(*arguments: str, uri: str = "toml:checkpoints") -> subprocess.CompletedProcess[str]:
    """A command over the store in the working directory, in this process."""
    return in_process("--tracking-uri", uri, *arguments)


def answer(*arguments: str) -> str:
    """What a command that succeeds prints, of which nothing is a complaint."""
    done = ask(*arguments)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    return done.stdout


class TestNames:
    @pytest.mark.parametrize(
        "uri",
        [
            "toml:checkpoints", "toml:./checkpoints", "toml:{}/checkpoints", "toml://{}/checkpoints",
            "TOML:checkpoints", "checkpoints", "./checkpoints", "{}/checkpoints",
        ],
    )  # fmt: skip
    def test_all_forms_of_its_name_are_the_same_store(self, local: Path, uri: str):
        done = ask("experiment", "list", "-o", "id", uri=uri.format(local))
        assert (done.returncode, done.stdout, done.stderr) == (0, "alpha\nbeta\n", "")

    def test_the_environment_names_it_too(self, local: Path):
        for uri in ("./checkpoints", "toml:./checkpoints"):
            done = agentnn("run", "list", "-n", "0", "-o", "id", cwd=local, env={"MLFLOW_TRACKING_URI": uri})
            assert done.returncode == 0, done.stderr
            assert len(done.stdout.split()) == 4

    def test_an_env_file_names_it_for_the_folders_below(self, local: Path, monkeypatch: pytest.MonkeyPatch):
        (local / ".env").write_text("MLFLOW_TRACKING_URI=checkpoints\n")
        inner = local / "notebooks"
        inner.mkdir()
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with chdir(inner):
            assert in_process("experiment", "list", "-o", "id").stdout == "alpha\nbeta\n"

    def test_a_folder_that_is_not_there_is_exit_4_and_is_not_made(self, local: Path):
        done = ask("run", "list", uri="toml:nowhere")
        assert (done.returncode, done.stdout) == (4, "")
        assert error_and_hint(done.stderr)[0] == "there is no store at nowhere"
        assert not (local / "nowhere").exists()

    def test_a_file_is_wrong_use(self, local: Path):
        (local / "runs.db").touch()
        done = ask("run", "list", uri="toml:runs.db")
        assert done.returncode == 2
        assert error_and_hint(done.stderr)[0] == "runs.db is a file, not a folder of TOML runs"

    @pytest.mark.parametrize("uri", ["toml:", "toml://", "toml://host/checkpoints"])
    def test_a_uri_without_a_folder_is_wrong_use(self, local: Path, uri: str):
        done = ask("run", "list", uri=uri)
        assert done.returncode == 2
        assert error_and_hint(done.stderr)[1]

    def test_an_empty_folder_has_no_runs_and_stays_empty(self, local: Path):
        (local / "empty").mkdir()
        for arguments in (("run", "list"), ("experiment", "list")):
            done = ask(*arguments, "-o", "json", uri="toml:empty")
            assert (done.returncode, done.stdout.strip()) == (0, "[]")
        assert ask("run", "best", "-m", "sharpe", uri="toml:empty").returncode == 3
        assert ask("run", "show", "@last", uri="toml:empty").returncode == 3
        assert list((local / "empty").iterdir()) == []

    def test_debug_names_the_store(self, local: Path):
        assert "debug: store toml:checkpoints (from option)\n" in ask("--debug", "run", "list").stderr


@pytest.mark.usefixtures("local")
class TestCommands:
    def test_experiments_are_projects(self):
        alpha, beta = json.loads(answer("experiment", "list", "-o", "json"))
        assert (alpha["experiment_id"], alpha["name"], alpha["tags"]) == ("alpha", "alpha", {})
        assert (beta["experiment_id"], beta["name"], beta["tags"]) == ("beta", "Beta β", {"team": "quant"})
        assert alpha["artifact_location"] == str(Path("checkpoints/alpha").absolute())
        shown = json.loads(answer("experiment", "show", "Beta β", "-o", "json"))
        assert shown["experiment_id"] == "beta"

    def test_a_run_is_shown_whole(self, local: Path):
        ada = json.loads(answer("run", "show", "ada-01", "-o", "json"))
        assert ada["start_time"] is not None
        del ada["start_time"]
        assert ada == {
            "run_id": "ada-01",
            "name": "ada-01",
            "experiment_id": "alpha",
            "experiment": "alpha",
            "status": "FINISHED",
            "lifecycle_stage": "active",
            "end_time": None,
            "duration_s": None,
            "user": "ana",
            "parent_run_id": None,
            "artifact_uri": str(local / "checkpoints" / "alpha" / "ada-01"),
            "metrics": {"loss": 0.25, "sharpe": 1.25},
            "params": {"lr": "0.001", "model.layers": "2"},
            "tags": {"mlflow.runName": "ada-01", "team": "quant"},
            "non_finite": [],
        }

    def test_a_run_that_is_listed_is_the_run_that_is_shown(self):
        for run in json.loads(answer("run", "list", "--view", "all", "-n", "0", "-o", "json")):
            assert json.loads(answer("run", "show", run["run_id"], "-o", "json")) == run

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (("-f", "metrics.sharpe > 1"), ["ada-01", "dee-04"]),
            (("-f", "params.`model.layers` >= 3 OR parent_run_id = 'ada-01'"), ["bob-02", "cyd-03"]),
            (("-f", "params.seeds = '[1, 2]'"), ["cyd-03"]),
            (("-f", "tags.team = 'quant'"), ["ada-01"]),
            (("-f", "tags.`metrics.note` = 'odd'"), ["cyd-03"]),
            (("-f", "experiment_id = 'beta'"), ["dee-04"]),
            (("-e", "Beta β"), ["dee-04"]),
            (("-e", "beta", "--view", "deleted"), ["eve-05"]),
        ],
        ids=" ".join,
    )
    def test_runs_are_filtered(self, arguments: Sequence[str], expected: list[str]):
        assert set(answer("run", "list", *arguments, "-o", "id").split()) == set(expected)

    def test_runs_are_sorted_with_what_is_missing_at_the_end(self):
        assert answer("run", "list", "--sort", "metrics.loss", "-o", "id").split()[:2] == ["bob-02", "ada-01"]

    def test_the_best_run_has_a_finite_value_and_is_finished(self):
        done = ask("run", "best", "-m", "sharpe", "-o", "json")
        assert done.returncode == 0
        best = json.loads(done.stdout)
        assert (best["run_id"], best["best"]["value"], best["best"]["runner_up"]) == (
            "ada-01",
            1.25,
            "bob-02",
        )
        assert best["best"]["excluded"] == {"missing": 0, "nan": 1, "infinite": 0, "unfinished": 1}
        assert answer("run", "best", "-m", "sharpe", "--include-unfinished", "-o", "id") == "dee-04\n"
        assert ask("run", "best", "-m", "sharp").stderr.splitlines()[-1] == "hint: did you mean sharpe?"

    @pytest.mark.parametrize(("aggregate", "best"), [("last", "bob-02"), ("min", "bob-02"), ("first", "bob-02")])
    def test_the_best_of_a_history(self, aggregate: str, best: str):
        assert answer("run", "best", "-m", "loss", "--mode", "min", "--aggregate", aggregate, "-o", "id") == f"{best}\n"
        top = json.loads(answer("run", "best", "-m", "loss", "--aggregate", "max", "--top", "2", "-o", "json"))
        assert [(one["run_id"], one["best"]["value"]) for one in top] == [("ada-01", 0.9), ("bob-02", 0.125)]

    def test_a_history_comes_by_step(self):
        found = json.loads(answer("run", "history", "ada-01", "-m", "loss", "-o", "json"))
        assert [(one["step"], one["value"]) for one in found] == [(0, 0.9), (1, 0.5), (2, 0.25)]
        (only,) = json.loads(answer("run", "history", "bob-02", "-m", "loss", "-o", "json"))
        assert (only["step"], only["value"]) == (0, 0.125)

    def test_runs_are_compared_and_checked(self):
        compared = answer("run", "compare", "ada-01", "bob-02", "-o", "tsv").splitlines()
        assert "params.lr\t0.001\t0.01" in compared
        assert "params.model.layers\t2\t3" in compared
        assert ask("run", "check", "ada-01", "--require", "sharpe >= 1.2").returncode == 0
        assert ask("run", "check", "bob-02", "--require", "sharpe >= 1.2").returncode == 1
        against_ada = ("--baseline", "ada-01", "--max-regress", "5%")
        assert ask("run", "check", "bob-02", "--require", "sharpe >= 0", *against_ada).returncode == 1

    def test_a_finished_run_is_watched_to_its_end(self):
        done = ask("run", "watch", "ada-01")
        assert done.returncode == 0
        assert "ada-01" in done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("selector", "found"),
        [
            ("ada-01", "ada-01"),
            ("alpha/ada-01", "ada-01"),
            ("@best:sharpe", "ada-01"),
            ("@best:loss:min", "bob-02"),
            ("eve-05", "eve-05"),
        ],
    )
    def test_selectors(self, selector: str, found: str):
        assert answer("run", "show", selector, "-o", "id") == f"{found}\n"

    @pytest.mark.parametrize(
        "selector", ["beta/ada-01", "../checkpoints/alpha/ada-01", ".", "..", "alpha", "alpha/", "/ada-01"]
    )
    def test_what_is_no_run_is_exit_3(self, selector: str):
        assert ask("run", "show", selector).returncode == 3

    def test_a_prefix_and_a_name_find_a_run(self, local: Path):
        make(local / "checkpoints", "alpha", "3f2a9c11", name="lstm-small")
        assert answer("run", "show", "3f2a", "-o", "id") == "3f2a9c11\n"
        assert answer("run", "show", "lstm-small", "-o", "id") == "3f2a9c11\n"
        assert answer("run", "show", "@last", "-o", "id") == "3f2a9c11\n"
        make(local / "checkpoints", "beta", "3f2a0000", name="lstm-small")
        for selector in ("3f2a", "lstm-small"):
            done = ask("run", "show", selector)
            assert done.returncode == 3
            assert "3f2a9c11 (alpha)" in done.stderr

    @pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "tsv", "md", "id"])
    def test_every_format_names_every_run(self, form: str):
        printed = answer("run", "list", "-o", form)
        assert all(name in printed for name in ("ada-01", "bob-02", "cyd-03", "dee-04"))

    def test_a_terminal_gets_a_table_and_a_pipe_gets_tabs(self, local: Path):
        assert on_terminal("--tracking-uri", "./checkpoints", "run", "list", cwd=local).code == 0
        piped = agentnn("--tracking-uri", "./checkpoints", "run", "list", cwd=local)
        assert (piped.returncode, piped.stderr) == (0, "")
        assert piped.stdout.splitlines()[0].split("\t")[:2] == ["run_id", "name"]
        assert len(piped.stdout.splitlines()) == 5

    def test_reports_are_written_and_verified(self):
        assert answer("report", "training", "ada-01", "-o", "ada.json") == "ada.json\n"
        assert answer("report", "training", "ada-01", "-o", "ada.html") == "ada.html\n"
        assert answer("report", "compare", "ada-01", "bob-02", "-o", "both.md") == "both.md\n"
        assert "0.25" in Path("ada.json").read_text()
        assert ask("report", "verify", "ada.json").returncode == 0
        RunDirectory(Path("checkpoints/alpha/ada-01")).add_metrics({"sharpe": 7.0})
        assert ask("report", "verify", "ada.json").returncode == 1

    def test_completion_offers_what_is_there(self, local: Path):
        line = "agentnn run show "
        env = {"MLFLOW_TRACKING_URI": "toml:checkpoints", "_AGENTNN_COMPLETE": "complete_bash", "COMP_WORDS": line}
        offered = agentnn(cwd=local, env={**env, "COMP_CWORD": "3"}).stdout.split()
        assert {"@last", "ada-01", "dee-04"} <= set(offered)

    def test_a_read_leaves_nothing_but_the_index(self, local: Path):
        before = fingerprint(local)
        for arguments in (
            ("run", "list"),
            ("run", "best", "-m", "loss", "--aggregate", "min"),
            ("run", "show", "ada-01"),
        ):
            answer(*arguments)
        after = fingerprint(local)
        assert {name for name in after if INDEX not in name} == set(before)
        assert all(after[name] == digest for name, digest in before.items())


class TestModels:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("model", "list"), ("model", "versions", "net"), ("model", "show", "net"), ("model", "delete", "net"),
            ("model", "promote", "net", "1", "--alias", "champion"), ("run", "show", "models:/net"),
        ],
        ids=" ".join,
    )  # fmt: skip
    def test_without_a_registry_models_are_wrong_use(self, local: Path, arguments: Sequence[str]):
        done = ask(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        error, hint = error_and_hint(done.stderr)
        assert error == "a store of TOML runs keeps no registered models"
        assert "MLFLOW_REGISTRY_URI" in hint

    def test_a_registry_beside_it_answers(self, local: Path, database: Path, monkeypatch: pytest.MonkeyPatch):
        with Rows(database) as rows:
            rows.model("net")
            rows.version("net", 1, "ada-01", alias="champion")
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{database}")
        assert answer("model", "list", "-o", "id") == "net\n"
        assert answer("run", "show", "models:/net@champion", "-o", "id") == "ada-01\n"

    def test_a_registry_beside_it_is_written_to(self, local: Path, database: Path, monkeypatch: pytest.MonkeyPatch):
        with Rows(database) as rows:
            rows.model("net")
            rows.version("net", 1, "ada-01", alias="champion")
            rows.version("net", 2, "bob-02")
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{database}")
        promote = ("model", "promote", "net", "2", "--alias", "champion", "--if-better", "sharpe", "--no-verify")
        assert ask(*promote).returncode == 1
        RunDirectory(Path("checkpoints/alpha/bob-02")).add_metrics({"sharpe": 7.0})
        assert ask(*promote).returncode == 0
        assert answer("run", "show", "models:/net@champion", "-o", "id") == "bob-02\n"
        assert ask("model", "delete", "net", "--force", "--yes").returncode == 0

    @pytest.mark.usefixtures("local")
    def test_a_model_is_not_registered_from_it(self, monkeypatch: pytest.MonkeyPatch, database: Path):
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{database}")
        folder = Path("checkpoints/alpha/ada-01/model")
        folder.mkdir()
        (folder / "MLmodel").write_text("flavors: {}\n")
        for model in ("ada-01", str(folder)):
            done = ask("model", "register", model, "--name", "net")
            assert done.returncode == 2
            assert "run import" in error_and_hint(done.stderr)[1]

    @pytest.mark.usefixtures("local")
    def test_the_doctor_looks_at_runs_and_asks_for_no_models(self):
        done = ask("run", "doctor", "-o", "json")
        assert done.returncode == 0, done.stderr
        assert [(one["check"], one["run_id"]) for one in json.loads(done.stdout)] == [("non-finite", "cyd-03")]


class TestFiles:
    def test_the_files_of_a_run_are_its_artifacts(self, local: Path):
        found = json.loads(answer("run", "artifacts", "ls", "ada-01", "-o", "json"))
        assert [one["path"] for one in found] == ["config.toml", "metrics.toml", "plots"]
        assert answer("run", "artifacts", "cat", "ada-01", "plots/loss.csv") == "1,2\n"
        assert ask("run", "artifacts", "get", "ada-01", "--to", "out").returncode == 0
        assert (local / "out" / "plots" / "loss.csv").read_text() == "1,2\n"
        source = local / "checkpoints" / "alpha" / "ada-01" / "config.toml"
        assert (local / "out" / "config.toml").read_bytes() == source.read_bytes()

    def test_what_is_ours_is_none_of_them(self, local: Path):
        folder = local / "checkpoints" / "alpha" / "ada-01"
        (folder / ".config.toml.tmp").touch()
        (folder / "plots" / ".gitignore").touch()
        (folder / "%63onfig.toml").write_text("logged")
        (folder / "%2Ehidden").write_text("logged too")
        (folder / "origin.toml").touch()  # it was made elsewhere: its own documents are no artifacts
        paths = [one["path"] for one in json.loads(answer("run", "artifacts", "ls", "ada-01", "-r", "-o", "json"))]
        assert sorted(paths) == [".hidden", "config.toml", "plots/.gitignore", "plots/loss.csv"]
        assert answer("run", "artifacts", "cat", "ada-01", "config.toml") == "logged"
        assert ask("run", "artifacts", "cat", "ada-01", "history.jsonl").returncode == 3
        assert ask("run", "artifacts", "cat", "ada-01", "%63onfig.toml").returncode == 3

    @pytest.mark.parametrize("path", ["../bob-02/config.toml", "/etc/passwd", "plots/../../bob-02/config.toml"])
    @pytest.mark.usefixtures("local")
    def test_a_path_that_leaves_the_run_is_refused(self, path: str):
        assert ask("run", "artifacts", "cat", "ada-01", path).returncode == 7

    def test_a_link_that_leaves_the_run_is_refused(self, local: Path):
        (local / "secret").write_text("hunter2")
        folder = local / "checkpoints" / "alpha" / "ada-01"
        (folder / "leak").symlink_to(local / "secret")
        (folder / "plots" / "deep").symlink_to(local)
        for path in ("leak", "plots/deep/secret"):
            done = ask("run", "artifacts", "cat", "ada-01", path)
            assert done.returncode == 7, path
            assert "hunter2" not in done.stdout + done.stderr

    def test_a_run_that_is_a_link_out_of_the_store_is_read_only_where_that_is_declared(
        self, local: Path, monkeypatch: pytest.MonkeyPatch
    ):
        elsewhere = make(local / "other", "alpha", "fay-06").path
        (elsewhere / "secret.txt").write_text("hunter2")
        (local / "checkpoints" / "alpha" / "fay-06").symlink_to(elsewhere)
        done = ask("run", "artifacts", "cat", "fay-06", "secret.txt")
        assert done.returncode == 7
        assert "hunter2" not in done.stdout
        monkeypatch.setenv("AGENTNN_ARTIFACT_ROOTS", str(local / "other"))
        assert answer("run", "artifacts", "cat", "fay-06", "secret.txt") == "hunter2"


class TestTwoOfOneName:
    @pytest.fixture
    def twins(self, local: Path) -> Path:
        """Two projects that have a run of the same id, each with a nested one."""
        base = local / "twins"
        for project, value in (("one", 1.0), ("two", 2.0)):
            make(base, project, "r1").add_metrics({"m": value}, step=3, timestamp=NEW_YEAR)
            make(base, project, f"child-of-{project}", parent_run_id="r1")
        return base

    def test_they_are_told_apart_by_their_projects(self, twins: Path):
        done = ask("run", "list", "-f", "metrics.m > 0", "--sort", "metrics.m", "-o", "id", uri=f"toml:{twins}")
        assert done.stdout.split() == ["one/r1", "two/r1"]
        for run in ModelManager(f"toml:{twins}").list_runs():
            assert ModelManager(f"toml:{twins}").get_run(run.run_id) == run
        shown = ask("run", "history", "two/r1", "-m", "m", "-o", "json", uri=f"toml:{twins}")
        assert json.loads(shown.stdout)[0]["value"] == 2.0
        assert ask("run", "artifacts", "ls", "two/r1", uri=f"toml:{twins}").returncode == 0

    def test_their_id_alone_names_neither(self, twins: Path):
        done = ask("run", "show", "r1", uri=f"toml:{twins}")
        assert done.returncode == 3
        assert "one/r1" in done.stderr
        assert "two/r1" in done.stderr

    def test_each_has_its_own_child(self, twins: Path):
        manager = ModelManager(f"toml:{twins}")
        assert manager.get_run("child-of-two").parent_run_id == "two/r1"
        (child,) = manager.list_runs(filter="parent_run_id = 'one/r1'")
        assert child.run_id == "child-of-one"


class TestDamage:
    @pytest.fixture
    def damaged(self, local: Path) -> Path:
        """Among the good runs one whose config is no TOML, and a project whose settings are none."""
        bad = make(local / "checkpoints", "alpha", "bad-99").path / "config.toml"
        bad.write_text("lr = = 1\n")
        (local / "checkpoints" / "beta" / "project.toml").write_text("name =\n")
        return local

    @pytest.mark.usefixtures("damaged")
    def test_the_good_runs_are_there_and_the_bad_files_are_named_once(self):
        for _ in range(2):
            done = ask("run", "list", "-o", "id")
            assert done.returncode == 0
            assert set(done.stdout.split()) == {"ada-01", "bob-02", "cyd-03", "dee-04"}
            notes = done.stderr.splitlines()
            assert all(one.startswith("note: ") for one in notes)
            assert sum("bad-99/config.toml" in one for one in notes) == 1
            assert sum("beta/project.toml" in one for one in notes) == 1

    @pytest.mark.usefixtures("damaged")
    def test_a_damaged_run_that_is_asked_for_is_exit_5(self):
        done = ask("run", "show", "bad-99")
        assert (done.returncode, done.stdout) == (5, "")
        assert "bad-99/config.toml" in error_and_hint(done.stderr)[0]

    @pytest.mark.usefixtures("damaged")
    def test_what_is_left_out_is_exit_5_where_that_is_asked_for(self):
        done = ask("--strict", "run", "list", "-o", "id")
        assert (done.returncode, len(done.stdout.split())) == (5, 4)
        assert "error: the answer leaves out what can't be read" in done.stderr

    @pytest.mark.usefixtures("local")
    def test_a_whole_answer_is_0_however_strict_one_is(self):
        assert ask("--strict", "run", "list", "-o", "id").returncode == 0

    @pytest.mark.usefixtures("damaged")
    def test_a_manager_says_so_once_and_again_of_another_file(self):
        manager = ModelManager("toml:checkpoints")
        with pytest.warns(UnreadableWarning) as first:
            manager.list_runs()
            manager.list_runs()
        assert len(first) == 2
        make(Path("checkpoints"), "alpha", "bad-98").path.joinpath("config.toml").write_bytes(b"\xff")
        with pytest.warns(UnreadableWarning, match="bad-98") as second:
            manager.list_runs()
        assert len(second) == 1

    def test_a_damaged_index_is_made_again(self, local: Path):
        with ModelManager("toml:checkpoints") as manager:
            expected = manager.list_runs()
            index = local / "checkpoints" / INDEX
            index.write_bytes(index.read_bytes()[:4096] + os.urandom(index.stat().st_size - 4096))
            assert manager.list_runs() == expected
            index.write_bytes(b"no database")
            assert manager.list_runs() == expected
            index.unlink()
            assert manager.get_best_run("sharpe").run_id == "ada-01"

    @pytest.mark.usefixtures("local")
    def test_a_run_that_few_ask_for_must_be_readable(self, damaged: Path):
        with pytest.raises(CorruptDataError):
            ModelManager(f"toml:{damaged}/checkpoints").get_run("bad-99")


@pytest.mark.usefixtures("local")
class TestNews:
    def test_a_manager_sees_what_was_written_before_it_was_asked(self):
        base = Path("checkpoints")
        with ModelManager("toml:checkpoints") as manager:
            for number in range(20):
                run = make(base, "gamma", f"new-{number}")
                assert {one.run_id for one in manager.list_runs("gamma")} == {f"new-{one}" for one in range(number + 1)}
                for value in (number, -number, 100 + number):
                    run.add_metrics({"m": float(value)})
                    assert manager.get_run(run.run_id).metrics["m"] == value
                    assert manager.list_runs(filter=f"metrics.m = {value}", limit=1)[0].run_id == run.run_id
                assert manager.get_best_run("m").run_id == run.run_id
            shutil.rmtree(base / "gamma")
            assert manager.list_runs(filter="metrics.m > 0") == []

    def test_histories_grow_under_a_manager(self):
        ada = RunDirectory(Path("checkpoints/alpha/ada-01"))
        with ModelManager("toml:checkpoints") as manager:
            assert manager.get_best_run("loss", "min", aggregate="min").best.value == 0.125
            ada.add_metrics({"loss": 0.01}, step=1, timestamp=NEW_YEAR + 9)
            assert manager.get_best_run("loss", "min", aggregate="min").best.value == 0.01
            assert [one.value for one in manager.get_metric_history("ada-01", "loss")] == [0.9, 0.5, 0.01, 0.25]


TWINS = StoreSpec(
    (
        ExperimentSpec(0, "Default"),
        ExperimentSpec(1, "alpha", creation_time=NOON + 1),
        ExperimentSpec(2, "old", "deleted"),
    ),
    (
        RunSpec(
            run_id(1), 1, "lstm", start_time=NOON, end_time=NOON + 1500, params={"lr": "0.001", "opt": "adam"},
            metrics={"loss": points(3.0, 1.0, 2.0), "val/loss è": points(0.25)}, tags={"team": "a"},
            datasets=(DatasetInput("prices", "d1", "training"),),
        ),
        RunSpec(
            run_id(2), 1, "gru 🚀", start_time=NOON + 1, params={"lr": "1e-2", "opt": "it's"},
            metrics={"loss": points(math.nan, 2.0)}, tags={PARENT_TAG: run_id(1), "note": "line\nbreak"},
        ),
        RunSpec(run_id(3), 0, "open", "RUNNING", start_time=NOON + 2, metrics={"loss": points(math.inf)}),
        RunSpec(run_id(4), 0, "gone", lifecycle_stage="deleted", metrics={"loss": points(-1.0)}),
        RunSpec(run_id(5), 2, "buried", metrics={"loss": points(-2.0)}),
    ),
)  # fmt: skip
QUESTIONS = (
    ("experiment", "list"),
    ("experiment", "list", "--view", "all"),
    ("experiment", "show", "alpha"),
    ("run", "list"),
    ("run", "list", "--view", "all", "--sort", "metrics.loss DESC"),
    ("run", "list", "-f", "params.lr < 0.005 OR datasets.name = 'prices' OR status = 'RUNNING'"),
    ("run", "show", "lstm"),
    ("run", "best", "-m", "loss", "--mode", "min"),
    ("run", "best", "-m", "loss", "--mode", "min", "--aggregate", "min", "--top", "3"),
    ("run", "best", "-m", "loss", "--include-unfinished", "--exclude-children", "--mode", "min"),
    ("run", "compare", "lstm", "gru 🚀"),
    ("run", "history", "lstm", "-m", "loss"),
    ("run", "check", "lstm", "--require", "loss < 3"),
)


@pytest.fixture(scope="module")
def both(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The URIs of an MLflow database and of a folder of TOML runs that hold the same."""
    folder = tmp_path_factory.mktemp("both")
    shutil.copyfile(template_database, folder / "mlflow.db")
    write_store(folder / "mlflow.db", TWINS)
    write_toml_store(folder / "checkpoints", TWINS)
    return f"sqlite:///{folder / 'mlflow.db'}", f"toml:{folder / 'checkpoints'}"


class TestOneLanguage:
    """The same question to the same runs has the same answer, whichever store holds them."""

    @pytest.mark.parametrize("form", ["json", "tsv"])
    @pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
    def test_the_answers_are_the_same(self, both: tuple[str, str], question: Sequence[str], form: str):
        first, other = (ask(*question, "-o", form, uri=uri) for uri in both)
        assert first.returncode == other.returncode
        assert other.stderr == first.stderr
        if form == "json":
            assert without_places(json.loads(other.stdout)) == without_places(json.loads(first.stdout))
        elif "experiment" not in question:  # whose rows say where the artifacts are
            assert other.stdout == first.stdout


def without_places(value: Any) -> Any:
    """A result of a command without where files are, which is each store's own matter."""
    if isinstance(value, list):
        return [without_places(one) for one in value]
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if key not in ("artifact_uri", "artifact_location")}
        return {key: without_places(one) for key, one in kept.items()}
    return value


@pytest.mark.parametrize(
    "arguments",
    [
        ("experiment", "list"),
        ("experiment", "show", "alpha"),
        ("run", "list", "--filter", "metrics.loss < 1 AND params.lr =~ '0'", "--sort", "metrics.loss"),
        ("run", "show", "@best:sharpe"),
        ("run", "best", "--metric", "sharpe"),
        ("run", "best", "--metric", "loss", "--aggregate", "mean"),
        ("run", "compare", "ada-01", "bob-02"),
        ("run", "history", "ada-01", "--metric", "loss"),
        ("run", "check", "ada-01", "--require", "loss < 1"),
        ("run", "artifacts", "ls", "ada-01"),
        ("report", "compare", "ada-01", "bob-02", "-o", "both.md"),
    ],
    ids=" ".join,
)
def test_a_piped_read_loads_nothing_heavy(arguments: Sequence[str], local: Path):
    shutil.rmtree(local / "checkpoints" / INDEX, ignore_errors=True)
    code = (
        "import sys\n"
        "from agentnn.cli.app import run_command\n"
        f"code = run_command({['--tracking-uri', './checkpoints', *arguments]!r})\n"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=local, env=environment(), capture_output=True, encoding="utf-8", check=False
    )
    status, *modules = ran.stderr.splitlines()[-1].split()
    assert status == "0", ran.stderr
    assert ran.stdout
    assert HEAVY.isdisjoint(modules)


@pytest.mark.parametrize("words", ["run show ", "experiment show ", "run best -m "])
def test_completion_loads_nothing_heavy(words: str, local: Path):
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr))\n"
        "from agentnn.cli.process import main\n"
        "sys.argv = ['agentnn']\n"
        "main()\n"
    )
    line = f"agentnn {words}"
    asked = {"_AGENTNN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    env = environment({**asked, "MLFLOW_TRACKING_URI": "./checkpoints"})
    ran = subprocess.run([sys.executable, "-c", code], cwd=local, env=env, capture_output=True, text=True, check=False)
    assert ran.stdout.split()
    assert HEAVY.isdisjoint(ran.stderr.split())
