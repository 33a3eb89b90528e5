"""What CI does with a test that fails: a second time, alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / ".ci" / "test_twice.py"
FAILS_ONCE = """
import pytest
from pathlib import Path

def passes_the_second_time(name):
    first = not Path(name).exists()
    Path(name).touch()
    assert not first

def test_that_passes():
    with Path("others").open("a") as file:
        file.write("x")
"""


def run(folder: Path, tests: str, processes: int = 0) -> tuple[int, str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(f"{FAILS_ONCE}\n{tests}")
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p xdist"}
    argv = [sys.executable, str(SCRIPT), "-n", str(processes)]
    ran = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120)
    return ran.returncode, ran.stdout + ran.stderr


def test_what_passes_alone_is_told_and_is_no_failure(tmp_path: Path) -> None:
    test = (
        "\n@pytest.mark.parametrize('name', ['a b', 'c::d'])\ndef test_one(name):\n    passes_the_second_time(name)\n"
    )
    code, said = run(tmp_path, test, processes=1)
    assert code == 0, said
    assert said.endswith(
        "Passed only the second time, and is to be mended:\n"
        "    test_it.py::test_one[a b]\n    test_it.py::test_one[c::d]\n"
    )
    assert (tmp_path / "others").read_text() == "x"


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    code, said = run(tmp_path, "def test_one():\n    passes_the_second_time('a')\n\ndef test_two():\n    assert 0\n")
    assert code == 1
    assert said.endswith("to be mended:\n    test_it.py::test_one\n")


def test_many_failures_are_not_tried_again(tmp_path: Path) -> None:
    test = "@pytest.mark.parametrize('name', 'abcdef')\ndef test_one(name):\n    passes_the_second_time(name)\n"
    code, said = run(tmp_path, test)
    assert code == 1
    assert "once more" not in said
