"""Every way to fail has its exit code, one line that says what, one that says what to do, and leaves no trace."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from cli.support import (
    ADA,
    EXECUTABLE,
    READS,
    Rows,
    agentnn,
    environment,
    error_and_hint,
    execute,
    fill,
    fingerprint,
    in_process,
    on_terminal,
)
from faults.trainers import wait_until

from agentnn.cli.app import run_command


class Failure:
    """What a command that must fail has said; in this process, which takes a tenth of the time of a new one."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        before = fingerprint(folder)
        ran = in_process(*arguments, cwd=folder)
        self.code = ran.returncode
        self.error, self.hint = error_and_hint(ran.stderr)
        assert ran.stdout == ""
        assert fingerprint(folder) == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "lst"], 2),
        (["run", "best"], 2),
        (["run", "show", "nobody"], 3),
        (["--tracking-uri", "sqlite:///missing.db", "run", "list"], 4),
        (["--tracking-uri", "sqlite:///garbage.db", "run", "list"], 5),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_executable_fails_as_the_command_line_does_in_process(arguments: list[str], code: int, filled: Path):
    (filled.parent / "garbage.db").write_bytes(b"no database at all" * 100)
    ours, theirs = in_process(*arguments, cwd=filled.parent), agentnn(*arguments, cwd=filled.parent)
    assert theirs.returncode == code
    assert (theirs.returncode, theirs.stdout, theirs.stderr) == (ours.returncode, ours.stdout, ours.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "list", "--colums", "name"], "--colums"),
        (["run", "lst"], "lst"),
        (["runs"], "runs"),
        (["run", "list", "extra"], "extra"),
        (["run", "list", "--limit", "-1"], "-1"),
        (["run", "list", "--limit", "many"], "many"),
        (["run", "list", "--output", "yaml"], "yaml"),
        (["run", "list", "--view", "gone"], "gone"),
        (["run", "best"], "--metric"),
        (["run", "best", "-m", "sharpe", "--mode", "avg"], "avg"),
        (["run", "best", "-m", "sharpe", "--top", "0"], "0"),
        (["run", "show"], "RUN"),
        (["run", "compare", "ada"], "two runs"),
        (["run", "show", "@newest"], "@newest"),
        (["run", "show", "@best:"], "@best:"),
        (["run", "list", "--columns", "nme"], "nme"),
        (["run", "list", "--columns", ","], "--columns"),
        (["run", "list", "--sort", "metrics.loss DOWN"], "DOWN"),
        (["run", "list", "--sort", "datasets.name"], "datasets.name"),
        (["model", "show", "a/b/c"], "a/b/c"),
        (["run", "show", "models:/"], "models:/"),
        (["--env-file", "missing.env", "run", "list"], "missing.env"),
        (["--no-such-option"], "--no-such-option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_use_is_2_and_names_what_is_wrong(arguments: list[str], said: str, filled: Path):
    failure = Failure(filled.parent, *arguments)
    assert failure.code == 2
    assert said in failure.error


@pytest.mark.parametrize("arguments", [[], ["run"], ["experiment"], ["model"]], ids=" ".join)
def test_a_group_without_a_command_is_2_and_shows_the_help(arguments: list[str], tmp_path: Path):
    ran = agentnn(*arguments, cwd=tmp_path)
    assert ran.returncode == 2
    assert "Usage: agentnn" in ran.stdout + ran.stderr
    assert "Commands" in ran.stdout + ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("expression", "character", "marked"),
    [
        ("metrics.loss < ", 16, "metrics.loss < ▸"),
        ("metrics.loss << 1", 15, "metrics.loss <▸< 1"),
        ("metrix.loss < 1", 1, "▸metrix.loss < 1"),
        ("metrics.loss < 1 AND", 21, "AND▸"),
        ("metrics.loss < 1 params.lr = 2", 18, "1 ▸params.lr"),
        ("(metrics.loss < 1", 18, "1▸"),
        ("params.lr = 'open", 13, "= ▸'open"),
        ("metrics.loss = 'text'", 16, "= ▸'text'"),
        ("run_name =~ '['", 13, "=~ ▸'['"),
        ("nme = 'x'", 1, "▸nme"),
    ],
)
def test_a_bad_filter_is_2_and_points_at_the_character(expression: str, character: int, marked: str, filled: Path):
    failure = Failure(filled.parent, "run", "list", "--filter", expression)
    assert failure.code == 2
    assert failure.error.startswith("filter: ")
    assert f"character {character}," in failure.error
    assert marked in failure.error


@pytest.mark.parametrize(
    ("arguments", "error", "nearest"),
    [
        (["run", "best", "-m", "sharp_ratio"], "no run has a metric 'sharp_ratio'", "sharpe"),
        (["run", "show", "@best:sharp"], "no run has a metric 'sharp'", "sharpe"),
        (["run", "list", "--sort", "metrics.los"], "there is no metric 'los'", "loss"),
        (["run", "list", "--sort", "params.optimiser"], "there is no param 'optimiser'", "optimizer"),
        (["run", "history", "ada", "-m", "losss"], "there is no metric 'losss' in the run ada", "loss"),
        (["run", "list", "-e", "alhpa"], "there is no experiment 'alhpa'", "alpha"),
        (["experiment", "show", "Alfa"], "there is no experiment 'Alfa'", "alpha"),
        (["run", "show", "adda"], "there is no run 'adda'", "ada"),
        (["run", "compare", "ada", "bobb"], "there is no run 'bobb'", "bob"),
        (["model", "show", "nett"], "there is no model 'nett'", "net"),
        (["model", "versions", "nets"], "there is no model 'nets'", "net"),
        (["run", "show", "models:/ne@champion"], "there is no model 'ne'", "net"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_3_and_the_nearest_name_is_offered(
    arguments: list[str], error: str, nearest: str, filled: Path
):
    failure = Failure(filled.parent, *arguments)
    assert failure.code == 3
    assert error in failure.error
    assert failure.hint.startswith("did you mean ")
    assert nearest in failure.hint


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["model", "show", "net@chmpion"], "the model 'net' has no alias 'chmpion'"),
        (["model", "show", "net/7"], "the model 'net' has no version '7'"),
        (["model", "show", "net/Staging"], "the model 'net' has no stage 'Staging'"),
        (["run", "artifacts", "ls", "ada"], ""),
        (["run", "artifacts", "ls", "ada", "no/such"], "there is no artifact"),
        (["run", "show", "aaa"], "there is no run 'aaa'"),
        (["run", "show", "0000"], "there is no run '0000'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_3_and_the_hint_says_where_to_look(arguments: list[str], error: str, filled: Path):
    if not error:  # a run without artifacts has an empty list of them
        assert agentnn(*arguments, cwd=filled.parent).returncode == 0
        return
    failure = Failure(filled.parent, *arguments)
    assert failure.code == 3
    assert error in failure.error
    assert failure.hint


def test_an_ambiguous_name_is_3_and_lists_the_candidates(filled: Path):
    with Rows(filled) as rows:
        rows.run("f" * 32, "ada", experiment_id=0)
    failure = Failure(filled.parent, "run", "show", "ada")
    assert (failure.code, failure.error) == (3, "2 runs are named 'ada'")
    assert f"{ADA} (alpha)" in failure.hint
    assert f"{'f' * 32} (Default)" in failure.hint
    assert agentnn("run", "show", "ada", "-e", "Default", cwd=filled.parent).returncode == 0


def test_an_ambiguous_beginning_of_an_id_is_3_and_lists_the_candidates(filled: Path):
    other = "aaaa1" + "0" * 27
    with Rows(filled) as rows:
        rows.run(other, "other")
    failure = Failure(filled.parent, "run", "show", "aaaa")
    assert (failure.code, failure.error) == (3, "2 run ids begin with 'aaaa'")
    assert ADA in failure.hint
    assert other in failure.hint
    assert agentnn("run", "show", "aaaa1", "-o", "id", cwd=filled.parent).stdout == f"{other}\n"


def test_many_of_one_name_are_not_all_listed(filled: Path):
    with Rows(filled) as rows:
        for number in range(20):
            rows.run(f"{number:032x}", "twin")
    failure = Failure(filled.parent, "run", "show", "twin")
    assert (failure.code, failure.error) == (3, "6+ runs are named 'twin'")
    assert failure.hint.endswith(", …")


@pytest.mark.parametrize(
    "options",
    [
        ["-m", "sharpe", "-f", "params.lr = 'none'"],
        ["-m", "sharpe", "-e", "Default"],  # only a running one
        ["-m", "loss", "--mode", "max", "-f", "run_name = 'cyd'"],  # only an infinite one
    ],
    ids=" ".join,
)
def test_best_is_3_when_no_run_qualifies(options: list[str], filled: Path):
    failure = Failure(filled.parent, "run", "best", *options)
    assert failure.code == 3
    assert failure.error.startswith("no run qualifies")
    assert failure.hint


def test_last_is_3_in_an_empty_store(database: Path):
    failure = Failure(database.parent, "run", "show", "@last")
    assert (failure.code, failure.error) == (3, "there are no runs yet")


@pytest.mark.parametrize(
    ("uri", "code", "error", "hint"),
    [
        ("postgre://host/db", 2, "unknown scheme 'postgre'", "did you mean postgresql://host/db?"),
        ("ftp://host/db", 2, "unknown scheme 'ftp'", "sqlite:///mlflow.db"),
        ("sqllite:///mlflow.db", 2, "unknown scheme 'sqllite'", "sqlite:///mlflow.db"),
        ("sqlite:///:memory:", 2, "names no file", "sqlite:///mlflow.db"),
        ("sqlite://", 2, "names no file", "sqlite:///mlflow.db"),
        ("sqlite:///missing.db", 4, "missing.db", "agentnn quickstart"),
        ("sqlite:///no/such/folder/mlflow.db", 4, "no/such/folder/mlflow.db", "--tracking-uri"),
        ("sqlite:///folder", 4, "folder is a directory", "folder/mlflow.db?"),
        ("sqlite:///garbage.db", 5, "garbage.db is not a SQLite database", "backup"),
        ("sqlite:///foreign.db", 2, "not an MLflow store", "check the path"),
        ("sqlite:///nothing.db", 2, "nothing.db is empty", "agentnn quickstart"),
        ("garbage.db", 2, "garbage.db is a file", "sqlite:///garbage.db"),
        ("./nowhere", 4, "nowhere", "--tracking-uri"),
        ("nowhere.db", 4, "nowhere.db", "did you mean sqlite:///nowhere.db?"),
        ("127.0.0.1:5000", 4, "there is no store at 127.0.0.1:5000", "did you mean http://127.0.0.1:5000?"),
        ("", 2, "--tracking-uri is empty", "leave it out"),
        ("file:///nowhere/at/all", 4, "there is no store", "--tracking-uri"),
    ],
)
@pytest.mark.parametrize(
    "command", [READS[0], READS[2], READS[3], READS[4], READS[8], READS[11]], ids=lambda one: "-".join(one[:2])
)
def test_a_store_that_is_none_says_why(
    command: tuple[str, ...], uri: str, code: int, error: str, hint: str, tmp_path: Path
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "garbage.db").write_bytes(b"no database at all" * 100)
    (tmp_path / "nothing.db").touch()
    execute(tmp_path / "foreign.db", "CREATE TABLE contacts (name TEXT, phone TEXT)")
    failure = Failure(tmp_path, "--tracking-uri", uri, *command)
    assert failure.code == code
    assert error in failure.error
    assert hint in failure.hint


@pytest.mark.parametrize("command", [READS[0], READS[2], READS[8]], ids=lambda one: "-".join(one))
def test_without_any_store_a_read_is_4_and_makes_none(command: tuple[str, ...], tmp_path: Path):
    failure = Failure(tmp_path, *command)
    assert failure.code == 4
    assert failure.error.startswith("there is no store at ")
    assert failure.error.endswith("mlflow.db")
    assert "agentnn quickstart" in failure.hint


@pytest.mark.parametrize("command", [("run", "list"), ("model", "list")], ids=" ".join)
def test_an_empty_list_is_a_success(command: tuple[str, ...], database: Path):
    ran = agentnn(*command, cwd=database.parent)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(ran.stdout.splitlines()) == 1
    for form, empty in (("json", "[]\n"), ("jsonl", ""), ("id", "")):
        assert agentnn(*command, "-o", form, cwd=database.parent).stdout == empty


def test_there_is_no_traceback_unless_debug_asks_for_it(filled: Path):
    assert "Traceback" not in agentnn("run", "show", "nobody", cwd=filled.parent).stderr
    debugged = agentnn("--debug", "run", "show", "nobody", cwd=filled.parent)
    assert debugged.returncode == 3
    assert "Traceback (most recent call last):" in debugged.stderr
    assert debugged.stderr.splitlines()[-2].startswith("error: there is no run 'nobody'")
    assert debugged.stderr.splitlines()[-1].startswith("hint: ")


def test_a_bug_of_ours_is_70_and_says_where_to_report_it(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from agentnn.sdk.nn_models import ModelManager

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr(ModelManager, "list_experiments", broken)
    assert run_command(["experiment", "list"]) == 70
    captured = capsys.readouterr()
    error, hint = error_and_hint(captured.err)
    assert error == "a bug in agentnn: ZeroDivisionError: division by zero"
    assert "https://" in hint
    assert captured.out == ""


@pytest.fixture(scope="module")
def long_list(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> Path:
    """A store whose list is longer than a pipe holds."""
    path = tmp_path_factory.mktemp("long") / "mlflow.db"
    path.write_bytes(template_database.read_bytes())
    fill(path)
    with Rows(path) as rows:
        for number in range(3000):
            rows.run(f"{number:032x}", f"run-{number}", params={"note": "x" * 100})
    return path


@pytest.mark.parametrize("form", ["auto", "json", "jsonl", "csv", "md", "id", "table"])
def test_a_reader_that_has_enough_is_no_error(form: str, long_list: Path):
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "{EXECUTABLE}" run list -n 0 -o {form} | head -n 1'],
        cwd=long_list.parent,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [("run", "list"), ("run", "list", "-n", "0"), ("--help",)], ids=" ".join)
def test_a_closed_standard_output_is_no_traceback(arguments: tuple[str, ...], long_list: Path):
    ran = subprocess.run(
        ["bash", "-c", f'"{EXECUTABLE}" {" ".join(arguments)} >&-'],
        cwd=long_list.parent,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert ran.returncode in (0, 4)
    assert "Traceback" not in ran.stderr
    assert "a bug in agentnn" not in ran.stderr


@pytest.mark.parametrize("form", ["auto", "json", "csv", "table"])
def test_a_full_disk_under_the_output_is_4_and_never_0(form: str, filled: Path):
    with Path("/dev/full").open("w") as full:
        ran = agentnn("run", "list", "-o", form, cwd=filled.parent, stdout=full)
    assert ran.returncode == 4
    error, _ = error_and_hint(ran.stderr)
    assert error == "No space left on device: standard output"


def test_a_full_disk_under_a_long_output_is_4(long_list: Path):
    with Path("/dev/full").open("w") as full:
        ran = agentnn("run", "list", "-n", "0", cwd=long_list.parent, stdout=full)
    assert ran.returncode == 4
    error_and_hint(ran.stderr)


def test_a_full_disk_under_the_help_is_4(tmp_path: Path):
    with Path("/dev/full").open("w") as full:
        ran = agentnn("--help", cwd=tmp_path, stdout=full)
    assert ran.returncode == 4
    error_and_hint(ran.stderr)


def test_ctrl_c_is_130(long_list: Path):
    read_end, write_end = os.pipe()  # nobody reads it: the command waits in the middle of its output
    process = subprocess.Popen(
        [str(EXECUTABLE), "run", "list", "-n", "0"],
        cwd=long_list.parent,
        env=environment(),
        stdout=write_end,
        stderr=subprocess.PIPE,
    )
    os.close(write_end)
    try:
        _wait_until_full(read_end)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(read_end)
    assert process.returncode == 130
    assert stderr.decode() in ("", "interrupted\n")


def _wait_until_full(pipe: int) -> None:
    """Wait until whoever writes to a pipe has filled it."""
    deadline = time.monotonic() + 60
    seen = -1
    while time.monotonic() < deadline:
        [held] = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))
        if held == seen and held > 0:
            return
        seen = held
        time.sleep(0.3)


def _has_open(process: subprocess.Popen[bytes], path: Path) -> bool:
    assert process.poll() is None, "it ended without waiting"
    with suppress(OSError):  # a file that is closed meanwhile
        return any(one.readlink() == path for one in Path(f"/proc/{process.pid}/fd").iterdir())
    return False


def test_ctrl_c_on_a_locked_store_is_130(filled: Path):
    with closing(sqlite3.connect(filled, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        process = subprocess.Popen(
            [str(EXECUTABLE), "run", "list"],
            cwd=filled.parent,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: _has_open(process, filled), "the wait for the lock")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, b"")
    assert stderr.decode() in ("", "interrupted\n")


def test_an_argument_that_is_no_text_is_2(filled: Path):
    ran = agentnn("run", "show", "\udcff\udcfe", cwd=filled.parent)
    assert ran.returncode == 2
    assert "not valid UTF-8" in error_and_hint(ran.stderr)[0]


def test_an_unreadable_environment_file_is_2_when_it_was_asked_for_and_else_a_note(filled: Path):
    (filled.parent / ".env").write_bytes(b"\xff\xff=1")
    ran = agentnn("--env-file", ".env", "run", "list", cwd=filled.parent)
    assert ran.returncode == 2
    assert ".env" in error_and_hint(ran.stderr)[0]
    ran = agentnn("run", "list", cwd=filled.parent)
    assert ran.returncode == 0
    assert ran.stderr.startswith("note: ")
    assert ".env can't be read" in ran.stderr


def test_the_module_can_be_run_too(filled: Path):
    ran = subprocess.run(
        [sys.executable, "-m", "agentnn", "run", "show", "nobody"],
        cwd=filled.parent,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == 3
    assert error_and_hint(ran.stderr)[0] == "there is no run 'nobody'"


def test_ascii_as_the_encoding_of_the_output_is_no_bug(filled: Path):
    with Rows(filled) as rows:
        rows.run("f" * 32, "größe-😀")
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    ran = agentnn("run", "list", cwd=filled.parent, env=ascii_only)
    assert ran.returncode == 0, ran.stderr
    assert "dee" in ran.stdout


def test_an_error_on_a_terminal_has_the_same_code(filled: Path):
    assert on_terminal("run", "best", "-m", "nobody", cwd=filled.parent).code == 3


def test_the_command_of_a_hint_can_be_typed_and_finds_the_same_store(filled: Path, tmp_path: Path):
    with Rows(filled) as rows:
        rows.model("a net")
        rows.version("a net", 7)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    failure = Failure(elsewhere, "--tracking-uri", f"sqlite:///{filled}", "model", "show", "a net@nobody")
    assert failure.code == 3
    ran = in_process(*shlex.split(failure.hint)[1:], cwd=elsewhere)
    assert (ran.returncode, "a net\t7" in ran.stdout) == (0, True), failure.hint
