"""YAML 1.2, with lines, within bounds, without objects."""

from __future__ import annotations

from typing import Any

import pytest

from agentnn.config.tree import Problems, nearest_node, plain_of
from agentnn.config.yaml_tree import read_yaml
from agentnn.config.yaml_values import scalar_of


def read(text: str) -> Any:
    problems = Problems()
    root = read_yaml(text, "f.yaml", problems)
    assert problems.found == []
    assert root is not None
    return plain_of(root)


def told(text: str) -> list[str]:
    problems = Problems()
    read_yaml(text, "f.yaml", problems)
    return [str(one) for one in problems.found]


# https://yaml.org/spec/1.2.2/#103-core-schema, its examples among them
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1e3", 1000.0),
        ("-1E+2", -100.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("+12e03", 12000.0),
        ("-2E+05", -200000.0),
        ("012", 12),
        ("-0", 0),
        ("+3", 3),
        ("0o14", 12),
        ("0xFF", 255),
        ("0o7", 7),
        ("0x3A", 58),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("No", "No"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("0o8", "0o8"),
        ("2024-01-31", "2024-01-31"),
        ("1.2.3", "1.2.3"),
        ("e3", "e3"),
        (".", "."),
        ("-", "-"),
        ("+", "+"),
        ("tRUE", "tRUE"),
        ("1 ", "1 "),
        ("1\n", "1\n"),
    ],
)
def test_a_plain_scalar_is_what_yaml_1_2_says(text: str, value: object):
    found = scalar_of(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text", [".inf", "-.INF", "+.Inf", ".nan", ".NaN", "1e999", "-1e999", "9" * 401, "0x" + "f" * 500]
)
def test_what_no_json_and_no_computer_can_hold_is_refused(text: str):
    with pytest.raises(ValueError, match="hold|too large|characters"):
        scalar_of(text)


def test_what_stands_in_quotes_is_text():
    assert read("{a: \"true\", b: '1e-4', c: !!str 12, d: ! 3, e: |\n  7\n}".replace("|\n  7\n", "'7'")) == {
        "a": "true", "b": "1e-4", "c": "12", "d": "3", "e": "7",
    }  # fmt: skip


def test_the_safe_tags_are_known():
    assert read('{a: !!int "12", b: !!float 3, c: !!bool true, d: !!null "", e: !!seq [1], f: !!map {x: 1}}') == {
        "a": 12, "b": 3.0, "c": True, "d": None, "e": [1], "f": {"x": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system",
        "!!python/name:os.system",
        "!!binary",
        "!!set",
        "!!omap",
        "!mine",
        "!!timestamp",
    ],
)
@pytest.mark.parametrize("value", ["x", "[1]", "{a: 1}"])
def test_no_other_tag_makes_anything(tag: str, value: str):
    (problem,) = told(f"a: 1\nb: {tag} {value}\n")
    assert problem.startswith("f.yaml:2: b: the tag !")
    assert tag.lstrip("!") in problem


@pytest.mark.parametrize("text", ["a: !!int x", "a: !!int 1.5", "a: !!bool 1", "a: !!float true"])
def test_a_tag_that_does_not_fit_is_said(text: str):
    assert told(text)[0].startswith("f.yaml:1: a: is not a !!")


def test_a_key_that_comes_twice_is_told_with_both_lines():
    assert told("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n") == [
        "f.yaml:5: b.c: is given twice: first in line 3",
        "f.yaml:6: a: is given twice: first in line 1",
    ]


def test_keys_are_the_text_that_is_written():
    assert read("on: 1\n012: 2\ntrue: 3\nnull: 4\n1e3: 5") == {"on": 1, "012": 2, "true": 3, "null": 4, "1e3": 5}


def test_lines_are_those_of_the_keys_and_of_the_items():
    problems = Problems()
    root = read_yaml("# first\na:\n  b:\n    - 1\n    - 2\n  c: |\n    text\n", "f.yaml", problems)
    assert root is not None
    lines = {path: nearest_node(root, path).place.line for path in [("a",), ("a", "b"), ("a", "b", 1), ("a", "c")]}
    assert lines == {("a",): 2, ("a", "b"): 3, ("a", "b", 1): 5, ("a", "c"): 6}


def test_an_alias_is_the_value_and_has_its_own_line():
    problems = Problems()
    root = read_yaml("a: &x {k: 1}\nb: *x\nc: [*x, &y 3, *y]\n*y : 4", "f.yaml", problems)
    assert root is not None
    assert plain_of(root) == {"a": {"k": 1}, "b": {"k": 1}, "c": [{"k": 1}, 3, 3], "3": 4}
    assert nearest_node(root, ("b",)).place.line == 2


def test_mappings_can_be_merged_in():
    text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\none:\n  x: 9\n  <<: *b\ntwo:\n  <<: [*b, *m]\n"
    found = read(text)
    assert (found["one"], found["two"]) == ({"x": 9, "y": 2}, {"x": 1, "y": 2, "z": 4})
    assert told("a: &a [1]\nb:\n  <<: *a")[0].startswith("f.yaml:3: b.<<: expected an alias of a mapping")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "f.yaml:1: is empty"),
        ("# nothing\n", "f.yaml:1: is empty"),
        ("a: 1\nb: {c: ${env:N}}", "f.yaml:2: is not YAML: while parsing a flow mapping"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: a second document"),
        ("a: [1\nb: 2\n", "f.yaml:2: is not YAML"),
        ("a:\n\t- b\n", "f.yaml:2: is not YAML"),
        ("a: 1\nb: \x07\n", "f.yaml:2: is not YAML"),
        ("a: 1\nb: *c\n", "f.yaml:2: b: there is no anchor &c above"),
        ("a: 1\nb: &b [*b]\n", "f.yaml:2: b[0]: *b stands inside of &b itself"),
        ("a: 1\n? [x]\n: 2\n", "f.yaml:2: a key must be text"),
        ("a: 1\n? \n: 2\n", "f.yaml:2: a key is empty"),
        ("a: 1\nb: {c: .nan}\n", "f.yaml:2: b.c: a configuration can't hold .nan"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, said: str):
    (problem,) = told(text)
    assert problem.startswith(said)
