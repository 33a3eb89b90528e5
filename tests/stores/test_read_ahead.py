"""Pages that are read before SQLite asks for them: the right ones, no error, and no lock that is lost."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from agentnn.errors import NotAStoreError
from agentnn.stores.sql.open_descriptor import descriptor_of
from agentnn.stores.sql.read_ahead import PagedFile, reading_ahead
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = 512
INDEX = "sqlite_autoindex_t_1"
KEYS = ("a", "long-" * 30, "loss", "lossy", "z")
LOCK = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('BEGIN EXCLUSIVE')"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tables that grew beside each other, with small pages, so that their trees are deep."""
    made = tmp_path_factory.mktemp("pages") / "file.db"
    with closing(sqlite3.connect(made)) as connection, connection:
        connection.execute(f"PRAGMA page_size = {PAGE}")
        connection.execute("CREATE TABLE t (key TEXT, id TEXT, PRIMARY KEY (key, id))")
        connection.execute("CREATE TABLE other (text TEXT)")
        for number in range(1500):
            rows = [(key, f"{number * 7919 % 4001:032x}") for key in KEYS]
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
            connection.execute("INSERT INTO other VALUES (?)", ("x" * (number % 300),))
    return made


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as opened:
        opened.execute("SELECT 1 FROM t").fetchone()
        yield opened


def root_of(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0])


def pages_of(path: Path, connection: sqlite3.Connection, name: str, key: str = "") -> set[int]:
    file = PagedFile(opened(path))
    return {page for pages in file.leaves(root_of(connection, name), key.encode()) for page in pages}


def opened(path: Path) -> int:
    found = descriptor_of(path)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["t", INDEX, "other", "sqlite_schema"])
def test_the_leaves_are_those_that_sqlite_counts(path: Path, connection: sqlite3.Connection, name: str):
    listed = connection.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (name,)).fetchall()
    file = PagedFile(opened(path))
    root = 1 if name == "sqlite_schema" else root_of(connection, name)
    assert {page for pages in file.leaves(root) for page in pages} == {row[0] for row in listed}


@pytest.mark.parametrize("key", [*KEYS, "nobody", "zz"])
def test_the_leaves_where_a_key_is(path: Path, connection: sqlite3.Connection, key: str):
    whole = pages_of(path, connection, INDEX)
    found = pages_of(path, connection, INDEX, key)
    content = path.read_bytes()
    entry = re.compile(re.escape(key.encode()) + rb"[0-9a-f]{32}")
    holding = {page for page in whole if entry.search(content, (page - 1) * PAGE, page * PAGE)}
    assert holding <= found
    assert len(found) <= len(holding) + 2  # its neighbours may begin or end with it, for all that is known above them


def test_they_are_read_while_the_block_lasts(path: Path, connection: sqlite3.Connection):
    leaves = pages_of(path, connection, "t") | pages_of(path, connection, INDEX, "loss")
    forget(path)
    with reading_ahead(path, [(root_of(connection, "t"), ""), (root_of(connection, INDEX), "loss")]):
        while not all(is_in_memory(path, page) for page in leaves):
            time.sleep(0.01)


def test_a_damaged_file_is_read_ahead_without_an_error(path: Path, tmp_path: Path):
    """Whatever the numbers are: pages that are not there, and pages that name each other."""
    damaged = tmp_path / "damaged.db"
    content = path.read_bytes()
    for filler in (b"\xff", b"\x05", b"\x00"):
        damaged.write_bytes(content[:PAGE] + b"\x05" + filler * (len(content) - PAGE - 1))
        with damaged.open("rb"), reading_ahead(damaged, [(2, ""), (3, "loss"), (2**32 - 1, "")]):
            pass
    damaged.write_bytes(b"")
    with damaged.open("rb"), reading_ahead(damaged, [(1, "\udcff")]):
        pass


def test_a_reader_that_is_opened_takes_no_lock_from_another(path: Path, connection: sqlite3.Connection):
    """Else a writer could change the file in the middle of a statement that another thread is reading."""
    running = connection.execute("SELECT * FROM t")
    running.fetchone()
    with pytest.raises(NotAStoreError):
        ReadOnlyDatabase(path)
    writer = subprocess.run([sys.executable, "-c", LOCK, str(path)], capture_output=True, text=True)
    assert "database is locked" in writer.stderr
    running.close()
    assert subprocess.run([sys.executable, "-c", LOCK, str(path)]).returncode == 0


def is_in_memory(path: Path, page: int) -> bool:
    try:
        return bool(os.preadv(opened(path), [bytearray(1)], (page - 1) * PAGE, os.RWF_NOWAIT))
    except BlockingIOError:
        return False


def forget(path: Path) -> None:
    os.fsync(opened(path))
    os.posix_fadvise(opened(path), 0, 0, os.POSIX_FADV_DONTNEED)
