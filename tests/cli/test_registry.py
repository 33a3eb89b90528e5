"""``agentnn model register|promote|rollback|history|download|predict|delete``, on SQLite and on a real server.

The commands run in this process, since each of them would load MLflow anew; ``MlflowClient`` says what the store holds.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import Rows, agentnn, environment, error_and_hint, in_terminal
from mlflow import MlflowClient
from registry.saved_models import build_broken, build_pickled, build_safe

from agentnn import ModelManager
from agentnn.cli.app import run_command
from agentnn.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RUNS = {"one": 1.0, "two": 2.0, "three": 3.0, "nan": math.nan, "inf": math.inf, "none": None}


@dataclass
class Ran:
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        lines = [line for line in self.err.splitlines() if line.startswith(("error: ", "hint: "))]
        return " ".join(error_and_hint("\n".join(lines)))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command on a store."""

    def ran(uri: str, *arguments: str) -> Ran:
        capsys.readouterr()
        code = run_command(["--tracking-uri", uri, "model", *arguments])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return ran


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folders ``safe``, ``pickled`` and ``broken``."""
    folder = tmp_path_factory.mktemp("models")
    safe = build_safe(folder)
    build_pickled(folder)
    build_broken(safe, folder)
    return folder


@pytest.fixture
def store(database: Path, uri: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with a model ``net``: a version for each of RUNS, all of them the safe model."""
    monkeypatch.chdir(database.parent)
    with Rows(database) as rows:
        rows.model("net")
        for version, (name, sharpe) in enumerate(RUNS.items(), 1):
            metrics = {} if sharpe is None else {"sharpe": sharpe, "loss": sharpe}
            rows.run(name * 4, name, metrics={**metrics, "other": 1.0})
            rows.version("net", version, name * 4, source=str(folders / "safe"))
    return uri


def alias_of(uri: str, alias: str = "champion", name: str = "net") -> int | None:
    found = MlflowClient(uri).get_registered_model(name).aliases.get(alias)
    return None if found is None else int(found)


def ledger_tags(uri: str, name: str = "net") -> list[str]:
    return sorted(key for key in MlflowClient(uri).get_registered_model(name).tags if key.startswith("agentnn."))


# -- promote -----------------------------------------------------------------------------------------------


def test_a_version_is_verified_promoted_and_remembered(store: str, run: Callable[..., Ran]):
    first = run(store, "promote", "net", "1", "--alias", "champion", "--reason", "the first", "-o", "json")
    assert first.code == 0, first.err
    assert "this is the first" in first.err
    assert (first.json["verified"], first.json["previous"], first.json["moved"]) == (True, None, True)
    second = run(store, "promote", "net", "latest", "--alias", "champion", "--no-verify", "-o", "id")
    assert (second.code, second.out) == (0, "models:/net/6\n")
    assert "from version 1 to version 6" in second.err
    assert alias_of(store) == 6
    assert ledger_tags(store) == ["agentnn.promotion.champion.000001", "agentnn.promotion.champion.000002"]

    history = run(store, "history", "net", "-o", "json").json
    assert [(one["action"], one["from"], one["to"], one["outcome"]) for one in history] == [
        ("promote", 1, 6, "done"),
        ("promote", None, 1, "done"),
    ]
    assert (history[1]["reason"], history[1]["run_id"], history[1]["alias"]) == ("the first", "one" * 4, "champion")
    assert "@" in history[0]["who"]
    assert history[0]["when"].endswith("Z")


def test_there_already_is_0_and_nothing_is_written(store: str, run: Callable[..., Ran]):
    MlflowClient(store).set_registered_model_alias("net", "champion", "2")
    again = run(store, "promote", "net", "@champion", "--alias", "champion", "-o", "json")
    assert (again.code, again.json["moved"], ledger_tags(store)) == (0, False, [])
    assert "version 2 is @champion already" in again.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["3"], 2, "--alias"),
        (["3", "--alias", "a", "--stage", "Production"], 2, "exclude"),
        (["3", "--alias", "latest"], 2, "reserved"),
        (["3", "--alias", "v12"], 2, "reserved"),
        (["3", "--alias", "a b"], 2, "can't be an alias"),
        (["3", "--stage", "Prod"], 2, "Prod"),
        (["three", "--alias", "a"], 2, "'three' is no version"),
        (["99", "--alias", "a"], 3, "no version 99"),
        (["@nobody", "--alias", "a"], 3, "no alias @nobody"),
        (["3", "--alias", "a", "--than", "1"], 2, "--if-better"),
        (["3", "--alias", "a", "--if-better", "sharpe", "--min-delta", "-1"], 2, "no margin"),
        (["3", "--alias", "a", "--if-better", ""], 2, "names no metric"),
        (["3", "--alias", "a", "--reason", "x" * 10_001], 2, "too long"),
        (["3", "--alias", "a", "--if-better", "sharpe", "--than", "@nobody"], 3, "no alias @nobody"),
        (["3", "--alias", "a", "--if-better", "sharp", "--than", "1"], 3, "did you mean sharpe?"),
        (["6", "--alias", "a", "--if-better", "sharpe", "--than", "1"], 3, "version 6 has no metric 'sharpe'"),
        (["3", "--alias", "a", "--if-better", "sharpe", "--than", "6"], 3, "version 6 has no metric 'sharpe'"),
        (["6", "--alias", "a", "--if-better", "sharpe"], 3, "version 6 has no metric 'sharpe'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_moves_nothing(
    arguments: list[str], code: int, said: str, store: str, run: Callable[..., Ran]
):
    ran = run(store, "promote", "net", *arguments, "--no-verify")
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert said in ran.error
    assert (MlflowClient(store).get_registered_model("net").aliases, ledger_tags(store)) == ({}, [])


@pytest.mark.parametrize(
    ("champion", "candidate", "arguments", "code"),
    [
        (2, 3, ["sharpe"], 0),
        (2, 1, ["sharpe"], 1),
        (2, 1, ["loss:min"], 0),
        (2, 3, ["loss:min"], 1),
        (2, 3, ["sharpe:max", "--min-delta", "0.5"], 0),
        (2, 3, ["sharpe", "--min-delta", "1"], 1),  # not by *more* than that
        (2, 4, ["sharpe"], 1),  # NaN
        (2, 5, ["sharpe"], 1),  # an infinity
        (4, 1, ["sharpe"], 0),  # a finite value is better than NaN
        (5, 1, ["sharpe"], 0),
        (4, 5, ["sharpe"], 1),
        (1, 2, ["sharpe", "--than", "3"], 1),
        (3, 2, ["sharpe", "--than", "@challenger"], 0),
        (3, 2, ["sharpe", "--than", "models:/net@challenger"], 0),
        (3, 2, ["sharpe", "--than", "one"], 0),
        (1, 2, ["sharpe", "--than", "three"], 1),
        (1, 2, ["other"], 1),  # the same
    ],
)
def test_it_is_moved_only_if_it_is_better(
    champion: int, candidate: int, arguments: list[str], code: int, store: str, run: Callable[..., Ran]
):
    client = MlflowClient(store)
    client.set_registered_model_alias("net", "champion", str(champion))
    client.set_registered_model_alias("net", "challenger", "1")
    ran = run(
        store, "promote", "net", str(candidate), "--alias", "champion", "--if-better", *arguments,
        "--no-verify", "-o", "json",
    )  # fmt: skip
    assert ran.code == code, ran.err
    assert alias_of(store) == (candidate if code == 0 else champion)
    if code:
        assert f"for version {candidate}" in ran.error
        assert "nothing was moved" in ran.error
        assert ledger_tags(store) == []
    else:
        assert ran.json["metric"] == arguments[0].partition(":")[0]
        assert ran.json["values"]["candidate"] == list(RUNS.values())[candidate - 1]


def test_both_values_are_in_the_message(store: str, run: Callable[..., Ran]):
    ran = run(
        store, "promote", "net", "1", "--alias", "a", "--if-better", "sharpe", "--than", "3", "--min-delta", ".25"
    )
    assert ran.code == 1
    assert "not better by more than 0.25: sharpe (max) is 1.0 for version 1 and 3.0 for version 3" in ran.error


def test_the_first_champion_needs_the_metric_only(store: str, run: Callable[..., Ran]):
    ran = run(
        store, "promote", "net", "2", "--alias", "champion", "--if-better", "sharpe", "--than", "@champion",
        "--no-verify", "-o", "json",
    )  # fmt: skip
    assert (ran.code, ran.json["values"]) == (0, {"candidate": 2.0, "baseline": None})
    assert "this is the first, and there was nothing to compare with" in ran.err


def test_the_direction_is_what_the_project_declares(store: str, run: Callable[..., Ran], tmp_path: Path):
    (tmp_path / "agentnn.toml").write_text('[metrics]\nsharpe = "min"\n')
    ran = run(store, "promote", "net", "1", "--alias", "a", "--if-better", "sharpe", "--than", "3", "--no-verify")
    assert ran.code == 0, ran.err


def test_a_version_whose_run_is_not_there_can_t_be_compared(store: str, run: Callable[..., Ran], database: Path):
    with Rows(database) as rows:
        rows.version("net", 7, None)
    ran = run(store, "promote", "net", "7", "--alias", "a", "--if-better", "sharpe", "--than", "1")
    assert (ran.code, "version 7 of net has no run" in ran.error) == (3, True)


@pytest.mark.parametrize(
    ("kind", "trust", "code", "said"),
    [
        ("pickled", False, 7, "--trust"),
        ("pickled", True, 0, "no input example"),
        ("broken", False, 5, "is damaged"),
        ("gone", False, 3, "there is no model at"),
    ],
)
def test_what_can_t_be_verified_is_not_moved(
    kind: str, trust: bool, code: int, said: str, store: str, run: Callable[..., Ran], database: Path, folders: Path
):
    with Rows(database) as rows:
        rows.version("net", 7, None, source=str(folders / kind))
    ran = run(store, "promote", "net", "7", "--alias", "champion", *(["--trust"] if trust else []))
    assert ran.code == code, ran.err
    assert said in ran.err
    assert alias_of(store) == (7 if code == 0 else None)
    assert run(store, "promote", "net", "7", "--alias", "other", "--no-verify").code == 0


def test_a_version_that_is_not_ready_is_6(store: str, run: Callable[..., Ran], database: Path):
    with Rows(database) as rows:
        rows.version("net", 7, None, status="PENDING_REGISTRATION")
    ran = run(store, "promote", "net", "7", "--alias", "a", "--no-verify")
    assert (ran.code, "PENDING_REGISTRATION" in ran.error) == (6, True)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_stage_can_be_set_with_a_note_that_it_is_deprecated(store: str, run: Callable[..., Ran]):
    for version in ("1", "2"):
        ran = run(store, "promote", "net", version, "--stage", "Production", "--no-verify", "-o", "json")
        assert ran.code == 0, ran.err
        assert "MLflow deprecates stages" in ran.err
    assert "in Production beside it: version 1" in ran.err
    assert (ran.json["stage"], ran.json["alias"], ran.json["previous"]) == ("Production", None, 1)
    client = MlflowClient(store)
    assert [client.get_model_version("net", version).current_stage for version in ("1", "2", "3")] == [
        "Production", "Production", "None",
    ]  # fmt: skip
    again = run(store, "promote", "net", "1", "--stage", "Production", "--no-verify")
    assert (again.code, "is in Production already" in again.err) == (0, True)
    history = run(store, "history", "net", "--stage", "Production", "-o", "json").json
    assert [(one["stage"], one["from"], one["to"]) for one in history] == [
        ("Production", 1, 2),
        ("Production", None, 1),
    ]
    better = run(store, "promote", "net", "3", "--stage", "Production", "--if-better", "sharpe", "--no-verify")
    assert better.code == 0, better.err


# -- rollback and history ----------------------------------------------------------------------------------


def test_rollback_goes_back_step_by_step(store: str, run: Callable[..., Ran]):
    for version in ("1", "2", "3"):
        assert run(store, "promote", "net", version, "--alias", "champion", "--no-verify").code == 0
    assert run(store, "rollback", "net", "--alias", "champion", "--reason", "it lost money").code == 0
    assert alias_of(store) == 2
    assert run(store, "rollback", "net", "--alias", "champion").code == 0
    assert alias_of(store) == 1
    nothing = run(store, "rollback", "net", "--alias", "champion")
    assert (nothing.code, alias_of(store)) == (3, 1)
    assert "nothing to roll @champion of net back to" in nothing.error
    actions = [one["action"] for one in run(store, "history", "net", "-o", "json").json]
    assert actions == ["rollback", "rollback", "promote", "promote", "promote"]


def test_rollback_to_a_version_that_was_deleted_is_3_and_says_which(store: str, run: Callable[..., Ran]):
    for version in ("1", "2"):
        run(store, "promote", "net", version, "--alias", "champion", "--no-verify")
    MlflowClient(store).delete_model_version("net", "1")
    ran = run(store, "rollback", "net", "--alias", "champion")
    assert (ran.code, alias_of(store)) == (3, 2)
    assert "version 1 of net, which held @champion before, was deleted" in ran.error


def test_a_move_in_mlflow_s_own_interface_is_seen_rolled_back_and_written_down(store: str, run: Callable[..., Ran]):
    run(store, "promote", "net", "1", "--alias", "champion", "--no-verify")
    MlflowClient(store).set_registered_model_alias("net", "champion", "5")
    shown = run(store, "history", "net", "-o", "tsv").out.splitlines()
    assert shown[1].split("\t")[:5] == ["", "champion", "moved outside agentnn", "1", "5"]
    back = run(store, "rollback", "net", "--alias", "champion")
    assert (back.code, alias_of(store)) == (0, 1)
    assert "moved to version 5 outside agentnn; back to what the ledger knows" in back.err
    history = run(store, "history", "net", "-o", "json").json
    assert [(one["action"], one["from"], one["to"]) for one in history] == [
        ("rollback", 5, 1), ("outside", 1, 5), ("promote", None, 1),
    ]  # fmt: skip
    assert run(store, "promote", "net", "2", "--alias", "champion", "--no-verify").code == 0
    assert run(store, "rollback", "net", "--alias", "champion").code == 0
    assert alias_of(store) == 1


def test_what_held_the_alias_before_the_first_promotion_is_kept(store: str, run: Callable[..., Ran]):
    MlflowClient(store).set_registered_model_alias("net", "champion", "4")
    run(store, "promote", "net", "1", "--alias", "champion", "--no-verify")
    history = run(store, "history", "net", "--alias", "champion", "-o", "json").json
    assert [(one["action"], one["from"], one["to"]) for one in history] == [("promote", 4, 1), ("outside", None, 4)]
    assert run(store, "rollback", "net", "--alias", "champion", "--no-verify").code == 0
    assert alias_of(store) == 4


def test_an_empty_history_is_0_and_a_model_that_is_not_there_is_3(store: str, run: Callable[..., Ran]):
    empty = run(store, "history", "net", "-o", "json")
    assert (empty.code, empty.json) == (0, [])
    assert "no history yet" in empty.err
    gone = run(store, "history", "nat")
    assert (gone.code, "did you mean net?" in gone.error) == (3, True)


def test_history_is_read_without_loading_anything_heavy(store: str, run: Callable[..., Ran]):
    run(store, "promote", "net", "1", "--alias", "champion", "--no-verify")
    code = (
        "import sys\n"
        "from agentnn.cli.app import run_command\n"
        f"code = run_command(['--tracking-uri', {store!r}, 'model', 'history', 'net', '-o', 'id'])\n"
        "print(code, *(name for name in ('mlflow', 'numpy', 'pandas', 'sqlalchemy') if name in sys.modules))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert ran.stdout == "models:/net/1\n0\n", ran.stderr


def test_hostile_text_in_a_ledger_reaches_no_terminal(store: str, database: Path):
    entry = {"action": "promote", "state": "done", "channel": "champion", "to": 1, "from": None, "seq": 1,
             "who": "\x1b]52;c;evil\x07", "reason": "[red]x[/red]\u202e", "when": "2026-01-01T00:00:00Z"}  # fmt: skip
    with Rows(database) as rows:
        rows.insert(
            "registered_model_tags", name="net", key="agentnn.promotion.champion.000001", value=json.dumps(entry)
        )
    shown = in_terminal("--tracking-uri", store, "model", "history", "net", width=300)
    assert shown.code == 0
    assert "[red]x[/red]\\u202e" in shown.text
    assert "\x1b]52" not in shown.text
    assert "\\x1b]52;c;evil\\x07" in shown.text


def test_the_ledger_s_tags_do_not_crowd_what_a_person_sees_of_a_model(store: str, run: Callable[..., Ran]):
    run(store, "promote", "net", "1", "--alias", "champion", "--no-verify")
    shown = in_terminal("--tracking-uri", store, "model", "show", "net")
    assert "champion" in shown.text
    assert "agentnn.promotion" not in shown.text
    assert "agentnn.promotion.champion.000001" in run(store, "show", "net", "-o", "json").json["tags"]


# -- register ----------------------------------------------------------------------------------------------


def test_a_folder_is_copied_into_the_store(
    store: str, run: Callable[..., Ran], folders: Path, tmp_path: Path, database: Path
):
    mine = tmp_path / "mine"
    shutil.copytree(folders / "safe", mine)
    with Rows(database) as rows:
        rows.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", [str(tmp_path / "kept")])
    made = run(
        store, "register", str(mine), "--name", "fresh", "--alias", "champion", "--tag", "team=quant", "--tag", "a=b=c",
        "--description", "from a folder", "-o", "json",
    )  # fmt: skip
    assert made.code == 0, made.err
    shutil.rmtree(mine)
    version = MlflowClient(store).get_model_version("fresh", "1")
    assert (version.tags, version.description) == ({"team": "quant", "a": "b=c"}, "from a folder")
    holder = MlflowClient(store).get_run(version.run_id)
    assert (holder.info.status, holder.info.run_name) == ("FINISHED", "fresh (registered)")
    assert holder.data.tags["agentnn.registered_from"] == str(mine)
    assert run(store, "load", "fresh@champion").code == 0
    (entry,) = run(store, "history", "fresh", "-o", "json").json
    assert (entry["action"], entry["from"], entry["to"], entry["run_id"]) == ("register", None, 1, version.run_id)


def test_a_model_of_a_run_is_registered_by_selector(store: str, run: Callable[..., Ran], folders: Path, tmp_path: Path):
    client = MlflowClient(store)
    experiment = client.create_experiment("with models", artifact_location=(tmp_path / "kept").as_uri())
    made = client.create_run(experiment, run_name="trained")
    client.log_artifacts(made.info.run_id, str(folders / "safe"), "network")
    client.log_text(made.info.run_id, "hello", "notes/a.txt")
    registered = run(store, "register", "trained", "--name", "net", "--path", "network", "-o", "id")
    assert (registered.code, registered.out) == (0, "models:/net/7\n"), registered.err
    missing = run(store, "register", made.info.run_id, "--name", "net")
    assert (missing.code, "has no 'model'" in missing.error, "--path network" in missing.error) == (3, True, True)
    other = run(store, "register", "trained", "--name", "net", "--path", "notes")
    assert (other.code, "no MLmodel file" in other.error) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["./nowhere", "--name", "new"], 3, "there is no folder nowhere"),
        (["./empty", "--name", "new"], 2, "no MLmodel file"),
        (["SAFE", "--name", "new", "--alias", "latest"], 2, "reserved"),
        (["SAFE", "--name", "new", "--alias", "v3"], 2, "reserved"),
        (["SAFE", "--name", "new", "--tag", "team"], 2, "'team' is no tag"),
        (["SAFE", "--name", "a/b"], 2, "'a/b' can't be the name of a model"),
        (["SAFE", "--name", "new", "--tag", "a%b=c"], 2, "a%b"),
        (["nobody", "--name", "new"], 3, "there is no run 'nobody'"),
        (["./linked", "--name", "new"], 7, "leaves the model's folder"),
    ],
)
def test_what_can_t_be_registered_leaves_nothing_behind(
    arguments: list[str], code: int, said: str, store: str, run: Callable[..., Ran], folders: Path, tmp_path: Path
):
    (tmp_path / "empty").mkdir()
    shutil.copytree(folders / "safe", tmp_path / "linked")
    (tmp_path / "linked" / "passwords").symlink_to("/etc/passwd")
    arguments = [str(folders / "safe") if one == "SAFE" else one for one in arguments]
    before = [one.info.run_id for one in MlflowClient(store).search_runs(["0"])]
    ran = run(store, "register", *arguments)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert said in ran.error
    client = MlflowClient(store)
    assert [one.name for one in client.search_registered_models()] == ["net"]
    assert [one.info.run_id for one in client.search_runs(["0"])] == before


# -- download ----------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_version_s_files_are_fetched_as_a_whole(store: str, run: Callable[..., Ran], folders: Path, tmp_path: Path):
    fetched = run(store, "download", "net/2", "-o", "id")
    assert (fetched.code, fetched.out) == (0, "net-2\n"), fetched.err
    assert contents(tmp_path / "net-2") == contents(folders / "safe")
    again = run(store, "download", "net/2")
    assert (again.code, "net-2 is not empty" in again.error) == (6, True)
    (tmp_path / "net-2" / "mine.txt").write_text("mine")
    (tmp_path / "net-2" / "MLmodel").write_text("changed")
    forced = run(store, "download", "net/2", "--force", "-o", "json")
    assert (forced.code, forced.json["folder"], forced.json["uri"]) == (0, "net-2", "models:/net/2")
    assert contents(tmp_path / "net-2") == {**contents(folders / "safe"), "mine.txt": b"mine"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".agentnn")] == []
    (tmp_path / "empty").mkdir()
    assert run(store, "download", "net@nobody", "--to", "x").code == 3
    assert run(store, "download", "net", "--to", "empty").code == 0
    assert contents(tmp_path / "empty") == contents(folders / "safe")
    (tmp_path / "file").write_text("")
    assert run(store, "download", "net", "--to", "file").code == 6


def test_a_link_that_leaves_the_model_s_folder_is_7_and_nothing_is_written(
    store: str, run: Callable[..., Ran], folders: Path, tmp_path: Path, database: Path
):
    shutil.copytree(folders / "safe", tmp_path / "linked")
    (tmp_path / "linked" / "data" / "passwords").symlink_to("/etc/passwd")
    with Rows(database) as rows:
        rows.version("net", 7, None, source=str(tmp_path / "linked"))
    ran = run(store, "download", "net/7", "--to", "got")
    assert (ran.code, "leaves the model's folder" in ran.error) == (7, True)
    assert not (tmp_path / "got").exists()


def test_a_link_in_the_target_is_not_followed(store: str, run: Callable[..., Ran], tmp_path: Path):
    (tmp_path / "got").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "got" / "data").symlink_to(tmp_path / "outside")
    ran = run(store, "download", "net/1", "--to", "got", "--force")
    assert (ran.code, list((tmp_path / "outside").iterdir())) == (7, [])


# -- predict -----------------------------------------------------------------------------------------------


def test_a_table_is_predicted_row_by_row(store: str, run: Callable[..., Ran], tmp_path: Path):
    (tmp_path / "data.csv").write_text("open,close\n1,2\n3.5,4\n")
    ran = run(store, "predict", "net/1", "--input", "data.csv", "-o", "csv")
    assert (ran.code, ran.out) == (0, "prediction\n3.0\n7.5\n"), ran.err
    (tmp_path / "data.json").write_text('{"instances": [[1, 2], [3, 4]]}')
    ran = run(store, "predict", "net/1", "-i", "data.json", "-o", "json")
    assert ran.json == [{"prediction": 3.0, "non_finite": []}, {"prediction": 7.0, "non_finite": []}]
    written = run(store, "predict", "net/1", "-i", "data.csv", "--to", "out.csv")
    assert (written.code, written.out, (tmp_path / "out.csv").read_text()) == (0, "", "prediction\n3.0\n7.5\n")
    assert sorted(path.name for path in tmp_path.glob("*out.csv*")) == ["out.csv"]


def test_columns_are_picked_by_name_and_given_their_types(
    store: str, run: Callable[..., Ran], tmp_path: Path, database: Path, folders: Path
):
    with Rows(database) as rows:
        rows.version("net", 7, None, source=str(folders / "pickled"))
    (tmp_path / "data.csv").write_text("volume,close,open\n9,3,1\n9,5,\n")
    ran = run(store, "predict", "net/7", "-i", "data.csv", "--trust", "-o", "json")
    assert ran.code == 0, ran.err
    assert ran.json == [{"spread": 2.0, "non_finite": []}, {"spread": None, "non_finite": ["spread"]}]
    refused = run(store, "predict", "net/7", "-i", "data.csv")
    assert (refused.code, refused.out, "--trust" in refused.error) == (7, "", True)
    split = {"dataframe_split": {"columns": ["open", "close"], "data": [[1, 4]]}}
    for text in (json.dumps(split), '{"instances": [[1, 4]]}', '[{"close": 4, "open": 1}]'):
        (tmp_path / "data.json").write_text(text)
        assert run(store, "predict", "net/7", "-i", "data.json", "--trust", "-o", "csv").out == "spread\n3.0\n"


@pytest.mark.parametrize(
    ("version", "name", "text", "code", "said"),
    [
        (7, "data.csv", "opn,volume\n1,2\n", 2, "missing: open, close"),
        (7, "data.csv", "open,Close\n1,2\n", 2, "did you mean Close?"),
        (7, "data.csv", "open,close\n1,2\n1,x\n", 2, "column 'close' holds 'x' in row 2"),
        (7, "data.json", '{"instances": [[1, 2, 3]]}', 2, "each row needs 2 values"),
        (1, "data.csv", "a,b,c\n1,2,3\n", 2, "takes 2 columns; the input has 3"),
        (1, "data.csv", "a,b\n1,x\n", 2, "something else than numbers"),
        (1, "data.csv", "a,b\n", 2, "holds no rows"),
        (1, "data.csv", "", 2, "can't be read as CSV"),
        (1, "data.json", "{", 2, "is not JSON"),
        (1, "data.json", '{"rows": []}', 2, "holds none of"),
        (1, "data.json", '{"instances": [[1, 2], [3]]}', 2, "no array of numbers"),
        (1, "nowhere.csv", None, 3, "there is no file nowhere.csv"),
    ],
)
def test_an_input_that_does_not_fit_is_named(
    version: int, name: str, text: str | None, code: int, said: str, store: str, run: Callable[..., Ran],
    tmp_path: Path, database: Path, folders: Path,
):  # fmt: skip
    with Rows(database) as rows:
        rows.version("net", 7, None, source=str(folders / "pickled"))
    if text is not None:
        (tmp_path / name).write_text(text)
    ran = run(store, "predict", f"net/{version}", "-i", name, "--trust")
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert said in ran.error


def test_a_file_name_that_says_no_format_is_2(store: str, run: Callable[..., Ran]):
    ran = run(store, "predict", "net/1", "-i", "data.csv", "--to", "out.xls")
    assert (ran.code, "out.xls" in ran.error) == (2, True)


# -- delete ------------------------------------------------------------------------------------------------


def test_nothing_is_deleted_without_yes(store: str, run: Callable[..., Ran]):
    run(store, "promote", "net", "2", "--alias", "champion", "--no-verify")
    plan = run(store, "delete", "net", "--version", "1", "--version", "@champion", "-o", "json")
    assert (plan.code, plan.json["versions"], plan.json["aliases"], plan.json["deleted"]) == (
        0, [2, 1], {"champion": 2}, False,
    )  # fmt: skip
    assert "version 2 is @champion" in plan.err
    assert "no undo" in plan.err
    assert "agentnn model delete net --version=2 --version=1 --force --yes" in plan.err
    whole = run(store, "delete", "net")
    assert (whole.code, "the history of promotions goes with the model: 1 entries" in whole.err) == (0, True)
    assert len(MlflowClient(store).search_model_versions("name='net'")) == 6


def test_what_is_in_use_is_deleted_by_force_only_and_that_is_remembered(store: str, run: Callable[..., Ran]):
    for version in ("1", "2"):
        run(store, "promote", "net", version, "--alias", "champion", "--no-verify")
    refused = run(store, "delete", "net", "--version", "2", "--version", "3", "--yes")
    assert (refused.code, "version 2 is @champion: nothing was deleted" in refused.error) == (6, True)
    assert run(store, "delete", "net", "--yes").code == 6
    assert len(MlflowClient(store).search_model_versions("name='net'")) == 6
    done = run(store, "delete", "net", "--version", "2", "--version", "3", "--yes", "--force", "-o", "json")
    assert (done.code, done.json["deleted"]) == (0, True), done.err
    left = sorted(int(one.version) for one in MlflowClient(store).search_model_versions("name='net'"))
    assert (left, alias_of(store)) == ([1, 4, 5, 6], None)
    newest = run(store, "history", "net", "-o", "json").json[0]
    assert (newest["action"], newest["from"], newest["to"]) == ("delete", 2, None)
    assert "version 2 was deleted" in newest["reason"]
    back = run(store, "rollback", "net", "--alias", "champion")
    assert (back.code, "version 2 of net" in back.error) == (3, True)


def test_a_whole_model_is_deleted(store: str, run: Callable[..., Ran]):
    assert run(store, "delete", "net", "--yes").code == 0
    assert list(MlflowClient(store).search_registered_models()) == []
    assert run(store, "delete", "net", "--yes").code == 3


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_version_in_production_is_in_use(store: str, run: Callable[..., Ran]):
    MlflowClient(store).transition_model_version_stage("net", "3", "Production")
    refused = run(store, "delete", "net", "--version", "3", "--yes")
    assert (refused.code, "version 3 is Production" in refused.error) == (6, True)


# -- the SDK, the executable, a server ---------------------------------------------------------------------


def test_the_json_of_each_command_is_a_stable_contract(store: str, run: Callable[..., Ran]):
    values = {"candidate", "baseline"}
    promoted = run(store, "promote", "net", "1", "--alias", "champion", "--no-verify", "-o", "json").json
    assert set(promoted) == {
        "model", "version", "alias", "stage", "previous", "moved", "action", "verified", "metric", "mode", "values",
        "reason", "who", "when", "seq",
    }  # fmt: skip
    (entry,) = run(store, "history", "net", "-o", "json").json
    assert set(entry) == {
        "model", "seq", "when", "alias", "stage", "action", "from", "to", "outcome", "who", "reason", "metric", "mode",
        "values", "run_id", "uuid",
    }  # fmt: skip
    assert set(promoted["values"]) == set(entry["values"]) == values
    assert set(run(store, "download", "net/1", "-o", "json").json) == {"uri", "folder", "files", "size"}
    assert set(run(store, "delete", "net", "-o", "json").json) == {
        "model", "whole", "versions", "aliases", "stages", "history_entries", "deleted",
    }  # fmt: skip


def test_a_store_that_is_not_there_is_4(run: Callable[..., Ran]):
    ran = run("http://127.0.0.1:1", "promote", "net", "1", "--alias", "a")
    assert (ran.code, ran.out) == (4, "")


def test_the_same_in_python(store: str):
    with ModelManager(store) as manager:
        done = manager.promote_model("net", 1, "champion", reason="by hand")
        assert (done.moved, done.verified, done.version, done.previous) == (True, True, 1, None)
        assert manager.promote_model("net", "@champion", "champion").moved is False
        manager.promote_model("net", 3, "champion", if_better="sharpe", verify=False)
        assert manager.rollback_model("net", "champion", verify=False).version == 1
        assert [one.entry.action for one in manager.model_history("net")] == ["rollback", "promote", "promote"]
        assert manager.delete_model("net", [3], dry_run=True).versions[0].version == 3
        with pytest.raises(ConflictError):
            manager.delete_model("net", [1])
        with pytest.raises(UsageError):
            manager.promote_model("net", 1, "latest")


def test_a_history_of_hundreds_is_read_and_added_to(store: str, run: Callable[..., Ran], database: Path):
    for version in ("1", "2"):
        run(store, "promote", "net", version, "--alias", "champion", "--no-verify")
    (value,) = [
        value for key, value in MlflowClient(store).get_registered_model("net").tags.items() if key.endswith(".000002")
    ]
    with Rows(database) as rows:
        for seq in range(3, 600):
            move = {**json.loads(value), "seq": seq, "to": 1 + seq % 2, "from": 1 + (seq + 1) % 2}
            rows.insert(
                "registered_model_tags", name="net", key=f"agentnn.promotion.champion.{seq:06}", value=json.dumps(move)
            )
        rows.execute("UPDATE registered_model_aliases SET version = 2")
    assert run(store, "promote", "net", "3", "--alias", "champion", "--no-verify").code == 0
    history = run(store, "history", "net", "-o", "json").json
    assert (len(history), history[0]["seq"], history[0]["from"]) == (600, 600, 2)


@pytest.fixture
def served(make_store: Callable[[str], str]) -> Iterator[str]:
    """The session's server, emptied."""
    yield make_store("server")


def test_all_of_it_on_a_real_server(served: str, run: Callable[..., Ran], folders: Path, tmp_path: Path):
    for _ in range(2):
        made = run(served, "register", str(folders / "safe"), "--name", "net", "-o", "id")
        assert made.code == 0, made.err
    promoted = run(served, "promote", "net", "1", "--alias", "champion", "-o", "json")
    assert (promoted.code, promoted.json["verified"]) == (0, True), promoted.err
    client = MlflowClient(served)
    run_id = client.get_model_version("net", "2").run_id
    client.log_metric(run_id, "sharpe", 2.0)
    gate = ("promote", "net", "2", "--alias", "champion", "--if-better", "sharpe")
    missing = run(served, *gate)
    assert (missing.code, "version 1 has no metric 'sharpe'" in missing.error) == (3, True)
    client.log_metric(client.get_model_version("net", "1").run_id, "sharpe", 3.0)
    assert run(served, *gate).code == 1
    client.log_metric(run_id, "sharpe", 4.0, step=1)
    assert run(served, *gate).code == 0
    assert (alias_of(served), run(served, "rollback", "net", "--alias", "champion").code) == (2, 0)
    assert alias_of(served) == 1
    history = run(served, "history", "net", "-o", "json").json
    assert [(one["action"], one["to"]) for one in history] == [("rollback", 1), ("promote", 2), ("promote", 1)]
    assert history[1]["values"] == {"candidate": 4.0, "baseline": 3.0}

    assert run(served, "download", "net@champion", "--to", "got").code == 0
    assert contents(tmp_path / "got") == contents(folders / "safe")
    (tmp_path / "data.csv").write_text("open,close\n1,2\n")
    assert run(served, "predict", "net@champion", "-i", "data.csv", "-o", "csv").out == "prediction\n3.0\n"
    assert run(served, "delete", "net", "--version", "1", "--yes").code == 6
    assert run(served, "delete", "net", "--version", "1", "--yes", "--force").code == 0
    assert run(served, "history", "net", "-o", "json").json[0]["action"] == "delete"
    assert run(served, "promote", "net", "2", "--stage", "Staging", "--no-verify").code == 0
    assert client.get_model_version("net", "2").current_stage == "Staging"


def test_the_executable_says_it_in_two_lines_and_no_more(store: str):
    ran = agentnn("--tracking-uri", store, "model", "promote", "net", "1", "--alias", "latest")
    error, hint = error_and_hint(ran.stderr)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "reserved" in error
    assert "champion" in hint
