"""Overrides: what a command line leaves over, and what Python gives."""

from __future__ import annotations

from typing import Any

import pytest

from agentnn.config.overrides import overrides_of, parse_overrides, split_key
from agentnn.config.tree import Problems, plain_of
from agentnn.errors import UsageError


def value_of(*arguments: str) -> Any:
    problems = Problems()
    (override,) = parse_overrides(arguments)
    found = plain_of(override.node(problems))
    assert problems.found == []
    for part in override.key:
        found = found[part]
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.005", 0.005),
        ("1e-4", 1e-4),
        ("-3", -3),
        ("-.5", -0.5),
        ("-1e-3", -1e-3),
        ("null", None),
        ("true", True),
        ("no", "no"),
        ("[64,32]", [64, 32]),
        ("[64, 32]", [64, 32]),
        ("[]", []),
        ("{a: 1, b: [x, null]}", {"a": 1, "b": ["x", None]}),
        ('"12"', "12"),
        ("'true'", "true"),
        ("a: b", "a: b"),
        ("C:\\data # not a comment", "C:\\data # not a comment"),
        ("*x", "*x"),
        ("&x", "&x"),
        ("@last", "@last"),
        ("%", "%"),
        ("!x", "!x"),
        ("| x", "| x"),
        ("", None),
        ("two words", "two words"),
    ],
)
def test_a_value_is_what_it_would_be_without_quotes(text: str, value: object):
    for arguments in (("--a.b", text), (f"--a.b={text}",)):
        found = value_of(*arguments)
        assert (found, type(found)) == (value, type(value))


def test_several_and_the_last_of_the_same_counts():
    found = parse_overrides(["--model.learning_rate", "0.005", "--a.b.c=d=e", "--a.b.c", "2"])
    assert [(one.key, one.value) for one in found] == [
        (("model", "learning_rate"), "0.005"), (("a", "b", "c"), "d=e"), (("a", "b", "c"), "2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["--epoch", "5"], "unknown option --epoch", "--training.epoch VALUE"),
        (["--trainig", "5"], "unknown option --trainig", "--training.KEY VALUE"),
        (["-x", "5"], "unknown option -x", "two dashes"),
        (["-model.x", "5"], "unknown option -model.x", "two dashes"),
        (["--a.b"], "--a.b lacks a value", "--a.b=VALUE"),
        (["--a.b", "--c.d", "1"], "--a.b lacks a value", "--a.b=VALUE"),
        (["--a.b", "-foo"], "--a.b is followed by -foo", "--a.b=-foo"),
        (["--a.token", "-hunter2"], "--a.token is followed by \\*\\*\\*, which", "--a.token=***"),
        (["stray"], "unexpected argument 'stray'", "--training.epochs 5"),
        (["--a.b", "1", "2"], "unexpected argument '2'", "--training.epochs 5"),
        (["--a..b", "1"], "unknown option --a..b", ""),
        (["--.b", "1"], "unknown option --.b", ""),
        (["--", "1"], "unknown option --", ""),
        (["-"], "unexpected argument '-'", ""),
    ],
)
def test_what_is_no_override_is_wrong_use(arguments: list[str], said: str, hint: str):
    with pytest.raises(UsageError, match=said) as caught:
        parse_overrides(arguments, ["training", "model"])
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_part_in_quotes_may_hold_dots():
    assert split_key('experiment.tags."mlflow.note.content"') == ("experiment", "tags", "mlflow.note.content")
    assert split_key('a."b') == ()


def test_python_gives_values_by_dotted_key_or_nested():
    problems = Problems()
    found = overrides_of({"training.epochs": 5, "model": {"hidden_layers": (8, 4)}})
    assert [plain_of(one.node(problems)) for one in found] == [
        {"training": {"epochs": 5}}, {"model": {"hidden_layers": [8, 4]}},
    ]  # fmt: skip
    assert [one.written for one in found] == ["override training.epochs=5", "override model=a mapping"]
    with pytest.raises(UsageError, match="not a key"):
        overrides_of({"a..b": 1})
    with pytest.raises(UsageError, match="a list of arguments"):
        overrides_of("--a.b 3")  # type: ignore[arg-type]


def test_how_it_was_written_holds_no_secret():
    found = parse_overrides(["--tracking.params.api_token", "hunter2", "--tracking.uri=postgresql://me:pw@host/db"])
    assert [one.written for one in found] == [
        "--tracking.params.api_token ***", "--tracking.uri=postgresql://***@host/db",
    ]  # fmt: skip
