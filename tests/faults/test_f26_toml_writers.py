"""F26: four processes write 200 keys each into one run. All 800 are there, whichever way they were written."""

from __future__ import annotations

import os
import threading
import tomllib
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from agentnn.errors import ConflictError
from agentnn.stores.toml.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

WRITERS, KEYS = 4, 200


def in_processes(write: Callable[[int], None]) -> None:
    """Call with the number of each writer, each in a process of its own."""
    children = []
    for writer in range(WRITERS):
        child = os.fork()
        if child == 0:
            try:
                write(writer)
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * WRITERS


def in_threads(write: Callable[[int], None]) -> None:
    """Call with the number of each writer, each in a thread of its own."""
    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


@pytest.mark.parametrize("together", [in_processes, in_threads])
@pytest.mark.parametrize("with_steps", [False, True], ids=["final values", "histories"])
@pytest.mark.parametrize("shared", [True, False], ids=["one object", "each its own"])
def test_no_key_is_lost(
    tmp_path: Path, together: Callable[[Callable[[int], None]], None], with_steps: bool, shared: bool
):
    run = RunDirectory.create(tmp_path, "demo", "r1", {})

    def write(writer: int) -> None:
        mine = run if shared else RunDirectory(run.path)
        for number in range(KEYS):
            step = number if with_steps else None
            after = mine.add_metrics({f"w{writer}_{number}": number, f"last{writer}": number}, step=step)
            assert after[f"last{writer}"] == number

    together(write)
    final = tomllib.loads((run.path / "metrics.toml").read_text(encoding="utf-8"))
    expected = {f"w{writer}_{number}": number for writer in range(WRITERS) for number in range(KEYS)}
    assert len(expected) == 800
    assert final == {**expected, **{f"last{writer}": KEYS - 1 for writer in range(WRITERS)}}
    points = [(point.key, point.step) for point in run.read_history()]
    assert len(points) == len(set(points)) == (2 * 800 if with_steps else 0)


def test_writers_of_the_config_do_not_undo_each_other(tmp_path: Path):
    run = RunDirectory.create(tmp_path, "demo", "r1", {})

    def write(writer: int) -> None:
        for number in range(20):
            run.change_config(lambda config, number=number: config.update({f"w{writer}_{number}": number}))  # type: ignore[misc]

    in_processes(write)
    assert len(run.read_config()) == WRITERS * 20


def test_of_many_that_make_one_run_one_does(tmp_path: Path):
    def make(writer: int) -> None:
        for number in range(10):
            with suppress(ConflictError):
                RunDirectory.create(tmp_path, "demo", f"r{number}", {"writer": writer})

    in_processes(make)
    runs = [path for path in (tmp_path / "demo").iterdir() if path.name != ".lock"]
    assert sorted(path.name for path in runs) == [f"r{number}" for number in range(10)]
    assert all(RunDirectory(path).read_config()["writer"] in range(WRITERS) for path in runs)
