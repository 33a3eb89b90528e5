"""What a scan of all projects has read, kept beside them so that the next one reads only what changed.

Files are the truth. The index is made of views, each of which notes the signatures of the files that it was made from;
a question scans the files and compares. Where nothing has changed that is all; otherwise the view is brought up to date
in one transaction, from the files of the runs that changed.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Protocol, TypeVar

from agentnn.stores.index_file import IndexFile, NoPlaceForIndex, memory_index
from agentnn.stores.toml.index.place import places_of
from agentnn.stores.toml.index.scanning import Scan, Unreadable, scan
from agentnn.stores.toml.index.schema import SCHEMA
from agentnn.stores.toml.index.seen import Seen

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from agentnn.stores.toml.index.reading import Problem
    from agentnn.stores.toml.index.seen import Change

__all__ = ["Index", "Unreadable", "View"]

T = TypeVar("T")


class View(Protocol):
    """What an index keeps of the files, and how it is brought up to date.

    Attributes:
        name: Its name, under which it is noted what it was made from.
        files: The files of a run that it is made from; the first is the one that makes a folder a run.
        shared_matter: Whether it matters to a run that another project has one of the same name.
    """

    name: str
    files: Sequence[str]
    shared_matter: bool

    def apply(self, connection: sqlite3.Connection, base_dir: Path, change: Change) -> Iterable[Problem]:
        """Take out what has changed or is gone, and put in what has changed or is new; what can't be read comes back.

        It is called within a transaction.
        """


class Index:
    """The index of a folder of projects; threads and processes may share it.

    Args:
        base_dir: The folder of all projects.

    Attributes:
        base_dir: The folder.
        counts: Where it is counted what is looked at and read; ``None`` while nobody asks.
    """

    counts: dict[str, int] | None = None

    def __init__(self, base_dir: Path) -> None:
        self.base_dir = base_dir.absolute()
        self._file = IndexFile(places_of(self.base_dir), SCHEMA)

    @property
    def path(self) -> Path:
        """The index: a SQLite database with the tables of :mod:`~agentnn.stores.toml.index.schema`.

        Where nothing may be written beside the projects it is elsewhere. It is there after a :meth:`refresh`, unless
        there is no run.
        """
        return self._file.path

    def refresh(self, *, histories: bool = False) -> tuple[Unreadable, ...]:
        """Bring MLflow's tables up to date with the files.

        Args:
            histories: The table ``metrics`` too, which few questions need.

        Returns:
            The files that could not be read.

        Raises:
            StoreUnavailable: There is no such folder, it can't be read, or there is no place for an index.
        """
        from agentnn.stores.toml.index.runs import RunsView

        unreadable = self.read(RunsView(), _no_answer, kept=True)[1]
        if histories:
            from agentnn.stores.toml.index.histories import HistoriesView

            unreadable += self.read(HistoriesView(), _no_answer, kept=True)[1]
        return tuple(dict.fromkeys(unreadable))

    def read(
        self, view: View, answer: Callable[[sqlite3.Connection], T], *, kept: bool = False
    ) -> tuple[T, tuple[Unreadable, ...]]:
        """Bring a view up to date and read from it, both in one transaction.

        Args:
            view: The view.
            answer: Reads from the open index; it may be called again, on a new one, when that was damaged.
            kept: An index must be left behind; otherwise one that can be kept nowhere is made, used and forgotten.

        Returns:
            What was read, and the files that could not be read.

        Raises:
            StoreUnavailable: There is no such folder, it can't be read, or there is no place for an index.
        """
        found = scan(self.base_dir, view.files)
        if self.counts is not None:
            _count(self.counts, "files looked at", found.files * sum(len(one.runs) for one in found.projects.values()))
        if self._file.exists() or any(one.runs for one in found.projects.values()):
            try:
                return self._file.use(lambda connection: self._answer(connection, view, found, answer))
            except NoPlaceForIndex:
                if kept:
                    raise
        with closing(memory_index(SCHEMA)) as connection:  # a read leaves nothing where there is nothing
            return self._answer(connection, view, found, answer)

    def discard(self) -> None:
        """Throw the index away, since a question found it damaged; the next :meth:`refresh` makes it again."""
        self._file.discard()

    def _answer(
        self, connection: sqlite3.Connection, view: View, found: Scan, answer: Callable[[sqlite3.Connection], T]
    ) -> tuple[T, tuple[Unreadable, ...]]:
        connection.execute("BEGIN")
        before = Seen.load(connection, view.name, len(view.files))
        if Seen.of(found) != before or not is_made_for(connection, self.base_dir):
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            found = self._catch_up(connection, view, found, before)
        read = answer(connection)
        rows = connection.execute(
            "SELECT path, problem FROM unreadable WHERE view = ? ORDER BY project, run", (view.name,)
        )
        unreadable = (*found.unreadable, *(Unreadable(self.base_dir / path, problem) for path, problem in rows))
        connection.execute("COMMIT")
        return read, unreadable

    def _catch_up(self, connection: sqlite3.Connection, view: View, found: Scan, before: Seen) -> Scan:
        """Bring a view up to date, now that nobody else can; what it was made from comes back."""
        make_for(connection, self.base_dir)
        latest = Seen.load(connection, view.name, len(view.files))
        if latest != before:  # somebody else did, and may have seen more
            found = scan(self.base_dir, view.files)
        now = Seen.of(found)
        change = now.since(latest, shared_matter=view.shared_matter)
        if self.counts is not None:
            _count(self.counts, "files read", now.files * len(change.read))
        forget_problems(connection, view.name, change)
        problems = list(view.apply(connection, self.base_dir, change))
        rows = [(view.name, *one.key, one.path, one.problem) for one in problems]
        connection.executemany("INSERT INTO unreadable VALUES (?, ?, ?, ?, ?)", rows)
        now.save(connection, view.name, latest)
        return found


def is_made_for(connection: sqlite3.Connection, base_dir: Path) -> bool:
    """Whether the index names the runs of this folder; one that was moved or copied names those of another."""
    return connection.execute("SELECT base_dir FROM about").fetchall() == [(str(base_dir),)]


def make_for(connection: sqlite3.Connection, base_dir: Path) -> None:
    """Let the index name the runs of this folder, which it may have known by another name."""
    if is_made_for(connection, base_dir):
        return
    for (earlier,) in connection.execute("SELECT base_dir FROM about").fetchall():
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            moved = f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
            connection.execute(moved, (str(base_dir), len(earlier) + 1))
    connection.execute("DELETE FROM about")
    connection.execute("INSERT INTO about VALUES (?)", (str(base_dir),))


def forget_problems(connection: sqlite3.Connection, view: str, change: Change) -> None:
    """Forget what was wrong with the files that have changed or are gone."""
    if change.whole:
        connection.execute("DELETE FROM unreadable WHERE view = ?", (view,))
    runs = [(view, *key) for key in (*change.read, *change.gone)]
    projects = [(view, name, "") for name in (*change.projects, *change.projects_gone)]
    connection.executemany("DELETE FROM unreadable WHERE view = ? AND project = ? AND run = ?", [*runs, *projects])


def _no_answer(_: sqlite3.Connection) -> None:
    return None


def _count(counts: dict[str, int], what: str, number: int) -> None:
    counts[what] = counts.get(what, 0) + number
