"""The text of a page: the same for the same report, whole, and nothing in it but what the report says."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from reporting.examples import HOSTILE, comparison_report, example_reports, training_report

from agentnn.errors import MissingDependencyError
from agentnn.reporting import assets
from agentnn.reporting import html as page
from agentnn.reporting.document import Column, Figure, Figures, HeatTable, Report, Section, Source, Table, Text
from agentnn.reporting.html import render_html
from agentnn.reporting.json_form import from_json, to_json
from agentnn.reporting.page_tables import FIRST_ROWS

KINDS = ("training", "study", "comparison")


def small(*blocks: object, **changes: object) -> Report:
    """A report with these blocks."""
    section = Section("Part", "part", blocks)  # type: ignore[arg-type]
    report = Report("training", "Small", "Done.", (section,), Source("sqlite:///x.db", ("1",), version="0"))
    return replace(report, **changes)  # type: ignore[arg-type]


def data_of(text: str) -> str:
    """The data that a page carries."""
    found = re.search(r'<script type="application/json" id="agentnn-report">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["inline", "shared", "cdn"])
def test_a_page_carries_its_report(kind: str, where: assets.Assets) -> None:
    report = example_reports()[kind]
    assert from_json(data_of(render_html(report, assets=where))) == report


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_report_gives_the_same_page(kind: str) -> None:
    assert render_html(example_reports()[kind]) == render_html(example_reports()[kind])


def test_another_process_gives_the_same_page() -> None:
    program = (
        "import sys, hashlib; from reporting.examples import *; from agentnn.reporting.html import render_html;"
        "print(hashlib.sha256(''.join(map(render_html, example_reports().values())).encode()).hexdigest());"
        "print(sorted({'plotly', 'numpy', 'pandas', 'mlflow', 'torch'} & set(sys.modules)))"
    )
    told = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
        told.add(
            subprocess.run(
                [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
            ).stdout
        )
    assert len(told) == 1
    assert told.pop().splitlines()[1] == "[]"  # nothing heavy was imported


@pytest.mark.parametrize("kind", KINDS)
def test_no_name_becomes_markup(kind: str) -> None:
    text = render_html(example_reports()[kind], assets="shared")
    for name in HOSTILE:
        assert name not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in text
    assert not re.search("[\u2028\u2029\u202a-\u202e\x00-\x08\x0b-\x1f\x7f-\x9f]", text)


def test_what_utf8_can_not_say_is_spelled_out() -> None:
    name = "half \ud83d of a pair, \u2028, \ufeff and \x00"
    report = small(Figures((Figure(name, 1.0),)), Text(name, name, "code"), title=name)
    text = render_html(report)
    text.encode()
    assert from_json(data_of(text)) == report
    assert html.escape(r"half \ud83d of a pair, \u2028, \ufeff and \x00") in text


def test_the_policy_names_exactly_what_is_in_the_page() -> None:
    text = render_html(training_report())
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])  # type: ignore[index]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    assert "unsafe" not in rules["style-src"]
    assert "http" not in policy
    own = re.search(r"\n<script>(.*?)</script>", text, re.DOTALL)[1]  # type: ignore[index]
    source = re.search(r'<script type="text/plain" id="page-plotly-source">(.*?)</script>', text, re.DOTALL)[1]  # type: ignore[index]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]  # type: ignore[index]
    assert rules["script-src"].split() == [f"'{assets.checksum(own)}'", f"'{assets.checksum(source)}'"]
    assert f"'{assets.checksum(style)}'" in rules["style-src"]


def test_plotly_is_in_the_page_beside_it_or_in_the_network() -> None:
    script = assets.plotly().script
    inline, shared, cdn = (render_html(training_report(), assets=where) for where in ("inline", "shared", "cdn"))
    assert inline.count(script) == 1
    assert script[:200] not in shared + cdn
    assert list(page.shared_assets()) == [assets.plotly().name]
    assert f'data-file="{assets.plotly().name}"' in shared
    assert f'data-file="{assets.plotly().url}"' in cdn
    assert 'data-integrity="sha384-' in cdn
    assert assets.plotly().url in re.search(r"script-src [^;]*", html.unescape(cdn))[0]  # type: ignore[index]


def test_a_report_without_charts_needs_no_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("not needed")

    for module in (page, assets):
        monkeypatch.setattr(module, "plotly", refuse)
    heat = HeatTable("h", "Months", "Two.", ("2024",), ("Jan", "Year"), ((0.1, None),), "percent", totals=1)
    text = render_html(small(heat, Text("words")))
    assert len(text) < 100_000
    assert "unsafe" not in text.split("</head>")[0].split('content="')[1]


def test_without_plotly_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assets.plotly.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="extra 'report'"):
        render_html(training_report())
    monkeypatch.undo()
    assets.plotly.cache_clear()


def test_of_a_long_table_the_page_shows_the_beginning() -> None:
    columns = (Column("n", "n", "number"), Column("name", "name"))
    table = Table("long", "Long", columns, tuple((number, f"row {number}") for number in range(FIRST_ROWS + 50)))
    text = render_html(small(table))
    body = text.split("<tbody>")[1].split("</tbody>")[0]
    assert body.count("<tr>") == FIRST_ROWS
    assert len(json.loads(data_of(text))["sections"][0]["blocks"][0]["rows"]) == FIRST_ROWS + 50


def test_the_page_says_how_many_rows_it_shows_at_first() -> None:
    assert f"const FIRST_ROWS = {FIRST_ROWS};" in assets.page_script()


def test_a_table_without_rows_and_a_report_without_sections() -> None:
    assert "No rows." in render_html(small(Table("none", "None", (Column("a", "A"),), ())))
    assert "</main>" in render_html(small(sections=(), about=()))


def test_a_thousand_runs_stay_small_beside_shared_assets() -> None:
    report = comparison_report(1000)
    text = render_html(report, assets="shared")
    assert len(text) < len(to_json(report)) + 200_000
