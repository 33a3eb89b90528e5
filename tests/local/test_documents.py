"""Any nested mapping is written as TOML that people can read, and is the same when it is read."""

from __future__ import annotations

import math
import tomllib
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from agentnn.errors import CorruptDataError, UsageError
from agentnn.stores.toml.text.documents import parse, plain, render

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.one_of(
    st.none(),
    st.integers(),
    st.integers(-(10**60), 10**60),
    st.floats(),
    st.booleans(),
    TEXT,
    st.sampled_from(["a\nb", "a\r\nb", "a\rb", '"""', "'''", "\\", "#", "\0", "\x7f", "null"]),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
)
KEYS = st.one_of(TEXT, st.sampled_from(["a", "b", "a.b", "0", "1", "", '"', "'", "😀", "_meta"])).filter(
    lambda key: key != "_none"
)
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.one_of(
        st.lists(inside, max_size=4),
        st.dictionaries(KEYS, inside, max_size=4),
        st.lists(st.dictionaries(KEYS, inside, max_size=3), max_size=3),
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=6)


def same(one: Any, other: Any) -> bool:
    """Equal, of equal types, NaN and the sign of zero included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other if isinstance(one, date | time) else repr(one) == repr(other)


def read_back(mapping: Any, before: bytes = b"") -> dict[str, Any]:
    return parse(render(mapping, before), "here")


@given(DOCUMENTS)
@example({"a": [None, {"b": None}, [None, [None]], None]})
@example({"a": [[], [None], {}], "a.b": None, "c": {"b.c": {"": None}}})
def test_what_is_written_is_read(document: dict[str, Any]):
    data = render(document)
    tomllib.loads(data.decode())
    assert same(parse(data, "here"), document)
    assert same(plain(document), document)


@given(DOCUMENTS, DOCUMENTS)
def test_what_is_written_over_comments_is_read(document: dict[str, Any], before: dict[str, Any]):
    commented = b"# mine\n" + render(before) + b"# the end\n"
    assert same(read_back(document, commented), document)


@given(DOCUMENTS)
def test_writing_again_changes_nothing(document: dict[str, Any]):
    once = render(document)
    assert render(parse(once, "here")) == render(parse(render(parse(once, "here")), "here"))


def test_it_can_be_read_by_people():
    config = {"lr": 1e-3, "model": {"name": "CNN", "dropout": None, "block": {"depth": 2}}, "seed": 7}
    assert render(config).decode() == (
        'lr = 0.001\nseed = 7\n_none = ["model.dropout"]\n\n'
        '[model]\nname = "CNN"\n\n[model.block]\ndepth = 2\n'
    )  # fmt: skip


def test_short_arrays_are_on_one_line():
    config = {
        "layers": [64, 32],
        "mixed": [1, 2.5, True, 'a"b', [], [[date(2024, 1, 2)]]],
        "long": ["x" * 60, "y" * 60],
        "lines": ["a\nb"],
        "tables": [{"a": [1, 2]}, {"b": "c"}],
    }
    text = render(config).decode()
    assert text.startswith('layers = [64, 32]\nmixed = [1, 2.5, true, "a\\"b", [], [[2024-01-02]]]\nlong = [\n    "xxx')
    assert "    { a = [1, 2] },\n" in text
    assert read_back(config) == config


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), "2024-01-02T03:04:05.678Z"),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02T03:04:05Z"),
        (datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "2024-01-02T03:04:05.678901Z"),
        (datetime(2024, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-2))), "2024-01-02T03:04:00-02:00"),
        (datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"),  # noqa: DTZ001
    ],
)
def test_times_are_those_of_rfc_3339(moment: datetime, text: str):
    assert render({"at": moment, "all": [moment]}).decode() == f"at = {text}\nall = [{text}]\n"
    assert read_back({"at": moment, "t": [{"a": "\n", "at": moment}]}) == {
        "at": moment,
        "t": [{"a": "\n", "at": moment}],
    }


def test_a_text_of_several_lines_stays_one():
    assert render({"notes": "one\ntwo"}).decode() == 'notes = """\none\ntwo"""\n'


class Colour(Enum):
    RED = "red"
    PLACE = (1, 2)


class Word(StrEnum):
    ADAM = "adam"


class Number(IntEnum):
    ONE = 1


@dataclass
class Options:
    rate: float = 0.5
    inner: Any = None


Pair = namedtuple("Pair", "a b")  # noqa: PYI024


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.longdouble(1.5), 1.5),
        (np.int64(3), 3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(2.5), 2.5),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([np.nan]), [math.nan]),
        (np.array(["2024-01-02"], dtype="datetime64[D]"), [datetime(2024, 1, 2)]),  # noqa: DTZ001
        (np.datetime64("2024-01-02T03:04:05"), datetime(2024, 1, 2, 3, 4, 5)),  # noqa: DTZ001
        (np.datetime64("NaT"), None),
        (np.timedelta64("NaT"), None),
        (np.timedelta64(5, "s"), "5 seconds"),
        (np.complex128(1j), "1j"),
        (torch.tensor(0.25), 0.25),
        (torch.tensor(0.25, requires_grad=True), 0.25),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor([0.5], dtype=torch.bfloat16), [0.5]),
        (torch.float32, "torch.float32"),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Timestamp("2024-01-02 03:04:05.123456789"), datetime(2024, 1, 2, 3, 4, 5, 123456)),  # noqa: DTZ001
        (pd.Timestamp("2024-01-02", tz="Europe/Berlin"), datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=1)))),
        (pd.Timedelta("1h"), "0 days 01:00:00"),
        (pd.Series([1, 2]), [1, 2]),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}, dtype=object), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        (pd.DataFrame({"a": []}), []),
        ((1, None, (2,)), [1, None, [2]]),
        (Pair(1, None), [1, None]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1, "a"}, ["a", 1]),
        (range(3), [0, 1, 2]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Path("/data/x"), "/data/x"),
        (PurePosixPath("a"), "a"),
        (Colour.RED, "red"),
        (Colour.PLACE, [1, 2]),
        (Word.ADAM, "adam"),
        (Number.ONE, 1),
        (Options(), {"rate": 0.5, "inner": None}),
        (Options, "<class 'test_documents.Options'>"),
        (Decimal("0.5"), 0.5),
        (Decimal("sNaN"), math.nan),
        (date(1, 1, 1), date(1, 1, 1)),
        (time(7, 30), time(7, 30)),
        (time(7, 30, tzinfo=UTC), "07:30:00+00:00"),
        (datetime(2024, 1, 1, tzinfo=timezone(-timedelta(hours=2, minutes=30))),) * 2,
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=30))), datetime(2023, 12, 31, 23, 59, 30, tzinfo=UTC)),
        (datetime.min.replace(tzinfo=timezone(timedelta(seconds=30))), "0001-01-01T00:00:00+00:00:30"),
        (b"ab", "b'ab'"),
        (-0.0, -0.0),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (math.nan, math.nan),
        (10**80, 10**80),
        ({}, {}),
        ([], []),
        ([[], {}, [{}]], [[], {}, [{}]]),
        ([1, "a", None, {"b": 1.0}], [1, "a", None, {"b": 1.0}]),
        ([{"a": 1}, {"a": None, "b": [{}]}], [{"a": 1}, {"a": None, "b": [{}]}]),
    ],
)  # fmt: skip
def test_values_of_other_libraries_and_types_become_what_toml_has(given: Any, read: Any):
    expected = read if not isinstance(read, str) or "test_documents" not in read else str(Options)
    assert same(read_back({"x": given})["x"], expected)
    assert same(plain({"x": given})["x"], expected)
    assert same(read_back({"x": [{"y": given}]})["x"][0]["y"], expected)


def test_what_is_given_is_not_changed():
    inner = {"c": None, "d": (1, None)}
    given = {"a": [None, inner], "b": inner}
    render(given)
    assert given == {"a": [None, {"c": None, "d": (1, None)}], "b": {"c": None, "d": (1, None)}}


def test_one_value_in_two_places_is_written_twice():
    shared = [1, {"a": None}]
    assert read_back({"x": shared, "y": shared}) == {"x": shared, "y": shared}


def test_keys_become_text():
    given = {2.5: "b", True: "c", None: "d", (1, 2): "e", Colour.RED: "f", date(2024, 1, 2): "g", Word.ADAM: 1}
    assert read_back({"x": given})["x"] == {
        "True": "c", "2.5": "b", "None": "d", "(1, 2)": "e", "red": "f", "2024-01-02": "g", "adam": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({1: "a", "1": "b"}, "two keys are 1 as text"),
        ({"a": {"b.c": "\ud800"}}, 'a."b.c" holds text that is not valid Unicode'),
        ({"a": {"\ud800": 1}}, r'a."\ud800" holds text that is not valid Unicode'),
        ({"a": 10**5000}, "a is an integer of thousands of digits"),
        ({"_none": 1}, "the key _none is one of ours"),
    ],
)
def test_what_cannot_be_written_is_refused_and_named(given: Any, told: str):
    for write in (render, plain):
        with pytest.raises(UsageError) as caught:
            write(given)
        assert told in str(caught.value)
        str(caught.value).encode()


def test_a_collection_that_holds_itself_is_refused():
    table: dict[str, Any] = {}
    table["a"] = [table]
    listed: list[Any] = []
    listed.append(listed)
    for held in (table, {"x": listed}):
        with pytest.raises(UsageError, match="holds itself"):
            render(held)


def test_the_deepest_document_can_be_read():
    deepest: Any = 1
    for level in range(99):
        deepest = {"a": deepest} if level % 2 else [deepest]
    assert read_back({"x": deepest}) == {"x": deepest}
    with pytest.raises(UsageError, match="nested more than 100 deep"):
        render({"x": [[deepest]]})


@pytest.mark.parametrize(
    "data", [b"a = ", b"\xff\xfe", b"a = 1\na = 2", b"\x00", b"a = [1", b"a = " + b"[" * 3000, b"a = " + b"9" * 5000]
)
def test_what_is_no_toml_is_named(data: bytes):
    with pytest.raises(CorruptDataError, match=r"here/x\.toml is not TOML"):
        parse(data, "here/x.toml")


@pytest.mark.parametrize(
    "nones",
    ['["a.b.c"]', '["a"]', '["l.7"]', '["l.x"]', '["q."]', '["\\"a"]', '["\\"\\\\q\\""]', '[""]', '["l.99999999999"]'],
)
def test_a_place_that_is_no_more_is_passed_over(nones: str):
    found = parse(f"_none = {nones}\na = 1\nl = [1]\n".encode(), "here")
    assert found == {"a": 1, "l": [1]}


def test_a_value_that_somebody_has_written_in_the_place_of_a_none_stays():
    written = render({"model": {"dropout": None}}).decode()
    assert parse((written + "dropout = 0.5\n").encode(), "here") == {"model": {"dropout": 0.5}}


@pytest.mark.parametrize("text", ["_none = 5", '_none = [1, "a"]', "[_none]\na = 1"])
def test_what_somebody_else_calls_none_is_left_alone(text: str):
    assert "_none" in parse(text.encode(), "here")


COMMENTED = b"""# How we train.
lr = 0.001  # small

seed = 7
[model]
# Wide enough.
layers = [ 64, 32 ] # two

  name = 'CNN'
[[data]]
path = "a#b" # first
[[data]]
path = "c"
"""


def test_comments_and_order_and_blank_lines_stay():
    document = parse(COMMENTED, "here")
    assert render(document, COMMENTED) == COMMENTED
    document["lr"] = 0.01
    document["model"]["name"] = "LSTM"
    document["data"][1]["path"] = "d"
    document["epochs"] = 3
    after = render(document, COMMENTED).decode()
    assert parse(after.encode(), "here") == document
    for line in ("# How we train.", "lr = 0.01  # small", "# Wide enough.", "layers = [ 64, 32 ] # two", "# first"):
        assert line in after
    assert "# small\n\nseed = 7\n" in after


@pytest.mark.parametrize(
    "value",
    ["true", "1", "1.5", '"x"', "[1, true]", "{ a = true }", "2024-01-02", "2024-01-02T03:04:05Z", "07:30:00", "nan",
     "[{ a = 1 }]", "0x1F", "1_000", "'''a'''"],
)  # fmt: skip
def test_comments_stay_beside_any_value(value: str):
    commented = f"a = {value} # a\nb.c = {value} # b\n[t]\na = {value} # t\n".encode()
    document = parse(commented, "here")
    assert render(document, commented) == commented
    document["t"]["new"] = 1
    assert render(document, commented) == commented + b"new = 1\n"


def test_a_value_of_another_type_is_a_change():
    assert same(read_back({"a": True}, b"a = 1 # one"), {"a": True})
    assert same(read_back({"a": 1.0}, b"a = 1 # one"), {"a": 1.0})
    assert same(read_back({"a": -0.0}, b"a = 0.0 # one"), {"a": -0.0})
    moment = datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert same(read_back({"a": moment}, b"a = 2024-01-01T00:00:00Z # one"), {"a": moment})


def test_a_hash_in_a_text_is_no_comment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agentnn.stores.toml.text.documents.rewrite", None)
    before = b"""colour = "#fff"\nb = '#'\nc = '''\n#'''\nd = \"\"\"a\\\"\"\"#\"\"\"\n"""
    assert read_back({"colour": "#000"}, before) == {"colour": "#000"}


def test_a_document_with_comments_can_get_and_lose_a_none():
    commented = b"# top\na = 1 # one\n"
    once = render({"a": None, "b": 2}, commented)
    assert b"# top" in once
    assert parse(once, "here") == {"a": None, "b": 2}
    assert b"_none" not in render({"a": 5, "b": 2}, once)
