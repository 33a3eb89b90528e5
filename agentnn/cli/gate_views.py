"""A gate's report for a person, a script, a pull request and a CI server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import plain, short, visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from agentnn.query.gate import Check, GateReport

_COLUMNS = ("result", "metric", "value", "required", "baseline", "problem")


def check_report_view(report: GateReport) -> View:
    """A report as a line a check."""
    rows = [_row(check) for check in report.checks]
    return View(
        rows,
        lambda: Table(_COLUMNS, rows, essential=len(_COLUMNS)),
        document=report.to_dict,
        picture=lambda console: _picture(report, console),
    )


def junit_xml(report: GateReport) -> str:
    """A report in the XML that CI servers read.

    The elements are those of https://github.com/testmoapp/junitxml: a test suite with a case a check.
    """
    from xml.etree import ElementTree as ET

    name = f"agentnn run check {report.run.name or report.run.run_id}"
    counts = {"tests": str(len(report.checks)), "failures": str(len(report.failures)), "errors": "0", "skipped": "0"}
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": visible(name), **counts})
    for check in report.checks:
        title = visible(f"{check.metric} {check.required}")
        case = ET.SubElement(suite, "testcase", {"classname": f"run.{report.run.run_id}", "name": title})
        if not check.passed:
            failure = ET.SubElement(case, "failure", {"message": visible(check.problem), "type": "CheckFailed"})
            failure.text = visible(
                f"value: {plain(check.value) or 'none'}, baseline: {plain(check.baseline) or 'none'}"
            )
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _row(check: Check) -> Row:
    cells = (
        "pass" if check.passed else "FAIL",
        check.metric,
        check.value,
        check.required,
        check.baseline,
        check.problem,
    )
    return Row(cells, check.metric, check.to_dict, [short(cell) for cell in cells])


def _picture(report: GateReport, console: Console) -> RenderableType:
    """A line a check, which a narrow terminal wraps instead of cutting it."""
    from rich.text import Text

    lines = Text()
    for check in report.checks:
        style = "green" if check.passed else "bold red"
        lines.append("✓ " if check.passed else "✗ ", style)
        lines.append(visible(f"{check.metric} {check.required}"))
        shown = "" if check.value is None else short(check.value)
        lines.append(f"  {shown}", style)
        if check.baseline is not None:
            lines.append(f"  baseline {short(check.baseline)}", "dim")
        if check.problem:
            lines.append(f"  {visible(check.problem)}", "red")
        lines.append("\n")
    lines.rstrip()
    return lines
