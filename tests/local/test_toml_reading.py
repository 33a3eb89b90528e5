"""The quick reader says what tomllib says, of everything that can be in a file."""

from __future__ import annotations

import copy
import pickle
import re
import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentnn.stores.toml.text.reading import read_toml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    TEXT,
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(timezones=st.timezones()).filter(lambda moment: not (moment.utcoffset().total_seconds() % 60)),  # type: ignore[union-attr]
)
VALUES = st.recursive(
    SCALARS, lambda inside: st.one_of(st.lists(inside, max_size=4), st.dictionaries(TEXT, inside, max_size=4))
)
DOCUMENTS = st.dictionaries(TEXT, VALUES, max_size=6)

PIECES = [
    "a",
    "b",
    "a.b",
    '"a"',
    "'a'",
    '""',
    "''",
    "=",
    "==",
    ".",
    ",",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "#",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "1",
    "0",
    "-1",
    "+1",
    "01",
    "1_0",
    "1__0",
    "1.",
    ".5",
    "1.5",
    "1e5",
    "1e400",
    "-0",
    "-0.0",
    "0x1F",
    "0xf_f\n0o7",
    "0b1",
    "nan",
    "+inf",
    "-inf",
    "true",
    "false",
    "null",
    "None",
    "1979-05-27",
    "1979-05-27T07:32:00Z",
    "1979-05-27t07:32:00.123456789+02:00",
    "1979-02-30\n1979-05-27T07:32",
    "1979-05-27",
    "07:32Z",
    "07:32:00",
    "07:32",
    "07:32:60",
    "07:32:00.5",
    "24:00:00",
    '"\\e"',
    '"\\x41"',
    '"\\u00e9"',
    '"\\ud800"',
    '"\\U00110000"',
    '"\\q"\n"""',
    "'''",
    '"""a\nb"""',
    "'''a\r\nb'''",
    '"a#b"',
    "'{'",
    "\x00",
    "\x7f",
    "\ufeff",
    "é",
    "9223372036854775808",
    "99999999999999999999999999999999999999999",
]
RAW = st.lists(st.sampled_from([*PIECES, " ", "\n", "a = ", "[a]\n", "[[a]]\n", "b = {", "}\n"]), max_size=14).map(
    "".join
)


def said(read: Any, data: bytes) -> Any:
    try:
        return read(data)
    except (ValueError, RecursionError):
        return "no TOML"


def by_tomllib(data: bytes) -> Any:
    return tomllib.loads(data.decode())


@given(DOCUMENTS, st.booleans())
def test_it_agrees_with_tomllib_on_documents(document: dict[str, Any], multiline: bool):
    data = tomli_w.dumps(document, multiline_strings=multiline).encode()
    assert repr(read_toml(data)) == repr(by_tomllib(data))


@given(RAW)
@settings(max_examples=400)
@example("a = 07:32")
@example("a = 1979-05-27T07:32Z")
@example("a = {b = 1,}")
@example("a = {b = 1\n}")
@example("a = {b = {c = 1}\n}")
@example('a = {b = "}",\n c = 1}')
@example("a = {b = 1, # {}\n c = 1}")
@example('a = "\\e"')
@example('a = "\\x41"')
@example('a = """\r\nx\r\ny"""')
@example("\ufeffa = 1")
@example("a = 1e400")
@example("a = 1\na = 2")
@example("a = 'null'")
@example("a = null")
def test_it_agrees_with_tomllib_on_any_text(text: str):
    data = text.encode()
    assert repr(said(read_toml, data)) == repr(said(by_tomllib, data))


@given(DOCUMENTS, st.data())
def test_it_agrees_with_tomllib_on_documents_that_were_damaged(document: dict[str, Any], data: st.DataObject):
    whole = tomli_w.dumps(document)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 5)))
    damaged = (whole[:start] + data.draw(st.sampled_from(PIECES)) + whole[end:]).encode()
    assert repr(said(read_toml, damaged)) == repr(said(by_tomllib, damaged))


@given(st.binary(max_size=30))
def test_it_agrees_with_tomllib_on_bytes(data: bytes):
    assert repr(said(read_toml, data)) == repr(said(by_tomllib, data))


def test_a_time_with_a_zone_can_be_copied_and_pickled():
    document = read_toml(b"a = 2025-01-01T00:00:00Z\n[b]\nc = [[2025-01-01T00:00:00+02:00]]\n")
    assert pickle.loads(pickle.dumps(document)) == copy.deepcopy(document) == document


@pytest.mark.parametrize("text", ["a = " + "[" * 5000 + "]" * 5000, ".".join(["a"] * 50_000) + " = 1"])
def test_a_bomb_is_refused_and_costs_nothing(text: str):
    with pytest.raises(ValueError, match=re.compile("nested|parts")):
        read_toml(text.encode())
