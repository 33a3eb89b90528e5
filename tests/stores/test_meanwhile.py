"""A question that is answered while another one is."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from agentnn.stores.sql.meanwhile import meanwhile
from agentnn.stores.sql.mlflow_tables import SchemaMismatch
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentnn.stores.sql.dialect import Database

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


@pytest.fixture(params=[0, 1 << 40], ids=["a large file", "a small file"])
def database(
    request: pytest.FixtureRequest, template_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ReadOnlyDatabase]:
    monkeypatch.setattr("agentnn.stores.sql.sqlite_file.LARGE_BYTES", request.param)
    with closing(ReadOnlyDatabase(template_database)) as opened:
        yield opened


def test_both_are_answered(database: ReadOnlyDatabase):
    with meanwhile(database, lambda beside: beside.rows("SELECT count(*) FROM runs")) as answered:
        assert database.rows("SELECT 1") == [(1,)]
        assert answered() == [(0,)]


def test_its_error_is_raised_where_the_answer_is_asked_for(database: ReadOnlyDatabase):
    with meanwhile(database, lambda beside: beside.rows("SELECT absent FROM runs")) as answered:
        assert database.rows("SELECT 1") == [(1,)]
        with pytest.raises(SchemaMismatch, match="no such column: absent"):
            answered()


def test_who_leaves_early_breaks_it_off(database: ReadOnlyDatabase):
    """Ctrl-C must not wait for an answer that nobody wants any more."""

    def endless(beside: Database) -> object:
        return beside.rows(ENDLESS)

    with pytest.raises(KeyboardInterrupt), meanwhile(database, endless):
        raise KeyboardInterrupt
    assert not [one for one in threading.enumerate() if one.name == "agentnn-meanwhile"]
