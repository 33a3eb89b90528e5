"""The cache of what histories of ended runs come to: the file itself, whatever happens to it."""

from __future__ import annotations

import math
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agentnn.errors import UsageError
from agentnn.records import Metric, Run
from agentnn.settings import Settings
from agentnn.stores import history_cache
from agentnn.stores.history_cache import DAYS, HistoryCache, cache_facts
from agentnn.stores.history_traces import SETTLED_S, Summary, Trace, is_proven, summary_of, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NOW = 1_790_000_000.0
ENDED = 1_700_000_000_000
STORE = Settings("http://ana:secret@tracking.example:5000", registry_uri="http://tracking.example:5000")
ODD = Summary(math.nan, -math.inf, math.inf, -0.0)


def a_trace(number: int = 0) -> Trace:
    return Trace(b"%016d" % number, Metric("loss", float(number), number, ENDED))


def cache(settings: Settings = STORE, *, use: bool = True, now: float = NOW) -> HistoryCache:
    return HistoryCache(settings, use=use, now=lambda: now)


def kept(count: int, settings: Settings = STORE, *, now: float = NOW, metric: str = "loss") -> dict[str, Trace]:
    """Keep the numbers of so many runs."""
    traces = {f"run{number}": a_trace(number) for number in range(count)}
    summaries = {run_id: numbers_of(run_id) for run_id in traces}
    cache(settings, now=now).keep(metric, traces, summaries)
    return traces


def numbers_of(run_id: str) -> Summary:
    number = float(run_id.removeprefix("run"))
    return Summary(number, number / 3, number * 3, -number)


def assert_true(found: Mapping[str, Summary]) -> None:
    assert found == {run_id: numbers_of(run_id) for run_id in found}


@pytest.fixture
def file(state_dir: Path) -> Path:
    return state_dir / "cache" / "histories.sqlite"


class TestWhatIsKept:
    def test_numbers_come_back_as_they_were(self) -> None:
        cache().keep("loss", {"a": a_trace()}, {"a": ODD})
        found = cache().find("loss", {"a": a_trace(), "b": a_trace()})
        assert repr(found) == repr({"a": ODD})

    def test_nothing_is_known_of_another_store_metric_run_or_state_of_it(self) -> None:
        kept(1)
        known = {"run0": a_trace(0)}
        assert cache().find("loss", known)
        assert cache(replace(STORE, tracking_uri="http://bob:other@tracking.example:5000/")).find("loss", known)
        assert not cache(replace(STORE, tracking_uri="http://tracking.example:5001")).find("loss", known)
        assert not cache(replace(STORE, workspace="team")).find("loss", known)
        assert not cache().find("val/loss", known)
        assert not cache().find("loss", {"run1": a_trace(0)})
        assert not cache().find("loss", {"run0": a_trace(1)})

    def test_what_is_older_than_a_month_or_from_the_future_is_forgotten(self) -> None:
        traces = kept(1)
        day = 86_400
        assert cache(now=NOW + DAYS * day).find("loss", traces)
        assert not cache(now=NOW + (DAYS + 1) * day).find("loss", traces)
        assert not cache(now=NOW - 2 * day).find("loss", traces)

    def test_many_runs_are_found_in_one_question(self) -> None:
        traces = kept(1234)
        found = cache().find("loss", traces)
        assert len(found) == 1234
        assert_true(found)

    def test_a_later_state_of_a_run_takes_the_place_of_the_one_before(self) -> None:
        kept(1)
        cache().keep("loss", {"run0": a_trace(7)}, {"run0": ODD})
        assert not cache().find("loss", {"run0": a_trace(0)})
        assert cache().find("loss", {"run0": a_trace(7)})


class TestWhatARecordShows:
    RUN = Run("a", "a", "0", "Default", "FINISHED", end_time=ENDED, metrics={"loss": 1.0, "acc": 2.0})
    LATEST = (Metric("loss", 1.0, 5, ENDED), Metric("acc", 2.0, 5, ENDED))

    def trace(self, run: Run = RUN, latest: tuple[Metric, ...] = LATEST, now: float = NOW) -> Trace | None:
        return trace_of(run, "loss", latest, now=now)

    def test_whatever_shows_a_change_changes_the_proof(self) -> None:
        before = self.trace()
        assert before == self.trace(latest=self.LATEST[::-1])
        assert before is not None
        loss, accuracy = self.LATEST
        others = [
            self.trace(replace(self.RUN, end_time=ENDED + 1)),
            self.trace(replace(self.RUN, status="FAILED")),
            self.trace(latest=(loss._replace(value=1.5), accuracy)),
            self.trace(latest=(loss._replace(value=math.nan), accuracy)),
            self.trace(latest=(loss._replace(step=6), accuracy)),
            self.trace(latest=(loss._replace(timestamp=ENDED + 1), accuracy)),
            self.trace(latest=(loss, accuracy._replace(step=6))),
            self.trace(latest=(loss,)),
        ]
        proofs = [one.proof for one in others if one is not None]
        assert len(proofs) == len(others)
        assert len({before.proof, *proofs}) == len(others) + 1

    def test_runs_that_go_on_or_have_just_ended_are_not_kept(self) -> None:
        for status in ("RUNNING", "SCHEDULED"):
            assert self.trace(replace(self.RUN, status=status)) is None
        assert self.trace(replace(self.RUN, end_time=None)) is None
        assert self.trace(now=ENDED / 1000 + SETTLED_S - 1) is None
        assert self.trace(now=ENDED / 1000 + SETTLED_S + 1) is not None
        assert self.trace(latest=self.LATEST[1:]) is None

    def test_a_history_that_has_grown_since_proves_nothing(self) -> None:
        trace = self.trace()
        assert trace is not None
        earlier, last = Metric("loss", 9.0, 4, ENDED), Metric("loss", 1.0, 5, ENDED)
        assert is_proven(trace, [earlier, last])
        assert is_proven(trace, [earlier, last, last._replace(value=3.0)]), "of the same step and time"
        assert not is_proven(trace, [earlier, last, Metric("loss", 1.0, 6, ENDED)])
        assert not is_proven(trace, [earlier])
        assert not is_proven(trace, [earlier, last._replace(value=2.0)])

    def test_summaries_keep_the_sign_of_zero_and_what_is_no_number(self) -> None:
        def of(*values: float) -> str:
            return repr(summary_of([Metric("loss", value, step, ENDED) for step, value in enumerate(values)]))

        assert of(-0.0) == repr(Summary(-0.0, -0.0, -0.0, 0.0))
        assert of(math.nan, 2.0, math.inf, 1.0) == repr(Summary(2.0, 1.0, 2.0, 1.5))
        assert of(math.nan, -math.inf) == repr(Summary(math.inf, math.inf, math.inf, math.inf))
        assert of(math.nan) == repr(Summary(math.nan, math.nan, math.nan, math.nan))
        assert summary_of([]) is None


class TestTheFile:
    def test_it_is_private_whatever_the_umask(self, file: Path) -> None:
        before = os.umask(0)
        try:
            kept(5)
        finally:
            os.umask(before)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert [one.name for one in file.parent.iterdir()] == [file.name]

    def test_it_holds_no_secret_and_no_name(self, file: Path) -> None:
        kept(5, metric="a-telling-name")
        content = file.read_bytes()
        for text in (b"secret", b"ana", b"tracking.example", b"a-telling-name", b"run0"):
            assert text not in content

    def test_a_folder_that_others_may_write_to_is_not_used(self, file: Path) -> None:
        file.parent.mkdir(parents=True)
        file.parent.chmod(0o777)
        traces = kept(1)
        assert not cache().find("loss", traces)
        assert not file.exists()

    def test_neither_read_nor_written_where_it_is_not_to_be_used(self, file: Path) -> None:
        for off in (replace(STORE, cache_mb=0.0), STORE):
            cache(off, use=off.cache_mb == 0).keep("loss", {"a": a_trace()}, {"a": ODD})
        assert not file.exists()
        traces = kept(1)
        assert not cache(use=False).find("loss", traces)
        assert not cache(replace(STORE, cache_mb=0.0)).find("loss", traces)

    def test_where_it_is_and_how_large_it_may_become(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AGENTNN_STATE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_facts(STORE).path == str(tmp_path / "agentnn" / "histories.sqlite")
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache_facts(STORE).path == str(tmp_path / ".cache" / "agentnn" / "histories.sqlite")
        sizes = {"": 64_000_000, "0.5": 500_000, "0": 0}
        for text, size in sizes.items():
            assert cache_facts(Settings.load(environ={"AGENTNN_CACHE_MB": text})).most_bytes == size
        for text in ("-1", "much", "inf", "nan"):
            with pytest.raises(UsageError, match="AGENTNN_CACHE_MB"):
                Settings.load(environ={"AGENTNN_CACHE_MB": text})

    def test_a_question_makes_no_file(self, file: Path) -> None:
        assert not cache().find("loss", {"a": a_trace()})
        assert not file.parent.exists()

    def test_it_stays_within_its_bound_and_keeps_what_is_used(self, file: Path) -> None:
        small = replace(STORE, cache_mb=0.1)
        favourites = kept(50, small)
        for day in range(1, 25):
            now = NOW + day * 86_400
            assert len(cache(small, now=now).find("loss", favourites)) == 50, day
            traces = {f"{day}-{number}": a_trace(number) for number in range(100)}
            cache(small, now=now).keep("loss", traces, dict.fromkeys(traces, ODD))
            assert file.stat().st_size <= 100_000
            assert len(cache(small, now=now).find("loss", traces)) == 100, "the newest are there"
        assert_true(cache(small, now=now).find("loss", favourites))

    def test_more_at_once_than_there_is_room_for_is_no_failure(self, file: Path) -> None:
        tiny = replace(STORE, cache_mb=0.02)
        traces = kept(1000, tiny)
        assert file.stat().st_size <= 20_000
        assert_true(cache(tiny).find("loss", traces))

    def test_one_that_was_allowed_to_be_larger_begins_anew(self, file: Path) -> None:
        many = kept(2000)
        assert file.stat().st_size > 100_000
        small = replace(STORE, cache_mb=0.1)
        few = kept(3, small)
        assert file.stat().st_size <= 100_000
        assert set(cache(small).find("loss", many)) == set(few)

    def test_facts(self, file: Path) -> None:
        assert cache_facts(STORE) == (str(file), 0, 64_000_000, 0)
        assert not file.parent.exists()
        kept(7)
        assert cache_facts(STORE) == (str(file), file.stat().st_size, 64_000_000, 7)
        assert cache_facts(replace(STORE, cache_mb=0.0)).most_bytes == 0
        file.write_bytes(b"no database" * 1000)
        assert cache_facts(STORE).values is None


def _garbage(file: Path) -> None:
    file.write_bytes(b"this is no database" * 500)


def _torn(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _of_another_version(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 9")


def _without_its_table(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE kept")


def _with_other_columns(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE kept RENAME COLUMN seal TO stamp")


def _empty(file: Path) -> None:
    file.write_bytes(b"")


class TestDamage:
    @pytest.mark.parametrize("damage", [_garbage, _torn, _of_another_version, _without_its_table, _with_other_columns])
    def test_a_damaged_file_is_made_anew(self, damage: Callable[[Path], None], file: Path) -> None:
        traces = kept(500)
        damage(file)
        assert_true(cache().find("loss", traces))
        kept(500)
        found = cache().find("loss", traces)
        assert len(found) == 500
        assert_true(found)

    def test_an_empty_file_is_filled(self, file: Path) -> None:
        kept(1)
        _empty(file)
        assert cache().find("loss", kept(3))

    def test_flipped_bytes_never_give_another_number(self, file: Path) -> None:
        traces = kept(300)
        whole, chance = file.read_bytes(), random.Random(5)
        for _ in range(60):
            damaged = bytearray(whole)
            for _ in range(chance.choice((1, 20, 400))):
                damaged[chance.randrange(100, len(damaged))] = chance.randrange(256)
            file.write_bytes(damaged)
            assert_true(cache().find("loss", traces))

    def test_a_foreign_database_of_that_name_stays_as_it_is(self, file: Path) -> None:
        file.parent.mkdir(mode=0o700, parents=True)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE diary (text)")
        before = file.read_bytes()
        traces = kept(3)
        assert not cache().find("loss", traces)
        assert file.read_bytes() == before

    def test_no_place_for_it_is_no_failure(self, state_dir: Path, file: Path) -> None:
        state_dir.write_text("a file where the folder should be")
        assert not cache().find("loss", kept(3))
        state_dir.unlink()
        file.mkdir(mode=0o700, parents=True)
        assert not cache().find("loss", kept(3))
        assert cache_facts(STORE).values is None

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_may_not_be_written_to_is_no_failure(self, file: Path) -> None:
        traces = kept(3)
        file.parent.chmod(0o500)
        file.chmod(0o400)
        try:
            more = {"other": a_trace(1)}
            cache().keep("loss", more, {"other": ODD})
            assert_true(cache().find("loss", traces))
        finally:
            file.parent.chmod(0o700)

    def test_one_that_another_process_holds_is_left_alone(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history_cache, "_LOCK_TIMEOUT_S", 0.05)
        traces = kept(3)
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            assert not cache().find("loss", traces)
            kept(5)
        assert len(cache().find("loss", traces)) == 3


_WRITER = """
import sys
sys.path.insert(0, {tests!r})
from stores.test_history_cache import STORE, a_trace, cache, history_cache, numbers_of
history_cache._LOCK_TIMEOUT_S = 60
print("begins", flush=True)
for start in range(0, 100_000, 20):
    traces = {{f"run{{number}}": a_trace(number) for number in range(start, start + 20)}}
    cache().keep("loss", traces, {{run_id: numbers_of(run_id) for run_id in traces}})
    if start >= {limit}:
        break
"""


def a_writer(limit: int) -> subprocess.Popen[str]:
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    script = _WRITER.format(tests=tests, limit=limit)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


class TestSeveralProcesses:
    def test_two_that_write_at_once_lose_nothing(self) -> None:
        writers = [a_writer(1000), a_writer(1000)]
        for writer in writers:
            assert writer.wait(60) == 0
        found = cache().find("loss", {f"run{number}": a_trace(number) for number in range(1020)})
        assert len(found) == 1020
        assert_true(found)

    def test_what_is_killed_in_the_middle_of_writing_leaves_a_cache_to_use(self) -> None:
        chance = random.Random(7)
        traces = {f"run{number}": a_trace(number) for number in range(20_000)}
        for _ in range(10):
            writer = a_writer(100_000)
            assert writer.stdout is not None
            writer.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(chance.uniform(0.02, 0.3))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            writer.stdout.close()
            assert_true(cache().find("loss", traces))
        assert cache().find("loss", traces)
