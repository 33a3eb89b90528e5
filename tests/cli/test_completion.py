"""Shell completion from the live store: it offers what is there, and never an error."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from cli.support import ADA, BOB, CYD, DEE, EXECUTABLE, Rows, agentnn, environment, execute, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def ask(shell: str, line: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What the shell's own script asks when TAB is pressed at the end of a line."""
    words = line.split(" ")
    variables = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    return agentnn(cwd=cwd, env={"_AGENTNN_COMPLETE": f"complete_{shell}", **variables, **(env or {})})


def offered(line: str, cwd: Path, env: Mapping[str, str] | None = None) -> list[str]:
    """What bash offers."""
    ran = ask("bash", line, cwd, env)
    assert (ran.returncode, ran.stderr) == (0, "")
    return [one for one in ran.stdout.split("\n") if one]


SELECTORS = ["@last", "@best:", "models:/"]
NAMES = ["dee", "cyd", "bob", "ada"]
IDS = [DEE, CYD, BOB, ADA]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("agentnn run show ", [*SELECTORS, *NAMES, *IDS]),
        ("agentnn run show a", ["ada", ADA]),
        ("agentnn run show bbb", [BOB]),
        ("agentnn run show @l", ["@last"]),
        ("agentnn run show @best:", ["@best:loss", "@best:sharpe"]),
        ("agentnn run show @best:sh", ["@best:sharpe"]),
        ("agentnn run show models:/", ["models:/net@champion"]),
        ("agentnn run show zzz", []),
        ("agentnn run compare ada b", ["bob", BOB]),
        ("agentnn run history c", ["cyd", CYD]),
        ("agentnn run artifacts ls d", ["dee", DEE]),
        ("agentnn run best --metric ", ["loss", "sharpe"]),
        ("agentnn run best -m s", ["sharpe"]),
        ("agentnn run best -e Default -m ", ["sharpe"]),
        ("agentnn run list --experiment ", ["alpha", "Default"]),
        ("agentnn run list -e al", ["alpha"]),
        ("agentnn run show -e Default d", ["dee", DEE]),
        ("agentnn run show -e Default a", []),
        ("agentnn experiment show ", ["alpha", "Default"]),
        ("agentnn experiment show D", ["Default"]),
        ("agentnn model versions ", ["net"]),
        ("agentnn model show ", ["net", "net@champion"]),
        ("agentnn model load net@", ["net@champion"]),
    ],
)
def test_a_tab_offers_what_is_in_the_store(line: str, expected: list[str], filled: Path):
    before = fingerprint(filled.parent)
    assert sorted(offered(line, filled.parent)) == sorted(expected)
    assert fingerprint(filled.parent) == before


def test_the_names_of_commands_and_options_are_offered(filled: Path):
    assert {"experiment", "run", "model", "quickstart"} <= set(offered("agentnn ", filled.parent))
    assert {"list", "show", "best", "compare", "history", "artifacts"} <= set(offered("agentnn run ", filled.parent))
    assert {"list", "versions", "show", "load"} <= set(offered("agentnn model ", filled.parent))
    assert {"--metric", "--mode", "--top"} <= set(offered("agentnn run best --", filled.parent))
    assert set(offered("agentnn run list -o ", filled.parent)) >= {"auto", "table", "json", "jsonl", "csv", "tsv", "id"}


def test_zsh_and_fish_are_offered_the_same(filled: Path):
    zsh = ask("zsh", "agentnn experiment show ", filled.parent)
    assert (zsh.returncode, zsh.stderr) == (0, "")
    assert '"alpha"' in zsh.stdout
    assert '"Default"' in zsh.stdout
    fish = ask("fish", "agentnn run show a", filled.parent)
    assert (fish.returncode, fish.stderr) == (0, "")
    assert [line.split("\t")[0] for line in fish.stdout.splitlines()] == ["ada", ADA]


STATES = ("missing", "garbage", "foreign", "empty", "folder", "cut", "unknown", "locked name", "env")


@pytest.mark.parametrize(
    ("shell", "line", "state"),
    [  # what is asked of the store does not depend on the shell, and all is asked of the same store or registry
        *(("bash", f"agentnn {what} show ", state) for what in ("run", "model") for state in STATES),
        *(("bash", f"agentnn run {what} ", state) for what in ("best -m", "list -e") for state in ("missing", "cut")),
        *((shell, "agentnn run show ", "garbage") for shell in ("zsh", "fish")),
    ],
)
def test_a_store_that_is_none_gives_no_error(shell: str, line: str, state: str, filled: Path):
    env = {}
    if state == "missing":
        filled.unlink()
    elif state == "garbage":
        filled.write_bytes(b"garbage" * 2000)
    elif state == "foreign":
        filled.unlink()
        execute(filled, "CREATE TABLE contacts (name TEXT)")
    elif state == "empty":
        filled.write_bytes(b"")
    elif state == "folder":
        filled.unlink()
        filled.mkdir()
    elif state == "cut":
        os.truncate(filled, 20_000)
    elif state == "unknown":
        env = {"MLFLOW_TRACKING_URI": "nosuch://host/db"}
    elif state == "locked name":
        env = {"MLFLOW_EXPERIMENT_NAME": "nobody"}
    elif state == "env":
        (filled.parent / ".env").write_bytes(b"\xff\xfe")
    before = fingerprint(filled.parent)
    ran = ask(shell, line, filled.parent, env)
    assert ran.returncode in (0, 1)
    assert ran.stderr == ""
    assert "rror" not in ran.stdout
    assert "Traceback" not in ran.stdout
    assert fingerprint(filled.parent) == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_damage_and_odd_values_give_no_error(shell: str, filled: Path):
    execute(
        filled,
        "UPDATE runs SET name = x'00ff' WHERE name = 'bob'",
        "UPDATE runs SET start_time = 'noon' WHERE name = 'ada'",
        "UPDATE tags SET value = CAST(x'fffe41' AS TEXT)",
        "UPDATE latest_metrics SET value = 'x'",
    )
    for line in ("agentnn run show ", "agentnn run show a", "agentnn run best -m "):
        ran = ask(shell, line, filled.parent)
        assert ran.returncode in (0, 1)
        assert ran.stderr == ""
        assert "rror" not in ran.stdout


def test_a_schema_that_is_not_known_gives_no_note(filled: Path):
    execute(filled, "ALTER TABLE runs RENAME COLUMN status TO state", "UPDATE alembic_version SET version_num = 'ffff'")
    ran = ask("bash", "agentnn run show ", filled.parent)
    assert ran.returncode in (0, 1)
    assert ran.stderr == ""


def test_the_store_named_on_the_line_is_the_one_that_is_asked(filled: Path, template_database: Path):
    other = filled.with_name("other.db")
    other.write_bytes(template_database.read_bytes())
    with Rows(other) as rows:
        rows.experiment(1, "elsewhere")
        rows.run("9" * 32, "far", metrics={"gain": 1.0})
    begun = "agentnn --tracking-uri sqlite:///other.db"
    assert "elsewhere" in offered(f"{begun} run list -e ", filled.parent)
    assert "alpha" not in offered(f"{begun} run list -e ", filled.parent)
    assert offered(f"{begun} run show f", filled.parent) == ["far"]
    assert offered(f"{begun} run best -m ", filled.parent) == ["gain"]


def test_the_env_file_named_on_the_line_is_read(filled: Path):
    (filled.parent / "ci.env").write_text(f"MLFLOW_TRACKING_URI=sqlite:///{filled.rename(filled.with_name('ci.db'))}\n")
    assert offered("agentnn --env-file ci.env experiment show ", filled.parent) == ["alpha", "Default"]


def test_names_with_control_characters_are_not_offered(filled: Path):
    with Rows(filled) as rows:
        rows.run("f" * 32, "evil\x1b[2J")
        rows.experiment(7, "two\nlines")
    assert not any("evil" in one for one in offered("agentnn run show ", filled.parent))
    assert not any("two" in one for one in offered("agentnn experiment show ", filled.parent))


COMMAND_IN_A_NAME = ["$(touch owned)", "`touch owned`", "\\$(touch owned)", "x;touch owned", "x|touch owned",
                     "x&touch owned", "'$(touch owned)'", '"$(touch owned)', "x>owned", "*"]  # fmt: skip


@pytest.mark.parametrize("name", COMMAND_IN_A_NAME)
def test_a_name_that_a_shell_would_run_is_not_offered_bare(name: str, filled: Path):
    """A completion is put into the command line, or, by zsh, evaluated: what is offered must be a harmless word."""
    with Rows(filled) as rows:
        rows.run("f" * 32, name)
        rows.model(name)
        rows.experiment(7, name)
    for line in ("agentnn run show ", "agentnn model show ", "agentnn experiment show "):
        for one in offered(line, filled.parent):
            assert not set(one) & set("$`;|&<>*'\"\\()"), one


def test_bash_completes_through_the_script_that_typer_installs(filled: Path):
    script = agentnn(
        "--show-completion", "bash", cwd=filled.parent, env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    )
    source = agentnn(cwd=filled.parent, env={"_AGENTNN_COMPLETE": "source_bash"})
    text = script.stdout if script.returncode == 0 and "complete" in script.stdout else source.stdout
    assert "complete " in text
    function = next(line.split("()")[0].strip() for line in text.splitlines() if "()" in line)
    program = (
        f"{text}\n"
        "COMP_WORDS=(agentnn run show a); COMP_CWORD=3\n"
        f"{function} agentnn\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    ran = subprocess.run(
        ["bash", "--norc", "-c", program],
        cwd=filled.parent,
        env={**environment(), "PATH": f"{EXECUTABLE.parent}:{os.environ['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert ran.stdout.split() == ["ada", ADA], ran.stderr
