"""F25: a process is killed 60 times while it saves the files of a run. Each file is the old or the new one, nothing
that was acknowledged is missing, and the next writer sweeps what the killed one left."""

from __future__ import annotations

import os
import random
import signal
import time
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from agentnn.stores.toml.runs import history, replacing
from agentnn.stores.toml.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

KILLS = 60
LONG = "x" * 5000
PIECE, PAUSE_S = 1000, 0.0003
"""How much a slow disk takes at a time."""


class Watched(NamedTuple):
    """What a killed process had acknowledged, by name; -1 for nothing."""

    metrics: int
    config: int
    made: int


def saves(run: RunDirectory, turn: int, tell: Callable[[str, int], None]) -> None:
    """Save for ever, on a disk that is slow, and tell what is begun and what is done."""

    def write_slowly(descriptor: int, data: bytes) -> None:
        tell("begun", 0)
        for start in range(0, len(data), PIECE):
            os.write(descriptor, data[start : start + PIECE])
            time.sleep(PAUSE_S)

    replacing.write_all = history.write_all = write_slowly
    first = turn * 1000
    for number in range(first, first + 1000):
        run.add_metrics({"number": number, "text": f"{number} {LONG}"}, step=number)
        tell("metrics", number)
        run.change_config(lambda config, number=number: config.update(number=number, text=f"{number} {LONG}"))  # type: ignore[misc]
        tell("config", number)
        RunDirectory.create(run.path.parent.parent, "made", f"r{number}", {"number": number, "text": LONG})
        tell("made", number)


def killed(run: RunDirectory, turn: int, writes: int) -> Watched:
    """Kill a process some time after it has begun its so-and-so-many-th write."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        saves(
            RunDirectory(run.path), turn, lambda name, number: os.write(writing, f"{name} {number}\n".encode()) and None
        )
        os._exit(3)
    os.close(writing)
    with os.fdopen(reading) as lines:
        told: list[str] = []
        while told.count("begun 0\n") < writes:
            told.append(lines.readline())
        time.sleep(random.random() * 10 * PAUSE_S)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        told += lines.readlines()
    assert os.WIFSIGNALED(status)
    last = dict.fromkeys(("begun", *Watched._fields), -1)
    for line in told:
        name, number = line.split()
        last[name] = int(number)
    return Watched(last["metrics"], last["config"], last["made"])


def read_whole(path: Path) -> tuple[int, int]:
    """The number that a file holds, and the one of its text."""
    document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    number, _, text = document["text"].partition(" ")
    assert text == LONG
    return document["number"], int(number)


def unfinished(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != ".lock"]


def test_whatever_is_killed_each_file_is_the_old_or_the_new_one(tmp_path: Path):
    random.seed(5)
    run = RunDirectory.create(tmp_path, "demo", "r1", {"number": -1, "text": f"-1 {LONG}"})
    run.add_metrics({"number": -1, "text": f"-1 {LONG}"}, step=-1)
    in_the_middle = 0
    metrics = config = -1
    steps = {-1}
    for turn in range(KILLS):
        last = killed(run, turn, random.randrange(1, 10))
        in_the_middle += bool(unfinished(tmp_path))

        number, of_text = read_whole(run.path / "metrics.toml")
        begun = max(last.metrics + 1, turn * 1000)
        assert number in ({last.metrics, begun} if last.metrics >= 0 else {metrics, begun})
        # Of a call that was not acknowledged, the numbers are in the history, but not the text.
        assert last.metrics <= of_text <= number
        read = run.read_metrics()["number"]
        assert read in (number, begun)
        steps |= set(range(turn * 1000, last.metrics + 1))
        found = [point.step for point in run.read_history() if point.key == "number"]
        assert len(found) == len(set(found))
        assert set(found) - steps <= {begun}
        steps |= set(found)
        assert steps == set(found)
        assert read == max(found)
        metrics = read

        number, of_text = read_whole(run.path / "config.toml")
        assert number == of_text
        assert number in ({last.config, last.config + 1} if last.config >= 0 else {config, turn * 1000})
        config = number

        for one in (tmp_path / "made").glob(f"r{turn}*"):
            assert tomllib.loads((one / "config.toml").read_text(encoding="utf-8"))["text"] == LONG
        assert last.made < 0 or (tmp_path / "made" / f"r{last.made}").is_dir()

        final = RunDirectory(run.path).add_metrics({"turn": turn})
        assert final["number"] == metrics
        RunDirectory.create(tmp_path, "made", f"after{turn}", {})
        assert unfinished(tmp_path) == []
    assert in_the_middle >= KILLS // 6, "too few were killed in the middle of a save to say anything"
