"""``--explain``: what it says, where it says it, and that results do not know of it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli.support import ADA, BOB, EXECUTABLE, agentnn, environment, execute, fill, in_process, in_terminal

from agentnn.cli.explain_views import lines_of, shortened
from agentnn.query.explanation import Explanation, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agentnn.query.explanation import Step

COMMANDS = (
    ("run", "list"),
    ("run", "list", "--group-by-params", "--over", "lr"),
    ("run", "list", "--filter", "metrics.sharpe > 1 AND params.lr < 0.01", "--sort", "metrics.sharpe DESC"),
    ("run", "best", "--metric", "sharpe"),
    ("run", "best", "--metric", "loss", "--mode", "min", "--aggregate", "min", "--top", "2"),
    ("run", "compare", "ada", "bob"),
)
FORMATS = ("json", "jsonl", "tsv", "csv", "md", "id")


@pytest.fixture
def uri(database: Path) -> str:
    """A store of which everything is known."""
    fill(database)
    return f"sqlite:///{database}"


def explained(text: str) -> str:
    """What was explained, of all that stands on standard error."""
    start = text.index("explain: ")
    return text[start:]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_results_are_the_same_and_notes_too(uri: str, command: tuple[str, ...]) -> None:
    for output in FORMATS:
        plain = in_process("--tracking-uri", uri, *command, "-o", output)
        asked = in_process("--tracking-uri", uri, *command, "-o", output, "--explain")
        assert (asked.returncode, asked.stdout) == (plain.returncode, plain.stdout)
        assert asked.stderr.startswith(plain.stderr)
        said = explained(asked.stderr).splitlines()
        assert said[0] == f"explain: {uri} (SQLite tables, read directly; SQLite {sqlite3.sqlite_version})"
        assert any(line.startswith("total: ") for line in said)
        assert "explain" not in plain.stderr


def test_it_says_who_did_what(uri: str) -> None:
    done = in_process(
        "--tracking-uri", uri, "run", "list", "-f", "metrics.sharpe > 1 AND params.lr < 0.01", "-n", "7", "--explain"
    )
    said = explained(done.stderr)
    assert "\nsearch the runs " in said
    assert "1 found" in said
    assert "  pushed down: active runs; metrics.sharpe > 1; params.lr < 0.01 (by a function of ours" in said
    assert "; at most 8\n  filtered here: nothing\n" in said
    assert "the store, " in said.splitlines()[-1] + said.splitlines()[-2]


def test_an_error_comes_after_what_was_done_until_then(uri: str) -> None:
    plain = in_process("--tracking-uri", uri, "run", "best", "--metric", "shrpe")
    asked = in_process("--tracking-uri", uri, "run", "best", "--metric", "shrpe", "--explain")
    assert (asked.returncode, asked.stdout) == (plain.returncode, plain.stdout) == (3, "")
    assert asked.stderr.startswith("explain: ")
    assert asked.stderr.endswith(plain.stderr)
    assert "list the names of metrics" in asked.stderr


def test_where_nothing_was_asked_there_is_nothing_to_explain(uri: str) -> None:
    plain = in_process("--tracking-uri", uri, "run", "list", "--group-by-params")
    asked = in_process("--tracking-uri", uri, "run", "list", "--group-by-params", "--explain")
    assert (asked.returncode, asked.stderr) == (plain.returncode, plain.stderr)


def test_a_comparison_that_fails_a_gate_is_explained(uri: str) -> None:
    done = in_process("--tracking-uri", uri, "run", "compare", ADA, BOB, "--fail-if-worse", "sharpe", "--explain")
    assert done.returncode == 1
    assert "read runs by their ids × 2" in done.stderr


def test_very_many_questions_of_a_kind_are_told_of_together(uri: str) -> None:
    names = ["ada", "bob"] * 40
    done = in_process("--tracking-uri", uri, "run", "compare", *names, "--explain")
    said = explained(done.stderr)
    assert "search the runs × 80" in said
    assert "run_name = 'ada'; at most 6 (and 1 like it)" in said
    assert len(said.splitlines()) < 60


def test_a_password_is_not_shown() -> None:
    done = in_process("--tracking-uri", "http://ada:hunter2@127.0.0.1:9", "run", "list", "--explain")
    assert done.returncode == 4
    assert "explain: http://***@127.0.0.1:9 (MLflow server, over REST)" in done.stderr
    assert "failed: StoreUnavailable: " in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_names_are_data(database: Path, uri: str) -> None:
    execute(database, "UPDATE experiments SET name = 'a\x1b[31mred' WHERE experiment_id = 1")
    done = in_process(
        "--tracking-uri", uri, "run", "list", "-f", "tags.`x\x1b[2J` = '[bold]\x1b]0;t\x07'", "-o", "id", "--explain"
    )
    assert "\x1b" not in done.stderr
    assert "\\x1b[2J" in done.stderr
    assert "[bold]" in done.stderr


def test_on_a_terminal_the_table_stays_and_lines_fit(uri: str) -> None:
    shown = in_terminal("--tracking-uri", uri, "run", "best", "--metric", "sharpe", "--explain", width=100)
    assert shown.code == 0
    steps = [line for line in shown.text.splitlines() if line.startswith("    ")]
    assert steps
    assert all(len(line) <= 100 for line in steps)


def test_a_reader_that_is_gone_is_no_error(uri: str) -> None:
    command = f"'{EXECUTABLE}' --tracking-uri '{uri}' run list --explain -o jsonl | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "total: " in done.stderr


def test_nothing_of_it_is_loaded_unless_it_is_asked_for(uri: str) -> None:
    script = (
        "import sys; from agentnn.cli.app import run_command; code = run_command(sys.argv[1:]); "
        "print([name for name in sys.modules if 'expla' in name or name.endswith('query.spelling')]); sys.exit(code)"
    )
    for command in COMMANDS[:1] + COMMANDS[3:]:
        done = subprocess.run(
            [sys.executable, "-c", script, "--tracking-uri", uri, *command, "-o", "id"],
            env=environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines()[-1] == "[]"


def test_its_option_is_in_the_help() -> None:
    for command in ("list", "best", "compare"):
        assert "--explain" in agentnn("run", command, "--help").stdout


def test_a_statement_is_shortened_to_what_a_person_reads() -> None:
    guard = "CASE WHEN typeof(t.name) IN ('text', 'null') THEN t.name ELSE damaged(t.name) END"
    assert shortened(f"SELECT t.run_uuid,  {guard}, t.x\nFROM runs t WHERE t.id IN (?,?,?)") == (
        "SELECT … FROM runs t WHERE t.id IN (? × 3)"
    )
    assert shortened("SELECT (SELECT max(a) FROM x), (SELECT b FROM y) FROM runs r") == "SELECT … FROM runs r"
    assert shortened("SELECT 1 FROM runs") == "SELECT 1 FROM runs"
    assert shortened("SELECT (SELECT max(rowid) FROM runs)") == "SELECT (SELECT max(rowid) FROM runs)"


def test_steps_that_took_no_time_are_told_of_together_and_failures_never_are() -> None:
    def no_plan(_: Sequence[Step]) -> Plan:
        return Plan()

    explanation = Explanation("sqlite:///mlflow.db")
    with explanation.answering(explanation.ask("question", no_plan)):
        for name in ("a", "b", "c"):
            explanation.small_step(name, 0.0, {"rows": 1})
        explanation.small_step("slow", 60.0, {"rows": 1000, "bytes": 2_000_000})
        with pytest.raises(OSError, match="gone"), explanation.step("SELECT 1", "plan: SCAN r"):
            raise OSError("gone")
    explanation.end()
    said = [line.rstrip() for line in lines_of(explanation)]
    [slow] = [line for line in said if line.startswith("    slow")]
    assert slow.endswith("1,000 rows, 2.0 MB  60,000.0 ms")
    assert [line.split("  ")[2].strip() for line in said if line.startswith("    ") and "quick" in line] == [
        "3 quick steps"
    ]
    assert "      plan: SCAN r" in said
    assert "      failed: OSError: gone" in said
