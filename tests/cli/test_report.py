"""``agentnn report``: files, standard output, exit codes, and what is loaded for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli.support import ADA, BOB, agentnn, environment, error_and_hint, execute, fingerprint, in_process, on_terminal

from agentnn.reporting.json_form import from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAVY = {"mlflow", "pandas", "numpy", "torch", "sqlalchemy", "pydantic", "requests", "plotly"}


@pytest.mark.usefixtures("filled")
class TestFiles:
    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            (("training", "ada"), "reports/training-ada-aaaa0000.html"),
            (("hpo", "ada"), "reports/study-ada-aaaa0000.html"),
            (("training", "ada", "--format", "md"), "reports/training-ada-aaaa0000.md"),
            (("training", "@last", "-o", "last.json"), "last.json"),
            (("compare", "ada", "bob", "-o", "deep/down/both.md"), "deep/down/both.md"),
        ],
        ids=" ".join,
    )
    def test_the_name_of_the_file_is_all_that_is_printed(self, arguments: Sequence[str], name: str):
        done = in_process("report", *arguments)
        assert (done.returncode, done.stdout) == (0, f"{name}\n")
        assert Path(name).stat().st_size > 500

    def test_compare_takes_a_baseline_and_selectors(self):
        done = in_process("report", "compare", "@best:sharpe", "bob", "--baseline", "bob", "-o", "both.json")
        assert done.returncode == 0
        report = from_json(Path("both.json").read_text(encoding="utf-8"))
        assert (report.source.runs, report.source.baseline) == ((ADA, BOB), BOB)

    def test_a_study_may_be_judged_by_another_metric(self):
        assert in_process("report", "hpo", "ada", "-m", "loss:min", "-o", "study.json").returncode == 0
        assert from_json(Path("study.json").read_text(encoding="utf-8")).source.metric == "loss:min"

    def test_assets_may_lie_beside_the_page(self):
        done = in_process("report", "training", "ada", "--assets", "shared", "-o", "out/page.html")
        assert done.returncode == 0
        assert len(list(Path("out").iterdir())) == 2

    def test_the_same_command_again_replaces_the_report(self):
        first = in_process("report", "training", "ada")
        again = in_process("report", "training", "ada")
        assert (again.returncode, again.stdout) == (0, first.stdout)
        assert len(list(Path("reports").iterdir())) == 1

    def test_a_file_that_is_no_report_stays_unless_forced(self):
        Path("mine.md").write_text("my own words")
        done = in_process("report", "training", "ada", "-o", "mine.md")
        assert done.returncode == 6
        assert error_and_hint(done.stderr) == (
            "mine.md is there already and is no report", "name another file, or --force",
        )  # fmt: skip
        assert Path("mine.md").read_text() == "my own words"
        assert in_process("report", "training", "ada", "-o", "mine.md", "--force").returncode == 0

    def test_a_browser_is_opened_on_request(self, tmp_path: Path):
        browser = tmp_path / "browser"
        browser.write_text('#!/bin/sh\necho "$1" > "$OPENED"\n')
        browser.chmod(0o755)
        done = agentnn(
            "report", "training", "ada", "-o", "page.html", "--open", cwd=tmp_path,
            env={"BROWSER": f"{browser} %s", "OPENED": str(tmp_path / "opened")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "opened").read_text().strip() == (tmp_path / "page.html").as_uri()


@pytest.mark.usefixtures("filled")
class TestStandardOutput:
    def test_markdown_for_a_pull_request(self):
        done = in_process("report", "compare", "ada", "bob", "--format", "md", "-o", "-")
        assert done.returncode == 0
        assert done.stdout.startswith("<!-- agentnn report -->\n## ✅ 2 runs compared\n")
        assert "| sharpe |" in done.stdout
        assert not Path("reports").exists()

    def test_json_is_one_line_for_any_parser(self):
        done = in_process("report", "training", "ada", "--format", "json", "-o", "-")
        assert json.loads(done.stdout)["kind"] == "training"
        assert done.stdout.count("\n") == 1

    def test_a_page_goes_there_too(self):
        done = in_process("report", "training", "ada", "--format", "html", "--assets", "cdn", "-o", "-")
        assert done.stdout.startswith("<!doctype html>")

    def test_on_a_terminal_nothing_in_it_is_acted_on(self, filled: Path):
        execute(filled, f"UPDATE runs SET name = 'a\x1b]52;c;eA==\x07' WHERE run_uuid = '{ADA}'")
        shown = on_terminal("report", "training", ADA, "--format", "json", "-o", "-", cwd=filled.parent)
        assert shown.code == 0
        assert "\x1b]52" not in shown.text


@pytest.mark.usefixtures("filled")
class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "code", "message", "hint"),
        [
            (("training", "nobody"), 3, "there is no run 'nobody'", "agentnn run list"),
            (("hpo", "bob"), 3, "the run bob has no trials: no run is nested in it",
             f"for a single run: agentnn report training {BOB}"),
            (("compare", "ada"), 2, "a comparison needs at least two different runs", "agentnn report compare RUN RUN"),
            (("compare", "ada", "ada"), 2, "a comparison needs at least two different runs",
             "agentnn report compare RUN RUN"),
            (("training", "ada", "-o", "json"), 2, "-o is the file here, and 'json' is none",
             "--format md -o - prints Markdown"),
            (("training", "ada", "-o", "-"), 2, "-o - does not say as what", "--format md, json or html"),
            (("training", "ada", "-o", "-", "--format", "md", "--open"), 2, "--open needs a file", "-o FILE"),
            (("training", "ada", "-o", "page.pdf"), 2, "what page.pdf is to be can't be told by its name",
             "end it with .html, .md or .json, or --format"),
            (("hpo", "ada", "-m", "shrp"), 3, "no trial has a metric 'shrp'", "did you mean sharpe?"),
            (("training", "ada", "-o", "mlflow.db/x.html"), 4, "mlflow.db/x.html can't be written: File exists",
             "check the path and its permissions"),
            (("verify", "nothing.html"), 3, "there is no file nothing.html", "name the file that agentnn report wrote"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )  # fmt: skip
    def test_each_says_what_and_what_next(self, arguments: Sequence[str], code: int, message: str, hint: str):
        done = in_process("report", *arguments)
        told, next_ = error_and_hint(done.stderr)
        assert (done.returncode, told) == (code, message)
        assert next_.startswith(hint)
        assert done.stdout == ""
        assert not Path("reports").exists()

    def test_without_plotly_the_message_is_the_command_that_installs_it(self, filled: Path, tmp_path: Path):
        (tmp_path / "site").mkdir()
        code = (
            "import sys, importlib.util as util\n"
            "find = util.find_spec\n"
            "util.find_spec = lambda name, *more: None if name.startswith('plotly') else find(name, *more)\n"
            "from agentnn.cli.app import run_command\n"
            "sys.exit(run_command(sys.argv[1:]))\n"
        )
        command = [sys.executable, "-c", code, "report", "training", "ada"]
        done = subprocess.run(
            command, cwd=filled.parent, env=environment(), capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 9, done.stderr
        assert "agentnn[report]" in done.stderr
        assert not (filled.parent / "reports").exists()
        done = subprocess.run(
            [*command, "--format", "md"], cwd=filled.parent, env=environment(), capture_output=True, check=False
        )
        assert done.returncode == 0


@pytest.mark.usefixtures("filled")
class TestVerify:
    @pytest.fixture
    def page(self) -> str:
        return in_process("report", "training", "ada").stdout.strip()

    def test_agreement_is_said(self, page: str):
        done = in_process("report", "verify", page)
        assert (done.returncode, done.stdout) == (0, "section\twhat\tin_report\tin_store\n")
        assert "training-ada-aaaa0000.html agrees with the store on" in done.stderr

    def test_a_difference_is_a_line_and_exit_code_1(self, page: str, filled: Path):
        execute(filled, f"UPDATE latest_metrics SET value = 7 WHERE run_uuid = '{ADA}' AND key = 'sharpe'")
        done = in_process("report", "verify", page)
        assert done.returncode == 1
        assert "Key metrics\tsharpe\t1.25\t7.0\n" in done.stdout
        assert "and the store disagree on 3 of" in error_and_hint(done.stderr)[0]
        told = json.loads(in_process("report", "verify", page, "-o", "json").stdout)
        assert told["agrees"] is False
        assert {"section": "Key metrics", "what": "sharpe", "in_report": 1.25, "in_store": 7.0} in told["differences"]
        assert told["runs"] == [ADA]

    def test_a_run_that_is_gone_is_exit_code_3(self, page: str, filled: Path):
        execute(filled, f"DELETE FROM runs WHERE run_uuid = '{ADA}'")
        done = in_process("report", "verify", page)
        assert done.returncode == 3
        assert ADA in done.stderr

    def test_damage_is_exit_code_5(self, page: str):
        text = Path(page).read_text(encoding="utf-8")
        Path(page).write_text(text.replace('"value":1.25', '"value":9.25'), encoding="utf-8")
        done = in_process("report", "verify", page)
        assert done.returncode == 5
        assert error_and_hint(done.stderr)[1] == "make the report again with agentnn report"


@pytest.mark.parametrize(
    "arguments",
    [("training", "ada"), ("hpo", "ada"), ("compare", "ada", "bob"), ("training", "ada", "--format", "md", "-o", "-")],
    ids=" ".join,
)  # fmt: skip
def test_a_report_on_sqlite_loads_nothing_heavy(arguments: Sequence[str], filled: Path):
    code = (
        "import sys\n"
        "from agentnn.cli.app import run_command\n"
        f"code = run_command({['report', *arguments]!r})\n"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=filled.parent, env=environment(), capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    code_and_modules = ran.stderr.splitlines()[-1].split()
    assert code_and_modules[0] == "0", ran.stderr
    assert HEAVY.isdisjoint(code_and_modules)


def test_a_report_changes_nothing_but_its_own_file(filled: Path):
    before = fingerprint(filled.parent)
    assert agentnn("report", "compare", "ada", "bob", "-o", "page.html", cwd=filled.parent).returncode == 0
    after = fingerprint(filled.parent)
    assert after.keys() - before.keys() == {"page.html"}
    assert {path: after[path] for path in before} == before
