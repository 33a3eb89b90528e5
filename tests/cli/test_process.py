"""How the process of a command begins and ends."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli.support import EXECUTABLE, environment

if TYPE_CHECKING:
    from pathlib import Path

START = "import sys\nfrom agentnn.cli.process import main\nsys.argv = ['agentnn', '--version']\nmain()"
THREAD = """
import threading
threading.Thread(target=lambda: (threading.main_thread().join(), print("in the end"))).start()
"""


def python(*arguments: str, cwd: Path) -> str:
    """What a process prints that ends with 0."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    "waiting", [THREAD, "import atexit\natexit.register(print, 'in the end')\n"], ids=["thread", "handler"]
)
def test_who_has_something_to_do_in_the_end_gets_to_do_it(waiting: str, tmp_path: Path):
    assert python("-c", waiting + START, cwd=tmp_path).endswith("in the end\n")


def test_a_profiler_gets_to_say_what_it_saw(tmp_path: Path):
    assert "function calls" in python("-m", "cProfile", "-m", "agentnn", "--version", cwd=tmp_path)


@pytest.mark.parametrize(("arguments", "code"), [("--version", 0), ("run list", 4), ("run lst", 2)])
def test_both_streams_may_be_closed(arguments: str, code: int, tmp_path: Path):
    ran = subprocess.run(
        ["bash", "-c", f'"{EXECUTABLE}" {arguments} >&- 2>&-'], cwd=tmp_path, env=environment(), check=False
    )
    assert ran.returncode == code


def test_the_collector_works_for_what_a_command_makes(tmp_path: Path):
    code = (
        "import gc, sys\n"
        "import agentnn.cli.app as app\n"
        "app.run_command = lambda _: print(gc.isenabled(), gc.get_freeze_count() > 10_000) or 0\n"
        "from agentnn.cli.process import main\n"
        "main()"
    )
    assert python("-c", code, cwd=tmp_path) == "True True\n"
