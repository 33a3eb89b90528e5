"""The files of one run: what is written is read, at once, as a whole, and by nobody else."""

from __future__ import annotations

import fcntl
import json
import math
import os
import resource
import stat
import sys
import tempfile
import threading
import tomllib
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnn.errors import AgentNNError, ConflictError, CorruptDataError, NotFoundError, StoreUnavailable, UsageError
from agentnn.records import Metric
from agentnn.stores.toml.runs import replacing, run_values
from agentnn.stores.toml.runs.history import rank
from agentnn.stores.toml.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = {
    "lr": 0.001,
    "model": {"name": "CNN", "dropout": None},
    "_meta": {"created_at": datetime(2024, 1, 1, tzinfo=UTC)},
}
NOBODY = 65534


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "demo", "r1", CONFIG)


def metrics_of(run: RunDirectory) -> dict[str, Any]:
    """What the file says, to whoever reads it."""
    return tomllib.loads((run.path / "metrics.toml").read_text(encoding="utf-8"))


def history_of(run: RunDirectory) -> list[Any]:
    return [json.loads(line) for line in (run.path / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


# -- making


def test_a_new_run_has_its_config_and_nothing_else(run: RunDirectory, tmp_path: Path):
    assert run.path == tmp_path / "demo" / "r1"
    assert (run.run_id, run.project) == ("r1", "demo")
    assert names_in(run.path) == {"config.toml"}
    assert run.read_config() == CONFIG
    assert run.read_metrics() == {}
    assert list(run.read_history()) == []


def test_odd_names_stay_inside(tmp_path: Path):
    base = tmp_path / "base"
    for project, run_id in [("../up", "../../r"), ("/abs", "a/b"), ("..", "."), ("a\0b", ".hidden"), ("p", "x" * 400)]:
        made = RunDirectory.create(base, project, run_id, {})
        assert made.path.resolve().parent.parent == base.resolve()
    assert names_in(tmp_path) == {"base"}


def test_a_run_that_is_there_is_not_made_again(run: RunDirectory, tmp_path: Path):
    with pytest.raises(ConflictError, match="there is a run 'r1'"):
        RunDirectory.create(tmp_path, "demo", "r1", {"other": 1})
    assert run.read_config() == CONFIG


def test_a_folder_without_a_config_becomes_a_run(tmp_path: Path):
    (tmp_path / "demo" / "r1").mkdir(parents=True)
    (tmp_path / "demo" / "r1" / "model.pt").write_bytes(b"weights")
    run = RunDirectory.create(tmp_path, "demo", "r1", CONFIG)
    assert run.read_config() == CONFIG
    assert (run.path / "model.pt").read_bytes() == b"weights"


def test_a_file_in_the_place_of_a_run_is_a_conflict(tmp_path: Path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "r1").write_text("mine", encoding="utf-8")
    with pytest.raises(ConflictError):
        RunDirectory.create(tmp_path, "demo", "r1", CONFIG)
    assert (tmp_path / "demo" / "r1").read_text(encoding="utf-8") == "mine"


def test_files_beside_the_config_are_there_with_it(tmp_path: Path):
    run = RunDirectory.make(tmp_path / "a%2Fb" / "r1", CONFIG, {"origin.toml": b"store = 'x'\n"})
    assert run.project == "a%2Fb"
    assert names_in(run.path) == {"config.toml", "origin.toml"}


def test_what_cannot_be_written_makes_nothing(tmp_path: Path):
    with pytest.raises(UsageError):
        RunDirectory.create(tmp_path / "base", "demo", "r1", {"a": "\ud800"})
    assert names_in(tmp_path) == set()


def test_what_a_killed_maker_left_is_swept(run: RunDirectory, tmp_path: Path):
    making = tmp_path / "demo" / ".making"
    (making / "deep").mkdir(parents=True)
    (making / "config.toml").write_text("half = ", encoding="utf-8")
    RunDirectory.create(tmp_path, "demo", "r2", CONFIG)
    assert names_in(tmp_path / "demo") == {"r1", "r2", ".lock"}
    assert names_in(tmp_path / "demo" / "r2") == {"config.toml"}


def test_everything_is_private_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        run = RunDirectory.create(tmp_path / "base", "demo", "r1", CONFIG)
        run.add_metrics({"loss": 0.5}, step=1)
    finally:
        os.umask(before)
    for path in [tmp_path / "base", *(tmp_path / "base").rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_the_permissions_that_somebody_gave_a_file_stay(run: RunDirectory):
    run.add_metrics({"loss": 0.5})
    (run.path / "metrics.toml").chmod(0o644)
    run.add_metrics({"loss": 0.4})
    assert stat.S_IMODE((run.path / "metrics.toml").stat().st_mode) == 0o644


# -- the config


def test_a_change_of_the_config_keeps_its_comments(run: RunDirectory):
    path = run.path / "config.toml"
    path.write_bytes(b"# mine\n" + path.read_bytes())
    after = run.change_config(lambda config: config["_meta"].update(status="FINISHED", note=None))
    assert path.read_bytes().startswith(b"# mine\n")
    assert after == run.read_config()
    assert after["_meta"] == {"created_at": CONFIG["_meta"]["created_at"], "status": "FINISHED", "note": None}  # type: ignore[index]


def test_a_change_that_fails_changes_nothing(run: RunDirectory):
    before = files_of(run.path)

    def change(config: dict[str, Any]) -> None:
        config["lr"] = 5
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.change_config(change)
    with pytest.raises(UsageError):
        run.change_config(lambda config: config.update(bad="\ud800"))
    assert files_of(run.path) == before
    assert run.change_config(lambda config: None) == CONFIG


def test_no_run_and_no_toml(tmp_path: Path, run: RunDirectory):
    nothing = RunDirectory(tmp_path / "demo" / "r2")
    with pytest.raises(NotFoundError, match="there is no run 'r2'"):
        nothing.read_config()
    assert nothing.read_metrics() == {}
    with pytest.raises(StoreUnavailable):
        nothing.add_metrics({"loss": 1})
    assert not nothing.path.exists()
    for name, call in (("config", run.read_config), ("metrics", run.read_metrics)):
        (run.path / f"{name}.toml").write_text("a = = 1", encoding="utf-8")
        with pytest.raises(CorruptDataError, match=rf"{name}\.toml is not TOML"):
            call()
    with pytest.raises(CorruptDataError):
        run.add_metrics({"loss": 1}, step=1)
    with pytest.raises(CorruptDataError):
        run.change_config(lambda config: config.clear())
    assert files_of(run.path) == {"config.toml": b"a = = 1", "metrics.toml": b"a = = 1"}


# -- metrics


def test_metrics_are_merged_and_the_order_stays(run: RunDirectory):
    run.add_metrics({"b": 1, "val": {"loss": 0.5, "top": {"1": 0.9}}, "a": "text"})
    after = run.add_metrics({"val": {"top": {"5": 0.99}, "loss": 0.25}, "c": None, "b": [1, 2]})
    assert after == {"b": [1, 2], "val": {"loss": 0.25, "top": {"1": 0.9, "5": 0.99}}, "a": "text", "c": None}
    assert run.read_metrics() == after
    assert list(metrics_of(run)) == ["b", "a", "_none", "val"]
    assert not (run.path / "history.jsonl").exists()


def test_what_comes_back_is_the_callers_own(run: RunDirectory):
    given = {"roc": [[0.1, 0.2]], "val": {"loss": 1.0}}
    after = run.add_metrics(given)
    after["roc"][0].append(9)
    after["val"]["loss"] = 9
    given["val"]["loss"] = 8  # type: ignore[call-overload]
    assert run.add_metrics({"x": 1}) == {"roc": [[0.1, 0.2]], "val": {"loss": 1.0}, "x": 1}


def test_nothing_is_written_for_nothing(run: RunDirectory):
    assert run.add_metrics({}) == {}
    assert run.add_points([]) == {}
    assert names_in(run.path) == {"config.toml", ".lock"}


def test_metrics_with_a_step_have_a_history(run: RunDirectory):
    run.add_metrics({"loss": 0.5, "epoch": 1, "val": {"acc": True}, "note": "first"}, step=1, timestamp=1000)
    run.add_metrics({"loss": math.nan, "x": -math.inf}, step=2, timestamp=2000)
    assert history_of(run) == [
        {"step": 1, "time": 1000, "metrics": {"loss": 0.5, "epoch": 1, "val.acc": 1}},
        {"step": 2, "time": 2000, "metrics": {"loss": "NaN", "x": "-Infinity"}},
    ]
    points = list(run.read_history())
    assert points[:3] == [Metric("loss", 0.5, 1, 1000), Metric("epoch", 1.0, 1, 1000), Metric("val.acc", 1.0, 1, 1000)]
    assert math.isnan(points[3].value)
    assert points[4] == Metric("x", -math.inf, 2, 2000)
    assert all(type(point.value) is float for point in points)
    final = metrics_of(run)
    assert math.isnan(final.pop("loss"))
    assert final == {"epoch": 1, "val": {"acc": True}, "note": "first", "x": -math.inf}


def test_the_final_value_is_that_of_the_greatest_step_time_and_value(run: RunDirectory):
    for value, step, time, final in [
        (0.5, 5, 100, 0.5), (0.1, 4, 900, 0.5), (0.2, 5, 99, 0.5), (0.3, 5, 100, 0.5), (0.6, 5, 100, 0.6),
        (0.2, 5, 101, 0.2), (math.nan, 5, 101, 0.2), (-1.0, -3, 10**6, 0.2), (0.0, 6, 0, 0.0),
    ]:  # fmt: skip
        assert run.add_metrics({"loss": value}, step=step, timestamp=time) == {"loss": final}
        assert RunDirectory(run.path).read_metrics() == {"loss": final}
    assert len(history_of(run)) == 9


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-2, 2), st.integers(0, 2), st.floats(-1, 1)), max_size=8))
@settings(max_examples=30)
def test_the_final_values_are_those_of_the_history(points: list[tuple[str, int, int, float]]):
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(Path(folder), "demo", "r1", {})
        metrics = [Metric(key, value, step, time) for key, step, time, value in points]
        half = len(metrics) // 2
        run.add_points(metrics[:half])
        for one in metrics[half:]:
            run.add_metrics({one.key: one.value}, step=one.step, timestamp=one.timestamp)
        kept = list(run.read_history())
        assert sorted(kept) == sorted(metrics)
        expected = {
            key: max((one for one in metrics if one.key == key), key=rank).value for key in {m.key for m in metrics}
        }
        assert run.read_metrics() == expected


def test_without_a_step_a_metric_with_a_history_is_recorded_at_its_last_step(run: RunDirectory):
    run.add_metrics({"loss": 0.5}, step=7, timestamp=1000)
    run.add_metrics({"acc": 0.9}, step=3, timestamp=1000)
    run.add_metrics({"loss": 0.4, "acc": 0.8, "new": 1}, timestamp=2000)
    assert history_of(run)[2:] == [
        {"step": 7, "time": 2000, "metrics": {"loss": 0.4}},
        {"step": 3, "time": 2000, "metrics": {"acc": 0.8}},
    ]
    assert RunDirectory(run.path).add_metrics({"new": 2}, step=1) == {"loss": 0.4, "acc": 0.8, "new": 2}


def test_points_of_any_steps_are_added_in_one_write(run: RunDirectory):
    points = [Metric("loss", 1 / (step + 1), step, 1000 + step) for step in range(1000)]
    after = run.add_points([*points[500:], Metric("a/b", 1.0, 0, 5), Metric("a", 2.0, 0, 5), Metric("a", 3.0, 0, 5)])
    assert after == {"loss": 1 / 1000, "a/b": 1.0, "a": 3.0}
    assert run.add_points(points[:500]) == after
    assert sorted(one for one in run.read_history() if one.key == "loss") == sorted(points)
    assert [one.value for one in run.read_history() if one.key == "a"] == [2.0, 3.0]


def test_a_metric_has_one_place_whichever_way_its_name_is_written(run: RunDirectory):
    run.add_metrics({"val": {"loss": 0.5}, "train.loss": 1})
    run.add_metrics({"val.loss": 0.4, "train": {"loss": 2}}, step=1)
    run.add_points([Metric("val.loss", 0.3, 2, 0), Metric("val.new", 1.0, 2, 0)])
    assert run.read_metrics() == {"val": {"loss": 0.3}, "train.loss": 2, "val.new": 1.0}


def test_a_metric_and_one_that_is_nested_in_it_are_both_kept(run: RunDirectory):
    run.add_points([Metric("a", 1.0, 0, 0), Metric("a.b", 2.0, 0, 0), Metric("c.d", 3.0, 0, 0)])
    assert run.add_metrics({"a": {"e": 5}}) == {"a": 1.0, "a.b": 2.0, "c.d": 3.0, "a.e": 5}
    run.add_metrics({"n": {"x": 1, "y": {"z": 2}}})
    after = run.add_metrics({"n": 7})
    assert (after["n"], after["n.x"], after["n.y.z"]) == (7, 1, 2)


@pytest.mark.parametrize(
    ("metrics", "named"),
    [
        ({"ok": 1, "bad": "\ud800"}, {}),
        ({"ok": 1, "\ud800": 1}, {}),
        ({"_none": 1}, {}),
        ({"a": {"b": 1}, "a.b": 2}, {}),
        ({"ok": 10**5000}, {}),
        ({"ok": 1}, {"step": 1.5}),
        ({"ok": 1}, {"step": 2**63}),
        ({"ok": 1}, {"step": "1"}),
        ({"ok": 1}, {"step": 1, "timestamp": "now"}),
    ],
)
def test_what_is_refused_changes_nothing(run: RunDirectory, metrics: dict[str, Any], named: dict[str, Any]):
    run.add_metrics({"loss": 0.5}, step=1)
    before = files_of(run.path)
    with pytest.raises(UsageError):
        run.add_metrics(metrics, **named)
    assert files_of(run.path) == before
    assert run.read_metrics() == {"loss": 0.5}


@pytest.mark.parametrize(
    "point",
    [
        Metric("\ud800", 1.0, 0, 0),
        Metric("_none", 1.0, 0, 0),
        Metric("x", "high", 0, 0),  # type: ignore[arg-type]
        Metric("x", 1.0, 1.5, 0),  # type: ignore[arg-type]
        Metric("x", 1.0, 2**63, 0),
        Metric("x", 1.0, 0, "now"),  # type: ignore[arg-type]
    ],
)
def test_of_points_of_which_one_is_refused_none_is_added(run: RunDirectory, point: Metric):
    run.add_metrics({"loss": 0.5}, step=1)
    before = files_of(run.path)
    with pytest.raises(UsageError):
        run.add_points([Metric("loss", 1.0, 5, 0), point])
    assert files_of(run.path) == before


def test_odd_names_of_metrics_are_kept(run: RunDirectory):
    names = ["a\0b", "", " ", "#", "a.b", '"', "a\nb", "😀", "'", "[x]", "a=b", "é", "\x1b[31m", "\u2028"]
    run.add_metrics({name: index for index, name in enumerate(names)}, step=1)
    run.add_metrics({name: index + 100 for index, name in enumerate(names)}, step=2)
    assert run.read_metrics() == {name: index + 100 for index, name in enumerate(names)}
    assert {one.key for one in run.read_history()} == set(names)
    assert len(history_of(run)) == 2


def test_comments_in_the_metrics_stay(run: RunDirectory):
    run.add_metrics({"loss": 0.5, "acc": 0.9})
    path = run.path / "metrics.toml"
    path.write_bytes(path.read_bytes().replace(b"loss = 0.5", b"# the better one\nloss = 0.5 # so far"))
    run.add_metrics({"loss": 0.4})
    run.add_metrics({"new": 1}, step=1)
    assert path.read_bytes() == b"# the better one\nloss = 0.4 # so far\nacc = 0.9\nnew = 1\n"


def test_what_somebody_else_wrote_meanwhile_is_seen(run: RunDirectory):
    run.add_metrics({"loss": 0.5}, step=1)
    path = run.path / "metrics.toml"
    path.write_bytes(path.read_bytes() + b"by_hand = 1\n")
    other = RunDirectory(run.path)
    other.add_metrics({"other": 1, "loss": 0.3}, step=9)
    assert run.add_metrics({"mine": 1, "loss": 0.4}, step=2) == {"loss": 0.3, "by_hand": 1, "other": 1, "mine": 1}
    path.unlink()
    assert run.add_metrics({"again": 1}) == {"again": 1}


def test_a_writer_in_the_same_tick_with_as_many_bytes_is_seen(run: RunDirectory):
    """Whatever the file's time, size and inode say: those of the file may be the same again."""
    others = [RunDirectory(run.path) for _ in range(3)]
    for turn in range(100):
        for index, one in enumerate([run, *others]):
            one.add_metrics({f"m{index}": turn % 10})
            assert one.read_metrics() == one.add_metrics({}), (turn, index)
    assert run.read_metrics() == {"m0": 9, "m1": 9, "m2": 9, "m3": 9}


# -- the history


def test_a_line_that_breaks_off_is_left_out_and_cut_off(run: RunDirectory):
    run.add_metrics({"loss": 0.5}, step=1, timestamp=1)
    path = run.path / "history.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        assert list(run.read_history()) == [Metric("loss", 0.5, 1, 1)]
    RunDirectory(run.path).add_metrics({"loss": 0.4}, step=2, timestamp=2)
    assert list(run.read_history()) == [Metric("loss", 0.5, 1, 1), Metric("loss", 0.4, 2, 2)]


def test_a_last_line_without_its_end_counts(run: RunDirectory):
    run.add_metrics({"loss": 0.5}, step=1, timestamp=1)
    path = run.path / "history.jsonl"
    path.write_bytes(path.read_bytes().rstrip())
    for one in (run, RunDirectory(run.path)):
        one.add_metrics({"loss": 0.4}, step=2, timestamp=2)
    assert [one.step for one in run.read_history()] == [1, 2, 2]


@pytest.mark.parametrize(
    "damage",
    [b"{", b"[]", b'"x"', b"5", b'{"step": 1}', b'{"step": 1.5, "time": 1, "metrics": {}}', b"\xff", b"[" * 5000]
    + [
        b'{"step": 1, "time": 1, "metrics": {"a": %s}}' % value for value in (b'"word"', b"null", b"[]", b"true", b"{}")
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_changed(run: RunDirectory, damage: bytes):
    run.add_metrics({"loss": 0.5}, step=1)
    path = run.path / "history.jsonl"
    path.write_bytes(path.read_bytes() + damage + b"\n" + path.read_bytes())
    before = files_of(run.path)
    for call in (
        lambda: list(run.read_history()),
        lambda: run.add_metrics({"a": 1}),
        lambda: RunDirectory(run.path).add_metrics({"a": 1}),
    ):
        with pytest.raises(CorruptDataError, match=r"history\.jsonl is damaged: line 2"):
            call()
    assert files_of(run.path) == before


def test_a_history_that_somebody_changes_meanwhile_is_read_again(run: RunDirectory):
    run.add_metrics({"loss": 0.5, "acc": 0.1}, step=10, timestamp=1)
    path = run.path / "history.jsonl"
    path.write_text('{"step": 1, "time": 1, "metrics": {"loss": 0.25, "a longer name of a metric": 1}}\n' * 2, "utf-8")
    run.add_metrics({"loss": 0.5}, step=2, timestamp=2)
    path.unlink()
    assert run.add_metrics({"loss": 0.75}, step=1, timestamp=2)["loss"] == 0.75
    assert list(run.read_history()) == [Metric("loss", 0.75, 1, 2)]


def test_a_history_that_was_written_by_hand_is_read(run: RunDirectory):
    text = '\n{"metrics": {"loss": 1, "big": 1e999}, "time": 5, "step": -1, "by": "hand"}\r\n\n{"step":0,"time":6,'
    text += '"metrics":{}}'
    (run.path / "history.jsonl").write_text(text, encoding="utf-8")
    assert list(run.read_history()) == [Metric("loss", 1.0, -1, 5), Metric("big", math.inf, -1, 5)]
    run.add_metrics({"loss": 2}, timestamp=7)
    assert list(run.read_history())[-1] == Metric("loss", 2.0, -1, 7)


def killed_between(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, call: Callable[[RunDirectory], object]) -> None:
    """End a writer after it has added to the history, and before it replaces the final values."""
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(run_values, "replace_file", lambda *_, **__: os._exit(9))
        call(RunDirectory(run.path))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_a_writer_that_is_killed_between_the_two_files_loses_nothing(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
):
    run.add_metrics({"loss": 0.5, "acc": 1}, step=1)
    killed_between(run, monkeypatch, lambda one: one.add_metrics({"loss": 0.4}, step=2))
    assert metrics_of(run)["loss"] == 0.5
    assert RunDirectory(run.path).read_metrics() == {"loss": 0.4, "acc": 1}
    killed_between(run, monkeypatch, lambda one: one.add_points([Metric("new", 1.0, s, s) for s in range(50)]))
    assert run.read_metrics() == {"loss": 0.4, "acc": 1, "new": 1.0}
    assert run.add_points([]) == {"loss": 0.4, "acc": 1, "new": 1.0}
    assert metrics_of(run) == {"loss": 0.4, "acc": 1, "new": 1.0}


def test_the_very_first_call_may_be_killed(run: RunDirectory, monkeypatch: pytest.MonkeyPatch):
    killed_between(run, monkeypatch, lambda one: one.add_metrics({"loss": 0.4}, step=2))
    assert not (run.path / "metrics.toml").exists()
    assert run.read_metrics() == {"loss": 0.4}
    assert run.add_metrics({"other": 1}) == {"loss": 0.4, "other": 1}


def test_what_somebody_has_mended_by_hand_stays(run: RunDirectory):
    run.add_metrics({"loss": 0.5, "acc": 0.9}, step=1)
    path = run.path / "metrics.toml"
    path.write_bytes(path.read_bytes().replace(b"loss = 0.5", b"loss = 0.25"))
    assert RunDirectory(run.path).read_metrics()["loss"] == 0.25
    assert RunDirectory(run.path).add_metrics({"acc": 0.95}, step=2) == {"loss": 0.25, "acc": 0.95}


def test_a_run_that_was_copied_without_hidden_files_is_read_and_written(run: RunDirectory):
    run.add_metrics({"loss": 0.5}, step=1)
    (run.path / ".lock").unlink()
    assert run.read_metrics() == {"loss": 0.5}
    assert RunDirectory(run.path).add_metrics({"loss": 0.4}, step=2) == {"loss": 0.4}
    assert run.add_metrics({"loss": 0.3}, step=3) == {"loss": 0.3}


# -- other threads and processes


def test_threads_share_a_run(run: RunDirectory):
    def log(thread: int) -> None:
        for index in range(50):
            run.add_metrics({f"t{thread}_{index}": index, "shared": index}, step=index if thread % 2 else None)

    threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    final = run.read_metrics()
    assert {f"t{thread}_{index}": index for thread in range(4) for index in range(50)}.items() <= final.items()
    assert len([one for one in run.read_history() if one.key.startswith("t")]) == 100


def test_a_forked_process_goes_on_with_the_run(run: RunDirectory):
    run.add_metrics({"before": 1}, step=1)
    pid = os.fork()
    if pid == 0:
        try:
            for index in range(50):
                run.add_metrics({f"child_{index}": index}, step=index)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    for index in range(50):
        run.add_metrics({f"parent_{index}": index}, step=index)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(run.read_metrics()) == 101
    assert len(list(run.read_history())) == 101


def test_a_fork_while_the_lock_is_held_does_not_keep_it(run: RunDirectory):
    with replacing.locked(run.path):
        pid = os.fork()
        if pid == 0:
            threading.Event().wait(30)
            os._exit(0)
    try:
        run.add_metrics({"loss": 1})
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the process that was forked has ended meanwhile"
        assert run.read_metrics() == {"loss": 1}
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_waiting_for_others_has_an_end(run: RunDirectory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(replacing, "LOCK_TIMEOUT_S", 0.2)
    run.add_metrics({"loss": 1})
    with (run.path / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for write in (lambda: run.add_metrics({"loss": 2}), lambda: run.change_config(lambda config: None)):
            with pytest.raises(StoreUnavailable, match=r"others have been writing .* for 0\.2 s") as caught:
                write()
            assert caught.value.exit_code == 4
        assert run.read_metrics() == {"loss": 1}
    assert run.add_metrics({"loss": 3}) == {"loss": 3}


# -- what the disk refuses


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """The kernel lets no file of this process grow beyond a size, as a full disk does (setrlimit(2))."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 20, 60, 100, 1000])
def test_without_room_the_old_files_are_whole(run: RunDirectory, size: int):
    run.add_metrics({"loss": 0.5}, step=1)
    run.add_metrics({f"text_{number}": "x" * 50 for number in range(20)})
    before = files_of(run.path)
    with room_for(size):
        for write in (
            lambda: run.add_metrics({f"m{number}": 1.0 for number in range(size // 8)} | {"loss": 0.4}, step=2),
            lambda: run.add_points([Metric("loss", 0.4, 2, 2)]),
            lambda: run.change_config(lambda config: config.update(text="x" * 2000)),
            lambda: RunDirectory.make(run.path.parent / "r2", {"text": "x" * 2000}),
        ):
            with pytest.raises(StoreUnavailable, match="can't be written: File too large") as caught:
                write()
            assert (caught.value.exit_code, caught.value.hint) == (4, "make room on the disk")
            assert files_of(run.path) == before
    assert not (run.path.parent / "r2").exists()
    assert run.add_metrics({"loss": 0.3}, step=3)["loss"] == 0.3
    assert [one.step for one in run.read_history()] == [1, 3]
    assert run.read_metrics()["loss"] == 0.3


def as_nobody(call: Callable[[], None]) -> None:
    """Call in a process of a user to whom permissions apply; root ignores them."""
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            call()
        except BaseException:  # noqa: BLE001
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def told(call: Callable[[], object]) -> str:
    try:
        call()
    except AgentNNError as error:
        assert error.exit_code == 4, error
        return error.message
    raise AssertionError("nothing was raised")


def test_a_folder_that_may_not_be_written_to_is_read_and_said():
    with tempfile.TemporaryDirectory(prefix="agentnn-shared-", dir="/tmp") as folder:
        run = RunDirectory.create(Path(folder), "demo", "r1", CONFIG)
        run.add_metrics({"loss": 0.5}, step=1)
        (run.path / ".lock").unlink()
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = files_of(run.path)

        def look() -> None:
            assert run.read_config() == CONFIG
            assert run.read_metrics() == {"loss": 0.5}
            assert len(list(run.read_history())) == 1
            assert "Permission denied" in told(lambda: run.add_metrics({"loss": 1}))
            assert "Permission denied" in told(lambda: run.change_config(lambda config: config.clear()))
            assert "Permission denied" in told(lambda: RunDirectory.create(Path(folder), "demo", "r2", {}))
            assert "Permission denied" in told(lambda: RunDirectory.create(Path(folder), "new", "r2", {}))

        as_nobody(look)
        run.path.chmod(0o000)
        as_nobody(lambda: print(told(run.read_config), told(run.read_metrics), told(lambda: list(run.read_history()))))
        run.path.chmod(0o700)
        assert files_of(run.path) == before


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path):
    (tmp_path / "base").write_text("", encoding="utf-8")
    assert "can't be written" in told(lambda: RunDirectory.create(tmp_path / "base", "demo", "r1", {}))


def test_a_link_in_the_place_of_the_lock_is_not_followed(run: RunDirectory, tmp_path: Path):
    (run.path / ".lock").symlink_to(tmp_path / "elsewhere")
    assert "can't be written" in told(lambda: run.add_metrics({"loss": 1}))
    assert not (tmp_path / "elsewhere").exists()


def test_what_killed_writers_left_is_swept(run: RunDirectory):
    for name in (".config.toml.writing", ".metrics.toml.writing", ".project.toml.writing"):
        (run.path / name).write_bytes(b"half = ")
    (run.path / ".mine").write_bytes(b"")
    run.add_metrics({"loss": 1})
    assert names_in(run.path) == {"config.toml", "metrics.toml", ".lock", ".mine"}


# -- the disk


def test_a_call_a_second_waits_for_the_disk_and_the_end_does(run: RunDirectory, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(run_values, "SYNC_S", 3600)
    run.add_metrics({"loss": 1}, step=1)
    assert synced == ["history.jsonl", ".metrics.toml.writing", "r1"]
    synced.clear()
    for step in range(2, 50):
        run.add_metrics({"loss": 1}, step=step)
    assert synced == []
    run.change_config(lambda config: config.update(status="FINISHED"))
    assert synced == ["history.jsonl", "metrics.toml", "r1", ".config.toml.writing", "r1"]
    synced.clear()
    run.sync()
    assert synced == []
    run.add_metrics({"loss": 2})
    monkeypatch.setattr(run_values, "SYNC_S", 0)
    run.add_metrics({"acc": 2})
    assert synced == [".metrics.toml.writing", "r1"]
    synced.clear()
    run.sync()
    assert synced == ["history.jsonl", "metrics.toml", "r1"]
