"""The folder of a name: one for each, and inside the folder that it should be in."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentnn.errors import UsageError
from agentnn.stores.toml.layout import directory_name

TRICKY = st.text(alphabet=st.sampled_from(list("a. /\\%~2EF\0\n\x7fé😀")), min_size=1, max_size=12)
NAMES = st.one_of(TRICKY, st.text(st.characters(exclude_categories=["Cs"]), min_size=1))


@given(NAMES)
@example(".")
@example("..")
@example("../../etc/passwd")
@example("/etc/passwd")
@example("a\0b")
@example("project.toml")
@example("\xa0")
@example("x" * 5000)
@example("😀" * 60)
@example("%" * 100)
@example("/" * 70)
def test_a_folder_stays_where_it_should_be(name: str):
    folder = directory_name(name)
    base = Path("/base/checkpoints")
    assert (base / folder).parent == base
    assert folder not in (".", "..", "project.toml")
    assert not folder.startswith(".")
    assert not set(folder) & {"/", "\\", *map(chr, range(32)), "\x7f"}
    assert folder == folder.strip()
    assert len(f".{folder}.writing".encode()) <= 255


@given(NAMES, NAMES)
@example("a/b", "a%2Fb")
@example("a%2Fb", "a%252Fb")
@example("project.toml", "%70roject.toml")
@example("x" * 300, "x" * 301)
@example("x" * 201, "x" * 202)
@example(" a", "%20a")
def test_no_two_names_have_one_folder(one: str, other: str):
    assert (directory_name(one) == directory_name(other)) == (one == other)


@given(NAMES.filter(lambda name: len(name.encode()) < 60))
def test_a_folder_says_which_name_it_is_of(name: str):
    assert unquote(directory_name(name)) == name


@pytest.mark.parametrize("name", ["my-demo-project", "lstm small", "größe", "v1.2", "a=b,c", "実験", "x.y~"])
def test_most_names_are_their_own_folder(name: str):
    assert directory_name(name) == name


def test_a_long_name_cannot_be_made_from_the_folder_of_another():
    folder = directory_name("x" * 500)
    assert directory_name(folder) != folder


@pytest.mark.parametrize("name", ["", None, 5, "\ud800"])
def test_what_is_no_name_is_refused(name: object):
    with pytest.raises(UsageError):
        directory_name(name)  # type: ignore[arg-type]
