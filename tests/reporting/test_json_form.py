"""A report survives JSON, and what is no report is refused with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting.examples import example_reports

from agentnn.errors import CorruptDataError
from agentnn.reporting.document import FORMAT, Report
from agentnn.reporting.json_form import from_json, is_intact, sealed, to_json

EXAMPLES = example_reports()


@pytest.fixture(params=EXAMPLES)
def report(request: pytest.FixtureRequest) -> Report:
    return EXAMPLES[request.param]


def test_what_is_read_back_is_what_was_written(report: Report):
    assert from_json(to_json(report)) == report
    assert to_json(from_json(to_json(report))) == to_json(report)


def test_it_is_one_line_that_any_parser_takes(report: Report):
    text = to_json(report)
    assert "\n" not in text
    assert json.loads(text, parse_constant=pytest.fail)["format"] == FORMAT


def test_a_seal_is_broken_by_any_change(report: Report):
    whole = sealed(report, "1.2.3")
    assert whole.source.version == "1.2.3"
    assert is_intact(from_json(to_json(whole)))
    assert not is_intact(replace(whole, outcome=whole.outcome + "!"))
    assert not is_intact(from_json(to_json(whole).replace("1.2.3", "1.2.4")))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format":"1"}', '{"format":1}', "[" * 100_000, '{"a":NaN}'])
def test_what_is_no_report_is_damage(text: str):
    with pytest.raises(CorruptDataError) as caught:
        from_json(text)
    assert caught.value.hint


def test_a_report_of_a_later_version_says_so():
    later = to_json(EXAMPLES["study"]).replace('"format":1', f'"format":{FORMAT + 1}', 1)
    with pytest.raises(CorruptDataError, match="later version") as caught:
        from_json(later)
    assert caught.value.hint == "update agentnn"


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in JSON."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inside for place in places(one, (*path, key)))]


PLACES = {kind: places(json.loads(to_json(report)))[1:] for kind, report in EXAMPLES.items()}


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_wrong_value_anywhere_is_damage_or_another_report(data: st.DataObject):
    kind = data.draw(st.sampled_from(sorted(EXAMPLES)))
    told = json.loads(to_json(EXAMPLES[kind]))
    *path, last = data.draw(st.sampled_from(PLACES[kind]))
    holder = told
    for key in path:
        holder = holder[key]
    holder[last] = data.draw(st.sampled_from([None, True, -1, 1.5, "x", [], {}, [[]], {"type": "Table"}, {"type": 1}]))
    try:
        read = from_json(json.dumps(told))
    except CorruptDataError as error:
        assert error.message
    else:
        assert from_json(to_json(read)) == read
