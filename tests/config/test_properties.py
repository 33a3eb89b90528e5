"""What holds for every configuration: dumped and loaded again it is the same; overrides are a deep merge."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentnn.config.environment import with_environment
from agentnn.config.history import differences, leaves
from agentnn.config.loader import load_config, record_of
from agentnn.config.overrides import overrides_of, parse_overrides, split_key
from agentnn.config.tree import Place, Problems, dotted, merged, node_of, plain_of
from agentnn.config.yaml_text import to_yaml
from agentnn.config.yaml_tree import read_yaml

HERE = Place("here")
ODD = (
    *("on", "no", "null", "~", "true", "1e-4", "012", "0o7", "0x1F", "12:30", ".inf", ".nan", "1_0", "2024-01-31"),
    *("<<", "=", "${env:X}", "$${env:X}", "a: b", "- a", "# c", "*a", "&a", "!t", "%d", "@", "`", "|", ">", "'", '"'),
    *("\x85", "\u2028"),
)
texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.from_regex(r"\A[-+]?[0-9._eExo:]{1,8}\Z"),
    st.sampled_from(ODD),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts)
keys = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.sampled_from(["on", "true", "1", "1e3", "null", "a.b", "<", "'", "${env:X}"]),
).filter(lambda key: key != "<<")
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)
mappings = st.dictionaries(keys, values, max_size=4)


def read_back(text: str) -> Any:
    problems = Problems()
    root = read_yaml(text, "f.yaml", problems)
    assert root is not None, problems.found
    root = with_environment(root, {}, problems)
    assert problems.found == []
    return plain_of(root)


def same(left: Any, right: Any) -> bool:
    """Equal in value and in kind: ``1``, ``1.0`` and ``true`` are three things."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@settings(deadline=None)
@given(mappings)
def test_what_is_dumped_reads_back_as_the_same(values: dict[str, Any]):
    assert same(read_back(to_yaml(values)), values)


@settings(deadline=None)
@given(mappings, st.integers(1, 50), st.floats(1e-9, 1e3))
def test_a_configuration_that_is_dumped_and_loaded_again_is_the_same(
    params: dict[str, Any], epochs: int, learning_rate: float
):
    """Through YAML text and back; a reference to the environment is text here, and stays it."""
    first = to_yaml({"model": {"params": params}, "training": {"epochs": epochs, "learning_rate": learning_rate}})
    config = load_config(unread(first), environ={})
    record = record_of(config)
    assert same(config.model.params, params)
    again = load_config(unread(record.to_yaml()), environ={})
    assert again == config
    assert record_of(again).hash == record.hash


def unread(text: str) -> dict[str, Any]:
    """A YAML text as a dict in which references to the environment are still to be read, as in the file."""
    root = read_yaml(text, "f.yaml", Problems())
    assert root is not None
    found: dict[str, Any] = plain_of(root)
    return found


@settings(deadline=None)
@given(mappings, mappings)
def test_merging_is_a_deep_update(base: dict[str, Any], over: dict[str, Any]):
    found = plain_of(merged(node_of(base, HERE, Problems()), node_of(over, HERE, Problems())))
    assert same(found, updated(base, over))


def updated(base: Any, over: Any) -> Any:
    """The definition, as one writes it by hand."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: updated(base[key], value) if key in base else value for key, value in over.items()}}


@settings(deadline=None)
@given(mappings)
def test_merging_twice_changes_nothing_more(values: dict[str, Any]):
    node = node_of(values, HERE, Problems())
    assert same(plain_of(merged(node, node)), values)


@settings(deadline=None)
@given(st.lists(keys.filter(lambda key: '"' not in key), min_size=2, max_size=4))
def test_a_key_is_written_as_it_is_read(parts: list[str]):
    assert split_key(dotted(parts)) == tuple(parts)


@settings(deadline=None)
@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(st.integers()),
    )
)
def test_a_value_on_the_command_line_is_the_value_in_python(value: Any):
    text = json.dumps(value)
    problems = Problems()
    (by_text,) = parse_overrides([f"--model.params.x={text}"])
    (by_value,) = overrides_of({"model.params.x": value})
    assert same(plain_of(by_text.node(problems)), plain_of(by_value.node(problems)))
    assert problems.found == []


@settings(deadline=None)
@given(texts.filter(lambda text: not text.startswith(("[", "{", '"', "'"))))
def test_no_text_on_the_command_line_is_lost(text: str):
    problems = Problems()
    (override,) = parse_overrides([f"--model.params.x={text}"])
    found = plain_of(override.node(problems))["model"]["params"]["x"]
    if not problems.found and isinstance(found, str):
        assert found == text
    quoted = json.dumps(text, ensure_ascii=False)
    (override,) = parse_overrides([f"--model.params.x={quoted}"])
    if all(char.isprintable() for char in text):
        assert plain_of(override.node(Problems()))["model"]["params"]["x"] == text


@settings(deadline=None)
@given(mappings, mappings)
def test_a_difference_is_found_both_ways_and_only_where_there_is_one(left: dict[str, Any], right: dict[str, Any]):
    there = differences(dict(leaves(left)), dict(leaves(right)))
    back = differences(dict(leaves(right)), dict(leaves(left)))
    assert [(one.key, one.left, one.right) for one in there] == [(one.key, one.right, one.left) for one in back]
    assert differences(dict(leaves(left)), dict(leaves(left))) == []


@settings(deadline=None)
@given(st.floats(allow_nan=True, allow_infinity=True))
def test_only_a_finite_number_can_be_held(value: float):
    problems = Problems()
    node_of(value, HERE, problems)
    assert (problems.found == []) is math.isfinite(value)
