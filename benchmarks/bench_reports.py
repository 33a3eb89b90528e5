"""Reports: a comparison of 1000 runs, and a training report, as whole processes and over the read of the store.

    python benchmarks/bench_reports.py

The runs have 10 metrics with 100 values each, and 20 params. The peer is a page as one writes it by hand with
``MlflowClient``, pandas and Plotly, which shows less. What a report costs over the read of the store is measured in a
process of its own, which reads first. Sizes are those of the files; the first paint is Chromium's own figure, where
Playwright and a Chromium are there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import subjects as given
from timing import Goal, compare_commands, note, print_header

RUNS, METRICS, PARAMS, POINTS = 1000, 10, 20, 100
OVER_S, OVER_MIB = 5.0, 150.0
INLINE_MB, SHARED_MB = 8.0, 1.0
TRAINING_S = 1.5
PAINT_MS = 2000.0
_PAINT = "(performance.getEntriesByName('first-contentful-paint')[0] || {}).startTime || 0"
CHROMIUM = os.environ.get("AGENTNN_CHROMIUM") or shutil.which("chromium") or ""


def main() -> None:
    """Print the tables; with ``--over`` what one comparison costs over the read, as JSON."""
    parser = given.parser(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--runs", type=int, default=RUNS, help="runs that are compared")
    parser.add_argument("--over", metavar="FILE", help="compare the runs that a file names, and print what it took")
    options = parser.parse_args()
    if options.over:
        print(json.dumps(over_the_read(Path(options.over).read_text().split())))
        return
    subjects = given.subjects(options.python, store_of(options.runs))
    ids = run_ids(subjects.store, options.runs)
    folder = Path(subjects.cwd)
    (folder / "ids").write_text("\n".join(ids))
    print_processes(subjects, ids, options.rounds)
    print_over(subjects, folder / "ids", options.rounds)
    print_sizes(subjects, ids, folder)


def print_processes(subjects: given.Subjects, ids: list[str], rounds: int) -> None:
    """Print a row a report, as whole processes against the page by hand."""
    print_header(f"Reports, whole process: {len(ids):,} runs, {METRICS} metrics of {POINTS} values, {PARAMS} params")
    peer = "MlflowClient, pandas and Plotly"
    listed = str(Path(subjects.cwd) / "ids")
    compare_commands(
        ("comparison", "report compare", peer),
        subjects.agentnn("report", "compare", *ids, "-o", "own.html"),
        subjects.script("peer_report.py", "peer.html", "--file", listed),
        rounds=rounds,
        goal=Goal(at_least=1),
    )
    result = compare_commands(
        ("one run", "report training", peer),
        subjects.agentnn("report", "training", ids[0], "-o", "one.html"),
        subjects.script("peer_report.py", "peer-one.html", ids[0]),
        rounds=max(rounds, 7),
        goal=Goal(at_least=1),
    )
    wall = sorted(sample.wall for sample in result.own)[len(result.own) // 2]
    print(f"\nA training report: {wall:.2f} s; goal: < {TRAINING_S} s {verdict(wall < TRAINING_S)}")


def print_over(subjects: given.Subjects, ids: Path, rounds: int) -> None:
    """Print what a comparison takes over the read of its store, in a process of its own each time."""
    command = subjects.script("bench_reports.py", "--over", str(ids))
    taken = [json.loads(given.output_of(command)) for _ in range(rounds + 1)][1:]
    middle = {key: sorted(one[key] for one in taken)[len(taken) // 2] for key in taken[0]}
    print("\n### A comparison over the read of its store\n")
    print("| part | seconds | MiB over the read |\n|---|---|---|")
    print(f"| reading runs and curves | {middle['read_s']:.2f} | ({middle['read_mib']:.0f} in all) |")
    print(f"| telling and drawing | {middle['over_s']:.2f} | {middle['over_mib']:.0f} |")
    print(
        f"\nGoal: < {OVER_S:g} s {verdict(middle['over_s'] < OVER_S)}, "
        f"< {OVER_MIB:g} MiB {verdict(middle['over_mib'] < OVER_MIB)}"
    )


def print_sizes(subjects: given.Subjects, ids: list[str], folder: Path) -> None:
    """Print the sizes of the page and when Chromium first paints it."""
    print("\n### The page of that comparison\n")
    print("| assets | size | first paint | goal |\n|---|---|---|---|")
    for assets, limit in (("inline", INLINE_MB), ("shared", SHARED_MB), ("cdn", SHARED_MB)):
        page = folder / assets / "page.html"
        given.output_of(subjects.agentnn("report", "compare", *ids, "--assets", assets, "-o", str(page)))
        size = page.stat().st_size / 1e6
        paint = None if assets == "cdn" else first_paint(page)
        goals = [f"< {limit:g} MB {verdict(size < limit)}"]
        if paint is not None:
            goals.append(f"< {PAINT_MS:g} ms {verdict(paint < PAINT_MS)}")
        shown = "–" if paint is None else f"{paint:.0f} ms"
        print(f"| {assets} | {size:.2f} MB | {shown} | {', '.join(goals)} |", flush=True)


def first_paint(page: Path) -> float | None:
    """Give the median of Chromium's first contentful paint in milliseconds, or None where it can't be had."""
    if not CHROMIUM or importlib.util.find_spec("playwright") is None:
        note("the first paint is not measured: there is no Playwright or no Chromium")
        return None
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        for _ in range(5):
            browser = playwright.chromium.launch(executable_path=CHROMIUM)
            opened = browser.new_page()
            opened.goto(page.as_uri(), wait_until="load")
            # The page's policy forbids what wait_for_function does.
            while not (paint := opened.evaluate(_PAINT)):
                opened.wait_for_timeout(20)
            times.append(paint)
            browser.close()
    return sorted(times)[len(times) // 2]


def over_the_read(ids: list[str]) -> dict[str, float]:
    """Read the store as a comparison does, then tell and draw it; give seconds and MiB of both."""
    from agentnn.reporting.comparison import comparison_report
    from agentnn.reporting.gather import Gatherer
    from agentnn.reporting.html import render_html
    from agentnn.reporting.json_form import sealed
    from agentnn.sdk.reporting import ExperimentReporter

    reporter = ExperimentReporter()
    began = time.perf_counter()
    runs, baseline = reporter._compared(ids, None, None)
    facts = Gatherer(reporter._store, reporter.settings, reporter.metric_conventions).comparison(runs, baseline)
    read, before = time.perf_counter(), high_water()
    page = render_html(sealed(comparison_report(facts), "benchmark"))
    assert len(page) > 1_000_000
    done = time.perf_counter()
    return {
        "read_s": read - began,
        "read_mib": before,
        "over_s": done - read,
        "over_mib": high_water() - before,
    }


def high_water() -> float:
    """Give this process's peak in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def store_of(runs: int) -> Path:
    """Return a store with so many active runs or more, made first if need be."""
    shape = {"runs": runs + runs // 10, "metrics": METRICS, "params": PARAMS, "points": POINTS - 1, "curves": METRICS}
    argv = [sys.executable, str(given.HERE / "make_store.py"), "--analysed"]
    argv += [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    return Path(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def run_ids(store: Path, count: int) -> list[str]:
    """Give the ids of so many active runs."""
    with closing(sqlite3.connect(store)) as database:
        rows = database.execute(
            "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time LIMIT ?", [count]
        ).fetchall()
    if len(rows) < count:
        raise SystemExit(f"error: the store has {len(rows)} active runs of {count}")
    return [row[0] for row in rows]


def verdict(met: bool) -> str:
    """Say whether a goal was reached."""
    return "met" if met else "MISSED"


if __name__ == "__main__":
    main()
