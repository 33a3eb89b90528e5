"""A04: what is hidden in names and values. Only our own styling reaches the terminal."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import Rows, agentnn, in_terminal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnn.cli.app import run_command
from agentnn.cli.text import json_safe, visible

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OURS = re.compile(r"\x1b\[(?:0|1|2|31|32|33|36)?m")
"""The styles of :mod:`agentnn.cli.tables`: bold, dim, and four colours."""

ATTACKS = {
    "colour": "\x1b[31;5mred\x1b[0m",
    "clear": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "c1": "\x9b31mC1\x9d52;c;eA==\x9c",
    "bidi": "safe\u202etxt.exe\u202c\u2066x\u2069\u200f",
    "markup": "[red]bold[/red][link=http://evil.example]click[/link][/]",
    "emoji code": ":bomb: [bold",
    "lines": "one\ntwo\r\nthree\rfour\x0bfive\x0csix\x85seven\u2028eight\u2029nine",
    "tabs": "a\tb\t\tc",
    "erase": "hidden\x08\x08\x08\x08\x08\x08\x7f\x1a\x04",
    "invisible": "zero\u200bwidth\ufeff\u00ad\u2060\U000e0041",
    "quotes": "a\"b'c,d;e\\f\\x1b[31m",
    "unassigned": "\ue000\U0010ffff\ufdd0",
}
TWIN = "1" * 32
FORMATS = ("auto", "json", "jsonl", "csv", "tsv", "md", "id", "table")


def _attacked(path: Path, text: str) -> None:
    """A store in which every text is an attack."""
    with Rows(path) as rows:
        rows.execute("DELETE FROM experiments")
        rows.experiment(1, text, artifact_location=text)
        rows.insert("experiment_tags", experiment_id=1, key=text, value=text)
        for number in (1, 2):
            rows.run(
                str(number) * 32,
                text,
                experiment_id=1,
                user_id=text,
                artifact_uri=text,
                history={text: [number, 2.0 * number], "m": [number]},
                params={text: text + str(number), "p": text},
                tags={text: text + str(number), "t": text},
            )
        rows.run("3" * 32, "odd", experiment_id=1, status=text, metrics={"m": 3})
        rows.insert("datasets", dataset_uuid="d", experiment_id=1, name=text, digest=text, dataset_source_type=text,
                    dataset_source=text)  # fmt: skip
        rows.insert("inputs", input_uuid="i", source_type="DATASET", source_id="d", destination_type="RUN",
                    destination_id=TWIN)  # fmt: skip
        rows.insert("input_tags", input_uuid="i", name="mlflow.data.context", value=text)
        rows.model(text, description=text, tags={text: text})
        rows.version(text, 1, TWIN, alias=text, current_stage=text, source=text, status=text, user_id=text,
                     description=text)  # fmt: skip
        rows.insert("model_version_tags", name=text, version=1, key=text, value=text)


@pytest.fixture(params=ATTACKS.values(), ids=ATTACKS.keys())
def attack(request: pytest.FixtureRequest, database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    _attacked(database, request.param)
    monkeypatch.chdir(database.parent)
    return request.param


def _commands(text: str) -> list[tuple[str, ...]]:
    return [
        ("experiment", "list"),
        ("experiment", "show", "1"),
        ("run", "list"),
        ("run", "show", TWIN),
        ("run", "show", "3" * 32),
        ("run", "best", "-m", "m"),
        ("run", "best", "-m", text),
        ("run", "compare", TWIN, "2" * 32, "3" * 32, "--all"),
        ("run", "history", TWIN, "-m", text),
        ("model", "list", "--metrics"),
    ]


def _errors(text: str) -> list[tuple[str, ...]]:
    return [
        ("run", "show", text),  # two runs of that name
        ("run", "show", text + "x"),
        ("run", "best", "-m", text + "x"),
        ("run", "history", TWIN, "-m", text + "x"),
        ("run", "list", "-e", text + "x"),
        ("run", "list", "-f", f"metrics.m > {text}"),
        ("run", "list", "--sort", text),
        ("run", "list", "--columns", text + "x"),
        ("run", "artifacts", "ls", TWIN, "missing"),
        ("model", "show", text + "x"),
        ("model", "show", f"models:/{text}/99"),
        ("--tracking-uri", f"{text}://host", "run", "list"),
        ("--tracking-uri", f"sqlite:///{text}", "run", "list"),
        ("--env-file", text, "run", "list"),
        (text,),
        ("run", "list", "-o", text),
    ]


def assert_harmless(text: str, *, keep: str = "\n") -> None:
    """Nothing in a text does anything to a terminal, or shows otherwise than it is."""
    shown = {char for char in text if char.isprintable() or unicodedata.category(char) == "Zs"}
    acting = set(text) - shown - set(keep) - {"\u200d"}
    assert not acting, (acting, text[:300])


def ask(arguments: Sequence[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command(arguments)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_hidden_reaches_a_pipe(form: str, attack: str):
    keep = {"auto": "\n\t", "tsv": "\n\t", "csv": "\n\t"}.get(form, "\n")
    for command in _commands(attack):
        code, out, err = ask((*command, "-o", form))
        assert code == 0, (command, err)
        assert out
        assert_harmless(out, keep=keep)
        assert_harmless(err)


def test_nothing_hidden_reaches_a_terminal_from_an_error(attack: str):
    for arguments in _errors(attack):
        code, out, err = ask(arguments)
        assert code in (2, 3, 4, 7), (arguments, err)
        assert out == ""
        assert_harmless(err)
        assert len(err.splitlines()) <= 2
        assert err.startswith("error: ")


def test_nothing_hidden_reaches_a_terminal_from_a_traceback(attack: str):
    code, _, err = ask(("--debug", "run", "show", attack + "x"))
    assert code == 3
    assert_harmless(err)


def test_tsv_keeps_one_record_a_line_and_one_cell_a_column(attack: str):
    _, out, _ = ask(("run", "list", "--columns", "run_id,name,params.p,tags.t,user,artifact_uri", "-o", "tsv"))
    rows = [line.split("\t") for line in out.rstrip("\n").split("\n")]
    assert [len(row) for row in rows] == [6] * 4
    assert rows[1][:1] == [TWIN]


def test_csv_parses_back_to_what_is_visible_of_it(attack: str):
    _, out, _ = ask(("run", "list", "--columns", "run_id,name,params.p", "--keep-formulas", "-o", "csv"))
    rows = list(csv.reader(io.StringIO(out, newline="")))
    assert rows[0] == ["run_id", "name", "params.p"]
    assert rows[1] == [TWIN, visible(attack, keep="\n\t"), visible(attack, keep="\n\t")]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_parses_back_to_the_very_text(form: str, attack: str):
    _, out, _ = ask(("run", "list", "-o", form))
    runs = [json.loads(line) for line in out.splitlines()] if form == "jsonl" else json.loads(out)
    run = next(run for run in runs if run["run_id"] == TWIN)
    assert run["name"] == run["experiment"] == run["user"] == run["artifact_uri"] == attack
    assert run["params"][attack] == f"{attack}1"
    assert run["tags"][attack] == f"{attack}1"
    assert run["metrics"][attack] == 2.0
    models = json.loads(ask(("model", "list", "-o", "json"))[1])
    assert (models[0]["name"], models[0]["description"], models[0]["aliases"]) == (attack, attack, {attack: 1})


@pytest.mark.parametrize(
    "command",
    [
        ("experiment", "list"),
        ("experiment", "show", "1"),
        ("run", "list"),
        ("run", "show", TWIN),
        ("run", "show", "3" * 32),
        ("run", "best", "-m", "m"),
        ("run", "compare", TWIN, "2" * 32, "--all"),
        ("model", "list"),
        ("run", "show", "nobody"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ["clipboard", "c1", "bidi", "lines"])
def test_only_our_own_styles_reach_a_terminal(command: Sequence[str], name: str, database: Path):
    text = ATTACKS[name]
    _attacked(database, text)
    shown = in_terminal(*command, cwd=database.parent, width=300)
    assert shown.code == (3 if "nobody" in command else 0), shown.text
    assert_harmless(OURS.sub("", shown.text))


@pytest.mark.parametrize(
    "command",
    [("run", "history", TWIN, "-m"), ("run", "best", "-m"), ("model", "show"), ("model", "versions")],
    ids=" ".join,
)
def test_only_our_own_styles_reach_a_terminal_when_the_name_is_asked_for(command: Sequence[str], database: Path):
    text = ATTACKS["colour"]
    _attacked(database, text)
    shown = in_terminal(*command, text, cwd=database.parent, width=300)
    assert shown.code == 0, shown.text
    assert_harmless(OURS.sub("", shown.text))


def test_markup_and_emoji_codes_are_shown_as_they_are(database: Path):
    with Rows(database) as rows:
        rows.run(TWIN, "[red]r[/red] :bomb: [link=h]l[/link]", params={"[b]k[/b]": "[i]v[/i]"})
    for command in (("run", "list"), ("run", "show", TWIN)):
        shown = OURS.sub("", in_terminal(*command, cwd=database.parent, width=300).text)
        assert "[red]r[/red] :bomb: [link=h]l[/link]" in shown
        assert "[b]k[/b]" in shown
        assert "[i]v[/i]" in shown


def test_the_note_of_a_nested_winner_is_harmless(database: Path):
    with Rows(database) as rows:
        rows.run(TWIN, "child", metrics={"m": 1.0}, tags={"mlflow.parentRunId": ATTACKS["clipboard"]})
    ran = agentnn("run", "best", "-m", "m", cwd=database.parent)
    assert "nested in" in ran.stderr
    assert_harmless(ran.stdout, keep="\n\t")
    assert_harmless(ran.stderr)


@given(st.text())
def test_what_is_made_visible_is_harmless_and_printable_text_stays_as_it_is(text: str):
    shown = visible(text)
    assert_harmless(shown, keep="")
    if text.isprintable():
        assert shown == text


@given(
    st.recursive(
        st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_json_made_safe_is_harmless_and_means_the_same(value: Any):
    safe = json_safe(json.dumps(value, ensure_ascii=False))
    assert_harmless(safe, keep="")
    assert json.loads(safe) == value
