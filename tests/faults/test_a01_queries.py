"""A01: code in a pandas query is never run; it is refused, at once, with exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from agentnn.errors import FilterError
from agentnn.query.frames import select

if TYPE_CHECKING:
    from pathlib import Path

RUNS = pd.DataFrame(
    {
        "run_id": ["r1", "r2"],
        "accuracy": [0.9, 0.95],
        "text": ["x", "y"],
        "object": pd.Series(["long", 10**12], dtype=object),
        "__class__": [1, 2],
        "a` + `b": [1, 2],
    }
)
CANARY = "CANARY"
REACHING = [
    "accuracy.to_csv.__func__.__globals__['__builtins__']['open']('CANARY', 'w')",
    "accuracy.to_csv('CANARY')",
    "accuracy.apply(print)",
    "accuracy.map(open)",
    "accuracy.pipe(open, 'CANARY')",
    "@pd.io.common.os.system('touch CANARY')",
    "@__builtins__['open']('CANARY', 'w')",
    "@RUNS.to_csv('CANARY')",
    "__import__('os').system('touch CANARY')",
    "open('CANARY', 'w')",
    'exec(\'open("CANARY", "w")\')',
    "eval('1')",
    "getattr(accuracy, 'to_csv')('CANARY')",
    "accuracy.__class__.__mro__[-1].__subclasses__()",
    "accuracy.str.__class__",
    "accuracy.values.tofile('CANARY')",
    "accuracy.str.contains.__self__",
    "text.str.cat(sep='CANARY')",
    "text.str._data",
    "index.to_series().to_csv('CANARY')",
    "`accuracy`.to_csv('CANARY')",
    "`accuracy` + `__class__`.__init__",
    "`a` + `b`.__class__",
    "(accuracy).to_pickle('CANARY')",
    "(accuracy > 0.9).to_csv('CANARY')",
    "text.str.lower().to_csv('CANARY')",
    "'{0.__class__}'.format(accuracy)",
    "'%s' % accuracy",
    'f\'{open("CANARY", "w")}\' == text',
    "text == f'{accuracy.to_csv(\"CANARY\")}'",
    "(lambda: open('CANARY', 'w'))()",
    "[open('CANARY', 'w') for _ in text]",
    "(x := open('CANARY', 'w'))",
    "accuracy = open('CANARY', 'w')",
    "import os",
    "del accuracy",
    "accuracy > 0\nimport os",
    "accuracy > 0; import os",
    "accuracy > 0 \\\n",
    "print(accuracy)",
    "accuracy.isin(open('CANARY', 'w'))",
    "accuracy.isin(values=accuracy.to_csv('CANARY'))",
    "text.str.contains('x', na=accuracy.to_csv('CANARY'))",
    "text.str.contains(pat=@RUNS)",
    "text.str.contains(**{'pat': 'x'})",
    "text.str.contains(*['x'])",
    "accuracy.between(0, accuracy.to_csv('CANARY'))",
    # letters that Python's own parser would read as plain ones
    "ａｃｃｕｒａｃｙ.ｔｏ_ｃｓｖ('CANARY')",
    "accuracy.𝓽𝓸_𝓬𝓼𝓿('CANARY')",
    "accuracy.__𝒸lass__",
    "__ⅰmport__('os')",
    "accuracy > 0 𝐚𝐧𝐝 open('CANARY', 'w')",
    # what pandas calls things internally
    "__pd_eval_local_RUNS.to_csv('CANARY')",
    "BACKTICK_QUOTED_STRING_a > 1",
    "Series_0_0x10 > 1",
    "Timestamp('2026-01-01').__class__",
    "datetime.now()",
    "list(text)",
    "columns.to_series()",
]
FILLING = [
    "9**9**9 > accuracy",
    "9 ** 9 ** 9 ** 9 > accuracy",
    "(9 ** 16) ** 16 > accuracy",
    "((9 ** 9) ** 9) ** 9 > accuracy",
    "accuracy ** 10000000000 > 1",
    "accuracy > 2 ** -1000000",
    "'a' * 10**9 == text",
    "10**9 * 'a' == text",
    "text * 1000000000 == 'x'",
    "object * 1000000000 == 'x'",
    "object ** 16 > 1",
    "[0] * 10**9 == accuracy",
    "text == ('a',) * 10**9",
    "text.str.repeat(1000000000) == 'x'",
    "text.str.replace('', 'aaaaaaaaaaaaaaaa') == 'x'",
    "text.str.pad(1000000000) == 'x'",
    "text.str.zfill(1000000000) == 'x'",
    "text.str.join('x') == 'x'",
    f"accuracy > {'9' * 5_000}",
    f"accuracy > 0x{'f' * 100_000}",
    f"accuracy > 1{'0' * 400_000}",
    "accuracy.round(1000000000) > 1",
    "text.str.contains('x{99999999999}')",
    f"text.str.contains('{'(' * 10_000}')",
    "(" * 10_000 + "accuracy > 0" + ")" * 10_000,
    "(" * 400_000,
    "[" * 10_000,
    "not " * 10_000 + "accuracy > 0",
    "~" * 10_000 + "(accuracy > 0)",
    "-" * 10_000 + "accuracy > 0",
    "accuracy" + ".abs()" * 10_000 + " > 0",
    " and ".join(["accuracy > 0"] * 10_000),
    " + ".join(["accuracy"] * 10_000) + " > 0",
    " < ".join(["accuracy"] * 10_000),
    "a" * 1_000_000,
    "accuracy > 0 " + " " * 1_000_000 + "x",
    "'" + "x" * 1_000_000 + "' == text",
    "`" * 400_001,
    "accuracy" + "." * 100_000,
    "\\" * 100_000,
    "text == '" + "\\a" * 200_000,
    "text == '" + "\\" * 400_001,
    "text == `" + "``" * 200_000,
    "accuracy > " + "1_" * 200_000,
    "accuracy > 0 # " + "x" * 400_000 + " \n y",
    "accuracy > 0\0",
    "\0" * 1000,
    "text == '\ud800",
    "\ud800 > 1",
]


@pytest.mark.parametrize("query", REACHING, ids=range(len(REACHING)))
def test_code_is_refused_and_not_run(query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FilterError) as caught:
        select(RUNS, query.replace("CANARY", str(tmp_path / CANARY)))
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_pandas_itself_would_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the absence of the file above means something."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError):  # by then it has done its work
        RUNS.query("accuracy.to_csv('CANARY')", engine="python")
    assert (tmp_path / CANARY).exists()


@pytest.mark.parametrize("query", FILLING, ids=range(len(FILLING)))
def test_what_would_fill_the_memory_is_refused(query: str) -> None:
    before = RUNS.copy()
    refusal = None
    try:
        select(RUNS, query)
    except FilterError as error:
        refusal = error
    assert refusal is not None
    assert refusal.exit_code == 2
    assert len(refusal.message) < 500
    assert len(refusal.hint) < 500
    pd.testing.assert_frame_equal(RUNS, before)


ALL_UNDER_LIMITS = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
import pandas as pd
from agentnn.errors import FilterError
from agentnn.query.frames import select
frame = pd.DataFrame({"accuracy": [0.9, 0.95], "text": ["x", "y"], "object": pd.Series(["x", 1], dtype=object)})
for query in json.load(sys.stdin):
    try:
        select(frame, query)
    except FilterError as error:
        assert error.exit_code == 2
    else:
        raise SystemExit(f"taken: {query[:80]!r}")
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]  # ru_maxrss is the parent's, too
print(int(peak.split()[1]) // 1024)
"""


def test_all_of_them_together_need_little_time_and_memory() -> None:
    """A process of its own, which could not take more than 4 GB and a minute of the processor."""
    done = subprocess.run(
        [sys.executable, "-c", ALL_UNDER_LIMITS],
        input=json.dumps([*REACHING, *FILLING]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 600  # MB, most of them pandas


def test_ten_thousand_run_ids_are_a_query() -> None:
    names = [f"{number:032x}" for number in range(10_000)]
    assert list(select(RUNS, f"run_id in {[*names, 'r2']!r}")["run_id"]) == ["r2"]
