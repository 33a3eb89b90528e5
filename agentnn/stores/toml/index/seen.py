"""What an index has seen of the files, and what has changed since."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from agentnn.stores.file_signature import NUMBERS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from agentnn.stores.toml.index.scanning import Scan

_BYTES = 8 * NUMBERS


class RunKey(NamedTuple):
    """Where a run lies: the names of its project's folder and of its own."""

    project: str
    run: str


def run_uuid(key: RunKey, shared: frozenset[str]) -> str:
    """A run's id among all runs: the name of its folder, with the project's where another one has it too."""
    return f"{key.project}/{key.run}" if key.run in shared else key.run


class Change(NamedTuple):
    """What has changed since a view was brought up to date.

    Attributes:
        read: The runs whose files are to be read: new ones and changed ones.
        gone: The runs that are no longer there.
        projects: The projects that are new, or whose ``project.toml`` has changed.
        projects_gone: The projects that are no longer there.
        shared: The names of runs that more than one project has, as they are now.
        whole: Nothing that was seen before is left.
    """

    read: list[RunKey]
    gone: list[RunKey]
    projects: list[str]
    projects_gone: list[str]
    shared: frozenset[str]
    whole: bool


class Seen(NamedTuple):
    """The state of all files: of each project the signature of its own file, its runs' names, their signatures."""

    projects: dict[str, tuple[bytes, str, bytes]]
    files: int

    @classmethod
    def of(cls, scan: Scan) -> Seen:
        """What a scan has found."""
        projects = {
            name: (found.settings.tobytes(), "/".join(found.runs), found.signatures.tobytes())
            for name, found in scan.projects.items()
        }
        return cls(projects, scan.files)

    @classmethod
    def load(cls, connection: sqlite3.Connection, view: str, files: int) -> Seen:
        """What a view of the index was made from."""
        rows = connection.execute("SELECT project, settings, runs, signatures FROM seen WHERE view = ?", (view,))
        return cls({project: (settings, runs, signatures) for project, settings, runs, signatures in rows}, files)

    def save(self, connection: sqlite3.Connection, view: str, before: Seen) -> None:
        """Note this as what a view is made from."""
        gone = [(view, name) for name in before.projects.keys() - self.projects.keys()]
        connection.executemany("DELETE FROM seen WHERE view = ? AND project = ?", gone)
        rows = [(view, name, *state) for name, state in self.projects.items() if before.projects.get(name) != state]
        connection.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", rows)

    def since(self, before: Seen, *, shared_matter: bool) -> Change:
        """What has changed.

        Args:
            before: What was seen before.
            shared_matter: What a run means depends on which names other projects have too: where those change,
                everything is read again.
        """
        shared = self._shared()
        whole = not before.projects or (shared_matter and shared != before._shared())
        then = Seen({}, self.files) if whole else before
        read: list[RunKey] = []
        gone: list[RunKey] = []
        for name in sorted(self.projects.keys() | then.projects.keys()):
            if self.projects.get(name) != then.projects.get(name):
                runs, earlier = self._runs(name), then._runs(name)
                read += [RunKey(name, run) for run, signature in runs.items() if earlier.get(run) != signature]
                gone += [RunKey(name, run) for run in earlier if run not in runs]
        projects = [name for name, state in self.projects.items() if then.projects.get(name, (b"",))[0] != state[0]]
        projects_gone = sorted(then.projects.keys() - self.projects.keys())
        return Change(read, gone, projects, projects_gone, shared, whole)

    def _runs(self, project: str) -> dict[str, bytes]:
        """The signatures of a project's runs by name; empty when there is no such project."""
        _, runs, signatures = self.projects.get(project, (b"", "", b""))
        size = self.files * _BYTES
        return {name: signatures[at * size : (at + 1) * size] for at, name in enumerate(_names(runs))}

    def _shared(self) -> frozenset[str]:
        counts = Counter(name for _, runs, _ in self.projects.values() for name in _names(runs))
        return frozenset(name for name, count in counts.items() if count > 1)


def _names(runs: str) -> Iterable[str]:
    return runs.split("/") if runs else ()
