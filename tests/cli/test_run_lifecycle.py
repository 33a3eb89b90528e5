"""``agentnn run tag|note|delete|restore`` on a SQLite store whose rows are known, and that MLflow reads beside us."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import ADA, BOB, CYD, DEE, EVE, EXECUTABLE, Rows, agentnn, environment, fingerprint
from mlflow import MlflowClient
from mlflow.entities import ViewType

from agentnn.cli.app import run_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GRANDCHILD, OTHER = "1111" + "0" * 28, "2222" + "0" * 28
HEAVY = ("mlflow", "sqlalchemy", "numpy", "pandas", "torch", "pydantic", "alembic")


@dataclass
class Ran:
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def ids(self) -> list[str]:
        return [line.split("\t")[0] for line in self.out.splitlines()[1:]]

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def command_behind(self, words: str) -> list[str]:
        """The command that a note names."""
        (line,) = [one for one in self.err.splitlines() if words in one]
        return shlex.split(line.partition(words)[2])[1:]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process."""

    def ran(*arguments: str) -> Ran:
        capsys.readouterr()
        code = run_command(["run", *arguments] if arguments[0] != "run" else list(arguments))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return ran


@pytest.fixture
def client(filled: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{filled}")


@pytest.fixture
def nested(filled: Path) -> Path:
    """The filled store, with a run in Default that is nested in cyd, which is nested in ada."""
    with Rows(filled) as rows:
        rows.run(GRANDCHILD, "gil", tags={"mlflow.parentRunId": CYD})
    return filled


def stages(client: MlflowClient) -> dict[str, str]:
    found = client.search_runs(["0", "1"], run_view_type=ViewType.ALL)
    return {run.info.run_id: run.info.lifecycle_stage for run in found}


def deleted(client: MlflowClient) -> set[str]:
    return {run_id for run_id, stage in stages(client).items() if stage == "deleted"}


def many(path: Path, count: int, **more: Any) -> list[str]:
    """Runs that are named ``m``."""
    ids = [f"{number:032x}" for number in range(1 << 64, (1 << 64) + count)]
    with Rows(path) as rows:
        for run_id in ids:
            rows.run(run_id, "m", **more)
    return ids


# -- the plan ----------------------------------------------------------------------------------------------


def test_without_yes_the_plan_is_shown_and_nothing_changes(nested: Path, run: Callable[..., Ran]):
    before = fingerprint(nested.parent)
    ran = run("delete", "ada")
    assert (ran.code, ran.ids) == (0, [ADA, CYD, GRANDCHILD])
    assert fingerprint(nested.parent) == before
    header, first, *_ = ran.out.splitlines()
    assert header.split("\t") == [
        "run_id", "name", "experiment", "status", "start_time", "parent_run_id", "models", "deleted",
    ]  # fmt: skip
    assert first.split("\t") == [
        ADA,
        "ada",
        "alpha",
        "FINISHED",
        "2026-01-01T00:00:00.000Z",
        "",
        "net/2@champion",
        "false",
    ]
    assert "2 nested runs among them" in ran.err
    assert "model versions of these runs stay, and stay loadable: models:/net/2 (@champion)" in ran.err
    assert ran.command_behind("to delete: ") == ["run", "delete", "ada", "--yes"]
    assert ran.command_behind("it can be undone: ") == ["run", "restore", ADA, CYD, GRANDCHILD]


def test_the_plan_as_json_is_the_whole_of_it(nested: Path, run: Callable[..., Ran]):
    plan = run("delete", "ada", "eve", "-o", "json").json
    assert [(one["run_id"], one["nested"], one["deleted"]) for one in plan["runs"]] == [
        (ADA, False, False), (CYD, True, False), (GRANDCHILD, True, False),
    ]  # fmt: skip
    assert plan["runs"][0]["params"]["lr"] == "0.001"
    assert [(one["name"], one["version"], one["aliases"]) for one in plan["model_versions"]] == [
        ("net", 2, ["champion"])
    ]
    assert [one["run_id"] for one in plan["already_deleted"]] == [EVE]
    assert plan["undo"] == ["agentnn", "run", "restore", ADA, CYD, GRANDCHILD]
    assert (plan["deleted"], plan["orphans"], plan["left_out"]) == (False, [], [])


def test_what_the_plan_says_to_type_does_it_and_the_undo_undoes_it(
    nested: Path, client: MlflowClient, run: Callable[..., Ran]
):
    before = stages(client)
    did = run(*run("delete", "@best:sharpe", "-e", "alpha").command_behind("to delete: "))
    assert (did.code, deleted(client)) == (0, {ADA, CYD, GRANDCHILD, EVE})
    assert "3 runs deleted" in did.err
    undone = run(*did.command_behind("to undo: "))
    assert (undone.code, stages(client)) == (0, before)


def test_the_commands_that_are_said_name_the_store_that_an_option_named(
    filled: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir("/")
    uri = f"sqlite:///{filled}"
    run_command(["--tracking-uri", uri, "run", "delete", "bob"])
    said = capsys.readouterr().err
    assert f"agentnn --tracking-uri {uri} run delete bob --yes" in said
    assert f"agentnn --tracking-uri {uri} run restore {BOB}" in said


# -- who goes ----------------------------------------------------------------------------------------------


def test_kept_children_are_named_as_orphans(nested: Path, client: MlflowClient, run: Callable[..., Ran]):
    ran = run("delete", "ada", "--keep-children", "--yes")
    assert (ran.code, ran.ids, deleted(client)) == (0, [ADA], {ADA, EVE})
    assert "left without a parent: cyd" in ran.err


def test_a_run_that_is_named_twice_or_also_nested_counts_once(nested: Path, run: Callable[..., Ran]):
    assert run("delete", "cyd", "ada", CYD, "cccc", "ada").ids == [CYD, ADA, GRANDCHILD]


def test_a_running_run_goes_when_it_is_named_and_that_is_said(
    filled: Path, client: MlflowClient, run: Callable[..., Ran]
):
    ran = run("delete", "dee", "--yes")
    assert (ran.code, deleted(client)) == (0, {DEE, EVE})
    assert "still running, and what they log from now on is refused: dee" in ran.err


@pytest.mark.parametrize(
    ("conditions", "ids", "left"),
    [
        (["--older-than", "1h"], [CYD, BOB, ADA], 1),
        (["--older-than", "999w"], [], 0),
        (["--status", "running"], [DEE], 0),
        (["--status", "RUNNING", "--status", "FINISHED"], [DEE, CYD, BOB, ADA], 0),
        (["--status", "FAILED"], [], 0),
        (["-e", "alpha"], [CYD, BOB, ADA], 0),
        (["-e", "Default"], [], 1),
        (["-f", "metrics.sharpe > 1"], [ADA, CYD], 1),
        (["-f", "metrics.sharpe > 1", "--keep-children"], [ADA], 1),
        (["-f", "metrics.sharpe > 1", "-e", "alpha", "--older-than", "90m"], [ADA, CYD], 0),
        (["-f", "status = 'RUNNING'"], [], 1),
    ],
)
def test_conditions_leave_running_runs_out_unless_the_status_is_asked_for(
    filled: Path, run: Callable[..., Ran], conditions: list[str], ids: list[str], left: int
):
    plan = run("delete", *conditions, "-o", "json")
    assert (plan.code, [one["run_id"] for one in plan.json["runs"]]) == (0, ids)
    assert len(plan.json["left_out"]) == left
    assert (f"{left} run left out" in plan.err) == bool(left)
    assert ("no run matches; nothing was deleted" in plan.err) == (not ids)


def test_a_run_with_a_running_one_nested_in_it_is_left_out(filled: Path, run: Callable[..., Ran]):
    with Rows(filled) as rows:
        rows.run(GRANDCHILD, "gil", status="RUNNING", tags={"mlflow.parentRunId": CYD})
    plan = run("delete", "-f", "name != 'gil'", "-e", "alpha", "-o", "json").json
    assert [one["run_id"] for one in plan["runs"]] == [BOB]
    assert {one["run_id"] for one in plan["left_out"]} == {ADA, CYD}
    assert [one["run_id"] for one in run("delete", "ada", "-o", "json").json["runs"]] == [ADA, CYD, GRANDCHILD]


def test_the_age_is_that_of_the_start(filled: Path, run: Callable[..., Ran]):
    now = time.time_ns() // 1_000_000
    with Rows(filled) as rows:
        rows.run(OTHER, "new", start_time=now - 29 * 86_400_000)
        rows.run(GRANDCHILD, "timeless", start_time=None)
    assert OTHER not in run("delete", "--older-than", "30d").ids
    found = run("delete", "--older-than", "28d").ids
    assert OTHER in found
    assert GRANDCHILD not in found


def test_parents_in_a_circle_end(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    with Rows(filled) as rows:
        rows.insert("tags", run_uuid=ADA, key="mlflow.parentRunId", value=CYD)
        rows.insert("tags", run_uuid=BOB, key="mlflow.parentRunId", value=BOB)
    assert run("delete", "ada", "bob", "--yes").ids == [ADA, BOB, CYD]
    assert run("restore", "ada", "--with-children").ids == [ADA, CYD]
    assert run("delete", "-e", "alpha", "--yes").ids == [CYD, ADA]
    assert deleted(client) == {ADA, BOB, CYD, EVE}


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["delete"], 2, "which runs"),
        (["delete", "--yes"], 2, "which runs"),
        (["delete", "--keep-children", "--yes"], 2, "which runs"),
        (["delete", "ada", "--filter", "metrics.loss > 1"], 2, "not both"),
        (["delete", "ada", "--older-than", "1d"], 2, "not both"),
        (["delete", "--filter", " ", "--yes"], 2, "filter is empty"),
        (["delete", "--older-than", "", "--yes"], 2, "'' is no age"),
        (["delete", "--older-than", "30", "--yes"], 2, "'30' is no age"),
        (["delete", "--older-than", "-1d", "--yes"], 2, "'-1d' is no age"),
        (["delete", "--older-than", "9999999999999w"], 2, "is no age"),
        (["delete", "--status", "FAILD"], 2, "did you mean FAILED"),
        (["delete", "--filter", "metrics.loss >"], 2, "error"),
        (["delete", "ada", "nobody", "--yes"], 3, "no run 'nobody'"),
        (["delete", "-e", "nowhere", "--yes"], 3, "no experiment 'nowhere'"),
        (["restore"], 2, "which runs"),
        (["restore", "nobody"], 3, "no run 'nobody'"),
        (["restore", "ada", "--filter", "metrics.loss > 1"], 2, "not both"),
        (["tag", "ada"], 2, "which tags"),
        (["tag", "--set", "a=1"], 2, "which runs"),
        (["tag", "ada", "--set", "a"], 2, "KEY=VALUE"),
        (["tag", "ada", "--set", "=a"], 2, "KEY=VALUE"),
        (["tag", "ada", "--set", "a=1", "--set", "a=2"], 6, "'a' is given twice"),
        (["tag", "ada", "--set", "a=1", "--remove", "a"], 6, "both set and removed"),
        (["tag", "ada", "--set", f"a={'x' * 8001}"], 2, "8001 characters"),
        (["tag", "ada", "--set", "a*b=1"], 2, "'a*b'"),
        (["tag", "ada", "--set", "mlflow.runName="], 2, "can't be empty"),
        (["tag", "ada", "eve", "--set", "a=1"], 6, f"agentnn run restore {EVE}"),
        (["tag", "ada", "--set", f"mlflow.parentRunId={CYD}"], 6, "can't be the parent"),
        (["tag", "ada", "--set", f"mlflow.parentRunId={ADA}"], 6, "can't be the parent"),
        (["note", EVE, "text"], 6, f"agentnn run restore {EVE}"),
        (["note", "ada", "x" * 8001], 2, "8001 characters"),
    ],
)
def test_what_is_refused_changes_nothing(
    filled: Path, run: Callable[..., Ran], arguments: list[str], code: int, said: str
):
    before = fingerprint(filled.parent)
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert fingerprint(filled.parent) == before


def test_an_ambiguous_name_is_refused_though_a_deleted_run_has_it_too(filled: Path, run: Callable[..., Ran]):
    with Rows(filled) as rows:
        rows.run(GRANDCHILD, "bob")
        rows.run(OTHER, "bob", lifecycle_stage="deleted")
    ran = run("delete", "bob", "--yes")
    assert (ran.code, ran.out) == (3, "")
    assert "2 runs are named 'bob'" in ran.err


def test_deleting_again_is_a_note_by_id_and_by_name(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    for selector in (EVE, "eeee", "eve"):
        ran = run("delete", selector, "--yes")
        assert (ran.code, ran.ids) == (0, [])
        assert f"eve ({EVE}) is deleted already" in ran.err
    assert run("delete", "eve", "bob", "--yes").ids == [BOB]
    assert deleted(client) == {BOB, EVE}


# -- many --------------------------------------------------------------------------------------------------


def test_many_are_undone_by_a_filter_that_finds_exactly_them(
    filled: Path, client: MlflowClient, run: Callable[..., Ran]
):
    ids = many(filled, 30)
    first = run("delete", ids[0], "--yes")
    assert first.code == 0
    before = {run_id: stage for run_id, stage in stages(client).items() if run_id != ids[0]}
    plan = run("delete", "-f", "name = 'm'")
    did = run("delete", "-f", "name = 'm'", "--yes", "-o", "id")
    assert sorted(did.out.split()) == ids[1:]
    undo = did.command_behind("to undo: ")
    assert undo == plan.command_behind("it can be undone: ")
    assert len(shlex.join(undo)) < 100
    assert client.get_run(ids[1]).data.tags["agentnn.deletion"]
    assert run(*[word for word in undo if word != "--yes"]).code == 0
    assert ids[1] in deleted(client)
    undone = run(*undo)
    assert sorted(undone.ids) == ids[1:]
    after = stages(client)
    assert after.pop(ids[0]) == "deleted"
    assert after == before
    assert "agentnn.deletion" not in client.get_run(ids[1]).data.tags


def test_the_undo_is_exact_where_the_environment_names_an_experiment(
    nested: Path, client: MlflowClient, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
):
    many(nested, 30, experiment_id=1)
    before = stages(client)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "alpha")
    did = run("delete", "--older-than", "1m", "--yes")
    assert GRANDCHILD in deleted(client)  # it is in Default, and nested in cyd
    assert run(*did.command_behind("to undo: ")).code == 0
    assert stages(client) == before


def test_ids_come_from_standard_input(filled: Path, client: MlflowClient):
    ids = many(filled, 30)
    text = "\n".join(ids) + "\n\n"
    gone = agentnn("run", "delete", "-", "--yes", "-o", "id", cwd=filled.parent, stdin=None, input=text)
    assert (gone.returncode, gone.stdout.split()) == (0, ids)
    assert deleted(client) == {*ids, EVE}
    back = agentnn("run", "restore", "-", cwd=filled.parent, stdin=None, input=gone.stdout)
    assert (back.returncode, deleted(client)) == (0, {EVE})
    empty = agentnn("run", "delete", "-", "--yes", cwd=filled.parent, stdin=None, input="\n")
    assert empty.returncode == 2
    assert "names no runs" in empty.stderr


# -- restore -----------------------------------------------------------------------------------------------


def test_restoring_by_filter_shows_a_plan_first(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    plan = run("restore", "-f", "metrics.sharpe > 1")
    assert (plan.code, plan.ids, deleted(client)) == (0, [EVE], {EVE})
    did = run(*plan.command_behind("to restore: "))
    assert (did.ids, deleted(client)) == ([EVE], set())
    again = run("restore", "eve")
    assert (again.code, again.ids) == (0, [])
    assert f"eve ({EVE}) is not deleted" in again.err
    none = run("restore", "-f", "metrics.sharpe > 1", "--yes")
    assert (none.code, none.ids) == (0, [])
    assert "no deleted run matches" in none.err


def test_a_deleted_parent_and_deleted_children_are_said(nested: Path, client: MlflowClient, run: Callable[..., Ran]):
    run("delete", "ada", "--yes")
    ran = run("restore", "cyd")
    assert (ran.code, deleted(client)) == (0, {ADA, GRANDCHILD, EVE})
    assert f"the parent ada stays deleted: agentnn run restore {ADA}" in ran.err
    assert "1 nested run of these stay deleted; --with-children restores them" in ran.err
    both = run("restore", "ada", "gil")
    assert "stays deleted" not in both.err


def test_what_stayed_deleted_comes_back_as_the_note_advises(
    nested: Path, client: MlflowClient, run: Callable[..., Ran]
):
    run("delete", "ada", "--yes")
    first = run("restore", "ada")
    assert "2 nested runs of these stay deleted; --with-children restores them" in first.err
    then = run("restore", "ada", "--with-children")
    assert (then.code, set(then.ids), deleted(client)) == (0, {CYD, GRANDCHILD}, {EVE})


def test_a_deleted_experiment_stands_in_the_way(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    client.delete_experiment("1")
    for arguments in (["ada"], ["eve", "ada"], ["-e", "alpha", "--yes"]):
        refused = run("restore", *arguments)
        assert (refused.code, refused.out) == (6, "")
        assert "agentnn experiment restore alpha" in refused.err
    ran = run("restore", "-f", "metrics.sharpe > 0", "--yes")
    assert (ran.code, ran.ids) == (0, [EVE])
    assert "2 runs left out: the experiment 'alpha' is deleted; agentnn experiment restore alpha" in ran.err


# -- tag and note ------------------------------------------------------------------------------------------


def test_tags_are_set_and_removed_by_selector_and_by_filter(
    filled: Path, client: MlflowClient, run: Callable[..., Ran]
):
    ran = run("tag", "bob", "ada", "bob", "--set", "team=a=b", "--set", "empty=", "--remove", "note", "-o", "json")
    assert (ran.code, [one["run_id"] for one in ran.json]) == (0, [BOB, ADA])
    for run_id in (ADA, BOB):
        tags = client.get_run(run_id).data.tags
        assert (tags["team"], tags["empty"], "note" in tags) == ("a=b", "", False)
    by_filter = run("tag", "-f", "params.lr = 0.001", "-e", "alpha", "--set", "kept=yes")
    assert (by_filter.code, by_filter.ids) == (0, [CYD, ADA])
    assert "2 runs tagged" in by_filter.err
    assert "kept" not in client.get_run(BOB).data.tags
    none = run("tag", "-f", "params.lr = 7", "--set", "kept=yes")
    assert (none.code, none.ids) == (0, [])
    assert "no run matches" in none.err


def test_a_run_is_renamed_as_mlflow_renames_it(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    run("tag", "ada", "--set", "mlflow.runName=lovelace")
    client.set_tag(BOB, "mlflow.runName", "builder")
    assert client.get_run(ADA).info.run_name == "lovelace"
    assert client.get_run(ADA).data.tags["mlflow.runName"] == "lovelace"
    assert run("show", "lovelace", "-o", "id").out.strip() == ADA
    assert run("show", "builder", "-o", "id").out.strip() == BOB


def test_a_tag_of_a_hostile_store_stays_text(filled: Path, run: Callable[..., Ran]):
    with Rows(filled) as rows:
        rows.insert("tags", run_uuid=ADA, key="k", value="\x1b]52;c;x\x07[red]")
    ran = run("tag", "ada", "--set", "a=1", "--remove", "none")
    assert "\x1b" not in ran.out + ran.err
    shown = run("delete", "ada")
    assert "\x1b" not in shown.out + shown.err


def test_a_note_is_written_read_and_taken_off(filled: Path, client: MlflowClient, run: Callable[..., Ran]):
    assert run("note", "ada").err == "the run has no note\n"
    text = "# Ada\n\nwide, and *deep*: \u00fc\n"
    noted = agentnn("run", "note", "ada", "-", cwd=filled.parent, stdin=None, input=text)
    assert (noted.returncode, noted.stdout) == (0, "")
    assert client.get_run(ADA).data.tags["mlflow.note.content"] == text
    assert agentnn("run", "note", "ada", cwd=filled.parent).stdout == text
    assert run("note", "ada", "short").code == 0
    assert client.get_run(ADA).data.tags["mlflow.note.content"] == "short"
    assert run("note", "ada", "").code == 0
    assert "mlflow.note.content" not in client.get_run(ADA).data.tags


# -- how ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["delete", "ada", "--yes"],
        ["delete", "-f", "metrics.loss < 1", "--yes"],
        ["restore", "eve"],
        ["tag", "-e", "alpha", "--set", "a=1", "--remove", "note"],
        ["note", "ada", "text"],
    ],
    ids=" ".join,
)
def test_on_sqlite_nothing_heavy_is_loaded(filled: Path, arguments: list[str]):
    code = (
        "import sys\nfrom agentnn.cli.app import run_command\n"
        f"code = run_command(['run', *{arguments!r}])\n"
        f"loaded = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "print('loaded:', loaded, file=sys.stderr)\nsys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=filled.parent, env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "loaded: []"), done.stderr
    assert EXECUTABLE.exists()
