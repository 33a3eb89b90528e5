"""Names of metrics, params and tags: what MLflow takes, and what can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

from agentnn.errors import UsageError
from agentnn.values.keys import LONGEST, decode_key, encode_key

AWKWARD = st.text(st.sampled_from("/._x05FaA: -%é😀\ud800\0\n"), min_size=1, max_size=30)
ANY = st.text(st.characters(), min_size=1, max_size=20)


@given(st.one_of(AWKWARD, ANY))
def test_every_name_is_one_that_mlflow_takes_and_can_be_read_back(name: str):
    stored = encode_key(name)
    for accepts in (_validate_metric_name, _validate_param_name, _validate_tag_name):
        accepts(stored)
    assert decode_key(stored) == name


@given(st.lists(st.one_of(AWKWARD, ANY), min_size=2, max_size=2, unique=True))
def test_two_names_stay_two(names: list[str]):
    assert encode_key(names[0]) != encode_key(names[1])


@pytest.mark.parametrize("name", ["loss", "val/loss", "top-5 accuracy", "a.b.c", "größe", "x_1", "mlflow.note.content"])
def test_an_ordinary_name_is_its_own(name: str):
    assert encode_key(name) == name


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("loss %", "loss _x0025_"),
        ("a//b", "a/_x002F_b"),
        ("../up", "_x002E_./up"),
        ("/abs", "_x002F_abs"),
        ("end/", "end_x002F_"),
        ("😀", "_x0001F600_"),
        ("_x0041_", "_x005F_x0041_"),
    ],
)
def test_what_does_not_fit_is_escaped_as_xml_names_are(name: str, stored: str):
    assert encode_key(name) == stored


@pytest.mark.parametrize("name", ["", "n" * (LONGEST + 1), "é" * LONGEST, 3, None])
def test_a_name_that_no_store_can_keep_is_refused(name: object):
    with pytest.raises(UsageError):
        encode_key(name)  # type: ignore[arg-type]
